//! Which entry of a set is given up for a newcomer.
//!
//! Reckoned without branches, and handed over through memory: the kernel's verifier would go through all that follows once for
//! each combination of how gladly each entry is given up.

use core::hint::black_box;

use crate::env::Env;

/// The lowest bits of a rank name the entry, counted from the last: of two that rank the same, the first is chosen.
const WAY_BITS: u32 = 2;
const WAY_MASK: u64 = (1 << WAY_BITS) - 1;

/// The entry of a set of four that ranks highest of those that were offered.
#[derive(Clone, Copy, Debug, Default)]
pub struct Victim {
    rank: u64,
    owner: u64,
}

impl Victim {
    /// No entry yet, and none that ranks no higher than this: below 2^61, as all ranks.
    #[inline(always)]
    pub const fn above(rank: u64) -> Self {
        Self { rank: rank << WAY_BITS | WAY_MASK, owner: 0 }
    }

    /// Chooses the entry, which is `owner`'s, if it ranks higher.
    #[inline(always)]
    pub fn consider<E: Env>(&mut self, way: usize, owner: u64, rank: u64) {
        let rank = rank << WAY_BITS | (WAY_MASK - way as u64);
        // All ones where it does. LLVM would make branches of what it knows to be that.
        let higher = E::barrier_var((self.rank.wrapping_sub(rank) as i64 >> 63) as u64);
        self.rank ^= (self.rank ^ rank) & higher;
        self.owner ^= (self.owner ^ owner) & higher;
    }

    /// The victim, read from `memory` again.
    #[inline(always)]
    pub fn chosen(self, memory: &mut Self) -> Self {
        *memory = self;
        *black_box(memory)
    }

    /// Which entry was chosen.
    #[inline(always)]
    pub const fn way(self) -> usize {
        (WAY_MASK - (self.rank & WAY_MASK)) as usize
    }

    /// How it ranks.
    #[inline(always)]
    pub const fn rank(self) -> u64 {
        self.rank >> WAY_BITS
    }

    /// Whose it is.
    #[inline(always)]
    pub const fn owner(self) -> u64 {
        self.owner
    }
}
