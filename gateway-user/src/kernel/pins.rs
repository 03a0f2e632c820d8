//! Where maps and links are pinned, so that protection goes on without the daemon and a new daemon takes over without a
//! gap.
//!
//! ```text
//! /sys/fs/bpf/gateway/v<ABI version>/maps/<map>  maps of that version
//! /sys/fs/bpf/gateway/links/<interface>          the attachment, whatever its program's version
//! ```
//!
//! aya uses a pinned map again without looking at it, so it is compared here first. A user who may write there can take
//! the program off once the daemon is gone: so the directory belongs to the daemon's own user, and to nobody else.

use std::{
    fs::{self, DirBuilder, Permissions},
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use aya::maps::MapInfo;
use gateway_common::abi::ABI_VERSION;

use super::KernelError;

/// The default place.
pub const ROOT: &str = "/sys/fs/bpf/gateway";

/// A pin directory.
#[derive(Clone, Debug)]
pub struct Pins {
    root: PathBuf,
}

/// What a map must be to be used again.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) key: u32,
    pub(super) value: u32,
    pub(super) entries: u32,
}

impl Pins {
    /// Makes the directories. Gives a warning beside them where somebody else had made the first.
    ///
    /// # Errors
    /// When bpffs is not mounted, or may not be written.
    pub fn open(root: &Path) -> Result<(Self, Option<String>), KernelError> {
        let pins = Self { root: root.to_owned() };
        let stranger = own(root).map_err(|cause| directory_error(root, cause))?;
        for directory in [pins.maps(), pins.links()] {
            fs::create_dir_all(&directory).map_err(|cause| directory_error(&directory, cause))?;
        }
        let warning = stranger.map(|user| {
            format!(
                "{} was user {user}'s, who could have taken the program off: it was made again",
                root.display()
            )
        });
        Ok((pins, warning))
    }

    /// Where a map is pinned.
    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.maps().join(name)
    }

    /// Where an interface's link is pinned.
    pub(super) fn link(&self, interface: &str) -> PathBuf {
        self.links().join(to_name(interface))
    }

    /// The same of a directory that is looked at alone.
    pub fn link_in(root: &Path, interface: &str) -> PathBuf {
        Self { root: root.to_owned() }.link(interface)
    }

    /// The interfaces that have a link.
    pub fn interfaces(&self) -> Vec<String> {
        let entries = fs::read_dir(self.links()).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str().map(of_name)).collect()
    }

    /// Forgets all maps; programs that run keep theirs.
    ///
    /// # Errors
    /// When a pin cannot be removed.
    pub fn forget_maps(&self) -> Result<(), KernelError> {
        let maps = self.maps();
        for entry in fs::read_dir(&maps).into_iter().flatten().flatten() {
            fs::remove_file(entry.path()).map_err(|cause| directory_error(&maps, cause))?;
        }
        Ok(())
    }

    /// Whether a map is pinned and of this shape.
    pub(super) fn holds(&self, name: &str, shape: &Shape) -> bool {
        MapInfo::from_pin(self.map(name)).is_ok_and(|info| {
            let found = Shape { key: info.key_size(), value: info.value_size(), entries: info.max_entries() };
            found == *shape
        })
    }

    fn maps(&self) -> PathBuf {
        self.root.join(format!("v{ABI_VERSION}")).join("maps")
    }

    fn links(&self) -> PathBuf {
        self.root.join("links")
    }
}

/// How often a directory is made again that somebody else makes meanwhile.
const TRIES: u32 = 8;
/// For its owner alone.
const OWN: u32 = 0o700;

/// Makes a directory of this user's alone. Gives the user who had one of that name, if that was another.
fn own(directory: &Path) -> io::Result<Option<u32>> {
    let mut stranger = None;
    for _ in 0..TRIES {
        match DirBuilder::new().mode(OWN).create(directory) {
            Ok(()) => return Ok(stranger),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {
                fs::create_dir_all(directory.parent().ok_or(error)?)?;
                continue;
            }
            Err(error) => return Err(error),
        }
        let found = fs::symlink_metadata(directory)?;
        if found.is_dir() && found.uid() == nix::unistd::geteuid().as_raw() {
            if found.mode() & 0o777 != OWN {
                fs::set_permissions(directory, Permissions::from_mode(OWN))?;
            }
            return Ok(stranger);
        }
        stranger = Some(found.uid());
        if found.is_dir() { fs::remove_dir_all(directory)? } else { fs::remove_file(directory)? }
    }
    Err(io::Error::other("somebody else makes it again and again"))
}

/// An interface's name as one of bpffs, which takes no dot (`bpf_lookup` in kernel/bpf/inode.c): of a dot and of the sign for it, their codes.
fn to_name(interface: &str) -> String {
    interface.replace('%', "%25").replace('.', "%2e")
}

/// The interface of such a name.
fn of_name(name: &str) -> String {
    name.replace("%2e", ".").replace("%25", "%")
}

fn directory_error(path: &Path, cause: io::Error) -> KernelError {
    KernelError::PinDirectory { path: path.display().to_string(), cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_interfaces_come_back() {
        for name in ["eth0", "eth0.100", "a%2eb", "%", "%%25.", "br-lan:1"] {
            let pin = to_name(name);
            assert!(!pin.contains('.'), "{pin}");
            assert_eq!(of_name(&pin), name);
        }
    }

    #[test]
    fn a_directory_is_its_users_alone() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("pins");
        assert_eq!(own(&directory).unwrap(), None);
        fs::set_permissions(&directory, Permissions::from_mode(0o777)).unwrap();
        fs::write(directory.join("kept"), "").unwrap();
        assert_eq!(own(&directory).unwrap(), None);
        let mode = fs::symlink_metadata(&directory).unwrap().mode() & 0o777;
        assert!(mode == OWN && directory.join("kept").exists(), "{mode:o}");
    }

    #[test]
    fn what_leads_elsewhere_is_made_again() {
        let place = tempfile::tempdir().unwrap();
        let (directory, elsewhere) = (place.path().join("pins"), place.path().join("elsewhere"));
        fs::create_dir(&elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &directory).unwrap();
        assert!(own(&directory).unwrap().is_some());
        assert!(fs::symlink_metadata(&directory).unwrap().is_dir() && elsewhere.exists());
    }
}
