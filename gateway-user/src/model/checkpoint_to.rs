//! Where the record's checkpoints go.

use std::path::PathBuf;

/// Where checkpoints go besides the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckpointTo {
    /// Appended to a file, by its absolute path: best on another host's disk.
    File(PathBuf),
    /// To the standard input of a command: an absolute path, and arguments.
    Command(Vec<String>),
}
