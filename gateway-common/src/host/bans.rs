//! The table of banned sources in memory, by the code that writes the kernel's.

use std::sync::atomic::AtomicU64;

use crate::{
    abi::{Active, BAN_FILTER_WORDS, BAN_SETS, PAIR_SET_WORDS},
    hash::Key,
    limit::rate::Instant,
    packet::Family,
    state::{ban_table::BanTable, bans::State},
};

/// The table, which has its 34 MiB only once there is a ban. Until then no packet looks for one.
#[derive(Debug)]
pub(super) struct Bans {
    key: Key,
    table: Option<BanTable<Vec<AtomicU64>>>,
}

impl Bans {
    pub(super) fn new(key: Key, bans: &[(u64, Instant)]) -> Self {
        let mut table = Self { key, table: None };
        for &(source, until) in bans {
            assert!(table.set(source, until), "no room for a ban of {source:#x}");
        }
        table
    }

    /// Bans a source; whether there was room.
    pub(super) fn set(&mut self, source: u64, until: Instant) -> bool {
        let empty = || {
            let sets = memory(BAN_SETS as usize * PAIR_SET_WORDS);
            BanTable::new(sets, memory(BAN_FILTER_WORDS as usize), self.key)
        };
        self.table.get_or_insert_with(empty).set(source, until)
    }

    /// The bits of the active word that say which families have bans.
    pub(super) fn flags(&self) -> u64 {
        let has = |family| self.table.as_ref().is_some_and(|table| table.has(family));
        let flag = |family, flag| if has(family) { flag } else { 0 };
        flag(Family::V4, Active::BANS_V4) | flag(Family::V6, Active::BANS_V6)
    }

    pub(super) fn set_words(&self, index: u32) -> Option<&[AtomicU64]> {
        self.table.as_ref()?.set_words(index)
    }

    pub(super) fn filter_at(&self, index: u32) -> u64 {
        self.table.as_ref().map_or(0, |table| table.filter_at(index))
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (u64, State)> {
        self.table.iter().flat_map(BanTable::entries)
    }
}

fn memory(words: usize) -> Vec<AtomicU64> {
    std::iter::repeat_with(AtomicU64::default).take(words).collect()
}
