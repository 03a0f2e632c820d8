//! What only tests ask of a kernel.

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

    fn clear<const WORDS: usize>(&mut self, table: Table) -> Result<(), KernelError> {
        let mut map = self.array::<[u64; WORDS]>(table.name())?;
        for set in 0..map.len() {
            map.set(set, [0; WORDS], 0)?;
        }
        Ok(())
    }
}
