//! Peers of link control ([`crate::stage::essential`]), by kind, and how many of their messages pass.
//!
//! A message that passes as one of an unknown peer inserts its peer; a second one marks the peer as *seen*. A peer that
//! is not seen again gives its place up after some seconds, one that was after a day of silence. So forged sources,
//! which do not come twice, evict nobody.

use crate::{
    abi::{LINK_CONTROL_SLOT, PAIR_WAYS, PEER_SETS},
    env::{Context, Env},
    hash,
    limit::rate::{Instant, Limit, Reading, SECOND},
    packet::Address,
    state::{
        assoc::{PairSet, TAKEN},
        services,
    },
    tables::PairTable,
    words::Words,
};

/// Messages of one kind that pass in a second: of all unknown peers together, and of each peer that was seen before.
const ROOM: Limit = Limit { cost: SECOND / 1_000, burst: SECOND };
/// A place is free again after this if its peer was not seen a second time, ...
const ONCE_FOR: Instant = 4 * SECOND;
/// ... and after this if it was.
const SEEN_FOR: Instant = 86_400 * SECOND;
/// The bit of a peer's TAT that marks it as seen. It is below the cost of one message.
const SEEN: u64 = 1;
const _: () = assert!(ROOM.cost.is_multiple_of(2));

/// Whether there is room for one more message. If so, counts it.
#[inline(always)]
pub fn admit<E: Env>(context: &Context<'_, E>, clock: Reading, kind: u32, source: Address) -> bool {
    let word = source.high.rotate_left(32) ^ source.low ^ (kind as u64) << 48;
    // Never 0, which marks a free place.
    let peer = hash::spread(context.env.key(), word) | 1;
    let index = (peer >> 40) as u32 & (PEER_SETS - 1);
    let Some(words) = context.env.pairs(PairTable::LinkPeers, kind * PEER_SETS + index) else { return false };
    let set = PairSet::new(words);
    if let Some(way) = set.find(peer) {
        return is_left_for_peer(set, way, clock);
    }
    if !is_left_for_strangers(context, clock, kind) {
        return false;
    }
    insert(set, peer, clock.now());
    true
}

/// The same for a peer in the table, which is seen now. Two messages at the same moment count as one.
#[inline(always)]
fn is_left_for_peer<W: Words>(set: PairSet<W>, way: usize, clock: Reading) -> bool {
    match ROOM.admit(set.state(way) & !SEEN, clock, ROOM.cost) {
        Some(next) => {
            set.set_state(way, next & !SEEN | SEEN);
            true
        }
        None => false,
    }
}

/// The same for all others together. If another CPU counts a message at the same moment, there is no room.
#[inline(always)]
fn is_left_for_strangers<E: Env>(context: &Context<'_, E>, clock: Reading, kind: u32) -> bool {
    let Some(words) = services::slot(context.env, 0, LINK_CONTROL_SLOT) else { return false };
    let tat = words.load(kind as usize);
    ROOM.admit(tat, clock, ROOM.cost).is_some_and(|next| words.replace(kind as usize, tat, next))
}

/// Gives a peer the first place of its set that is free, if there is one.
#[inline(always)]
fn insert<W: Words>(set: PairSet<W>, peer: u64, now: Instant) {
    for way in 0..PAIR_WAYS {
        let (owner, state) = (set.key(way), set.state(way));
        let held_for = if state & SEEN == 0 { ONCE_FOR } else { SEEN_FOR };
        let is_stale = now.wrapping_sub(state) as i64 > held_for as i64;
        if owner == 0 || (owner != TAKEN && is_stale) {
            set.publish(way, owner, peer, now & !SEEN);
            return;
        }
    }
}
