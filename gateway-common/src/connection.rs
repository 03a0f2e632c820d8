//! What the gate remembers of connections.
//!
//! For a connection that ends on this host the host's own TCP knows where the stream begins and how much of it has
//! arrived ([`crate::env::Socket`]); the table only spares asking again, and what it forgets costs one question. For one that
//! passes through to another host the table is all there is, and the gate does what it can from the SYN it saw.
//!
//! An entry is a keyed 64-bit fingerprint of addresses and ports, and one word of state that changes as a whole.
//! Entries of connections that have shown a hello are never pushed out by those that have not.

use crate::{
    abi::{LINK_WAYS, LINK_WORDS},
    env::{Env, Note, Table, Words},
    hash,
    packet::Packet,
    rate::Instant,
};

/// How far the gate is with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// A SYN was seen, or the first bytes are not complete.
    Opening,
    /// No socket here; its first bytes were a hello.
    Forwarded,
    /// The host's TCP has taken the first bytes, and they were a hello.
    Proven,
}

/// One connection's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Sequence number of the stream's first byte; in [`Phase::Proven`] the lower half of the connection's identity.
    pub base: u32,
    /// How far the gate is.
    pub phase: Phase,
    /// When it was last seen, in units of [`SEEN_SHIFT`]; wraps after 208 days.
    seen: u32,
}

/// One unit of [`Link::seen`] is 2^38 instants, about 1.07 s.
const SEEN_SHIFT: u32 = 38;
const SEEN_MASK: u32 = 0x00ff_ffff;
/// A link is written again when it was last seen this many units ago: often enough to choose the oldest by.
const TOUCH_AFTER: u32 = 16;

impl Link {
    /// A connection seen now.
    #[inline(always)]
    pub const fn new(base: u32, phase: Phase, now: Instant) -> Self {
        Self { base, phase, seen: (now >> SEEN_SHIFT) as u32 & SEEN_MASK }
    }

    /// Never 0, so that 0 is an empty entry.
    #[inline(always)]
    const fn word(self) -> u64 {
        self.base as u64 | (self.phase as u64 + 1) << 32 | (self.seen as u64) << 40
    }

    #[inline(always)]
    const fn from_word(word: u64) -> Self {
        let phase = match (word >> 32) & 3 {
            3 => Phase::Proven,
            2 => Phase::Forwarded,
            _ => Phase::Opening,
        };
        Self { base: word as u32, phase, seen: (word >> 40) as u32 }
    }

    #[inline(always)]
    const fn age(self, now: Instant) -> u32 {
        ((now >> SEEN_SHIFT) as u32).wrapping_sub(self.seen) & SEEN_MASK
    }

    /// Whether it is time to write down that the connection lives.
    #[inline(always)]
    pub const fn is_stale(self, now: Instant) -> bool {
        self.age(now) >= TOUCH_AFTER
    }
}

/// Who a packet's connection is.
#[inline(always)]
pub fn identity<E: Env>(env: &E, packet: &Packet) -> u64 {
    let ports = u64::from(packet.source_port) << 16 | u64::from(packet.destination_port);
    let fingerprint = if packet.ipv6 {
        let (source, destination) = (packet.source, packet.destination);
        hash::fingerprint(env.key(), [source.high, source.low, destination.high, destination.low, ports])
    } else {
        let addresses = u64::from(packet.source.as_v4()) << 32 | u64::from(packet.destination.as_v4());
        hash::fingerprint(env.key(), [addresses, ports | 1 << 32])
    };
    // 0 marks an empty entry.
    fingerprint | 1
}

/// What is known of a connection.
#[inline(always)]
pub fn find<E: Env>(env: &E, identity: u64) -> Option<Link> {
    let set = links(env, identity)?;
    for way in 0..LINK_WAYS {
        if set.load(way * LINK_WORDS) == identity {
            let link = Link::from_word(set.load(way * LINK_WORDS + 1));
            // Two that take one entry at once can leave the state of the one under the name of the other: proof must be
            // its own.
            let foreign = matches!(link.phase, Phase::Proven) && link.base != identity as u32;
            return if foreign { None } else { Some(link) };
        }
    }
    None
}

/// Writes down a connection's state: over its own entry, else over one that ranks lower, oldest first.
///
/// A concurrent writer of the same set can undo this; then the connection is asked about again.
#[inline(always)]
pub fn remember<E: Env>(env: &E, identity: u64, link: Link, now: Instant) {
    let Some(set) = links(env, identity) else { return };
    let base = if matches!(link.phase, Phase::Proven) { identity as u32 } else { link.base };
    let link = Link { base, ..link };
    let mut best = None;
    let mut best_rank = 0;
    for way in 0..LINK_WAYS {
        let owner = set.load(way * LINK_WORDS);
        let known = Link::from_word(set.load(way * LINK_WORDS + 1));
        if owner == identity {
            set.store(way * LINK_WORDS + 1, link.word());
            return;
        }
        let rank = rank(owner, known, link.phase, now);
        if rank > best_rank {
            best_rank = rank;
            best = Some((way, owner));
        }
    }
    let Some((way, owner)) = best else {
        env.note(Table::Connections, Note::Full);
        return;
    };
    // State first: a reader that still finds the former owner takes the newcomer's state for a moment, and judges by it.
    set.store(way * LINK_WORDS + 1, link.word());
    if set.replace(way * LINK_WORDS, owner, identity) {
        env.note(Table::Connections, Note::Inserted);
        if owner != 0 {
            env.note(Table::Connections, Note::Evicted);
        }
    }
}

/// How gladly an entry is given up for a newcomer; 0: not at all.
#[inline(always)]
const fn rank(owner: u64, known: Link, newcomer: Phase, now: Instant) -> u64 {
    let age = known.age(now) as u64 + 1;
    if owner == 0 {
        u64::MAX
    } else if matches!(known.phase, Phase::Opening) {
        // Before all that have shown a hello.
        age << 32
    } else if matches!(newcomer, Phase::Opening) {
        0
    } else {
        age
    }
}

#[inline(always)]
fn links<E: Env>(env: &E, identity: u64) -> Option<E::Links> {
    env.links((identity >> 32) as u32 & (env.sets(Table::Connections) - 1))
}
