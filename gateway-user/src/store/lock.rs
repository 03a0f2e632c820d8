//! One daemon on a folder of state, whatever its control socket is called.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    libc::O_NOFOLLOW,
};

use crate::state_file;

/// The folder, held until this is dropped.
#[derive(Debug)]
pub struct Lock {
    _held: Flock<File>,
}

/// Why the folder cannot be held.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another daemon has it.
    #[error(
        "another gateway keeps its state in {0}; stop that one, or name another folder by audit.database"
    )]
    Taken(PathBuf),
    /// It cannot be made or opened: there is nothing to protect from another daemon, since nothing can be kept.
    #[error("{path}: {cause}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        cause: io::Error,
    },
}

impl Lock {
    /// Takes the folder that the state database is in.
    ///
    /// # Errors
    /// When another process has it, or when there is no place for the lock.
    pub fn take(database: &Path) -> Result<Self, LockError> {
        let path = database.with_extension("lock");
        let error = |cause| LockError::File { path: path.clone(), cause };
        state_file::prepare(&path).map_err(error)?;
        let file = OpenOptions::new().write(true).custom_flags(O_NOFOLLOW).open(&path).map_err(error)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(held) => Ok(Self { _held: held }),
            Err((_, Errno::EWOULDBLOCK)) => {
                Err(LockError::Taken(path.parent().unwrap_or(Path::new("/")).to_owned()))
            }
            Err((_, errno)) => Err(error(errno.into())),
        }
    }
}
