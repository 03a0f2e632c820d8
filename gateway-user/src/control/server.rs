//! The daemon's end of the control socket.
//!
//! Each connection is a task of its own with a deadline for everything it does; requests go one by one through a channel
//! to the daemon's main task, which owns all state. At most [`CONNECTIONS`] of root's and as many of others are served at once, so what
//! a client can make the daemon hold is bounded; who says nothing goes when somebody else comes ([`crate::places`]).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::sync::{Semaphore, mpsc};

use super::connection::Connection;
use super::socket::{Bound, bind};
use crate::places::Places;

pub use super::call::{Call, Patience, STREAMS};
pub use super::socket::BindError;

/// Connections served at once.
pub const CONNECTIONS: usize = 16;
/// How long answers under way may take once the daemon ends.
pub const DRAIN: Duration = Duration::from_secs(2);

/// A control socket, listening. Dropped, it takes its path away.
#[derive(Debug)]
pub struct Server {
    bound: Bound,
    patience: Patience,
    /// Where root's requests go, if not where all others do.
    of_root: Option<mpsc::Sender<Call>>,
}

impl Server {
    /// Makes the socket at `path` with rights for the own user and root, and for the members of `group` if there is one.
    /// To be called before anything is changed, so that a second daemon leaves the first one's work alone.
    ///
    /// # Errors
    /// When another daemon has it, or the path cannot be had.
    pub fn bind(path: &Path, group: Option<&str>) -> Result<Self, BindError> {
        Ok(Self { bound: bind(path, group)?, patience: Patience::default(), of_root: None })
    }

    /// Root's requests go elsewhere than those of others, so that they need not wait for these.
    #[must_use]
    pub fn with_root_apart(self, calls: mpsc::Sender<Call>) -> Self {
        Self { of_root: Some(calls), ..self }
    }

    /// Other times than the default ones.
    #[must_use]
    pub fn with_patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// Serves until the receiver of `calls` is dropped, then lets the answers under way reach their clients for at most
    /// [`DRAIN`]: to be awaited by a daemon that ends, or whoever asked it to would not hear of it.
    ///
    /// # Errors
    /// When the socket cannot be registered with the runtime; it must be called inside of one.
    pub async fn serve(self, calls: mpsc::Sender<Call>) -> std::io::Result<()> {
        let listener = UnixListener::from_std(self.bound.listener.try_clone()?)?;
        let (of_root, of_others) = (Places::new(CONNECTIONS), Places::new(CONNECTIONS));
        let streams = Arc::new(Semaphore::new(STREAMS));
        while !calls.is_closed() {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = calls.closed() => break,
            };
            let Ok((stream, _)) = accepted else {
                // Out of file descriptors, most likely: others have to end first.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            // Nobody keeps root out.
            let is_root = stream.peer_cred().is_ok_and(|peer| peer.uid() == 0);
            let places = if is_root { &of_root } else { &of_others };
            // Without a place it is closed.
            let Some(place) = places.enter() else { continue };
            let apart = self.of_root.as_ref().filter(|_| is_root);
            let connection = Connection {
                access: self.bound.access,
                patience: self.patience,
                calls: apart.unwrap_or(&calls).clone(),
                streams: Arc::clone(&streams),
            };
            tokio::spawn(connection.serve_in(stream, place));
        }
        let empty = async {
            of_root.empty().await;
            of_others.empty().await;
        };
        let _ = tokio::time::timeout(DRAIN, empty).await;
        Ok(())
    }
}
