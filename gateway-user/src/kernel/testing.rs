//! What only tests ask of a kernel.

use aya::maps::Array;
use gateway_common::{
    abi::{DROP_REST_WORDS, DROP_SET_WORDS, PAIR_SET_WORDS, SET_WORDS},
    limit::rate::Instant,
    tables::Table,
};

use super::{Kernel, KernelError};

impl Kernel {
    /// Empties all tables of a kernel loaded for testing: buckets, totals and connections. Counters stay.
    ///
    /// # Errors
    /// When the kernel is not for testing, or a map cannot be written.
    pub fn clear_tables(&mut self) -> Result<(), KernelError> {
        if !self.testing {
            return Err(KernelError::NotTesting);
        }
        // User space counts bans, and what is struck or comes again is no other case's source.
        let others = [Table::Bans, Table::Strikes, Table::FirstSyns];
        for table in Table::ALL.into_iter().filter(|table| !others.contains(table)) {
            if table.is_of_pairs() {
                self.clear::<PAIR_SET_WORDS>(table.name())?;
            } else {
                self.clear::<SET_WORDS>(table.name())?;
            }
        }
        self.clear::<DROP_SET_WORDS>("drop_cache")?;
        self.clear::<DROP_REST_WORDS>("drop_cache_rest")
    }

    /// Sets the clock of a kernel loaded for testing, and by how much readings of it are late where they may be.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn set_clock(&mut self, now: Instant, late: Instant) -> Result<(), KernelError> {
        let mut map: Array<_, [u64; 4]> = self.array("test_hook")?;
        Ok(map.set(0, [now, late, 0, 0], 0)?)
    }

    /// The discriminants of the last frame's action and reason, of a kernel loaded for testing.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn test_hook(&mut self) -> Result<(u64, u64), KernelError> {
        let [_, _, action, reason]: [u64; 4] = self.array("test_hook")?.get(&0, 0)?;
        Ok((action, reason))
    }

    /// All words of a table, set by set.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn words(&mut self, table: Table) -> Result<Vec<u64>, KernelError> {
        if table.is_of_pairs() {
            self.all::<PAIR_SET_WORDS>(table.name())
        } else {
            self.all::<SET_WORDS>(table.name())
        }
    }

    fn all<const WORDS: usize>(&mut self, map: &'static str) -> Result<Vec<u64>, KernelError> {
        let map = self.array::<[u64; WORDS]>(map)?;
        let mut words = Vec::with_capacity(map.len() as usize * WORDS);
        for set in map.iter() {
            words.extend(set?);
        }
        Ok(words)
    }

    fn clear<const WORDS: usize>(&mut self, map: &'static str) -> Result<(), KernelError> {
        let mut map = self.array::<[u64; WORDS]>(map)?;
        for set in 0..map.len() {
            map.set(set, [0; WORDS], 0)?;
        }
        Ok(())
    }
}
