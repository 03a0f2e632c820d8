//! Rows leave the record as JSON lines, CSV or CEF, one by one.

use std::{
    io::{self, Write},
    ops::ControlFlow,
    path::Path,
};

use ipnet::IpNet;

use super::{Filter, Kind, RecordError, Row, names::time_text, query};

/// What others read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A row's canonical bytes a line: SHA-256 over a zero byte and the line without its end is its leaf's hash.
    JsonLines,
    /// Comma-separated values (RFC 4180), with the names of columns in the first line, and times as RFC 3339 has them, in UTC.
    Csv,
    /// ArcSight Common Event Format, version 0 (Micro Focus, "CEF Implementation Standard"), without a syslog header.
    Cef,
}

const CSV_COLUMNS: [&str; 8] = ["id", "at", "kind", "source", "reason", "service", "actor", "body"];

/// Writes the rows that are asked for. Gives how many there were, and why files, or rows in them, could not be read.
///
/// # Errors
/// Where the directory cannot be read or the export not be written.
pub fn export(
    directory: &Path,
    filter: &Filter,
    format: Format,
    to: &mut impl Write,
) -> Result<(u64, Vec<String>), RecordError> {
    match format {
        Format::JsonLines => write_each(directory, filter, |row| {
            to.write_all(&row.line())?;
            to.write_all(b"\n")
        }),
        Format::Cef => write_each(directory, filter, |row| to.write_all(cef(row).as_bytes())),
        Format::Csv => {
            let mut csv = csv::Writer::from_writer(&mut *to);
            csv.write_record(CSV_COLUMNS).map_err(|error| RecordError::Export(error.into()))?;
            let written = write_each(directory, filter, |row| Ok(csv.write_record(csv_fields(row))?))?;
            csv.flush().map_err(RecordError::Export)?;
            Ok(written)
        }
    }
}

fn write_each(
    directory: &Path,
    filter: &Filter,
    mut write: impl FnMut(&Row) -> io::Result<()>,
) -> Result<(u64, Vec<String>), RecordError> {
    let (mut count, mut failed) = (0, None);
    let unread = query::each(directory, filter, |row| match write(&row) {
        Ok(()) => {
            count += 1;
            ControlFlow::Continue(())
        }
        Err(error) => {
            failed = Some(error);
            ControlFlow::Break(())
        }
    })?;
    failed.map_or(Ok((count, unread)), |error| Err(RecordError::Export(error)))
}

fn csv_fields(row: &Row) -> [String; 8] {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    [
        row.id.to_string(),
        time_text(row.at),
        row.kind.name().to_owned(),
        row.source.map(|source| source.to_string()).unwrap_or_default(),
        text(&row.reason),
        text(&row.service),
        text(&row.actor),
        text(&row.body),
    ]
}

/// What people read of a kind, and how grave it is, from 0 to 10.
fn name_and_severity(kind: Kind) -> (&'static str, u8) {
    match kind {
        Kind::Change => ("Settings were changed", 3),
        Kind::Ban => ("A source was banned or let go", 5),
        Kind::Flood => ("Flood", 8),
        Kind::Drops => ("Packets were dropped", 4),
        Kind::Start => ("The gateway started", 1),
        Kind::Stop => ("The gateway stopped", 5),
        Kind::Fault => ("Fault", 7),
        Kind::Gap => ("Events are missing", 6),
        Kind::Tls => ("TLS", 2),
    }
}

/// A row as a line of CEF. Its standard keys take one address; a prefix is a string of our own.
fn cef(row: &Row) -> String {
    let (name, severity) = name_and_severity(row.kind);
    let head = ["CEF:0", "gateway", "gateway", env!("CARGO_PKG_VERSION"), row.kind.name(), name];
    let head = head.map(cef_head).join("|");
    let mut line = format!("{head}|{severity}|rt={} externalId={}", row.at, row.id);
    let mut add = |key: &str, value: &str| {
        line.push(' ');
        line.push_str(key);
        line.push('=');
        line.push_str(&cef_value(value));
    };
    match row.source {
        Some(IpNet::V4(net)) if net.prefix_len() == 32 => add("src", &net.addr().to_string()),
        Some(IpNet::V6(net)) if net.prefix_len() == 128 => {
            add("c6a2Label", "Source IPv6 Address");
            add("c6a2", &net.addr().to_string());
        }
        Some(net) => {
            add("cs1Label", "source");
            add("cs1", &net.to_string());
        }
        None => {}
    }
    for (key, value) in [("reason", &row.reason), ("suser", &row.actor)] {
        value.iter().for_each(|value| add(key, value));
    }
    for (key, label, value) in [("cs2", "service", &row.service), ("cs3", "body", &row.body)] {
        if let Some(value) = value {
            add(&format!("{key}Label"), label);
            add(key, value);
        }
    }
    line.push('\n');
    line
}

/// In the header `\` and `|` are escaped, and there are no newlines.
fn cef_head(text: &str) -> String {
    text.replace('\\', r"\\").replace('|', r"\|").replace(['\n', '\r'], " ")
}

/// In values `\` and `=` are escaped, and newlines are `\n` and `\r`.
fn cef_value(text: &str) -> String {
    text.replace('\\', r"\\").replace('=', r"\=").replace('\n', r"\n").replace('\r', r"\r")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        Row {
            id: 3,
            at: 1_764_547_200_123,
            kind: Kind::Ban,
            source: Some("192.0.2.7/32".parse().unwrap()),
            reason: Some("a=b|c\\d\ne\rf".to_owned()),
            service: None,
            actor: Some("cli, \"root\"".to_owned()),
            body: Some(r#"{"n":1}"#.to_owned()),
        }
    }

    #[test]
    fn cef_is_escaped() {
        let version = env!("CARGO_PKG_VERSION");
        let head = format!("CEF:0|gateway|gateway|{version}|ban|A source was banned or let go|5|");
        let rest = concat!(
            r"rt=1764547200123 externalId=3 src=192.0.2.7 reason=a\=b|c\\d\ne\rf ",
            r#"suser=cli, "root" cs3Label=body cs3={"n":1}"#,
            "\n"
        );
        assert_eq!(cef(&row()), head + rest);
        assert_eq!(cef_head("a|b\\c\r\nd=e"), r"a\|b\\c  d=e");
        let source = |text: &str| cef(&Row { source: Some(text.parse().unwrap()), ..row() });
        assert!(source("192.0.2.0/24").contains(" cs1Label=source cs1=192.0.2.0/24 "));
        assert!(source("2001:db8::1/128").contains(" c6a2Label=Source IPv6 Address c6a2=2001:db8::1 "));
    }

    #[test]
    fn csv_is_quoted() {
        let mut csv = csv::Writer::from_writer(Vec::new());
        csv.write_record(csv_fields(&row())).unwrap();
        let expected = concat!(
            "3,2025-12-01T00:00:00.123Z,ban,192.0.2.7/32,\"a=b|c\\d\ne\rf\",,",
            "\"cli, \"\"root\"\"\",\"{\"\"n\"\":1}\"\n"
        );
        assert_eq!(String::from_utf8(csv.into_inner().unwrap()).unwrap(), expected);
    }
}
