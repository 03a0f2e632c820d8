//! Puts the control socket into the file system: no moment at which it has wider rights than it should, no other
//! program's file taken away, no second daemon.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::access::{Access, group_id};
use crate::state_file::is_safe;

/// Why the control socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another daemon has it.
    #[error(
        "another gateway is running on {0}; stop it with `gateway stop`, or give this one another control.socket"
    )]
    Taken(PathBuf),
    /// Something else is there.
    #[error("{0} is in the way and is not the gateway's; move it, or set another control.socket")]
    InTheWay(PathBuf),
    /// Others could put something else there.
    #[error(
        "{0} is another user's, or others may write to it and could put another socket there; set control.socket to a place in a directory of root's"
    )]
    Directory(PathBuf),
    /// No such group.
    #[error("there is no group {0:?}; create it with `groupadd --system {0}`, or leave control.group empty")]
    NoGroup(String),
    /// The group cannot be set.
    #[error("cannot give {path} to group {group}: {source}; run as root or as a member of that group")]
    Group {
        /// The socket.
        path: PathBuf,
        /// Name of the group.
        group: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The path is no good.
    #[error("{0} cannot be a socket: give an absolute path of at most 90 bytes")]
    Path(PathBuf),
    /// Any other step.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// The step.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// A path's socket, listening. Dropped, it takes the path away again.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) listener: UnixListener,
    pub(super) access: Access,
    path: PathBuf,
    inode: u64,
    /// Held as long as the daemon lives, and released by the kernel however it ends.
    _lock: File,
}

/// A `sockaddr_un` holds 108 bytes; the temporary name needs some of them.
const PATH_MAX: usize = 90;

/// Makes the socket at `path`, for root or the own user alone, or for `group` too.
pub(super) fn bind(path: &Path, group: Option<&str>) -> Result<Bound, BindError> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Err(BindError::Path(path.to_owned()));
    };
    if !path.is_absolute() || path.as_os_str().len() > PATH_MAX {
        return Err(BindError::Path(path.to_owned()));
    }
    let gid = match group {
        Some(name) => Some(group_id(name).ok_or_else(|| BindError::NoGroup(name.to_owned()))?),
        None => None,
    };
    let made = DirBuilder::new().recursive(true).mode(0o755).create(dir);
    made.map_err(io_error("create the directory", dir))?;
    if !is_safe(dir).map_err(io_error("look at", dir))? {
        return Err(BindError::Directory(dir.to_owned()));
    }
    let lock = lock(path, &dir.join(format!("{name}.lock")))?;
    refuse_living(path)?;

    // Bound under a name of its own, so that nobody can connect before the rights are right, then moved to its place.
    let temporary = dir.join(format!(".{name}.{}", std::process::id()));
    let _ = fs::remove_file(&temporary);
    let listener = UnixListener::bind(&temporary).map_err(io_error("bind", path))?;
    let placed = place(&temporary, path, gid, group.unwrap_or_default());
    if placed.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    let inode = placed?;
    listener.set_nonblocking(true).map_err(io_error("listen on", path))?;
    let access = Access { owner: nix::unistd::geteuid().as_raw(), group: gid };
    Ok(Bound { listener, access, path: path.to_owned(), inode, _lock: lock })
}

/// Gives the socket its rights and its name; its inode.
fn place(temporary: &Path, path: &Path, gid: Option<u32>, group: &str) -> Result<u64, BindError> {
    fs::set_permissions(temporary, Permissions::from_mode(0o600))
        .map_err(io_error("set the rights of", path))?;
    if gid.is_some() {
        std::os::unix::fs::chown(temporary, None, gid).map_err(|source| BindError::Group {
            path: path.to_owned(),
            group: group.to_owned(),
            source,
        })?;
        let mode = Permissions::from_mode(0o660);
        fs::set_permissions(temporary, mode).map_err(io_error("set the rights of", path))?;
    }
    fs::rename(temporary, path).map_err(io_error("create", path))?;
    Ok(fs::symlink_metadata(path).map_err(io_error("look at", path))?.ino())
}

/// Takes the lock that only one daemon for this socket can have.
fn lock(path: &Path, file: &Path) -> Result<File, BindError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    options.custom_flags(nix::libc::O_NOFOLLOW);
    let lock = options.open(file).map_err(io_error("open", file))?;
    if lock.metadata().map_err(io_error("look at", file))?.uid() != nix::unistd::geteuid().as_raw() {
        // Its owner could hold it for ever.
        return Err(BindError::InTheWay(file.to_owned()));
    }
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(BindError::Taken(path.to_owned())),
        Err(TryLockError::Error(source)) => Err(io_error("lock", file)(source)),
    }
}

/// Only what is not there, or is a socket that nobody listens on, may be replaced.
fn refuse_living(path: &Path) -> Result<(), BindError> {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !metadata.file_type().is_socket() {
        return Err(BindError::InTheWay(path.to_owned()));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(_) => Err(BindError::Taken(path.to_owned())),
        Err(source) => Err(io_error("look who is on", path)(source)),
    }
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BindError {
    let path = path.to_owned();
    move |source| BindError::Io { what, path, source }
}

impl Drop for Bound {
    fn drop(&mut self) {
        // Not if something else has been put there since.
        if fs::symlink_metadata(&self.path).is_ok_and(|metadata| metadata.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}
