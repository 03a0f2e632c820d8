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
    pipeline::{Context, Gate},
    rate::Instant,
    verdict::{Reason, Step, drop},
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
    /// Sequence number of the stream's first byte.
    pub base: u32,
    /// How far the gate is.
    pub phase: Phase,
    /// What was seen of the lengths at the stream's start: bits of [`crate::wire::tls::shown`].
    pub shown: u32,
    /// How many of the stream's first bytes passed, without a gap; at most [`crate::wire::tls::PREFIX`].
    pub passed: u32,
    /// Bytes at its start were refused, and none took their place yet.
    pub refused: bool,
    /// Another stream of the same addresses and ports lives, or may come to life by a SYN cookie: nothing is proven for
    /// [`DOUBT`].
    doubtful: bool,
    /// The stream that lived when a SYN came had shown all that it had to.
    pub accepted: bool,
    /// When it was last written, for one in doubt since when; in units of [`SEEN_SHIFT`], wraps after 19 hours.
    seen: u32,
}

/// One unit of [`Link::seen`] is 2^38 instants, about 1.07 s.
const SEEN_SHIFT: u32 = 38;
const SEEN_MASK: u32 = 0xffff;
/// A link is written again when it was last seen this many units ago: often enough to choose the oldest by.
const TOUCH_AFTER: u32 = 16;
/// Longer than packets wait between the gate and the host's TCP, in units of [`SEEN_SHIFT`].
const LAG: u32 = 3;
/// Longer than a SYN cookie is good for, in the same units: two minutes (`MAX_SYNCOOKIE_AGE` in include/net/tcp.h).
const DOUBT: u32 = 128;

/// Where the parts of a link lie in its word; the base takes the lower half. A proven one keeps a part of its identity in
/// place of what no longer matters.
const PHASE: u32 = 32;
const SHOWN: u32 = 34;
const PASSED: u32 = 41;
const REFUSED: u32 = 45;
const DOUBTFUL: u32 = 46;
const ACCEPTED: u32 = 47;
const SEEN: u32 = 48;
const IDENTITY: u32 = SHOWN;
const IDENTITY_MASK: u64 = (1 << (SEEN - SHOWN)) - 1;

impl Link {
    /// A connection of which nothing is known. No `Option`: half a link that is not there is undefined, and the verifier
    /// refuses to copy it.
    const UNKNOWN: Self = Self {
        base: 0,
        phase: Phase::Unknown,
        shown: 0,
        passed: 0,
        refused: false,
        doubtful: false,
        accepted: false,
        seen: 0,
    };

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

    /// Whether its SYN may not have come to the host's TCP yet.
    #[inline(always)]
    pub const fn is_fresh(self, now: Instant) -> bool {
        matches!(self.phase, Phase::Opening | Phase::Forwarded) && self.age(now) < LAG
    }

    /// Whether what the host's TCP says may hold for another stream of the same addresses and ports.
    #[inline(always)]
    pub const fn is_doubtful(self, now: Instant) -> bool {
        self.doubtful && self.age(now) < DOUBT
    }

    /// What is known of the stream that starts at `base`.
    #[inline(always)]
    pub const fn of_stream(self, base: u32, now: Instant) -> Self {
        if !self.is_unknown() && self.base == base {
            self
        } else if self.doubtful {
            Self { base, phase: Phase::Opening, passed: 0, refused: false, ..self }
        } else {
            Self::new(base, Phase::Opening, now)
        }
    }

    /// A new stream after this one. Who was given two SYN cookies can use both.
    #[inline(always)]
    pub const fn followed_by(self, base: u32, now: Instant) -> Self {
        let is_second = !self.is_unknown() && self.base != base && self.age(now) < DOUBT;
        Self { doubtful: is_second || self.is_doubtful(now), ..Self::new(base, Phase::Opening, now) }
    }

    /// The same, while SYN cookies may be out that make other streams of the same addresses and ports.
    #[inline(always)]
    pub const fn in_doubt(self) -> Self {
        Self { doubtful: true, ..self }
    }

    /// A SYN that came while the host's TCP had a stream open, which it may or may not end.
    #[inline(always)]
    pub const fn doubted(self, base: u32, now: Instant) -> Self {
        let accepted = self.accepted || matches!(self.phase, Phase::Forwarded | Phase::Proven);
        Self { doubtful: true, accepted, shown: self.shown, ..Self::new(base, Phase::Opening, now) }
    }

    /// What another stream of the same addresses and ports has shown counts for this one too.
    #[inline(always)]
    pub const fn taught_by(self, other: Self) -> Self {
        Self { shown: other.shown, accepted: other.accepted, ..self }
    }

    /// A connection seen now, of which nothing has passed.
    #[inline(always)]
    pub const fn new(base: u32, phase: Phase, now: Instant) -> Self {
        Self { base, phase, ..Self::UNKNOWN }.at(now)
    }

    /// The same, written now.
    #[inline(always)]
    pub const fn at(self, now: Instant) -> Self {
        let seen = if self.doubtful { self.seen } else { (now >> SEEN_SHIFT) as u32 & SEEN_MASK };
        Self { seen, ..self }
    }

    #[inline(always)]
    const fn word(self, identity: u64) -> u64 {
        let rest = if self.is_proven() {
            (identity >> 1 & IDENTITY_MASK) << IDENTITY
        } else {
            (self.shown as u64 & 0x7f) << SHOWN
                | (self.passed as u64 & 15) << PASSED
                | (self.refused as u64) << REFUSED
                | (self.doubtful as u64) << DOUBTFUL
                | (self.accepted as u64) << ACCEPTED
        };
        self.base as u64 | (self.phase as u64) << PHASE | rest | (self.seen as u64) << SEEN
    }

    #[inline(always)]
    const fn from_word(word: u64, identity: u64) -> Self {
        let phase = match (word >> PHASE) & 3 {
            3 => Phase::Proven,
            2 => Phase::Forwarded,
            1 => Phase::Opening,
            _ => Phase::Unknown,
        };
        let link = Self { base: word as u32, phase, seen: (word >> SEEN) as u32, ..Self::UNKNOWN };
        if link.is_proven() {
            // Two that take one entry at once can leave the state of the one under the name of the other: proof must be
            // its own.
            return if (word >> IDENTITY ^ identity >> 1) & IDENTITY_MASK == 0 {
                link
            } else {
                Self::UNKNOWN
            };
        }
        Self {
            shown: (word >> SHOWN) as u32 & 0x7f,
            passed: (word >> PASSED) as u32 & 15,
            refused: (word >> REFUSED) & 1 != 0,
            doubtful: (word >> DOUBTFUL) & 1 != 0,
            accepted: (word >> ACCEPTED) & 1 != 0,
            ..link
        }
    }

    /// Whether it says the same, whenever it was written.
    #[inline(always)]
    pub const fn is_like(self, other: Self) -> bool {
        self.word(0) << (u64::BITS - SEEN) == other.word(0) << (u64::BITS - SEEN)
    }

    #[inline(always)]
    const fn age(self, now: Instant) -> u32 {
        ((now >> SEEN_SHIFT) as u32).wrapping_sub(self.seen) & SEEN_MASK
    }

    /// Whether it is time to write down that the connection lives.
    #[inline(always)]
    pub const fn is_stale(self, now: Instant) -> bool {
        !self.doubtful && self.age(now) >= TOUCH_AFTER
    }
}

/// Who a packet's connection is.
#[inline(always)]
pub fn identity<E: Env>(env: &E, packet: &Packet) -> u64 {
    let protocol = u64::from(packet.protocol) << 40;
    let ports = protocol | u64::from(packet.source_port) << 16 | u64::from(packet.destination_port);
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

/// Who a packet's connection is, and what is known of it.
#[inline(always)]
pub fn gate<E: Env>(env: &E, packet: &Packet) -> Gate {
    let identity = identity(env, packet);
    let known = find(env, identity);
    Gate { identity, known, link: known, must_read: false, is_open: false }
}

/// What is known of a connection.
#[inline(always)]
pub fn find<E: Env>(env: &E, identity: u64) -> Link {
    let Some(set) = links(env, identity) else { return Link::UNKNOWN };
    for way in 0..LINK_WAYS {
        if set.load(way * LINK_WORDS) == identity {
            return Link::from_word(set.load(way * LINK_WORDS + 1), identity);
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

/// Writes down a connection's link: over its own entry, else over one that ranks lower, oldest first. A drop where there is
/// no entry for it.
///
/// A concurrent writer of the same set can undo this; then the connection is asked about again.
#[inline(always)]
pub fn remember<E: Env>(context: &Context<'_, E>, gate: &Gate) -> Step {
    let (env, now) = (context.env, context.now);
    let Gate { identity, link, .. } = *gate;
    let Some(set) = links(env, identity) else { return drop(Reason::TcpSequence) };
    let mut best = None;
    let mut best_rank = 0;
    for way in 0..LINK_WAYS {
        let owner = set.load(way * LINK_WORDS);
        let known = Link::from_word(set.load(way * LINK_WORDS + 1), owner);
        if owner == identity {
            set.store(way * LINK_WORDS + 1, link.word(identity));
            return Step::Continue(());
        }
        let rank = rank(owner, known, link.phase, now);
        if rank > best_rank {
            best_rank = rank;
            best = Some((way, owner));
        }
    }
    let Some((way, owner)) = best else {
        env.note(Table::Connections, Note::Full);
        return drop(Reason::TcpSequence);
    };
    // State first: a reader that still finds the former owner takes the newcomer's state for a moment, and judges by it.
    set.store(way * LINK_WORDS + 1, link.word(identity));
    if !set.replace(way * LINK_WORDS, owner, identity) {
        return drop(Reason::TcpSequence);
    }
    env.note(Table::Connections, Note::Inserted);
    if owner != 0 {
        env.note(Table::Connections, Note::Evicted);
    }
    Step::Continue(())
}

/// Writes down what was learnt of a connection, unless another CPU has learnt something meanwhile: a SYN that came since is
/// not undone.
#[inline(always)]
pub fn update<E: Env>(context: &Context<'_, E>, gate: &Gate) -> Step {
    let Gate { identity, known, link, .. } = *gate;
    if known.is_unknown() {
        return remember(context, gate);
    }
    let Some(set) = links(context.env, identity) else { return Step::Continue(()) };
    for way in 0..LINK_WAYS {
        if set.load(way * LINK_WORDS) == identity {
            set.replace(way * LINK_WORDS + 1, known.word(identity), link.word(identity));
            break;
        }
    }
    Step::Continue(())
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
    env.links(Table::Connections, (identity >> 32) as u32 & (env.sets(Table::Connections) - 1))
}
