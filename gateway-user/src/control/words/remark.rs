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
    #[error("control characters have no place in a reason; write one line of text")]
    Control,
    /// It is too long.
    #[error("{0} bytes are too many for a reason; at most {REMARK_MAX}")]
    TooLong(usize),
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
        if text.chars().any(char::is_control) {
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
