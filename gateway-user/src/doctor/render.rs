//! Findings as text.

use comfy_table::{Attribute, Cell, Color, Table, presets};

use super::{Finding, Level};
use crate::cli::render::{Style, clean};

/// A line for each finding, and below it what to do; ends with a newline.
pub fn render(findings: &[Finding], can_run: Option<bool>, style: Style) -> String {
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
    format!("{}\n\n{}\n", table.trim_fmt(), summary(findings, can_run))
}

fn row(finding: &Finding) -> Vec<Cell> {
    let level = match finding.level {
        Level::Ok => Cell::new("ok").fg(Color::Green),
        Level::Warning => Cell::new("warning").fg(Color::Yellow),
        Level::Problem => Cell::new("PROBLEM").fg(Color::Red).add_attribute(Attribute::Bold),
    };
    let found = match &finding.remedy {
        Some(remedy) => format!("{}\nfix: {}", lines(&finding.found), clean(remedy)),
        None => lines(&finding.found),
    };
    let subject = finding.interface.as_deref().unwrap_or("host");
    vec![level, Cell::new(clean(subject)), Cell::new(finding.check), Cell::new(found)]
}

/// Lines stay lines.
fn lines(text: &str) -> String {
    text.lines().map(clean).collect::<Vec<_>>().join("\n")
}

fn summary(findings: &[Finding], can_run: Option<bool>) -> String {
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let words = |count, one: &str| match count {
        1 => format!("1 {one}"),
        count => format!("{count} {one}s"),
    };
    let (problems, warnings) =
        (words(count(Level::Problem), "problem"), words(count(Level::Warning), "warning"));
    match can_run {
        Some(true) => {
            format!("{warnings}; the gateway can run: its program was loaded here and let go again.")
        }
        Some(false) => {
            format!("{problems}, {warnings}; the gateway does not run, or does not protect, like this.")
        }
        None => {
            format!("{warnings}; whether the gateway can run was not tried: `sudo gateway doctor` tries it.")
        }
    }
}
