//! A management session: a way into this host that its user has authenticated on.

use std::{fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

/// A management session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// Where it comes from.
    pub client: IpAddr,
    /// The address of this host that it goes to; none: one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<IpAddr>,
    /// The TCP port of this host.
    pub port: u16,
    /// Its user; none: the user that asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// `203.0.113.2, which you are connected from`.
impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.user {
            None => write!(f, "{}, which you are connected from", self.client),
            Some(user) => write!(f, "{}, which {user} is connected from", self.client),
        }
    }
}
