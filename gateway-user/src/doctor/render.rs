//! Findings as text.

use comfy_table::{Attribute, Cell, Color, Table, presets};

use super::{Finding, Level};
use crate::cli::render::{Style, clean};

/// A line for each finding, and below it what to do; ends with a newline.
pub fn render(findings: &[Finding], style: Style) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let headings = ["", "OF", "CHECK", "FOUND"];
    table.set_header(headings.map(|heading| Cell::new(heading).add_attribute(Attribute::Bold)));
    table.add_rows(findings.iter().map(row));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    if style.colour {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    format!("{}\n\n{}\n", table.trim_fmt(), summary(findings))
}

fn row(finding: &Finding) -> Vec<Cell> {
    let level = match finding.level {
        Level::Ok => Cell::new("ok").fg(Color::Green),
        Level::Warning => Cell::new("warning").fg(Color::Yellow),
        Level::Problem => Cell::new("PROBLEM").fg(Color::Red).add_attribute(Attribute::Bold),
    };
    let found = match &finding.remedy {
        Some(remedy) => format!("{}\nfix: {}", clean(&finding.found), clean(remedy)),
        None => clean(&finding.found),
    };
    let subject = finding.interface.as_deref().unwrap_or("host");
    vec![level, Cell::new(clean(subject)), Cell::new(finding.check), Cell::new(found)]
}

fn summary(findings: &[Finding]) -> String {
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let words = |count, one: &str| match count {
        1 => format!("1 {one}"),
        count => format!("{count} {one}s"),
    };
    match (count(Level::Problem), count(Level::Warning)) {
        (0, 0) => "Nothing hinders the gateway here.".into(),
        (0, warnings) => format!("{}; the gateway can run.", words(warnings, "warning")),
        (problems, warnings) => format!("{}, {}.", words(problems, "problem"), words(warnings, "warning")),
    }
}
