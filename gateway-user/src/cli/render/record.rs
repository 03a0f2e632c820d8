//! `gateway audit`.

use std::path::Path;

use comfy_table::Cell;
use serde_json::Value;

use super::{Style, bytes, clean, moment, number, table, thousands, word};
use crate::{
    event_rows::happened,
    model::Happened,
    record::{Kind, Report, Row, Status},
};

/// Rows of the record.
pub fn record(rows: &[Row], style: Style) -> String {
    if rows.is_empty() {
        return "No such rows.\n".to_owned();
    }
    let or_dash = |text: Option<&str>| clean(text.unwrap_or("-"));
    let cells = rows.iter().map(|row| {
        vec![
            Cell::new(row.id),
            Cell::new(moment(row.at / 1_000)),
            Cell::new(row.kind.name()),
            Cell::new(or_dash(row.actor.as_deref())),
            Cell::new(clean(&said(row))),
        ]
    });
    table(&[number("ROW"), word("TIME"), word("KIND"), word("ACTOR"), word("WHAT")], cells, style)
}

/// What verifying found.
pub fn verified(report: &Report) -> String {
    let mut text = if report.is_intact() {
        format!(
            "{} rows in {} files are as they were written; {} checkpoints fit.\n",
            thousands(report.rows),
            report.files,
            thousands(report.checkpoints)
        )
    } else {
        "The record is NOT as it was written:\n".to_owned()
    };
    for finding in &report.findings {
        text += &format!("  {}\n", clean(&finding.to_string()));
    }
    if report.more != 0 {
        text += &format!("  and {} findings more\n", thousands(report.more));
    }
    for limit in report.limits() {
        text += &format!("{}\n", clean(&limit));
    }
    text
}

/// How large and how old the record is.
pub fn record_status(status: &Status, directory: &Path) -> String {
    let time = |at: Option<u64>| at.map_or_else(|| "-".to_owned(), |at| moment(at / 1_000));
    let signed = status.checkpoint.map_or_else(
        || "never".to_owned(),
        |last| format!("{}, up to row {}", moment(last.at / 1_000), thousands(last.size)),
    );
    let mut text = format!(
        "{}: {} rows, {}\nfrom {} to {}\nlast checkpoint: {signed}\na day: {}; a year of such days: {}\n",
        directory.display(),
        thousands(status.rows),
        bytes(status.bytes),
        time(status.oldest),
        time(status.newest),
        bytes(status.bytes_a_day),
        bytes(status.bytes_a_year),
    );
    for month in &status.months {
        text += &format!("  {}: {} rows, {}\n", month.file, thousands(month.rows), bytes(month.bytes));
    }
    text
}

/// What a row says, in a line.
fn said(row: &Row) -> String {
    match happened(row) {
        _ if row.kind == Kind::Drops => dropped(row),
        // The actor has a column of its own.
        Some(Happened::Change { change, .. }) => change.to_string(),
        Some(happened) => happened.to_string(),
        None => {
            let shown = row.body().into_iter().filter(|(name, _)| !["actor", "n"].contains(&name.as_str()));
            let parts: Vec<String> = shown.map(|(name, value)| format!("{name}: {value}")).collect();
            parts.join(", ")
        }
    }
}

/// `28,763 packets, 1.6 MB of limit_syn at api`, or those of a source.
fn dropped(row: &Row) -> String {
    let body = row.body();
    let number = |name: &str| body.get(name).and_then(Value::as_u64);
    let mut text = format!("{} packets", thousands(number("packets").unwrap_or(0)));
    if let Some(count) = number("bytes") {
        text += &format!(", {}", bytes(count));
    }
    text += &row.reason.as_ref().map_or_else(String::new, |reason| format!(" of {reason}"));
    text += &row.service.as_ref().map_or_else(String::new, |service| format!(" at {service}"));
    match (row.source, body.get("of").and_then(Value::as_str)) {
        (Some(source), _) => text += &format!(" from {source}"),
        (None, Some(of)) => text += &format!(" from {of}"),
        (None, None) => {}
    }
    if body.get("verdict").is_some() {
        text += " (monitored, and passed)";
    }
    text
}
