//! SYNs that were not answered: who sends one again means it.
//!
//! What is written down is three bits for each SYN, in a Bloom filter of fixed size whose bits of one SYN are in one word: a flood can
//! fill it, and then strangers are answered by chance, as without it.

use crate::{
    abi::{FIRST_SYN_SETS, PAIR_SET_WORDS},
    env::{Context, Env},
    hash,
    limit::rate::{Instant, SEEN_SHIFT},
    packet::Packet,
    tables::PairTable,
    words::Words,
};

/// Bits of a generation, which is 2^[`SEEN_SHIFT`] instants long. A word has those of the newest generation in it, then those of the one
/// before, and above them which the newest is: a SYN is known again for one to two generations.
const BITS: u64 = 28;
const NEWEST: u64 = (1 << BITS) - 1;

/// Whether a SYN was written down a moment ago; else that is done now.
#[inline(always)]
pub fn contains_or_insert<E: Env>(context: &Context<'_, E>, packet: &Packet) -> bool {
    let Packet { source, source_port, destination_port, sequence, .. } = *packet;
    let ports = u64::from(source_port) << 16 | u64::from(destination_port);
    let word = source.high ^ source.low ^ ports << 32 ^ u64::from(sequence);
    let mut hash = hash::spread(context.env.key(), word);
    // From its upper bits down: set, word, and three bits of that.
    let mut below = |bound: u64, shift: u32| {
        let drawn = ((hash >> (u64::BITS - shift)) * bound) >> shift;
        hash <<= shift;
        drawn
    };
    let set = below(u64::from(FIRST_SYN_SETS), FIRST_SYN_SETS.ilog2());
    let word = below(PAIR_SET_WORDS as u64, PAIR_SET_WORDS.ilog2()) as usize;
    let bits = 1 << below(BITS, 5) | 1 << below(BITS, 5) | 1 << below(BITS, 5);
    let Some(set) = context.env.pairs(PairTable::FirstSyns, set as u32) else { return false };
    let known = set.load(word);
    let aged = aged(known, context.now);
    if (aged | aged >> BITS) & bits == bits {
        return true;
    }
    // What another CPU writes in the same moment may be lost.
    set.store(word, aged | bits);
    false
}

/// A word as it is in the generation of `now`: what is older than the one before is gone.
#[inline(always)]
const fn aged(word: u64, now: Instant) -> u64 {
    let generation = now >> SEEN_SHIFT;
    let of_it = generation << (2 * BITS);
    match generation.wrapping_sub(word >> (2 * BITS)) as u8 {
        0 => word,
        1 => of_it | (word & NEWEST) << BITS,
        _ => of_it,
    }
}
