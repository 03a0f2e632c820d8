//! How many SYNs cookies answer in a second, and whose.
//!
//! An answer costs several times what a drop does, and a flood of SYNs that all are answered takes the CPU from the packets of
//! connections. So a service has a budget of answers ([`Service::answers`]). Strangers have half of its burst. Once that is used
//! up, a stranger's SYN is dropped and written down, and it has the rest when it comes again, as it does from everybody who means
//! it: TCP sends a SYN again after a second (RFC 6298 section 2.1). Who floods from forged addresses would have to send each SYN twice.
//! Known clients are answered always.
//!
//! What is written down is three bits for each SYN, in a Bloom filter of fixed size whose bits of one SYN are in one word: a flood can
//! fill it, and then strangers are answered by chance, as without it.

use super::words;
use crate::{
    abi::{FIRST_SYN_SETS, HANDSHAKE_ANSWERS, LINK_SET_WORDS, Service},
    clients,
    env::{Env, Words},
    hash,
    packet::Packet,
    pipeline::{Context, Scratch},
    rate::{Instant, SEEN_SHIFT},
    stage::service,
};

/// Bits of a generation, which is 2^[`SEEN_SHIFT`] instants long. A word has those of the newest generation in it, then those of the one
/// before, and above them which the newest is: a SYN is known again for one to two generations.
const BITS: u64 = 28;
const NEWEST: u64 = (1 << BITS) - 1;

/// Whether there is an answer left for a SYN. Where there is none, the SYN is written down.
#[inline(always)]
pub(super) fn is_left<E: Env>(context: &Context<'_, E>, scratch: &Scratch, service: &Service) -> bool {
    let (answers, Scratch { clock, packet, role, .. }) = (&service.answers, scratch);
    let Some(words) = words(context, scratch) else { return false };
    let tat = words.load(HANDSHAKE_ANSWERS);
    // Half of the burst is room enough, but for a burst of one.
    let half = (answers.cost + answers.burst / 2).min(answers.burst);
    answers.is_over(tat, *clock, half) == 0
        || role.trusted
        || (comes_again(context, packet) && answers.is_over(tat, *clock, answers.cost) == 0)
        || clients::knows(context, packet)
}

/// Counts an answer. One that another CPU counts in the same moment is lost; so is one to a known client above the budget.
#[inline(always)]
pub(super) fn count<E: Env, W: Words>(context: &Context<'_, E>, scratch: &Scratch, words: W) {
    let answers = &service::at(context.settings, scratch.role.service).answers;
    let tat = words.load(HANDSHAKE_ANSWERS);
    if let Some(next) = answers.admit(tat, scratch.clock, answers.cost) {
        words.replace(HANDSHAKE_ANSWERS, tat, next);
    }
}

/// Whether a SYN was written down a moment ago; else that is done now.
#[inline(always)]
fn comes_again<E: Env>(context: &Context<'_, E>, packet: &Packet) -> bool {
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
    let word = below(LINK_SET_WORDS as u64, LINK_SET_WORDS.ilog2()) as usize;
    let bits = 1 << below(BITS, 5) | 1 << below(BITS, 5) | 1 << below(BITS, 5);
    let Some(set) = context.env.first_syns(set as u32) else { return false };
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
