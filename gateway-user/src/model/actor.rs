//! The cause of a change: a user, or a part of the gateway.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The cause of a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Actor {
    /// A user, over the control socket.
    User(User),
    /// A signal to the daemon.
    Signal {
        /// Its name: `SIGHUP`.
        name: String,
    },
    /// An end that was set before.
    Timer,
    /// Strikes of a source.
    Strikes,
    /// Sources of a network that were over their limits.
    Escalation,
    /// This host, whose addresses or settings have changed.
    Host,
    /// The start of the daemon.
    Start,
}

/// A user of this host, as the kernel tells of the process that asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Its number, by the socket's peer credentials (unix(7), `SO_PEERCRED`).
    pub uid: u32,
    /// Its name, if the user database has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The user that logged in, if it is another one: sudo and su change the first, and not this
    /// (`/proc/PID/loginuid`, proc_pid_loginuid(5)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    /// The terminal or else the unit of the process: `pts/3`, `backup.service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => user.fmt(f),
            Self::Signal { name } => f.write_str(name),
            Self::Timer => f.write_str("timer"),
            Self::Strikes => f.write_str("strikes"),
            Self::Escalation => f.write_str("escalation"),
            Self::Host => f.write_str("host"),
            Self::Start => f.write_str("start"),
        }
    }
}

/// `root`, `root (alice on pts/3)`, `uid 1001 (backup.service)`.
impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => f.write_str(name)?,
            None => write!(f, "uid {}", self.uid)?,
        }
        match (&self.login, &self.at) {
            (Some(login), Some(at)) => write!(f, " ({login} on {at})"),
            (Some(one), None) | (None, Some(one)) => write!(f, " ({one})"),
            (None, None) => Ok(()),
        }
    }
}
