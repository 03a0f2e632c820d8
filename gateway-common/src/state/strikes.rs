//! The table of sources with strikes ([`crate::stage::strike`]), which user space reads and bans by.

use crate::{
    abi::{PAIR_WAYS, PAIR_WORDS, STRIKE_SETS},
    env::Env,
    hash,
    limit::rate::{Instant, SEEN_SHIFT},
    words::Words,
};

/// Tries of a compare-and-swap; a strike that is lost is none.
const TRIES: usize = 4;

/// Adds a strike: when the last one was takes the upper half of a state, in units of [`SEEN_SHIFT`], their number the lower.
///
/// Where a set is full, the source that has been quiet for longest goes; user space has its count by then.
#[inline(always)]
pub fn add<E: Env>(env: &E, source: u64, now: Instant) {
    let seen = now >> SEEN_SHIFT << u32::BITS;
    let Some(set) = env.strikes(hash::place(env.key(), source) & (STRIKE_SETS - 1)) else { return };
    let (mut oldest, mut way_of_oldest) = (u64::MAX, 0);
    for way in 0..PAIR_WAYS {
        let owner = set.load(way * PAIR_WORDS);
        if owner == source {
            again(set, way * PAIR_WORDS + 1, seen);
            return;
        }
        // An empty entry before all others.
        let state = if owner == 0 { 0 } else { set.load(way * PAIR_WORDS + 1) | 1 };
        if state < oldest {
            (oldest, way_of_oldest) = (state, way);
        }
    }
    replace(env, set, way_of_oldest, source, seen | 1);
}

#[inline(always)]
fn again<W: Words>(set: W, word: usize, seen: u64) {
    for _ in 0..TRIES {
        let state = set.load(word);
        let next = seen | u64::from((state as u32).wrapping_add(1));
        if set.replace(word, state, next) {
            return;
        }
    }
}

/// Takes an entry over. Its state first: user space shall not find a newcomer with the number of who was there before.
#[inline(always)]
fn replace<E: Env>(env: &E, set: E::Pairs, way: usize, source: u64, state: u64) {
    // Every access at an offset that the verifier knows.
    for candidate in 0..PAIR_WAYS {
        if candidate == way {
            let owner = set.load(candidate * PAIR_WORDS);
            set.store(candidate * PAIR_WORDS + 1, state);
            let taken = set.replace(candidate * PAIR_WORDS, owner, source);
            if taken
                && owner != 0
                && let Some(counts) = env.strikes(STRIKE_SETS)
            {
                counts.add(0, 1);
            }
        }
    }
}
