//! Counters of both sides, in a form to compare.

use std::collections::BTreeMap;

use anyhow::Result;
use gateway_common::{
    abi::SERVICES,
    tables::{Note, Table},
    verdict::{Action, Reason},
};
use gateway_user::host::Counters;
use gateway_user::kernel::Kernel;

/// Every counter that is not zero, by what it counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<String, u64>);

impl Counts {
    /// What a host's environment counted.
    #[must_use]
    pub fn of_host(counters: &Counters) -> Self {
        let mut counts = Self::default();
        for (action, reason) in verdicts() {
            let tally = counters.tally(action, reason);
            counts.verdict(action, reason, tally.packets, tally.bytes);
            for service in 1..SERVICES {
                counts.service(service, action, reason, counters.service(service as u32, action, reason));
            }
        }
        for (table, note) in notes() {
            counts.note(table, note, counters.noted(table, note));
        }
        counts
    }

    /// What the kernel's program counted since it was loaded.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn of_kernel(kernel: &Kernel) -> Result<Self> {
        let mut counts = Self::default();
        let tallies = kernel.tallies(0)?;
        for (action, reason) in verdicts() {
            let tally = tallies(action, reason);
            counts.verdict(action, reason, tally.packets, tally.bytes);
        }
        for service in 1..SERVICES {
            let packets = kernel.service_packets(service)?;
            for (action, reason) in verdicts() {
                counts.service(service, action, reason, packets(action, reason));
            }
        }
        for (table, note) in notes() {
            counts.note(table, note, kernel.note(table, note)?);
        }
        Ok(counts)
    }

    /// Adds what was counted elsewhere.
    pub fn add(&mut self, other: &Self) {
        for (name, &amount) in &other.0 {
            self.put(name.clone(), amount);
        }
    }

    /// Every counter that is not the same in both, with the two numbers.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let names: std::collections::BTreeSet<&String> = self.0.keys().chain(other.0.keys()).collect();
        let of = |counts: &Self, name: &String| counts.0.get(name).copied().unwrap_or(0);
        names
            .into_iter()
            .map(|name| (name, of(self, name), of(other, name)))
            .filter(|(_, one, two)| one != two)
            .map(|(name, one, two)| format!("{name}: {one} and {two}"))
            .collect()
    }

    /// Packets with a verdict.
    #[must_use]
    pub fn packets(&self, action: Action, reason: Reason) -> u64 {
        self.0.get(&packets(action, reason)).copied().unwrap_or(0)
    }

    fn verdict(&mut self, action: Action, reason: Reason, frames: u64, bytes: u64) {
        self.put(packets(action, reason), frames);
        self.put(format!("bytes {} {}", action.name(), reason.name()), bytes);
    }

    fn service(&mut self, service: usize, action: Action, reason: Reason, frames: u64) {
        if frames != 0 {
            self.put(format!("service {service} {} {}", action.name(), reason.name()), frames);
        }
    }

    fn note(&mut self, table: Table, note: Note, times: u64) {
        self.put(format!("table {} {note:?}", table.name()), times);
    }

    fn put(&mut self, name: String, amount: u64) {
        if amount != 0 {
            *self.0.entry(name).or_default() += amount;
        }
    }
}

fn packets(action: Action, reason: Reason) -> String {
    format!("packets {} {}", action.name(), reason.name())
}

fn verdicts() -> impl Iterator<Item = (Action, Reason)> {
    Action::ALL.into_iter().flat_map(|action| Reason::ALL.iter().map(move |&reason| (action, reason)))
}

fn notes() -> impl Iterator<Item = (Table, Note)> {
    let all = [Note::Inserted, Note::Evicted, Note::Full];
    Table::ALL.into_iter().flat_map(move |table| all.map(|note| (table, note)))
}
