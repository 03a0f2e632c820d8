//! Where maps and links are pinned, so that protection goes on without the daemon and a new daemon takes over without a gap.
//!
//! ```text
//! /sys/fs/bpf/gateway/v2/maps/<map>      maps of ABI version 2
//! /sys/fs/bpf/gateway/links/<interface>  the attachment, whatever its program's version
//! ```
//!
//! aya uses a pinned map again without looking at it, so it is compared here first.

use std::{
    fs, io,
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
    /// Makes the directories.
    ///
    /// # Errors
    /// When bpffs is not mounted, or may not be written.
    pub fn open(root: &Path) -> Result<Self, KernelError> {
        let pins = Self { root: root.to_owned() };
        for directory in [pins.maps(), pins.links()] {
            fs::create_dir_all(&directory).map_err(|cause| directory_error(&directory, cause))?;
        }
        Ok(pins)
    }

    /// Where a map is pinned.
    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.maps().join(name)
    }

    /// Where an interface's link is pinned.
    pub(super) fn link(&self, interface: &str) -> PathBuf {
        self.links().join(interface)
    }

    /// The interfaces that have a link.
    pub fn interfaces(&self) -> Vec<String> {
        let entries = fs::read_dir(self.links()).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
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

fn directory_error(path: &Path, cause: io::Error) -> KernelError {
    KernelError::PinDirectory { path: path.display().to_string(), cause }
}
