//! The word of an entry in conntrack.

use super::{BEGUN, ConnState, Phase, SEEN_MASK, SETTLED};
use crate::{
    limit::rate::{Instant, SEEN_SHIFT, units_since},
    wire::tls::PREFIX,
};

/// Where the parts of a state lie in its word; the base takes the lower half. A proven one has a part of its identity
/// in place of facts that no longer matter.
const PHASE: u32 = 32;
const SHOWN: u32 = 34;
const PASSED: u32 = 42;
const FLAGS: u32 = 46;
const FLAGS_MASK: u64 = 31;
const SEEN: u32 = 51;
const IDENTITY: u32 = SHOWN;
const IDENTITY_MASK: u64 = (1 << (SEEN - SHOWN)) - 1;

impl ConnState {
    #[inline(always)]
    pub(in crate::state::conntrack) const fn word(self, identity: u64) -> u64 {
        let rest = if self.is_proven() {
            (identity >> 1 & IDENTITY_MASK) << IDENTITY
        } else {
            (self.shown as u64 & 0xff) << SHOWN
                | (self.passed as u64 & 15) << PASSED
                | (self.flags as u64 & FLAGS_MASK) << FLAGS
        };
        self.base as u64 | (self.phase as u64) << PHASE | rest | (self.seen as u64) << SEEN
    }

    #[inline(always)]
    pub(in crate::state::conntrack) const fn from_word(word: u64, identity: u64) -> Self {
        let phase = match (word >> PHASE) & 3 {
            3 => Phase::Proven,
            2 => Phase::Forwarded,
            1 => Phase::Opening,
            _ => Phase::Unknown,
        };
        let link = Self { base: word as u32, phase, seen: (word >> SEEN) as u32, ..Self::UNKNOWN };
        if link.is_proven() {
            // If two CPUs take one entry at once, it can have the state of the one under the name of the other: a proof
            // must be its own.
            return if (word >> IDENTITY ^ identity >> 1) & IDENTITY_MASK == 0 {
                link
            } else {
                Self::UNKNOWN
            };
        }
        Self {
            shown: (word >> SHOWN) as u32 & 0xff,
            passed: (word >> PASSED) as u32 & 15,
            flags: (word >> FLAGS & FLAGS_MASK) as u8,
            ..link
        }
    }

    /// Whether it says the same, whenever it was written.
    #[inline(always)]
    pub const fn is_like(self, other: Self) -> bool {
        self.word(0) << (u64::BITS - SEEN) == other.word(0) << (u64::BITS - SEEN)
    }
}

/// 1 for the word of a connection that has shown no hello, else 0. Without a branch.
#[inline(always)]
pub(in crate::state::conntrack) const fn opening_of(word: u64) -> u64 {
    let has_passed = ((word >> PASSED & 15) + (16 - PREFIX as u64)) >> 4;
    !(word >> (PHASE + 1) | has_passed) & 1
}

/// Whether a SYN cookie has begun the stream, by the word of a connection that has shown no hello.
#[inline(always)]
pub(in crate::state::conntrack) const fn has_begun(word: u64) -> bool {
    word >> FLAGS & BEGUN as u64 != 0
}

/// Whether it is the word of a connection with nothing more to judge.
#[inline(always)]
pub(in crate::state::conntrack) const fn is_proven(word: u64) -> bool {
    word >> PHASE & 3 == Phase::Proven as u64
}

/// Whether a word is of a connection that was heard of again, long enough after its hello: see [`SETTLED`].
#[inline(always)]
pub(in crate::state::conntrack) const fn is_settled(word: u64) -> bool {
    word >> PASSED & 15 >= SETTLED as u64
}

/// How long ago a word was written, in units of [`SEEN_SHIFT`].
#[inline(always)]
pub(in crate::state::conntrack) const fn age_of(word: u64, now: Instant) -> u64 {
    units_since(word >> SEEN, now >> SEEN_SHIFT, SEEN_MASK as u64)
}
