//! What is not TOML, and what can still be said about the rest of such a file.

use toml::de::Error;

use super::reader::Reader;
use crate::model::wrong::quoted;

/// Where the syntax is broken.
pub(super) struct Broken {
    /// Lines with an error, from 0.
    lines: Vec<usize>,
    /// From this line on the tables are not those that were meant: something before was not closed.
    lost_from: Option<usize>,
}

/// Puts syntax errors into the report.
pub(super) fn report(reader: &mut Reader<'_>, errors: &[Error]) -> Broken {
    reader.partial = !errors.is_empty();
    let mut broken = Broken { lines: Vec::new(), lost_from: None };
    let end = reader.source.text.len();
    for error in errors {
        let at = error.span().unwrap_or(end..end);
        let line = reader.source.line_of(at.start);
        // One slip makes the parser stumble more than once on the same line.
        if broken.lines.contains(&line) {
            continue;
        }
        broken.lines.push(line);
        if error.message().contains("unclosed") {
            broken.lost_from = Some(broken.lost_from.map_or(line, |first| first.min(line)));
        }
        let found = reader.source.text.get(at.clone()).unwrap_or_default();
        let (message, help) = explain(error.message(), found);
        reader.error(at, message, help);
    }
    broken
}

impl Broken {
    /// Whether a problem at this line, counted from 1, comes from the broken syntax and not from what was written.
    pub(super) fn explains(&self, line: usize) -> bool {
        let line = line.saturating_sub(1);
        self.lines.contains(&line) || self.lost_from.is_some_and(|first| line >= first)
    }
}

/// The parser's message in two parts: what is wrong with the text found, and what would be right.
fn explain(message: &str, found: &str) -> (String, String) {
    let (what, expected) = message.split_once(", expected ").unwrap_or((message, ""));
    let help = match what {
        "duplicate key" => "each key and each [table] may stand once in its place; merge the two".to_owned(),
        "string values must be quoted" if found.is_empty() => "write a value after the `=`".to_owned(),
        "string values must be quoted" => format!("put it in quotes: {}", quoted(&format!("\"{found}\""))),
        _ if expected.is_empty() => "see https://toml.io for the syntax".to_owned(),
        _ => format!("expected {expected}"),
    };
    (format!("no valid TOML: {what}"), help)
}
