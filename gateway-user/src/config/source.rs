//! From a byte offset to the file, line and column that a person looks for.

use std::ops::Range;

use super::problem::Location;

/// A file's text and where its lines start.
pub(super) struct Source<'t> {
    pub(super) name: &'t str,
    pub(super) text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Source<'t> {
    pub(super) fn new(name: &'t str, text: &'t str) -> Self {
        // A byte order mark is no character of the first line.
        let first = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        let starts = std::iter::once(first).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { name, text, starts }
    }

    /// Index of the line that holds a byte, from 0.
    pub(super) fn line_of(&self, byte: usize) -> usize {
        self.starts.partition_point(|&start| start <= byte).saturating_sub(1)
    }

    /// A span's place; what goes beyond the end of its first line is not marked.
    pub(super) fn place(&self, span: Range<usize>) -> Location {
        let line = self.line_of(span.start);
        let start = self.starts[line];
        let end = self.starts.get(line + 1).map_or(self.text.len(), |&next| next - 1);
        let text = self.text.get(start..end).unwrap_or_default();
        let text = text.strip_suffix('\r').unwrap_or(text);
        let at = |byte: usize| text.floor_char_boundary(byte.saturating_sub(start).min(text.len()));
        let (from, to) = (at(span.start), at(span.end));
        Location {
            file: self.name.to_owned(),
            line: line + 1,
            column: text[..from].chars().count() + 1,
            width: text[from..to.max(from)].chars().count().max(1),
            text: text.to_owned(),
        }
    }
}
