//! Counters of verdicts and of what happens to tables.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{
    abi::{SERVICES, Tally},
    tables::{Note, Table},
    verdict::{Action, COLUMNS, Reason, column},
};

/// What a [`super::HostEnv`] counted.
#[derive(Debug)]
pub struct Counters {
    packets: Vec<AtomicU64>,
    bytes: Vec<AtomicU64>,
    services: Vec<AtomicU64>,
    notes: Vec<AtomicU64>,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            packets: zeros(COLUMNS),
            bytes: zeros(COLUMNS),
            services: zeros(SERVICES * COLUMNS),
            notes: zeros(Table::COUNT * Note::COUNT),
        }
    }
}

impl Counters {
    /// Packets and bytes with a verdict.
    #[must_use]
    pub fn tally(&self, action: Action, reason: Reason) -> Tally {
        let column = column(action, reason);
        Tally { packets: read(&self.packets, column), bytes: read(&self.bytes, column) }
    }

    /// Packets of a service with a verdict.
    #[must_use]
    pub fn service(&self, service: u32, action: Action, reason: Reason) -> u64 {
        read(&self.services, service as usize * COLUMNS + column(action, reason))
    }

    /// How often something happened to a table.
    #[must_use]
    pub fn noted(&self, table: Table, note: Note) -> u64 {
        read(&self.notes, table as usize * Note::COUNT + note as usize)
    }

    pub(super) fn count(&self, action: Action, reason: Reason, service: u32, bytes: u32) {
        let column = column(action, reason);
        add(&self.packets, column, 1);
        add(&self.bytes, column, u64::from(bytes));
        if service != 0 {
            add(&self.services, service as usize * COLUMNS + column, 1);
        }
    }

    pub(super) fn note(&self, table: Table, note: Note) {
        add(&self.notes, table as usize * Note::COUNT + note as usize, 1);
    }
}

fn zeros(count: usize) -> Vec<AtomicU64> {
    std::iter::repeat_with(AtomicU64::default).take(count).collect()
}

fn read(counters: &[AtomicU64], index: usize) -> u64 {
    counters.get(index).map_or(0, |counter| counter.load(Ordering::Relaxed))
}

fn add(counters: &[AtomicU64], index: usize, amount: u64) {
    if let Some(counter) = counters.get(index) {
        counter.fetch_add(amount, Ordering::Relaxed);
    }
}
