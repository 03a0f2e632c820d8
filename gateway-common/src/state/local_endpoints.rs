//! Local endpoints: addresses and ports of a service whose connections end on this host. A packet that belongs to a
//! connection of the host's TCP shows one. It has two places, in slots of the service's totals; of two endpoints the
//! one that was seen longer ago is evicted.

use crate::{
    abi::{ENDS_SLOT, SLOT_WORDS},
    env::{Context, Env},
    hash,
    limit::rate::{Instant, SEEN_SHIFT, units_since},
    packet::Packet,
    tables::BucketTable,
    words::{Slots, Words},
};

/// A word that says whether connections of some destination end here, and the place of that word.
struct End<W> {
    words: W,
    at: usize,
    word: u64,
    /// The mark of the packet's destination, for the upper bits of its word. Below are the window scale, and when it
    /// was seen.
    mark: u64,
}

/// The word of the packet's destination, else the one that it may take: of its two words the one seen longer ago.
#[inline(always)]
fn end_of<E: Env>(
    context: &Context<'_, E>,
    packet: &Packet,
    service: u32,
) -> Option<End<<E::Buckets as Slots>::Slot>> {
    let Packet { destination, destination_port, .. } = *packet;
    let set = context.env.buckets(BucketTable::Totals, service)?;
    let words = [destination.high, destination.low, u64::from(destination_port)];
    let mark = hash::fingerprint(context.env.key(), words);
    let (at, mark) = (mark as usize % SLOT_WORDS, mark >> MARK);
    let (one, other) = (set.slot(ENDS_SLOT), set.slot(ENDS_SLOT + 1));
    let (word, second) = (one.load(at), other.load(at));
    let is_older = second == 0 || (word != 0 && age(second, context.now) > age(word, context.now));
    if second >> MARK == mark || (word >> MARK != mark && is_older) {
        return Some(End { words: other, at, word: second, mark });
    }
    Some(End { words: one, at, word, mark })
}

/// Bits of a word below the mark, and below the scale.
const MARK: u32 = 20;
const SCALE: u32 = 16;
/// The time, in units of [`SEEN_SHIFT`], wraps after 19 hours.
const SEEN_MASK: u64 = 0xffff;
/// How long a local endpoint is known, about two minutes: then its connections may have gone elsewhere.
const ENDS_FOR: u64 = 112;
/// How old it gets before it is written again.
const AGAIN_AFTER: u64 = 8;

/// How many bits the host scales windows of connections to the packet's address and port (0: not at all, as far as is
/// known), if it is known that they end here.
#[inline(always)]
pub fn find<E: Env>(context: &Context<'_, E>, packet: &Packet, service: u32) -> Option<u8> {
    let End { word, mark, .. } = end_of(context, packet, service)?;
    (word >> MARK == mark && age(word, context.now) < ENDS_FOR).then_some((word >> SCALE) as u8 & 15)
}

/// Writes down that connections to the packet's address and port end here.
#[inline(always)]
pub fn insert<E: Env>(context: &Context<'_, E>, packet: &Packet, service: u32, scale: u8) {
    let Some(End { words, at, word, mark }) = end_of(context, packet, service) else { return };
    let is_known = word >> MARK == mark;
    // A client that does not scale says nothing of what the host would do.
    let scale = if scale == 0 && is_known { word >> SCALE & 15 } else { u64::from(scale) & 15 };
    if !is_known || word >> SCALE & 15 != scale || age(word, context.now) >= AGAIN_AFTER {
        words.store(at, mark << MARK | scale << SCALE | context.now >> SEEN_SHIFT & SEEN_MASK);
    }
}

#[inline(always)]
const fn age(word: u64, now: Instant) -> u64 {
    units_since(word, now >> SEEN_SHIFT, SEEN_MASK)
}
