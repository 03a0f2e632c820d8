//! Documents as text for people. Pure functions of the document, the style and the time, so that they can be tested.

mod event;
mod lists;
mod number;
mod record;
mod replay;
mod status;
#[cfg(test)]
mod tests;

use std::io::IsTerminal;

use comfy_table::{Attribute, Cell, CellAlignment, Color, Table, presets};

pub use event::event;
pub use lists::{changed, limits, prefixes, sources};
pub use number::{bytes, duration, moment, percent, thousands};
pub use record::{record, record_status, verified};
pub use replay::{connections, reasons};
pub use status::status;

use crate::model::{Outcome, is_invisible};

/// How to print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// With colour.
    pub colour: bool,
}

impl Style {
    /// Colour on a terminal, unless `NO_COLOR` is set to something (no-color.org) or the terminal is a dumb one.
    pub fn detect() -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { colour: std::io::stdout().is_terminal() && !set("NO_COLOR") && !dumb }
    }
}

/// A column's heading and whether it holds numbers.
pub(super) type Column = (&'static str, bool);
/// A column of words.
pub(super) const fn word(heading: &'static str) -> Column {
    (heading, false)
}
/// A column of numbers.
pub(super) const fn number(heading: &'static str) -> Column {
    (heading, true)
}

/// A table without lines, so that it reads well and cuts well; ends with a newline.
pub(super) fn table(columns: &[Column], rows: impl IntoIterator<Item = Vec<Cell>>, style: Style) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(columns.iter().map(|(heading, _)| Cell::new(heading).add_attribute(Attribute::Bold)));
    table.add_rows(rows);
    for (column, (_, numbers)) in table.column_iter_mut().zip(columns) {
        column.set_padding((0, 2));
        column.set_cell_alignment(if *numbers { CellAlignment::Right } else { CellAlignment::Left });
    }
    if style.colour {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    table.trim_fmt() + "\n"
}

/// A verdict in words and colour.
pub(super) fn outcome(verdict: Outcome) -> Cell {
    let (words, colour) = match verdict {
        Outcome::Pass => ("passed", Color::Green),
        Outcome::Drop => ("dropped", Color::Red),
        Outcome::Tx => ("answered", Color::Cyan),
        Outcome::WouldDrop => ("would drop", Color::Yellow),
    };
    Cell::new(words).fg(colour)
}

/// A text from elsewhere without what a terminal would obey, or not show.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if is_invisible(c) { '\u{fffd}' } else { c }).collect()
}
