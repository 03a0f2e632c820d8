//! What is wrong in a configuration, where, and what would be right.

use std::fmt;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde::Serialize;

/// Whether a configuration with the problem can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, but it may not do what its author expects.
    Warning,
}

/// A stretch of one line of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Location {
    /// The file, as it was named to the parser.
    pub file: String,
    /// Line, from 1; 0 when the file as a whole is meant.
    pub line: usize,
    /// Column in characters, from 1; 0 when the file as a whole is meant.
    pub column: usize,
    /// Characters under the caret.
    pub width: usize,
    /// The line, without its end.
    pub text: String,
}

impl Location {
    /// The file as a whole.
    pub(super) fn file(name: &str) -> Self {
        Self { file: name.to_owned(), line: 0, column: 0, width: 0, text: String::new() }
    }

    /// The stretch as bytes of `text`.
    fn bytes(&self) -> std::ops::Range<usize> {
        let at = |chars: usize| self.text.char_indices().nth(chars).map_or(self.text.len(), |(byte, _)| byte);
        let start = self.column.saturating_sub(1);
        at(start)..at(start + self.width)
    }

    fn snippet<'a>(
        &'a self,
        kind: AnnotationKind,
        label: Option<&'a str>,
    ) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
        Snippet::source(&self.text)
            .path(&self.file)
            .line_start(self.line)
            .annotation(kind.span(self.bytes()).label(label))
    }
}

/// A second place that a problem has to do with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Related {
    /// Where.
    #[serde(flatten)]
    pub place: Location,
    /// What is there.
    pub label: String,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Where.
    #[serde(flatten)]
    pub place: Location,
    /// Error or warning.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: String,
    /// The other place, where two together make the problem.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub related: Option<Related>,
}

impl Problem {
    fn group(&self) -> Group<'_> {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(&self.message);
        let mut group = if self.place.line == 0 {
            title.element(Origin::path(&self.place.file))
        } else {
            title.element(self.place.snippet(AnnotationKind::Primary, None))
        };
        if let Some(related) = &self.related {
            group = group.element(related.place.snippet(AnnotationKind::Context, Some(&related.label)));
        }
        group.element(Level::HELP.message(&self.help))
    }
}

/// In a line, as for a log.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Location { file, line, column, .. } = &self.place;
        match line {
            0 => write!(f, "{file}: {}; {}", self.message, self.help),
            _ => write!(f, "{file}:{line}:{column}: {}; {}", self.message, self.help),
        }
    }
}

/// All that was found in a configuration, in the order of the text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Errors and warnings.
    pub problems: Vec<Problem>,
}

impl Report {
    /// Whether one of the problems is an error.
    pub fn has_errors(&self) -> bool {
        self.errors() > 0
    }

    /// How many of the problems are errors.
    pub fn errors(&self) -> usize {
        self.problems.iter().filter(|problem| problem.severity == Severity::Error).count()
    }

    /// What is told in a few lines: of the files that the configuration names, what they are as a whole, and not line by line.
    pub fn in_short(&self, configuration: &str) -> impl Iterator<Item = &Problem> {
        self.problems
            .iter()
            .filter(move |problem| problem.place.line == 0 || problem.place.file == configuration)
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// The problems for a person: each with its line, a caret and the help. With terminal colours only if asked.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let problems: Vec<_> =
            self.problems.iter().map(|problem| renderer.render(&[problem.group()])).collect();
        problems.join("\n\n")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Report {}
