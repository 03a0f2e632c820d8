//! The tables of buckets and connections, read in place.
#![expect(unsafe_code, reason = "words that the kernel changes are read through a shared mapping")]

use std::{
    os::fd::{AsFd as _, AsRawFd as _},
    ptr::NonNull,
    slice,
    sync::atomic::{AtomicU64, Ordering},
};

use aya::{Ebpf, maps::Map};
use gateway_common::{
    abi::{
        HANDSHAKE_SLOT, PAIR_SET_WORDS, PAIR_WORDS, SERVICE_REGIONS, SERVICES, SET_WORDS, SLOT_COUNTS,
        SLOT_KEY, SLOT_WORDS,
    },
    tables::{Table, TableSizes},
};
use memmap2::{MmapOptions, MmapRaw};

use super::{Kernel, KernelError};

/// What the program keeps of how connections to a service begin: the words `HANDSHAKE_…` of [`gateway_common::abi`].
pub type Handshakes = [u64; SLOT_WORDS];

impl Kernel {
    /// What it keeps of them for the service of a row.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn handshakes(&mut self, row: u8) -> Result<Handshakes, KernelError> {
        let totals: [u64; SET_WORDS] = self.array(Table::Totals.name())?.get(&row.into(), 0)?;
        Ok(totals.as_chunks().0[HANDSHAKE_SLOT])
    }
}

/// One slot of a bucket table, as it was when it was read.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// Region of the table.
    pub region: u32,
    /// The words, in the layout of `gateway_common::abi`.
    pub words: [u64; SLOT_WORDS],
}

/// All tables.
pub struct Tables {
    sources: Mapping,
    service_sources: Mapping,
    neighbours: Mapping,
    connections: Mapping,
    hellos: Mapping,
    tuples: Mapping,
    clients: Mapping,
}

impl Tables {
    pub(super) fn map(ebpf: &Ebpf, sizes: &TableSizes) -> Result<Self, KernelError> {
        let map =
            |table: Table, regions: usize| Mapping::new(ebpf, table, sizes.sets(table) as usize, regions);
        Ok(Self {
            sources: map(Table::Sources, 1)?,
            service_sources: map(Table::ServiceSources, SERVICE_REGIONS)?,
            neighbours: map(Table::Neighbours, 1)?,
            connections: map(Table::Conntrack, 1)?,
            hellos: map(Table::PartialHellos, 1)?,
            tuples: map(Table::QuicFlows, 1)?,
            clients: map(Table::KnownClients, 1)?,
        })
    }

    /// The occupied slots of a bucket table, or of first messages.
    pub fn slots(&self, table: Table) -> impl Iterator<Item = Slot> {
        let mapping = self.buckets(table);
        let places = mapping.parts::<SLOT_WORDS>().iter().enumerate();
        places.filter(|(_, slot)| read(&slot[SLOT_KEY]) != 0).map(|(place, slot)| mapping.slot(place, slot))
    }

    /// What all slots of a bucket table have dropped, in the order of their places.
    pub fn drops(&self, table: Table) -> impl Iterator<Item = u32> {
        self.buckets(table).parts::<SLOT_WORDS>().iter().map(|slot| read(&slot[SLOT_COUNTS]) as u32)
    }

    /// The slot at a place.
    ///
    /// # Panics
    /// Where there is none.
    pub fn slot(&self, table: Table, place: usize) -> Slot {
        let mapping = self.buckets(table);
        mapping.slot(place, &mapping.parts::<SLOT_WORDS>()[place])
    }

    const fn buckets(&self, table: Table) -> &Mapping {
        match table {
            Table::ServiceSources => &self.service_sources,
            Table::Neighbours => &self.neighbours,
            Table::PartialHellos => &self.hellos,
            _ => &self.sources,
        }
    }

    /// Entries of a table of links that are taken.
    pub fn links(&self, table: Table) -> usize {
        let mapping = match table {
            Table::QuicFlows => &self.tuples,
            Table::KnownClients => &self.clients,
            _ => &self.connections,
        };
        mapping.parts::<PAIR_WORDS>().iter().filter(|link| read(&link[0]) != 0).count()
    }

    /// Slots of a table.
    pub const fn capacity(&self, table: Table) -> usize {
        match table {
            Table::Sources => self.sources.words / SLOT_WORDS,
            Table::ServiceSources => self.service_sources.words / SLOT_WORDS,
            Table::Neighbours => self.neighbours.words / SLOT_WORDS,
            Table::Totals => SERVICES,
            Table::Conntrack => self.connections.words / PAIR_WORDS,
            Table::PartialHellos => self.hellos.words / SLOT_WORDS,
            Table::QuicFlows => self.tuples.words / PAIR_WORDS,
            Table::KnownClients => self.clients.words / PAIR_WORDS,
        }
    }
}

/// One map in this process's memory.
struct Mapping {
    memory: MmapRaw,
    words: usize,
    regions: usize,
}

impl Mapping {
    fn new(ebpf: &Ebpf, table: Table, sets: usize, regions: usize) -> Result<Self, KernelError> {
        let set_words = if table.is_of_pairs() { PAIR_SET_WORDS } else { SET_WORDS };
        let words = sets * regions * set_words;
        let Some(Map::Array(map)) = ebpf.map(table.name()) else {
            return Err(KernelError::NoMap(table.name()));
        };
        let fd = map.fd().as_fd().as_raw_fd();
        let memory = MmapOptions::new()
            .len(words * size_of::<u64>())
            .map_raw_read_only(fd)
            .map_err(|cause| KernelError::Mmap { table: table.name(), cause })?;
        Ok(Self { memory, words, regions })
    }

    fn slot(&self, place: usize, words: &[AtomicU64; SLOT_WORDS]) -> Slot {
        // Regions are powers of two: a division for each slot would take longer than to read it.
        let region = place >> (self.words / SLOT_WORDS / self.regions).trailing_zeros();
        Slot { region: region as u32, words: words.each_ref().map(read) }
    }

    /// All words, in parts of this length.
    fn parts<const N: usize>(&self) -> &[[AtomicU64; N]] {
        let Some(start) = NonNull::new(self.memory.as_mut_ptr().cast::<AtomicU64>()) else { return &[] };
        // SAFETY: the mapping is page-aligned, has `words` words and lives as long as self; the kernel changes whole words,
        // atomically, and nobody writes through this mapping.
        let words = unsafe { slice::from_raw_parts(start.as_ptr(), self.words) };
        words.as_chunks().0
    }
}

fn read(word: &AtomicU64) -> u64 {
    word.load(Ordering::Relaxed)
}
