//! Who may have no more connections, as the program is told of it.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

use aya::{
    Ebpf,
    maps::{HashMap, MapData, MapError},
};
use gateway_common::{
    abi::{HANDSHAKE_FULL, HANDSHAKE_HOLDERS, HANDSHAKE_SLOT, Holder, SERVICES, SET_WORDS, SLOT_WORDS},
    limit::rate::Instant,
    tables::Table,
};

use super::{KernelError, bans::Words, take::take, value::Value};

/// Tells the program whose SYNs to refuse.
pub struct Holders {
    map: HashMap<MapData, Value<Holder>, Instant>,
    /// Of services: a set of [`Table::Totals`] each.
    totals: Words,
    /// What is in the map.
    held: HashSet<Holder>,
}

impl Holders {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        let totals = Words::of(ebpf, Table::Totals.name(), SERVICES * SET_WORDS)?;
        Ok(Self { map: take(ebpf, "holders")?, totals, held: HashSet::new() })
    }

    /// Until then these may have no more connections, and all others may again: services by their counter rows.
    ///
    /// # Errors
    /// When the map cannot be written. Holders for which there is no room are passed over.
    pub fn set(
        &mut self,
        holders: &HashSet<Holder>,
        full: &HashSet<u8>,
        until: Instant,
    ) -> Result<(), KernelError> {
        for gone in self.held.difference(holders) {
            match self.map.remove(&Value(*gone)) {
                Ok(()) | Err(MapError::KeyNotFound) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.held.retain(|holder| holders.contains(holder));
        for holder in holders {
            if self.map.insert(Value(*holder), until, 0).is_ok() {
                self.held.insert(*holder);
            }
        }
        let of_services = if self.held.is_empty() { 0 } else { until };
        for row in 0..SERVICES as u8 {
            self.word(row, HANDSHAKE_FULL, if full.contains(&row) { until } else { 0 });
            self.word(row, HANDSHAKE_HOLDERS, of_services);
        }
        Ok(())
    }

    fn word(&self, row: u8, word: usize, value: Instant) {
        let place = usize::from(row) * SET_WORDS + HANDSHAKE_SLOT * SLOT_WORDS + word;
        let words: &[AtomicU64] = self.totals.as_ref();
        if let Some(word) = words.get(place)
            && word.load(Ordering::Relaxed) != value
        {
            word.store(value, Ordering::Relaxed);
        }
    }
}
