//! What the program has counted.

use gateway_common::{
    abi::Tally,
    tables::{Note, Table},
    verdict::{Action, Reason, column},
};

use super::{Kernel, KernelError, value::Value};

impl Kernel {
    /// What an interface's frames got, over all CPUs, by action and reason.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn tallies(&self, row: usize) -> Result<impl Fn(Action, Reason) -> Tally + use<>, KernelError> {
        let cpus = self.counters.get(&(row as u32), 0)?;
        Ok(move |action, reason| {
            let mut sum = Tally { packets: 0, bytes: 0 };
            for Value(tallies) in cpus.iter() {
                let tally = tallies[column(action, reason)];
                sum.packets += tally.packets;
                sum.bytes += tally.bytes;
            }
            sum
        })
    }

    /// What a service's packets got, over all CPUs, by action and reason.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn service_packets(
        &self,
        service: usize,
    ) -> Result<impl Fn(Action, Reason) -> u64 + use<>, KernelError> {
        let cpus = self.service_counters.get(&(service as u32), 0)?;
        Ok(move |action, reason| cpus.iter().map(|counts| counts[column(action, reason)]).sum())
    }

    /// What happened to a table, over all CPUs.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn note(&self, table: Table, note: Note) -> Result<u64, KernelError> {
        let index = (table as usize * Note::COUNT + note as usize) as u32;
        Ok(self.notes.get(&index, 0)?.iter().sum())
    }
}
