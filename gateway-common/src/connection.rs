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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    #[default]
    /// Nothing is known of it.
    Unknown,
    /// A SYN was seen, or the first bytes are not complete.
    Opening,
    /// No socket here; its first bytes were a hello.
    Forwarded,
    /// The host's TCP has taken the first bytes, and they were a hello.
    Proven,
}

/// One connection's state. By default one of which nothing is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Sequence number of the stream's first byte; in [`Phase::Proven`] the lower half of the connection's identity.
    pub base: u32,
    /// How far the gate is.
    pub phase: Phase,
    /// What was seen of a record length that two segments share: bits of [`crate::wire::tls::cut`].
    pub cuts: u32,
    /// Bytes at its start were refused, and none took their place yet.
    pub refused: bool,
    /// How many of the stream's first bytes passed, without a gap; at most [`crate::wire::tls::PREFIX`].
    pub passed: u32,
    /// When it was last seen, in units of [`SEEN_SHIFT`]; wraps after 52 days.
    seen: u32,
}

/// One unit of [`Link::seen`] is 2^38 instants, about 1.07 s.
const SEEN_SHIFT: u32 = 38;
const SEEN_MASK: u32 = 0x003f_ffff;
/// A link is written again when it was last seen this many units ago: often enough to choose the oldest by.
const TOUCH_AFTER: u32 = 16;

/// Where the parts of a link lie in its word; the base takes the lower half.
const PHASE: u32 = 32;
const CUTS: u32 = 34;
const PASSED: u32 = 37;
const REFUSED: u32 = 41;
const SEEN: u32 = 42;

impl Link {
    /// A connection of which nothing is known. No `Option`: half a link that is not there is undefined, and the verifier
    /// refuses to copy it.
    const UNKNOWN: Self =
        Self { base: 0, phase: Phase::Unknown, cuts: 0, refused: false, passed: 0, seen: 0 };

    /// Whether nothing is known of the connection.
    #[inline(always)]
    pub const fn is_unknown(self) -> bool {
        matches!(self.phase, Phase::Unknown)
    }

    /// Whether there is nothing more to judge.
    #[inline(always)]
    pub const fn is_proven(self) -> bool {
        matches!(self.phase, Phase::Proven)
    }

    /// Whether its first bytes were a hello.
    #[inline(always)]
    pub const fn is_forwarded(self) -> bool {
        matches!(self.phase, Phase::Forwarded)
    }

    /// What is known of the stream that starts at `base`.
    #[inline(always)]
    pub const fn of_stream(self, base: u32, now: Instant) -> Self {
        if !self.is_unknown() && self.base == base { self } else { Self::new(base, Phase::Opening, now) }
    }

    /// A connection seen now, of which nothing has passed.
    #[inline(always)]
    pub const fn new(base: u32, phase: Phase, now: Instant) -> Self {
        Self { base, phase, ..Self::UNKNOWN }.at(now)
    }

    /// The same, seen now.
    #[inline(always)]
    pub const fn at(self, now: Instant) -> Self {
        Self { seen: (now >> SEEN_SHIFT) as u32 & SEEN_MASK, ..self }
    }

    #[inline(always)]
    const fn word(self) -> u64 {
        self.base as u64
            | (self.phase as u64) << PHASE
            | (self.cuts as u64 & 7) << CUTS
            | (self.passed as u64 & 15) << PASSED
            | (self.refused as u64) << REFUSED
            | (self.seen as u64) << SEEN
    }

    #[inline(always)]
    const fn from_word(word: u64) -> Self {
        let phase = match (word >> PHASE) & 3 {
            3 => Phase::Proven,
            2 => Phase::Forwarded,
            1 => Phase::Opening,
            _ => Phase::Unknown,
        };
        Self {
            base: word as u32,
            phase,
            cuts: (word >> CUTS) as u32 & 7,
            passed: (word >> PASSED) as u32 & 15,
            refused: (word >> REFUSED) & 1 != 0,
            seen: (word >> SEEN) as u32,
        }
    }

    /// Whether it says the same, whenever it was seen.
    #[inline(always)]
    pub const fn is_like(self, other: Self) -> bool {
        self.word() << (u64::BITS - SEEN) == other.word() << (u64::BITS - SEEN)
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
pub fn find<E: Env>(env: &E, identity: u64) -> Link {
    let Some(set) = links(env, identity) else { return Link::UNKNOWN };
    for way in 0..LINK_WAYS {
        if set.load(way * LINK_WORDS) == identity {
            let link = Link::from_word(set.load(way * LINK_WORDS + 1));
            // Two that take one entry at once can leave the state of the one under the name of the other: proof must be
            // its own.
            let foreign = matches!(link.phase, Phase::Proven) && link.base != identity as u32;
            return if foreign { Link::UNKNOWN } else { link };
        }
    }
    Link::UNKNOWN
}

/// Whether the table has room where this connection would be. Entries are replaced and never taken away, so where there is
/// room nobody was forgotten, and who is not there was open before the gateway came.
#[inline(always)]
pub fn forgot_nobody<E: Env>(env: &E, identity: u64) -> bool {
    let Some(set) = links(env, identity) else { return false };
    let mut room = false;
    for way in 0..LINK_WAYS {
        room |= set.load(way * LINK_WORDS) == 0;
    }
    room
}

/// Writes down a connection's state: over its own entry, else over one that ranks lower, oldest first.
///
/// A concurrent writer of the same set can undo this; then the connection is asked about again.
#[inline(always)]
pub fn remember<E: Env>(env: &E, identity: u64, link: Link, now: Instant) {
    let Some(set) = links(env, identity) else { return };
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
    } else if matches!(known.phase, Phase::Opening | Phase::Unknown) {
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
