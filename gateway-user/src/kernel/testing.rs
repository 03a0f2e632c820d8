//! What only tests ask of a kernel.

use aya::maps::Array;
use gateway_common::{
    abi::{LINK_SET_WORDS, SET_WORDS},
    env::Table,
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
        for table in Table::ALL {
            if table.is_of_links() {
                self.clear::<LINK_SET_WORDS>(table)?;
            } else {
                self.clear::<SET_WORDS>(table)?;
            }
        }
        Ok(())
    }

    /// Sets the clock of a kernel loaded for testing, in instants.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn set_clock(&mut self, now: u64) -> Result<(), KernelError> {
        let mut map: Array<_, [u64; 3]> = self.array("testimony")?;
        Ok(map.set(0, [now, 0, 0], 0)?)
    }

    /// The discriminants of the last frame's action and reason, of a kernel loaded for testing.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn testimony(&mut self) -> Result<(u64, u64), KernelError> {
        let [_, action, reason]: [u64; 3] = self.array("testimony")?.get(&0, 0)?;
        Ok((action, reason))
    }

    fn clear<const WORDS: usize>(&mut self, table: Table) -> Result<(), KernelError> {
        let mut map = self.array::<[u64; WORDS]>(table.name())?;
        for set in 0..map.len() {
            map.set(set, [0; WORDS], 0)?;
        }
        Ok(())
    }
}
