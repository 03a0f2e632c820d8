//! The writer of the kernel's table of banned sources. [`crate::state::bans`] reads it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{
    abi::{BAN_FILTER_WORDS, BANS_MAX, PAIR_SET_WORDS, PAIR_WAYS, PAIR_WORDS},
    hash::Key,
    limit::rate::Instant,
    packet::Family,
    source::KEY_V4,
    state::{
        assoc::TAKEN,
        bans::{Places, State},
    },
};

/// The table over any memory of its shape. One writer; the program reads and counts at any time.
#[derive(Debug)]
pub struct BanTable<M> {
    sets: M,
    filter: M,
    key: Key,
    /// How many bans share each bit of the bitmap.
    shared: Vec<u8>,
    /// Bans of IPv4 and of IPv6.
    count: [usize; 2],
}

impl<M: AsRef<[AtomicU64]>> BanTable<M> {
    /// An empty table.
    pub fn new(sets: M, filter: M, key: Key) -> Self {
        let shared = vec![0; (BAN_FILTER_WORDS * u64::BITS) as usize];
        Self { sets, filter, key, shared, count: [0; 2] }
    }

    /// A table with its present contents.
    pub fn resume(sets: M, filter: M, key: Key) -> Self {
        let mut table = Self::new(sets, filter, key);
        let sources: Vec<u64> = table.sources().collect();
        for source in sources {
            table.enter(source);
        }
        table
    }

    /// Bans a source until then, or gives its ban another end; whether there was room.
    pub fn set(&mut self, source: u64, until: Instant) -> bool {
        if let Some(place) = self.find(source) {
            let end = |state| Some(State(state).ending(until).0);
            // It fails only if there is no state to write, and there always is.
            let _ = self.word(place + 1).fetch_update(Ordering::SeqCst, Ordering::SeqCst, end);
            return true;
        }
        let free = if self.len() < BANS_MAX { self.room(source) } else { None };
        let Some(place) = free else { return false };
        self.write(place, source, State::until(until).0);
        self.enter(source);
        true
    }

    /// Takes a ban away.
    pub fn remove(&mut self, source: u64) {
        let Some(place) = self.find(source) else { return };
        self.erase(place);
        let bit = Places::of(self.key, source).bit;
        let shared = &mut self.shared[bit as usize];
        // A count that has stopped at its highest number is not known any more: the bit stays.
        *shared -= u8::from(*shared != u8::MAX);
        if *shared == 0 {
            self.filter_word(bit).fetch_and(!(1 << (bit % u64::BITS)), Ordering::SeqCst);
        }
        self.count[family_of(source) as usize] -= 1;
    }

    /// Packets that a source's ban has dropped.
    pub fn drops(&self, source: u64) -> Option<u64> {
        self.find(source).map(|place| State(self.word(place + 1).load(Ordering::Relaxed)).drops())
    }

    /// Packets that each ban has dropped, by its source.
    pub fn all_drops(&self) -> impl Iterator<Item = (u64, u64)> {
        let (entries, _) = self.sets.as_ref().as_chunks::<PAIR_WORDS>();
        let read = |[key, state]: &[AtomicU64; PAIR_WORDS]| {
            (key.load(Ordering::Relaxed), State(state.load(Ordering::Relaxed)).drops())
        };
        entries.iter().map(read).filter(|(key, _)| *key != 0)
    }

    /// The sources in the table.
    pub fn sources(&self) -> impl Iterator<Item = u64> {
        let keys = self.sets.as_ref().iter().step_by(PAIR_WORDS);
        keys.map(|key| key.load(Ordering::Relaxed)).filter(|key| *key != 0)
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.count[0] + self.count[1]
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there are some of a family.
    pub const fn has(&self, family: Family) -> bool {
        self.count[family as usize] != 0
    }

    /// The words of a set, as a packet reads them; nothing beyond the last.
    pub fn set_words(&self, index: u32) -> Option<&[AtomicU64]> {
        let start = index as usize * PAIR_SET_WORDS;
        self.sets.as_ref().get(start..start + PAIR_SET_WORDS)
    }

    /// A word of the bitmap, as a packet reads it.
    pub fn filter_at(&self, index: u32) -> u64 {
        self.filter.as_ref().get(index as usize).map_or(0, |word| word.load(Ordering::SeqCst))
    }

    /// Each ban and its state, in the order of their places.
    pub fn entries(&self) -> impl Iterator<Item = (u64, State)> {
        let entries = self.sets.as_ref().as_chunks().0.iter();
        entries.filter_map(|[key, state]| match key.load(Ordering::SeqCst) {
            0 => None,
            source => Some((source, State(state.load(Ordering::SeqCst)))),
        })
    }

    /// Counts a ban that is in the table, and sets its bit.
    fn enter(&mut self, source: u64) {
        let bit = Places::of(self.key, source).bit;
        self.shared[bit as usize] = self.shared[bit as usize].saturating_add(1);
        self.filter_word(bit).fetch_or(1 << (bit % u64::BITS), Ordering::SeqCst);
        self.count[family_of(source) as usize] += 1;
    }

    /// The word of a source's key.
    fn find(&self, source: u64) -> Option<usize> {
        self.places(source).find(|&place| self.word(place).load(Ordering::Relaxed) == source)
    }

    /// The words of the keys where a source may be.
    fn places(&self, source: u64) -> impl Iterator<Item = usize> + use<M> {
        let sets = Places::of(self.key, source).sets;
        sets.into_iter().flat_map(|set| slots(set as usize))
    }

    /// An empty place for a source: in the set with more room, so that no set fills up early. If both are full, one of
    /// their bans moves to its other set.
    fn room(&self, source: u64) -> Option<usize> {
        let is_free = |place: &usize| self.word(*place).load(Ordering::Relaxed) == 0;
        let free = |set: u32| slots(set as usize).filter(is_free).count();
        let [one, other] = Places::of(self.key, source).sets;
        let set = if free(one) >= free(other) { one } else { other };
        if let Some(place) = slots(set as usize).find(is_free) {
            return Some(place);
        }
        self.places(source).find_map(|place| {
            let resident = self.word(place).load(Ordering::Relaxed);
            let elsewhere = self.places(resident).find(is_free)?;
            self.write(elsewhere, resident, self.word(place + 1).load(Ordering::Relaxed));
            self.erase(place);
            Some(place)
        })
    }

    /// The state first: a packet that finds the key finds the ban.
    fn write(&self, place: usize, source: u64, state: u64) {
        self.word(place + 1).store(state, Ordering::SeqCst);
        self.word(place).store(source, Ordering::SeqCst);
    }

    /// The key first, so that no packet counts in a state that is removed.
    fn erase(&self, place: usize) {
        self.word(place).store(0, Ordering::SeqCst);
        self.word(place + 1).store(0, Ordering::SeqCst);
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        &self.sets.as_ref()[index]
    }

    fn filter_word(&self, bit: u32) -> &AtomicU64 {
        &self.filter.as_ref()[(bit / u64::BITS) as usize]
    }
}

/// The words of a set's keys.
fn slots(set: usize) -> impl Iterator<Item = usize> {
    (0..PAIR_WAYS).map(move |way| set * PAIR_SET_WORDS + way * PAIR_WORDS)
}

/// A source with strikes and their number, from an entry that may change meanwhile.
pub fn strikes_of([key, state]: &[AtomicU64; PAIR_WORDS]) -> Option<(u64, u32)> {
    let (source, count) = (key.load(Ordering::SeqCst), state.load(Ordering::SeqCst) as u32);
    // A newcomer's state is written before its key, so a key that was there all the time has its own state.
    (source != 0 && source != TAKEN && key.load(Ordering::SeqCst) == source).then_some((source, count))
}

/// The family of a source.
pub const fn family_of(source: u64) -> Family {
    if source >> 32 == KEY_V4 >> 32 { Family::V4 } else { Family::V6 }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use crate::{
        abi::{BAN_SETS, FOREVER},
        limit::rate::SECOND,
        source::KEY_UNSPECIFIED,
    };

    use super::*;

    fn memory(words: usize) -> Vec<AtomicU64> {
        std::iter::repeat_with(AtomicU64::default).take(words).collect()
    }

    fn empty() -> BanTable<Vec<AtomicU64>> {
        let sets = memory(BAN_SETS as usize * PAIR_SET_WORDS);
        BanTable::new(sets, memory(BAN_FILTER_WORDS as usize), Key([3, 5]))
    }

    fn bits(table: &BanTable<Vec<AtomicU64>>) -> u32 {
        table.filter.iter().map(|word| word.load(Ordering::Relaxed).count_ones()).sum()
    }

    #[test]
    fn it_holds_as_many_as_it_says() {
        let mut table = empty();
        for address in 0..BANS_MAX as u64 {
            assert!(table.set(KEY_V4 | address, FOREVER), "no room for {address}");
        }
        assert!(!table.set(KEY_V4 | BANS_MAX as u64, FOREVER), "more than a full table");
        assert_eq!((table.len(), table.sources().collect::<HashSet<_>>().len()), (BANS_MAX, BANS_MAX));
        let all = 0..BANS_MAX as u64;
        assert!(all.clone().all(|address| table.drops(KEY_V4 | address) == Some(0)), "one cannot be found");
        for address in all {
            table.remove(KEY_V4 | address);
        }
        assert_eq!((table.len(), table.sources().count(), bits(&table)), (0, 0, 0));
    }

    #[test]
    fn another_end_keeps_the_count_and_a_new_ban_does_not() {
        let mut table = empty();
        table.set(KEY_UNSPECIFIED, SECOND);
        let place = table.find(KEY_UNSPECIFIED).unwrap();
        table.word(place + 1).fetch_add(5, Ordering::Relaxed);
        table.set(KEY_UNSPECIFIED, FOREVER);
        assert_eq!((table.drops(KEY_UNSPECIFIED), table.len()), (Some(5), 1));
        assert!(table.has(Family::V6) && !table.has(Family::V4));
        table.remove(KEY_UNSPECIFIED);
        table.set(KEY_UNSPECIFIED, SECOND);
        assert_eq!(table.drops(KEY_UNSPECIFIED), Some(0));
    }

    #[test]
    fn an_entry_that_changes_hands_is_nobodys_strike() {
        let entry = |key: u64| [AtomicU64::new(key), AtomicU64::new(3)];
        assert_eq!(strikes_of(&entry(KEY_V4 | 7)), Some((KEY_V4 | 7, 3)));
        assert_eq!((strikes_of(&entry(TAKEN)), strikes_of(&entry(0))), (None, None));
    }

    #[test]
    fn what_was_there_is_taken_over() {
        let mut table = empty();
        for source in [KEY_V4 | 7, 0x2001_0db8_0000_0000, KEY_UNSPECIFIED] {
            table.set(source, FOREVER);
        }
        let mut table = BanTable::resume(table.sets, table.filter, table.key);
        assert_eq!((table.len(), table.has(Family::V4), table.has(Family::V6)), (3, true, true));
        table.remove(KEY_V4 | 7);
        assert_eq!((table.len(), table.has(Family::V4), bits(&table)), (2, false, 2));
    }
}
