//! What can be in the way of the record.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::note::NoteError;

/// Why the record cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// SQLite says no.
    #[error("{path}: {cause}")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What it said.
        cause: rusqlite::Error,
    },
    /// The kernel says no.
    #[error("{path}: {cause}")]
    File {
        /// The file or directory.
        path: PathBuf,
        /// What it said.
        cause: io::Error,
    },
    /// A later gateway wrote it.
    #[error("{0} was written by a later version; it is left alone")]
    Later(PathBuf),
    /// It is no month of the record, or not a whole one.
    #[error("{path} is damaged: {why}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Another process writes it.
    #[error("the record in {0} is written by another process; end that one first")]
    InUse(PathBuf),
    /// The key cannot be had, or cannot have the name.
    #[error("{path}: {cause}")]
    Key {
        /// The key's file.
        path: PathBuf,
        /// What is wrong.
        cause: NoteError,
    },
    /// What is to verify checkpoints is no key.
    #[error("the key that checkpoints are verified by: {0}")]
    Vkey(NoteError),
    /// An entry cannot be a row. None of its batch was written.
    #[error("entry {index} of the batch cannot be kept: {why}")]
    Entry {
        /// Which one, from 0.
        index: usize,
        /// What is wrong.
        why: &'static str,
    },
    /// An export cannot be written.
    #[error("the export cannot be written: {0}")]
    Export(io::Error),
}

impl RecordError {
    /// What wraps an error of SQLite.
    pub(super) fn sqlite(path: &Path) -> impl Fn(rusqlite::Error) -> Self {
        |cause| Self::Sqlite { path: path.to_owned(), cause }
    }

    /// What wraps an error of the kernel.
    pub(super) fn file(path: &Path) -> impl Fn(io::Error) -> Self {
        |cause| Self::File { path: path.to_owned(), cause }
    }

    /// Whether the file itself is at fault, so that another can take its place; else something is in its way, which may pass.
    pub(super) fn is_damage(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase, TypeMismatch, Unknown};
        match self {
            Self::Damaged { .. } => true,
            Self::Sqlite { cause, .. } => match cause.sqlite_error_code() {
                Some(code) => matches!(code, DatabaseCorrupt | NotADatabase | TypeMismatch | Unknown),
                // What SQLite gave is of another type, or there is no row where one has to be.
                None => true,
            },
            _ => false,
        }
    }
}
