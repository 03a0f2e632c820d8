//! Where a limit holds.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Where a limit holds: `default`, `neighbours`, `rest`, `class/NAME`, `service/NAME` or `total/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum LimitScope {
    /// Each source that no class names.
    Default,
    /// Each neighbourhood of sources.
    Neighbours,
    /// All sources together, at no service.
    Rest,
    /// Each source of this class.
    Class(String),
    /// Each source, at this service.
    Service(String),
    /// All sources together, at this service.
    Total(String),
}

/// A text that is not a [`LimitScope`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no place for a limit; write default, neighbours, rest, class/NAME, service/NAME or total/NAME"
)]
pub struct LimitScopeError(String);

impl FromStr for LimitScope {
    type Err = LimitScopeError;

    fn from_str(text: &str) -> Result<Self, LimitScopeError> {
        let unknown = || LimitScopeError(text.to_owned());
        match text {
            "default" => return Ok(Self::Default),
            "neighbours" => return Ok(Self::Neighbours),
            "rest" => return Ok(Self::Rest),
            _ => {}
        }
        let (kind, name) = text.split_once('/').ok_or_else(unknown)?;
        if name.is_empty() || name.contains(|c: char| c.is_control() || c.is_whitespace()) {
            return Err(unknown());
        }
        match kind {
            "class" => Ok(Self::Class(name.to_owned())),
            "service" => Ok(Self::Service(name.to_owned())),
            "total" => Ok(Self::Total(name.to_owned())),
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for LimitScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Neighbours => f.write_str("neighbours"),
            Self::Rest => f.write_str("rest"),
            Self::Class(name) => write!(f, "class/{name}"),
            Self::Service(name) => write!(f, "service/{name}"),
            Self::Total(name) => write!(f, "total/{name}"),
        }
    }
}

impl TryFrom<String> for LimitScope {
    type Error = LimitScopeError;

    fn try_from(text: String) -> Result<Self, LimitScopeError> {
        text.parse()
    }
}

impl From<LimitScope> for String {
    fn from(scope: LimitScope) -> Self {
        scope.to_string()
    }
}
