//! The origin of a claim on a prefix.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

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

impl Origin {
    /// Whether a user takes it back with a word: the operator's and the gateway's own, and no feed's.
    pub const fn is_own(&self) -> bool {
        !matches!(self, Self::Feed(_))
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

/// The name of an origin that a request may speak for: that of a feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OriginName(String);

/// The longest such name in bytes.
const NAME_MAX: usize = 32;

impl OriginName {
    /// The origin.
    pub fn origin(&self) -> Origin {
        Origin::from(self.0.as_str())
    }
}

impl FromStr for OriginName {
    /// What is wrong with it.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
        if ["operator", "strikes", "configuration", "default"].contains(&text) {
            return Err(format!("{text} is no feed's name"));
        }
        if text.is_empty() || text.len() > NAME_MAX || !text.bytes().all(is_good) {
            return Err(format!(
                "{text:?} is no name of an origin: 1 to {NAME_MAX} lower-case letters, digits, - and _"
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for OriginName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<OriginName> for String {
    fn from(name: OriginName) -> Self {
        name.0
    }
}
