//! The table of banned sources: single IPv4 addresses and IPv6 /64s, a million of them at the price of one.
//!
//! A ban is in one of two sets, each a cache line of four, by two keyed hashes of the source. A bitmap of 2 MiB in
//! front answers for nearly all sources without a ban, from a cache. Only user space writes both, in its own memory; a
//! packet only counts itself. To add a ban, its state is written before its key; to remove one, its key is cleared
//! before its state. So a packet sees the ban or does not. While a ban moves to its other set, one packet may find it
//! in neither.

use crate::{
    abi::{BAN_FILTER_WORDS, BAN_SETS},
    env::Env,
    hash::{self, Key},
    limit::rate::Instant,
    packet::Packet,
    source,
    state::assoc::PairSet,
    tables::PairTable,
};

/// One unit of a ban's end is 2^36 instants, about 0.27 s.
const UNTIL_SHIFT: u32 = 36;
/// Ends have 28 bits, which wrap with instants, after 2.3 years. An end within half of that is ahead.
const UNTIL_MASK: u64 = (1 << 28) - 1;
/// The end takes the upper bits of a state, the packets dropped the rest.
const DROPS_BITS: u32 = 36;
const DROPS_MASK: u64 = (1 << DROPS_BITS) - 1;
/// Where the count stops: CPUs that count at once do not reach the end's bits from here.
pub const DROPS_MAX: u64 = DROPS_MASK - 0xffff;

/// The exact source of a packet as a key of the table, whatever limits take as a source.
#[inline(always)]
pub const fn source(packet: &Packet) -> u64 {
    source::key(packet, u32::MAX as u64, u64::MAX)
}

/// The places of a source in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    /// Its two sets.
    pub sets: [u32; 2],
    /// Its bit in the bitmap.
    pub bit: u32,
}

impl Places {
    /// The places of a source.
    #[inline(always)]
    pub const fn of(key: Key, source: u64) -> Self {
        let first = hash::place(key, source);
        let Key([k0, k1]) = key;
        let second = hash::place(Key([k1, k0]), source);
        let set = first & (BAN_SETS - 1);
        let other = second & (BAN_SETS - 1);
        // Two sets in any case.
        Self { sets: [set, if other == set { set ^ 1 } else { other }], bit: bit(first) }
    }
}

#[inline(always)]
const fn bit(first: u32) -> u32 {
    first >> (u32::BITS - (BAN_FILTER_WORDS * u64::BITS).trailing_zeros())
}

/// A ban's end and the packets that it dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State(pub u64);

impl State {
    /// A ban until then, rounded up; [`crate::abi::FOREVER`]: until taken back. Ends lie at most a year ahead.
    pub const fn until(until: Instant) -> Self {
        Self(end(until) << DROPS_BITS)
    }

    /// The same ban with another end.
    #[must_use]
    pub const fn ending(self, until: Instant) -> Self {
        Self(Self::until(until).0 | self.drops())
    }

    /// Packets dropped so far; stops at about [`DROPS_MAX`].
    #[inline(always)]
    pub const fn drops(self) -> u64 {
        self.0 & DROPS_MASK
    }

    /// Whether the ban's end lies ahead.
    #[inline(always)]
    pub const fn holds(self, now: Instant) -> bool {
        let end = self.0 >> DROPS_BITS;
        let ahead = end.wrapping_sub(now >> UNTIL_SHIFT) & UNTIL_MASK;
        end == UNTIL_MASK || (end != 0 && ahead != 0 && ahead <= UNTIL_MASK / 2)
    }
}

/// 0 stands for no ban, and the highest number for one without end. An end with one of these numbers becomes 1, which
/// is later.
const fn end(until: Instant) -> u64 {
    if until == crate::abi::FOREVER {
        return UNTIL_MASK;
    }
    let end = (until.wrapping_add((1 << UNTIL_SHIFT) - 1) >> UNTIL_SHIFT) & UNTIL_MASK;
    match end {
        0 | UNTIL_MASK => 1,
        end => end,
    }
}

/// Whether a packet's source is banned. If so, `found` is the set of the ban.
#[inline(always)]
pub fn find<E: Env>(env: &E, packet: &Packet, now: Instant, found: &mut u32) -> bool {
    let source = source(packet);
    let Key([k0, k1]) = env.key();
    let first = hash::place(Key([k0, k1]), source);
    let bit = bit(first);
    if env.ban_filter(bit / u64::BITS) >> (bit % u64::BITS) & 1 == 0 {
        return false;
    }
    let [one, other] = Places::of(Key([k0, k1]), source).sets;
    find_in(env, one, source, now, found) || find_in(env, other, source, now, found)
}

#[inline(always)]
fn find_in<E: Env>(env: &E, index: u32, source: u64, now: Instant, found: &mut u32) -> bool {
    let Some(set) = set(env, index) else { return false };
    let Some(way) = set.find(source) else { return false };
    *found = index;
    State(set.state(way)).holds(now)
}

/// Counts packets that the ban of a source has dropped, if it still is in this set.
#[inline(always)]
pub fn count<E: Env>(env: &E, index: u32, source: u64, drops: u32) {
    if let Some(set) = set(env, index)
        && let Some(way) = set.find(source)
        && State(set.state(way)).drops() < DROPS_MAX
    {
        set.add_to_state(way, u64::from(drops));
    }
}

#[inline(always)]
fn set<E: Env>(env: &E, index: u32) -> Option<PairSet<E::Pairs>> {
    env.pairs(PairTable::Bans, index).map(PairSet::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{abi::FOREVER, limit::rate::SECOND};

    const YEAR: Instant = 31_536_000 * SECOND;
    // Instants come round after 2.3 years.

    #[test]
    fn a_ban_ends_at_its_time() {
        for start in [0, SECOND, 2 * YEAR, Instant::MAX - 50 * SECOND] {
            let state = State::until(start.wrapping_add(60 * SECOND));
            assert!(state.holds(start), "{start}");
            assert!(state.holds(start.wrapping_add(59 * SECOND)), "{start}");
            assert!(!state.holds(start.wrapping_add(61 * SECOND)), "{start}");
        }
        let forever = State::until(FOREVER);
        assert!(forever.holds(0) && forever.holds(2 * YEAR) && !State(0).holds(0));
    }

    #[test]
    fn another_end_keeps_the_count() {
        let state = State(State::until(SECOND).0 + 77).ending(FOREVER);
        assert_eq!(state.drops(), 77);
        assert!(state.holds(YEAR));
    }

    #[test]
    fn places_are_two_sets_and_a_bit_of_the_bitmap() {
        for source in 0..10_000 {
            let Places { sets: [one, other], bit } = Places::of(Key([1, 2]), source);
            assert!(one != other && one < BAN_SETS && other < BAN_SETS && bit < BAN_FILTER_WORDS * u64::BITS);
        }
    }
}
