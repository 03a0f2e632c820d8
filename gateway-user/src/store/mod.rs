//! What outlives the daemon: bans, live changes, counter rows, and rows on their way to the record.
//!
//! One SQLite database ([`state`]), written by a thread of its own ([`writer`]), so that a slow disk never holds up the
//! daemon. A change and its row for the record go in one transaction; the same thread then takes rows into the
//! [record](crate::record). What cannot be written waits in memory and is
//! written as soon as it can be; no trouble with the disk stops a start, or traffic.

mod lock;
mod recorder;
mod sink;
mod state;
#[cfg(test)]
mod tests;
mod writer;

pub use lock::{Lock, LockError};
pub use recorder::Outgoing;
pub use state::{Batch, Kept, Row, State, StateError};
pub use writer::{ROWS_MAX, Store};

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{model::CheckpointTo, record::Sources};

/// What the configuration says of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// How long rows are kept.
    pub retention: Duration,
    /// How exactly sources are kept.
    pub sources: Sources,
    /// Where checkpoints go besides the log.
    pub checkpoint: Option<CheckpointTo>,
    /// Bytes above which the record is [too large](Store::is_large).
    pub max_size: u64,
}

/// The state database beside the record: both are in the folder of `audit.database`.
pub fn path(database: &Path) -> PathBuf {
    database.with_file_name("state.db")
}
