//! What an operator notes beside a change.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest [`Remark`] in bytes.
pub const REMARK_MAX: usize = 200;

/// One line of text, short and without control characters, so that it can go to terminals and records as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Remark(String);

/// A text that is not a [`Remark`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemarkError {
    /// It could steer a terminal, or break a record's line.
    #[error(
        "control characters, and others that are not seen, have no place in a reason; write one line of text"
    )]
    Control,
    /// It is too long.
    #[error("{0} bytes are too many for a reason; at most {REMARK_MAX}")]
    TooLong(usize),
}

/// Characters of Unicode's categories Cf, Zl and Zp (UnicodeData 16.0): a terminal shows no such character, and turns others round for some.
const FORMATS: [(char, char); 20] = [
    ('\u{ad}', '\u{ad}'),
    ('\u{600}', '\u{605}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{6dd}', '\u{6dd}'),
    ('\u{70f}', '\u{70f}'),
    ('\u{890}', '\u{891}'),
    ('\u{8e2}', '\u{8e2}'),
    ('\u{180e}', '\u{180e}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{2028}', '\u{202e}'),
    ('\u{2060}', '\u{2064}'),
    ('\u{2066}', '\u{206f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{fff9}', '\u{fffb}'),
    ('\u{110bd}', '\u{110bd}'),
    ('\u{110cd}', '\u{110cd}'),
    ('\u{13430}', '\u{1343f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0001}', '\u{e007f}'),
];

/// Whether a character steers a terminal, or how others are shown, and is not seen itself.
pub fn is_invisible(character: char) -> bool {
    character.is_control() || FORMATS.iter().any(|(first, last)| (*first..=*last).contains(&character))
}

impl Remark {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Remark {
    type Error = RemarkError;

    fn try_from(text: String) -> Result<Self, RemarkError> {
        if text.chars().any(is_invisible) {
            return Err(RemarkError::Control);
        }
        if text.len() > REMARK_MAX { Err(RemarkError::TooLong(text.len())) } else { Ok(Self(text)) }
    }
}

impl FromStr for Remark {
    type Err = RemarkError;

    fn from_str(text: &str) -> Result<Self, RemarkError> {
        text.to_owned().try_into()
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Remark> for String {
    fn from(remark: Remark) -> Self {
        remark.0
    }
}
