//! The tables of buckets and pairs as vectors of atomic words.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

use crate::{
    abi::{SLOT_WORDS, WAYS},
    tables::{Sets, Table},
    words::{self, Slots},
};

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

/// All tables but that of bans. Each is made when it is first asked for.
#[derive(Debug)]
pub struct Tables {
    sets: Sets,
    /// By [`Table`].
    words: [OnceLock<Box<[AtomicU64]>>; Table::COUNT],
}

impl Tables {
    /// Empty tables.
    #[must_use]
    pub fn new(sets: Sets) -> Self {
        Self { sets, words: [const { OnceLock::new() }; Table::COUNT] }
    }

    fn of(&self, table: Table) -> &[AtomicU64] {
        self.words[table as usize].get_or_init(|| {
            let words = self.sets.all_of(table) as usize * table.set_words();
            std::iter::repeat_with(AtomicU64::default).take(words).collect()
        })
    }

    /// The words of a set; nothing beyond the last.
    #[must_use]
    pub fn set(&self, table: Table, index: u32) -> Option<Words<'_>> {
        let start = (index as usize).checked_mul(table.set_words())?;
        self.of(table).get(start..start + table.set_words()).map(Words)
    }

    /// All words of a table, set by set.
    #[must_use]
    pub fn words(&self, table: Table) -> Vec<u64> {
        self.of(table).iter().map(|word| word.load(Ordering::SeqCst)).collect()
    }

    /// The words of a table, if a packet has asked for it; else none.
    pub(super) fn asked_for(&self, table: Table) -> &[AtomicU64] {
        self.words[table as usize].get().map_or(&[], |words| words)
    }

    /// Every slot in use or used before of a table of buckets, with its key.
    pub fn slots(&self, table: Table) -> impl Iterator<Item = Slot<'_>> {
        let words = if table.is_of_pairs() { &[] } else { self.asked_for(table) };
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
