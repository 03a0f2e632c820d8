//! The table of sources with strikes ([`crate::stage::strike`]). User space reads it, and bans.

use crate::{
    env::Env,
    limit::rate::{Instant, SEEN_SHIFT},
    state::assoc::{PairSet, Victim},
    tables::{Note, PairTable, Table},
};

/// Tries of a compare-and-swap; after the last one the strike is lost.
const TRIES: usize = 4;
/// More units than there are: an entry ranks for eviction by how many of them its last strike is behind.
const AGES: u64 = 1 << 32;

/// Adds a strike. The upper half of a state is the time of the last strike, in units of [`SEEN_SHIFT`]; the lower half
/// is the number of strikes.
///
/// If a set is full, the source that was quiet for longest is evicted; user space has its count by then.
#[inline(always)]
pub fn add<E: Env>(env: &E, source: u64, now: Instant, memory: &mut Victim) {
    let seen = now >> SEEN_SHIFT << u32::BITS;
    let Some(set) = PairSet::of_source(env, PairTable::Strikes, source) else { return };
    if let Some(way) = set.find(source) {
        for _ in 0..TRIES {
            let state = set.state(way);
            let next = seen | u64::from((state as u32).wrapping_add(1));
            if set.replace_state(way, state, next) {
                return;
            }
        }
        return;
    }
    // The older the last strike, the higher.
    let victim = set.victim::<E>(0, memory, |state| AGES - (state >> u32::BITS));
    if victim.rank() != 0
        && set.publish(victim.way(), victim.owner(), source, seen | 1)
        && victim.owner() != 0
    {
        env.note(Table::Strikes, Note::Evicted);
    }
}
