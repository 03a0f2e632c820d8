//! Live entries of one family, changed one by one.

use std::collections::{HashMap, HashSet};

use aya::maps::{LpmTrie, MapData, lpm_trie::Key};
use gateway_common::abi::Live;

use super::{KernelError, value::Value};

/// The trie that the program looks in, and what was written to it.
pub(super) struct LiveEntries<const N: usize> {
    trie: LpmTrie<MapData, [u8; N], Value<Live>>,
    held: HashMap<([u8; N], u8), Live>,
}

impl<const N: usize> LiveEntries<N> {
    pub(super) fn new(trie: LpmTrie<MapData, [u8; N], Value<Live>>) -> Self {
        Self { trie, held: HashMap::new() }
    }

    /// Makes the entries what they are to be: what is new or has changed first, then what is not named any more goes.
    pub(super) fn update(&mut self, entries: &[([u8; N], u8, Live)]) -> Result<(), KernelError> {
        for &(address, length, live) in entries {
            let place = (address, length);
            if self.held.get(&place) != Some(&live) {
                // A new value takes the place of the old one, and its count with it.
                let drops = self.drops(address, length).unwrap_or(0);
                self.trie.insert(&key(place), Value(Live { drops, ..live }), 0)?;
                self.held.insert(place, live);
            }
        }
        if self.held.len() == entries.len() {
            return Ok(());
        }
        let named: HashSet<_> = entries.iter().map(|&(address, length, _)| (address, length)).collect();
        let stale: Vec<_> = self.held.keys().filter(|place| !named.contains(place)).copied().collect();
        for place in stale {
            self.trie.remove(&key(place))?;
            self.held.remove(&place);
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

fn key<const N: usize>((address, length): ([u8; N], u8)) -> Key<[u8; N]> {
    Key::new(u32::from(length), address)
}
