//! SYNs that were not answered, so that a repeated one is known: honest clients repeat theirs.
//!
//! A SYN sets three bits of one word in a Bloom filter of fixed size. A flood can fill the filter; then unknown clients
//! are answered by chance, as without it.

use crate::{
    abi::{FIRST_SYN_SETS, PAIR_SET_WORDS},
    env::{Context, Env},
    hash,
    limit::rate::{Instant, SEEN_SHIFT},
    packet::Packet,
    tables::PairTable,
    words::Words,
};

/// Bits of a generation, which is 2^[`SEEN_SHIFT`] instants long. A word has those of its newest generation, above them
/// those of the generation before, and above both the newest's number: a SYN is known for one to two generations.
const BITS: u64 = 28;
const NEWEST: u64 = (1 << BITS) - 1;

/// Whether a SYN was inserted a moment ago; else inserts it.
#[inline(always)]
pub fn contains_or_insert<E: Env>(context: &Context<'_, E>, packet: &Packet) -> bool {
    let Packet { source, source_port, destination_port, sequence, .. } = *packet;
    let ports = u64::from(source_port) << 16 | u64::from(destination_port);
    let word = source.high ^ source.low ^ ports << 32 ^ u64::from(sequence);
    let mut hash = hash::spread(context.env.key(), word);
    // From the hash's upper bits down: set, word, and three bits of the word.
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
    // A write of another CPU at the same moment may be lost.
    set.store(word, aged | bits);
    false
}

/// A word as it is in the generation of `now`: only that generation's bits and those of the one before are left.
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
