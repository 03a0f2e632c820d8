//! The words that requests, replies and the command line share, each with its text form.

mod prefix;
mod remark;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use crate::config::Mode;
pub use gateway_common::{limit::rate::Dimension, verdict::Action as Outcome};

pub use prefix::{Prefix, PrefixError};
pub use remark::{REMARK_MAX, Remark, RemarkError, is_invisible};

/// What `sources` are ordered by, highest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Packets seen.
    #[default]
    Packets,
    /// Bytes seen.
    Bytes,
    /// Packets dropped, or in monitor mode that would have been.
    Drops,
}

/// Where a limit holds: `default`, `neighbours`, `rest`, `class/NAME`, `service/NAME` or `total/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Place {
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

/// A text that is not a [`Place`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no place for a limit; write default, neighbours, rest, class/NAME, service/NAME or total/NAME"
)]
pub struct PlaceError(String);

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let unknown = || PlaceError(text.to_owned());
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

impl fmt::Display for Place {
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

impl TryFrom<String> for Place {
    type Error = PlaceError;

    fn try_from(text: String) -> Result<Self, PlaceError> {
        text.parse()
    }
}

impl From<Place> for String {
    fn from(place: Place) -> Self {
        place.to_string()
    }
}
