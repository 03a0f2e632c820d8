//! Known clients: sources that have shown a service behind the TLS gate that their address is their own, and went on.
//!
//! A client in this table has completed a TCP handshake with this host, sent a ClientHello that the host's TCP took,
//! and more data behind it. Forged packets make nobody known. IPv6 clients are known by their neighbourhood. A part of
//! a service's totals is kept for known clients (see [`crate::stage::budgets`]). A connection that lives keeps its
//! source known; after a day of silence a client is forgotten.

use crate::{
    env::{Context, Env},
    limit::rate::{Instant, SEEN_SHIFT, units_since},
    packet::Packet,
    source,
    state::assoc::{PairSet, Victim},
    tables::{Note, PairTable, Table},
};

/// How long a client stays known: a day, in units of [`SEEN_SHIFT`].
const KNOWN_FOR: u64 = 80_466;
/// How old an entry gets before it is written again.
const AGAIN_AFTER: u64 = 16;
/// The bits of an [`Instant`] that are left in these units.
const SEEN_MASK: u64 = u64::MAX >> SEEN_SHIFT;

/// Whether the source of a packet is a known client.
#[inline(always)]
pub fn contains<E: Env>(context: &Context<'_, E>, packet: &Packet) -> bool {
    let source = source(context, packet);
    let Some(set) = PairSet::of_source(context.env, PairTable::KnownClients, source) else { return false };
    set.get(source).is_some_and(|seen| age(seen, context.now) < KNOWN_FOR)
}

/// Inserts the source of a packet, which is a known client now. The client that was silent for longest is evicted.
#[inline(always)]
pub fn insert<E: Env>(context: &Context<'_, E>, packet: &Packet, memory: &mut Victim) {
    let (env, now) = (context.env, context.now);
    let source = source(context, packet);
    let Some(set) = PairSet::of_source(env, PairTable::KnownClients, source) else { return };
    if let Some(way) = set.find(source) {
        if age(set.state(way), now) >= AGAIN_AFTER {
            set.set_state(way, now >> SEEN_SHIFT);
        }
        return;
    }
    let victim = set.victim::<E>(0, memory, |seen| age(seen, now) + 1);
    if victim.rank() != 0 && set.publish(victim.way(), victim.owner(), source, now >> SEEN_SHIFT) {
        env.note(Table::KnownClients, Note::Inserted);
        if victim.owner() != 0 && victim.rank() <= KNOWN_FOR {
            env.note(Table::KnownClients, Note::Evicted);
        }
    }
}

/// Time since an entry was written, in units of [`SEEN_SHIFT`].
#[inline(always)]
const fn age(seen: u64, now: Instant) -> u64 {
    units_since(seen, now >> SEEN_SHIFT, SEEN_MASK)
}

/// The key of a packet's source; never 0. For IPv4 it is that of its budget, for IPv6 that of its neighbourhood: the
/// owner of a network has as many sources there as this table has places.
#[inline(always)]
fn source<E: Env>(context: &Context<'_, E>, packet: &Packet) -> u64 {
    source::key(packet, context.settings.source_mask_v4, context.settings.neighbour_mask_v6)
}
