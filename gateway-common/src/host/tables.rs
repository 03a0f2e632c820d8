//! The tables of buckets and connections as vectors of atomic words.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{
    abi::{PAIR_SET_WORDS, SERVICE_REGIONS, SERVICES, SET_WORDS, SLOT_WORDS, WAYS},
    tables::{Table, TableSizes},
    words::{self, Slots},
};

/// How many sets the tables have; powers of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sets {
    /// Of [`Table::Sources`].
    pub sources: u32,
    /// Of each region of [`Table::ServiceSources`].
    pub service_sources: u32,
    /// Of [`Table::Neighbours`].
    pub neighbours: u32,
    /// Of [`Table::Conntrack`].
    pub connections: u32,
    /// Of [`Table::PartialHellos`].
    pub hellos: u32,
    /// Of [`Table::QuicFlows`].
    pub tuples: u32,
    /// Of [`Table::KnownClients`].
    pub clients: u32,
    /// Of the drop cache of each CPU.
    pub drops: u32,
}

impl Sets {
    /// Of a table; what the packet path asks for.
    #[must_use]
    pub const fn of(&self, table: Table) -> u32 {
        match table {
            Table::Sources => self.sources,
            Table::ServiceSources => self.service_sources,
            Table::Neighbours => self.neighbours,
            Table::Totals => SERVICES as u32,
            Table::Conntrack => self.connections,
            Table::PartialHellos => self.hellos,
            Table::QuicFlows => self.tuples,
            Table::KnownClients => self.clients,
        }
    }

    /// Elements of a table's map: all regions together.
    #[must_use]
    pub const fn entries(&self, table: Table) -> u32 {
        match table {
            Table::ServiceSources => self.service_sources * SERVICE_REGIONS as u32,
            _ => self.of(table),
        }
    }
}

impl From<TableSizes> for Sets {
    /// As many as the kernel's tables of these sizes have.
    fn from(sizes: TableSizes) -> Self {
        Self {
            sources: sizes.sets(Table::Sources),
            service_sources: sizes.sets(Table::ServiceSources),
            neighbours: sizes.sets(Table::Neighbours),
            connections: sizes.sets(Table::Conntrack),
            hellos: sizes.sets(Table::PartialHellos),
            tuples: sizes.sets(Table::QuicFlows),
            clients: sizes.sets(Table::KnownClients),
            drops: sizes.drop_sets(1),
        }
    }
}

impl Default for Sets {
    /// Room for a test: 1,024 sources.
    fn default() -> Self {
        Self {
            sources: 256,
            service_sources: 16,
            neighbours: 64,
            connections: 64,
            hellos: 16,
            tuples: 16,
            clients: 16,
            drops: 256,
        }
    }
}

/// All tables.
#[derive(Debug)]
pub struct Tables {
    /// By [`Table`].
    words: [Vec<AtomicU64>; Table::COUNT],
}

/// Words of one set of a table.
const fn set_words(table: Table) -> usize {
    if table.is_of_pairs() { PAIR_SET_WORDS } else { SET_WORDS }
}

impl Tables {
    /// Empty tables.
    #[must_use]
    pub fn new(sets: Sets) -> Self {
        let empty = |table| {
            let words = sets.entries(table) as usize * set_words(table);
            std::iter::repeat_with(AtomicU64::default).take(words).collect()
        };
        Self { words: Table::ALL.map(empty) }
    }

    /// The words of a set; nothing beyond the last.
    #[must_use]
    pub fn set(&self, table: Table, index: u32) -> Option<Words<'_>> {
        let words = set_words(table);
        let start = (index as usize).checked_mul(words)?;
        self.words[table as usize].get(start..start + words).map(Words)
    }

    /// All words of a table, set by set.
    #[must_use]
    pub fn words(&self, table: Table) -> Vec<u64> {
        self.words[table as usize].iter().map(|word| word.load(Ordering::SeqCst)).collect()
    }

    /// Every slot in use or used before of a table of buckets, with its key.
    pub fn slots(&self, table: Table) -> impl Iterator<Item = Slot<'_>> {
        let words = if table.is_of_pairs() { &[] } else { &self.words[table as usize][..] };
        words.chunks_exact(SLOT_WORDS).map(Words).filter(|slot| words::Words::load(*slot, 0) != 0)
    }
}

/// The words of one slot of a set.
pub type Slot<'a> = Words<'a>;

/// Words of a set or of a slot.
#[derive(Clone, Copy, Debug)]
pub struct Words<'a>(&'a [AtomicU64]);

impl<'a> Words<'a> {
    pub(super) const fn new(words: &'a [AtomicU64]) -> Self {
        Self(words)
    }
}

impl<'a> Slots for Words<'a> {
    type Slot = Slot<'a>;

    fn slot(self, way: usize) -> Self::Slot {
        debug_assert!(way < WAYS);
        Words(&self.0[way * SLOT_WORDS..(way + 1) * SLOT_WORDS])
    }
}

impl words::Words for Words<'_> {
    fn load(self, word: usize) -> u64 {
        self.0.get(word).map_or(0, |word| word.load(Ordering::SeqCst))
    }

    fn store(self, word: usize, value: u64) {
        if let Some(word) = self.0.get(word) {
            word.store(value, Ordering::SeqCst);
        }
    }

    fn replace(self, word: usize, current: u64, value: u64) -> bool {
        self.0.get(word).is_some_and(|word| {
            word.compare_exchange(current, value, Ordering::SeqCst, Ordering::SeqCst).is_ok()
        })
    }

    fn add(self, word: usize, value: u64) {
        if let Some(word) = self.0.get(word) {
            word.fetch_add(value, Ordering::Relaxed);
        }
    }
}
