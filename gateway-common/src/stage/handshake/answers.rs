//! How many SYNs cookies answer in a second, and whose.
//!
//! An answer costs several times what a drop does, and a flood of SYNs that all are answered takes the CPU from the packets of
//! connections. So a service has a budget of answers ([`Service::answers`]). Strangers have half of its burst. Once that is used
//! up, a stranger's SYN is dropped and written down, and it has the rest when it comes again, as it does from everybody who means
//! it: TCP sends a SYN again after a second (RFC 6298 section 2.1). Who floods from forged addresses would have to send each SYN twice.
//! Known clients are answered always.
//!
//! What is written down is two bits for each SYN, in a Bloom filter of fixed size whose bits of one SYN are in one word: a flood can
//! fill it, and then strangers are answered by chance, as without it.

use super::words;
use crate::{
    abi::{FIRST_SYN_SETS, HANDSHAKE_ANSWERS, LINK_SET_WORDS, Service},
    clients,
    env::{Env, Words},
    hash,
    packet::Packet,
    pipeline::{Context, Scratch},
    rate::Instant,
    stage::service,
};

/// How [`Instant`]s become generations: 2^39 of them, about 2.1 s. A SYN is known again for one to two generations.
const GENERATION_SHIFT: u32 = 39;
/// SYNs that a word has a bit for: those of the newest generation in it, then those of the one before; above them, which the newest is.
const BITS: u32 = 28;
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
    let place = hash::place(context.env.key(), source.high ^ source.low ^ ports << 32 ^ u64::from(sequence));
    let Some(set) = context.env.first_syns(place & (FIRST_SYN_SETS - 1)) else { return false };
    let rest = place / FIRST_SYN_SETS;
    let (word, rest) = (rest as usize % LINK_SET_WORDS, rest / LINK_SET_WORDS as u32);
    let bit = |choice: u32| 1 << (choice * BITS / CHOICES);
    let bits = bit(rest / CHOICES) | bit(rest % CHOICES);
    let known = set.load(word);
    let aged = aged(known, context.now);
    if (aged | aged >> BITS) & bits == bits {
        return true;
    }
    set.replace(word, known, aged | bits);
    false
}

/// Values of the part of a place that chooses a bit: a place is set, word, and two of these.
const CHOICES: u32 = 64;
const _: () =
    assert!(FIRST_SYN_SETS as u64 * LINK_SET_WORDS as u64 * (CHOICES * CHOICES) as u64 == 1 << u32::BITS);

/// A word as it is in the generation of `now`: what is older than the one before is gone.
#[inline(always)]
const fn aged(word: u64, now: Instant) -> u64 {
    let generation = now >> GENERATION_SHIFT;
    let of_it = generation << (2 * BITS);
    match generation.wrapping_sub(word >> (2 * BITS)) as u8 {
        0 => word,
        1 => of_it | (word & NEWEST) << BITS,
        _ => of_it,
    }
}
