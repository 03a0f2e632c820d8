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
    abi::{HANDSHAKE_SLOT, PAIR_WAYS, PAIR_WORDS, SET_WORDS, SLOT_COUNTS, SLOT_KEY, SLOT_WORDS, WAYS},
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

/// The tables whose entries user space reads: those whose size is told, and strikes. By [`Table`].
pub struct Tables {
    sizes: TableSizes,
    mappings: [Option<Mapping>; Table::COUNT],
}

impl Tables {
    pub(super) fn map(ebpf: &Ebpf, sizes: &TableSizes) -> Result<Self, KernelError> {
        let mut mappings = [const { None }; Table::COUNT];
        for table in Table::ALL {
            if table.constant().is_some() || table == Table::Strikes {
                mappings[table as usize] = Some(Mapping::new(ebpf, table, sizes)?);
            }
        }
        Ok(Self { sizes: *sizes, mappings })
    }

    fn of(&self, table: Table) -> Option<&Mapping> {
        self.mappings[table as usize].as_ref()
    }

    /// The occupied slots of a bucket table, or of first messages.
    pub fn slots(&self, table: Table) -> impl Iterator<Item = Slot> {
        self.of(table).into_iter().flat_map(|mapping| {
            let places = mapping.parts::<SLOT_WORDS>().iter().enumerate();
            let occupied = places.filter(|(_, slot)| read(&slot[SLOT_KEY]) != 0);
            occupied.map(|(place, slot)| mapping.slot(place, slot))
        })
    }

    /// What all slots of a bucket table have dropped, in the order of their places.
    pub fn drops(&self, table: Table) -> impl Iterator<Item = u32> {
        self.entries::<SLOT_WORDS>(table).iter().map(|slot| read(&slot[SLOT_COUNTS]) as u32)
    }

    /// The slot at a place; none beyond the last.
    pub fn slot(&self, table: Table, place: usize) -> Option<Slot> {
        let mapping = self.of(table)?;
        Some(mapping.slot(place, mapping.parts().get(place)?))
    }

    /// The entries of a table of pairs.
    pub(super) fn pairs(&self, table: Table) -> &[[AtomicU64; PAIR_WORDS]] {
        self.entries(table)
    }

    /// All entries of a table, of so many words each.
    fn entries<const N: usize>(&self, table: Table) -> &[[AtomicU64; N]] {
        self.of(table).map_or(&[], Mapping::parts)
    }

    /// Entries of a table of pairs that are taken.
    pub fn taken(&self, table: Table) -> usize {
        self.pairs(table).iter().filter(|[key, _]| read(key) != 0).count()
    }

    /// Entries that a table has room for.
    pub const fn capacity(&self, table: Table) -> usize {
        self.sizes.all_sets(table) as usize * if table.is_of_pairs() { PAIR_WAYS } else { WAYS }
    }
}

/// One map in this process's memory.
struct Mapping {
    memory: MmapRaw,
    words: usize,
    regions: usize,
}

impl Mapping {
    fn new(ebpf: &Ebpf, table: Table, sizes: &TableSizes) -> Result<Self, KernelError> {
        let (words, regions) = (sizes.all_sets(table) as usize * table.set_words(), table.regions() as usize);
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
