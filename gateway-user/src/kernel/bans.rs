//! The table of banned sources, written in place, and what strikes sources have.
#![expect(
    unsafe_code,
    reason = "words that the kernel reads and counts in are changed through a shared mapping"
)]

use std::{
    os::fd::{AsFd as _, AsRawFd as _},
    ptr::NonNull,
    slice,
    sync::atomic::AtomicU64,
};

use aya::{Ebpf, maps::Map};
use gateway_common::{
    abi::{Active, BAN_FILTER_WORDS, BAN_SETS, PAIR_SET_WORDS},
    hash::Key,
    limit::rate::Instant,
    packet::Family,
    state::ban_table::{BanTable, family_of, strikes_of},
    tables::Table,
};
use memmap2::{MmapOptions, MmapRaw};

use super::{Kernel, KernelError};

/// A map of words in this process's memory.
pub(super) struct Words {
    memory: MmapRaw,
    words: usize,
}

impl Words {
    pub(super) fn of(ebpf: &Ebpf, name: &'static str, words: usize) -> Result<Self, KernelError> {
        let Some(Map::Array(map)) = ebpf.map(name) else { return Err(KernelError::NoMap(name)) };
        let fd = map.fd().as_fd().as_raw_fd();
        let memory = MmapOptions::new()
            .len(words * size_of::<u64>())
            .map_raw(fd)
            .map_err(|cause| KernelError::Mmap { table: name, cause })?;
        Ok(Self { memory, words })
    }
}

impl AsRef<[AtomicU64]> for Words {
    fn as_ref(&self) -> &[AtomicU64] {
        let Some(start) = NonNull::new(self.memory.as_mut_ptr().cast::<AtomicU64>()) else { return &[] };
        // SAFETY: the mapping is page-aligned, has `words` words and lives as long as self; whoever shares it, the kernel's
        // program and this process, changes whole words, atomically.
        unsafe { slice::from_raw_parts(start.as_ptr(), self.words) }
    }
}

/// The kernel's table of bans.
pub(super) type Bans = BanTable<Words>;

/// Maps the table of bans. If it is `resumed`, bans that an earlier daemon left hold on.
pub(super) fn map(ebpf: &Ebpf, key: Key, resumed: bool) -> Result<Bans, KernelError> {
    let sets = Words::of(ebpf, Table::Bans.name(), BAN_SETS as usize * PAIR_SET_WORDS)?;
    let filter = Words::of(ebpf, "ban_filter", BAN_FILTER_WORDS as usize)?;
    Ok(if resumed { BanTable::resume(sets, filter, key) } else { BanTable::new(sets, filter, key) })
}

impl Kernel {
    /// Bans a source until then, or gives its ban another end. A source is a key of `gateway_common::state::bans`.
    ///
    /// # Errors
    /// When there is no room for it, or the kernel cannot be told that there are bans.
    pub fn ban(&mut self, source: u64, until: Instant) -> Result<(), KernelError> {
        let was_banned = self.bans.drops(source).is_some();
        if !self.bans.set(source, until) {
            return Err(KernelError::BansFull);
        }
        self.announce(family_of(source), was_banned)
    }

    /// Takes a source's ban away, if it has one.
    ///
    /// # Errors
    /// When the kernel cannot be told that there are no more bans.
    pub fn unban(&mut self, source: u64) -> Result<(), KernelError> {
        self.bans.remove(source);
        self.announce(family_of(source), true)
    }

    /// Packets that a source's ban has dropped.
    pub fn ban_drops(&self, source: u64) -> Option<u64> {
        self.bans.drops(source)
    }

    /// Packets that each ban has dropped, by its source.
    pub fn dropped_by_bans(&self) -> impl Iterator<Item = (u64, u64)> {
        self.bans.all_drops()
    }

    /// The sources in the table.
    pub fn banned(&self) -> Vec<u64> {
        self.bans.sources().collect()
    }

    /// How many sources are in the table.
    pub const fn bans(&self) -> usize {
        self.bans.len()
    }

    /// Sources with strikes, and how many they have had.
    pub fn strikes(&self) -> impl Iterator<Item = (u64, u32)> {
        self.tables().pairs(Table::Strikes).iter().filter_map(strikes_of)
    }

    /// Says whether there are bans of a family: without, no packet looks for one. `ends`: a ban ends earlier than drop caches may know.
    fn announce(&mut self, family: Family, ends: bool) -> Result<(), KernelError> {
        let flag = match family {
            Family::V4 => Active::BANS_V4,
            Family::V6 => Active::BANS_V6,
        };
        let has = self.bans.has(family);
        if !ends && (self.policy.flags & flag != 0) == has {
            return Ok(());
        }
        self.set_flags(flag, if has { flag } else { 0 })
    }
}
