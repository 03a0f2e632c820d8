//! What a connection asks of the daemon, and how long it may take.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::protocol::{Reply, Request};
use crate::model::{Session, User};

/// Connections besides that follow a stream.
pub const STREAMS: usize = 8;

/// A request with the way to answer it. Dropped unanswered, the client is told that the daemon is going away.
#[derive(Debug)]
pub struct Call {
    /// What is asked.
    pub request: Request,
    /// The user that asks; of a request that changes nothing the number alone.
    pub user: User,
    /// What its caller says of itself.
    pub caller: Caller,
    /// Where the answer goes; it may have gone away.
    pub reply: oneshot::Sender<Reply>,
}

/// What a caller says of itself, beside the members of a request. It can do no more by it than keep its own change from being made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Caller {
    /// The change is made even if it cuts a session.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// The sessions that it has come by.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sessions: Vec<Session>,
}

/// How long a connection may take for its steps.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For the client to send its request.
    pub read: Duration,
    /// For the daemon to answer it.
    pub answer: Duration,
    /// For the client to take what is written.
    pub write: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { read: seconds(5), answer: seconds(60), write: seconds(5) }
    }
}
