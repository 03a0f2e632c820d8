//! The origin of a claim on a prefix.

use std::{fmt, sync::Arc};

/// The origin of a claim. Origins are open: each feed is one, by its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// A user, by hand.
    Operator,
    /// The source's own strikes.
    Strikes,
    /// A feed.
    Feed(Arc<str>),
}

impl Origin {
    /// Its name: `operator`, `strikes`, or that of the feed.
    pub fn name(&self) -> &str {
        match self {
            Self::Operator => "operator",
            Self::Strikes => "strikes",
            Self::Feed(name) => name,
        }
    }
}

impl From<&str> for Origin {
    fn from(name: &str) -> Self {
        match name {
            "operator" => Self::Operator,
            "strikes" => Self::Strikes,
            feed => Self::Feed(feed.into()),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
