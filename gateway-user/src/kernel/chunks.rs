//! The IPv4 prefix sets of both places, each a slot for every chunk.
//!
//! A set is made aside, a map for each chunk, and then put into its place by one call, for which the kernel waits for running
//! programs once. A slot that says nothing any more gets the one chunk that says nothing, since to empty a slot is a call of its
//! own. The maps of an old set are let go by the kernel one by one, each no larger than a chunk, once nothing reads them.

use std::{
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd},
    sync::Arc,
};

use aya::{
    Ebpf,
    maps::{Array, ArrayOfMaps, InnerMap, Map, MapData},
};
use gateway_common::{
    abi::Listing,
    prefixes::{CHUNK_WORDS, CHUNKS, Chunk},
};

use super::{KernelError, bpf::update_batch, error::on, value::Value};
use crate::prefixes::flat;

/// The map of one chunk.
type ChunkMap = Array<MapData, Value<Chunk>>;

/// A set that is in no place yet, or not in both.
pub(super) struct ChunkSet(Vec<Option<Arc<ChunkMap>>>);

impl ChunkSet {
    /// Writes prefixes into chunks of their own.
    pub(super) fn of(prefixes: &[([u8; 4], u8, Listing)]) -> Result<Self, KernelError> {
        let chunks = flat::lay(prefixes, |chunk| chunk_map(chunk).map(Arc::new))?;
        if chunks.len() > CHUNKS { Err(KernelError::PrefixesFull) } else { Ok(Self(chunks)) }
    }
}

/// Both places.
pub(super) struct ChunkPlaces {
    slots: Map,
    nothing: ChunkMap,
    /// Slots that have had a chunk.
    taken: Vec<bool>,
}

impl ChunkPlaces {
    pub(super) fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<Self, KernelError> {
        Ok(Self {
            slots: ebpf.take_map(name).ok_or(KernelError::NoMap(name))?,
            nothing: chunk_map(&[0; CHUNK_WORDS])?,
            taken: vec![false; 2 * CHUNKS],
        })
    }

    /// Puts a set into a place, from which it drives out another.
    pub(super) fn set(&mut self, place: u32, set: &ChunkSet) -> Result<(), KernelError> {
        let first = place as usize * CHUNKS;
        let chunks = set.0.iter().map(Option::as_ref).chain(std::iter::repeat(None)).take(CHUNKS);
        let (mut slots, mut maps) = (Vec::new(), Vec::new());
        for (slot, chunk) in (first..).zip(chunks) {
            if chunk.is_some() || self.taken[slot] {
                self.taken[slot] = true;
                slots.push(slot as u32);
                maps.push(chunk.map_or(&self.nothing, |chunk| &**chunk));
            }
        }
        let Map::ArrayOfMaps(places) = &self.slots else { return Err(KernelError::NoMap("PREFIXES_V4")) };
        let descriptors: Vec<u32> = maps.iter().map(|map| descriptor(*map).as_raw_fd() as u32).collect();
        if slots.is_empty() || update_batch(places.fd().as_fd(), &slots, &descriptors).is_ok() {
            return Ok(());
        }
        // A kernel that takes no batches here. Packets notice nothing of it, but it waits for each slot.
        let mut places: ArrayOfMaps<&mut MapData, ChunkMap> = (&mut self.slots).try_into()?;
        slots
            .iter()
            .zip(maps)
            .try_for_each(|(&slot, map)| places.set(slot, map, 0).map_err(on("PREFIXES_V4")))
    }
}

/// The descriptor of a map: aya tells it of maps that can be inner maps.
fn descriptor<M: InnerMap>(map: &M) -> BorrowedFd<'_> {
    map.fd().as_fd()
}

fn chunk_map(chunk: &Chunk) -> Result<ChunkMap, KernelError> {
    let mut map = ChunkMap::create(1, 0).map_err(on("chunk of PREFIXES_V4"))?;
    map.set(0, Value::of(chunk), 0)?;
    Ok(map)
}
