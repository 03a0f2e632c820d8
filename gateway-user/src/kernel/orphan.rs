//! The gateway's program on an interface, seen from outside: its daemon may be gone.

use std::{fs, io, mem::offset_of, os::fd::AsFd as _, path::Path, time::UNIX_EPOCH};

use aya::{maps::MapData, programs::loaded_programs};
use gateway_common::abi::{Active, Settings};

use super::{
    bpf,
    hidden::is_ours,
    pins::{Pins, ROOT},
};
use crate::{model::Mode, policy};

/// What can be told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// The mode of the policy in force.
    pub mode: Option<Mode>,
    /// When the program was loaded, in Unix seconds.
    pub since: Option<u64>,
}

/// The gateway's program of a number; nothing where it is somebody else's, or may not be looked at.
pub fn of_interface(program: u32) -> Option<Orphan> {
    if !is_ours(program) {
        return None;
    }
    let info = loaded_programs().flatten().find(|info| info.id() == program)?;
    let maps: Vec<MapData> =
        info.map_ids().ok()??.into_iter().filter_map(|id| MapData::from_id(id).ok()).collect();
    let since = info.loaded_at().and_then(|since| since.duration_since(UNIX_EPOCH).ok());
    Some(Orphan { mode: mode_in(&maps), since: since.map(|since| since.as_secs()) })
}

/// The mode that the program's maps say.
fn mode_in(maps: &[MapData]) -> Option<Mode> {
    let value = |name: &str| {
        let map = maps.iter().find(|map| map.info().is_ok_and(|info| info.name() == name.as_bytes()))?;
        bpf::first_value(map).ok()
    };
    let active = Active(u64::from_ne_bytes(*value(".bss.active")?.first_chunk()?));
    let settings = value(".bss.settings")?;
    let at = active.slot() as usize * size_of::<Settings>() + offset_of!(Settings, mode);
    policy::mode_of(u32::from_ne_bytes(*settings.get(at..)?.first_chunk()?))
}

/// Takes a program off an interface, and its pins away.
///
/// # Errors
/// Where this process may not, or somebody has taken it off meanwhile.
pub fn take_off(program: u32, index: u32, interface: &str) -> io::Result<()> {
    let link = bpf::find_link(program, index)
        .ok_or_else(|| io::Error::new(io::ErrorKind::PermissionDenied, "its link cannot be opened"))?;
    bpf::detach_link(link.as_fd())?;
    // Where it was pinned elsewhere there is nothing here.
    let _ = fs::remove_file(Pins::link_in(Path::new(ROOT), interface));
    Ok(())
}
