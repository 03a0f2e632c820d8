//! Live entries of one family, changed one by one.

use std::collections::{HashMap, HashSet};

use aya::{
    Ebpf,
    maps::{LpmTrie, MapData, lpm_trie::Key},
};
use gateway_common::abi::Live;

use super::{KernelError, error::on, take::take, value::Value};

/// The trie that the program looks in, and what was written to it.
pub(super) struct LiveEntries<const N: usize> {
    trie: LpmTrie<MapData, [u8; N], Value<Live>>,
    name: &'static str,
    held: HashMap<Place<N>, Live>,
}

/// An entry's network: its address, and its length.
type Place<const N: usize> = ([u8; N], u8);

/// What entries were before a change, in its order.
pub(super) type Before<const N: usize> = Vec<(Place<N>, Option<Live>)>;

impl<const N: usize> LiveEntries<N> {
    pub(super) fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<Self, KernelError> {
        Ok(Self { trie: take(ebpf, name)?, name, held: HashMap::new() })
    }

    /// Makes the entries what they are to be: what is new or has changed first, then what is not named any more goes. What each one was
    /// that it has changed goes to `before`, also of a change that ends in an error.
    pub(super) fn update(
        &mut self,
        entries: &[([u8; N], u8, Live)],
        before: &mut Before<N>,
    ) -> Result<(), KernelError> {
        for &(address, length, live) in entries {
            let place = (address, length);
            if self.held.get(&place) != Some(&live) {
                before.push((place, self.held.get(&place).copied()));
                self.set(place, Some(live))?;
            }
        }
        if self.held.len() == entries.len() {
            return Ok(());
        }
        let named: HashSet<_> = entries.iter().map(|&(address, length, _)| (address, length)).collect();
        let stale: Vec<_> = self.held.keys().filter(|place| !named.contains(place)).copied().collect();
        for place in stale {
            before.push((place, self.held.get(&place).copied()));
            self.set(place, None)?;
        }
        Ok(())
    }

    /// Makes entries what they were.
    pub(super) fn put_back(&mut self, before: Before<N>) -> Result<(), KernelError> {
        before.into_iter().rev().try_for_each(|(place, live)| self.set(place, live))
    }

    /// Writes an entry, or takes it away.
    fn set(&mut self, place: Place<N>, live: Option<Live>) -> Result<(), KernelError> {
        match live {
            // As the kernel has it.
            live if self.held.get(&place) == live.as_ref() => {}
            Some(live) => {
                // A new value takes the place of the old one, and its count with it.
                let drops = self.drops(place.0, place.1).unwrap_or(0);
                self.trie.insert(&key(place), Value(Live { drops, ..live }), 0).map_err(on(self.name))?;
                self.held.insert(place, live);
            }
            None => {
                self.trie.remove(&key(place)).map_err(on(self.name))?;
                self.held.remove(&place);
            }
        }
        Ok(())
    }

    /// Packets that the ban of a prefix has dropped.
    pub(super) fn drops(&self, address: [u8; N], length: u8) -> Option<u64> {
        let Value(live) = self.trie.get(&key((address, length)), 0).ok()?;
        // The look-up finds covering prefixes too.
        self.held.contains_key(&(address, length)).then_some(live.drops)
    }
}

fn key<const N: usize>((address, length): Place<N>) -> Key<[u8; N]> {
    Key::new(u32::from(length), address)
}
