//! Pins that cannot be seen: somebody has mounted another bpffs above them. What they name is still in the kernel, and is found by the
//! program on the interface.

use std::{collections::HashMap, os::fd::AsFd as _};

use aya::{
    maps::{MapData, loaded_maps},
    programs::loaded_programs,
};
use gateway_common::tables::TableSizes;

use super::{Program, bpf, constants, pins::Pins};

/// The kernel keeps so many bytes of a map's name (`BPF_OBJ_NAME_LEN` of linux/bpf.h, less the zero at the end).
const NAME: usize = 15;
/// The map that the program itself does not use, and the one that has the program's constants.
const IDENTITY: &str = "identity";
const CONSTANTS: &[u8] = b".rodata";
/// Bytes of an identity that are among those constants: key and epoch.
const IDENTIFYING: usize = 24;

impl Pins {
    /// Pins the gateway's program on an interface, and its maps, again, if it is there and its pins are not. Whether that was so.
    ///
    /// Ours is a program of one of our names that has a map of each of our names: any other stays what it is.
    pub fn find_again(&self, interface: &str, index: u32, program: u32) -> bool {
        let Some((link, maps)) =
            maps_of(program).and_then(|maps| Some((bpf::find_link(program, index)?, maps)))
        else {
            return false;
        };
        if let Err(error) = bpf::pin_link(link.as_fd(), &self.link(interface)) {
            log::debug!("{interface}: its link cannot be pinned again: {error}");
            return false;
        }
        for (name, map) in maps {
            let place = self.map(name);
            // Where one is missing, the start makes all anew; another interface may have brought it.
            if let Err(error) = map.pin(&place) {
                log::debug!("{} cannot be pinned again: {error}", place.display());
            }
        }
        true
    }
}

/// Whether a program is the gateway's own, as far as this process may look.
pub(crate) fn is_ours(program: u32) -> bool {
    maps_of(program).is_some()
}

/// The maps that are to be pinned of a program, with their names; nothing where it is not ours.
fn maps_of(program: u32) -> Option<Vec<(&'static str, MapData)>> {
    let is_ours = |name: &str| Program::ALL.iter().any(|build| build.name() == name);
    let found = loaded_programs().flatten().find(|info| info.id() == program)?;
    found.name_as_str().filter(|name| is_ours(name))?;
    let with_name = |id| {
        let map = MapData::from_id(id).ok()?;
        Some((map.info().ok()?.name().to_vec(), map))
    };
    let mut maps: HashMap<_, _> = found.map_ids().ok()??.into_iter().filter_map(with_name).collect();
    let constants = bpf::first_value(maps.get(CONSTANTS)?).ok()?;
    let mut named = |(name, _)| {
        let map = match name {
            IDENTITY => identity(&constants)?,
            name => maps.remove(&name.as_bytes()[..name.len().min(NAME)])?,
        };
        Some((name, map))
    };
    constants::pinned(&TableSizes::default()).into_iter().map(&mut named).collect()
}

/// Of all maps of that name the one whose key and epoch the program has among its constants.
fn identity(constants: &[u8]) -> Option<MapData> {
    let all = loaded_maps().flatten().filter(|info| info.name() == IDENTITY.as_bytes());
    all.filter_map(|info| MapData::from_id(info.id()).ok()).find(|map| {
        let Ok(value) = bpf::first_value(map) else { return false };
        let words = value.get(..IDENTIFYING).unwrap_or_default().chunks(size_of::<u64>());
        let has = |word: &[u8]| constants.windows(word.len()).any(|window| window == word);
        words.len() != 0 && words.into_iter().all(has)
    })
}
