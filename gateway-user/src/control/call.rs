//! What a connection asks of the daemon, and how long it may take.

use std::time::Duration;

use tokio::sync::oneshot;

use super::protocol::{Reply, Request};
use crate::model::User;

/// Connections besides that follow a stream.
pub const STREAMS: usize = 8;

/// A request with the way to answer it. Dropped unanswered, the client is told that the daemon is going away.
#[derive(Debug)]
pub struct Call {
    /// What is asked.
    pub request: Request,
    /// The user that asks; of a request that changes nothing the number alone.
    pub user: User,
    /// Where the answer goes; it may have gone away.
    pub reply: oneshot::Sender<Reply>,
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
