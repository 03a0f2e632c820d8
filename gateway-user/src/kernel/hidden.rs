//! Pins that cannot be seen: somebody has mounted another bpffs above them. What they name is still in the kernel, and is found by the
//! program on the interface.

use std::{collections::HashMap, os::fd::AsFd as _, path::Path};

use aya::{maps::MapData, programs::loaded_programs};
use gateway_common::sizes::TableSizes;

use super::{Program, constants, links, pins::Pins};

/// The kernel keeps so many bytes of a map's name (`BPF_OBJ_NAME_LEN` of linux/bpf.h, less the zero at the end).
const NAME: usize = 15;

impl Pins {
    /// Pins the gateway's program on an interface, and its maps, again, if it is there and its pins are not. Whether that was so.
    ///
    /// Ours is a program of one of our names with a map of each of our names: any other stays what it is.
    pub fn find_again(&self, interface: &str, index: u32, program: u32) -> bool {
        let is_ours = |name: &str| Program::ALL.iter().any(|build| build.name() == name);
        let found = loaded_programs().flatten().find(|info| info.id() == program);
        let Some(found) = found.filter(|info| info.name_as_str().is_some_and(is_ours)) else { return false };
        let Ok(Some(ids)) = found.map_ids() else { return false };
        let maps: HashMap<Vec<u8>, MapData> = ids
            .into_iter()
            .filter_map(|id| MapData::from_id(id).ok())
            .filter_map(|map| Some((map.info().ok()?.name().to_vec(), map)))
            .collect();
        let wanted = constants::pinned(&TableSizes::default());
        let names =
            wanted.iter().map(|(name, _)| (*name, maps.get(&name.as_bytes()[..name.len().min(NAME)])));
        let Some(all) = names.map(|(name, map)| Some((name, map?))).collect::<Option<Vec<_>>>() else {
            return false;
        };
        let Some(link) = links::find(program, index) else { return false };
        if let Err(error) = links::pin(link.as_fd(), &self.link(interface)) {
            log::debug!("{interface}: its link cannot be pinned again: {error}");
            return false;
        }
        for (name, map) in all {
            let place: &Path = &self.map(name);
            // Where one is missing, the start makes all anew.
            if let Err(error) = map.pin(place) {
                log::debug!("{} cannot be pinned again: {error}", place.display());
            }
        }
        true
    }
}
