//! What the gate remembers of connections.
//!
//! For a connection that ends on this host the host's own TCP knows where the stream begins and how much of it has
//! arrived ([`crate::env::Socket`]); the table only spares asking again, and what it forgets costs one question. For one that
//! passes through to another host the table is all there is, and the gate does what it can from the SYN it saw: without its
//! entry its data do not pass, so its SYN does not pass where there is no room for one, and data alone never make one.
//!
//! An entry is a keyed 64-bit fingerprint of addresses and ports, and one word of state that changes as a whole. In a set
//! without an empty entry
//!
//! * connections that have shown no hello yet go first: those whose SYN is no longer fresh, and fresh ones too where there
//!   are [`RESERVE`] of them; so SYNs push out other SYNs, and little else;
//! * next go connections of which nothing more can be lost than a question to the host's TCP, and those that pass through and
//!   have been silent: for [`BRIEF`] when all that they ever said came within seconds of the hello, for [`LONG`] otherwise;
//! * whoever passes through and said something since is never pushed out;
//! * connections that end here push out no connection that passes through and has shown a hello: they need no entry.

use crate::{
    abi::{LINK_WAYS, LINK_WORDS},
    env::{Env, Note, Table, Words},
    hash,
    packet::Packet,
    pipeline::{Context, Gate},
    rate::{Instant, units_since},
    verdict::{Reason, Step, drop},
    wire::tls::PREFIX,
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
    /// How many of the stream's first bytes passed, without a gap; at most [`PREFIX`], or more: [`SETTLED`] or [`PAST`].
    pub passed: u32,
    /// Bytes at its start were refused, and none took their place yet.
    pub refused: bool,
    /// Another stream of the same addresses and ports lives, or may come to life by a SYN cookie: nothing is proven for
    /// [`DOUBT`].
    doubtful: bool,
    /// The stream that lived when a SYN came had shown all that it had to.
    pub accepted: bool,
    /// When it was last written, for one in doubt since when; in units of [`SEEN_SHIFT`], wraps after 19 hours. The bits above
    /// [`SEEN_MASK`] are not kept with it: [`PASSES_THROUGH`] and [`NEWS`].
    seen: u32,
}

/// One unit of [`Link::seen`] is 2^38 instants, about 1.07 s.
const SEEN_SHIFT: u32 = 38;
const SEEN_MASK: u32 = 0xffff;
const PASSES_THROUGH: u32 = 1 << 16;
const NEWS: u32 = 1 << 17;
/// A link is written again when it was last seen this many units ago: often enough to choose the oldest by.
const TOUCH_AFTER: u32 = 16;
/// Longer than packets wait between the gate and the host's TCP, in units of [`SEEN_SHIFT`].
const LAG: u32 = 3;
/// Longer than a SYN cookie is good for, in the same units: two minutes (`MAX_SYNCOOKIE_AGE` in include/net/tcp.h).
const DOUBT: u32 = 128;

/// Values of [`Link::passed`] above [`PREFIX`]: it was heard of later than [`TOUCH_AFTER`] its hello, or it is so far past its
/// hello that the same sequence numbers come again.
const SETTLED: u32 = PREFIX + 1;
const PAST: u32 = PREFIX + 2;
/// For how long a connection must be silent that another one may push out, in units of [`SEEN_SHIFT`]: half a minute and five
/// minutes. What is written down lags by [`TOUCH_AFTER`]; so the first is the shortest that shows that it was silent for as
/// long again, and what most connections have done by then is end.
const BRIEF: u32 = 2 * TOUCH_AFTER;
const LONG: u32 = 280;
/// How many of a set's entries fresh SYNs take from others before they take them from each other: with one alone, the second of
/// two SYNs to one set would cut the first off before its hello comes.
const RESERVE: u64 = 2;

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

    /// Whether it is sure that nothing was ever known: the table has room where it would be. Entries are replaced and never taken
    /// away, so where there is room nobody was forgotten, and who is not there was open before the gateway came.
    #[inline(always)]
    pub const fn is_news(self) -> bool {
        self.is_unknown() && self.seen & NEWS != 0
    }

    /// The same of a newcomer for which the table may be all there is.
    #[inline(always)]
    pub const fn passing_through(self) -> Self {
        Self { seen: self.seen | PASSES_THROUGH, ..self }
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

    /// Whether its first bytes were a hello's, wherever it ends.
    #[inline(always)]
    pub const fn has_shown_hello(self) -> bool {
        matches!(self.phase, Phase::Forwarded | Phase::Proven) || self.passed >= PREFIX
    }

    /// Whether it passes through and is so far past its hello that there is nothing more to judge.
    #[inline(always)]
    pub const fn is_past(self) -> bool {
        self.is_forwarded() && self.passed == PAST
    }

    /// The same, far past its hello.
    #[inline(always)]
    pub const fn past(self) -> Self {
        Self { passed: PAST, ..self }
    }

    /// The same, after it was heard of again.
    #[inline(always)]
    const fn settled(self) -> Self {
        if self.has_shown_hello() && self.passed < SETTLED { Self { passed: SETTLED, ..self } } else { self }
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
        units_since(self.seen as u64, now >> SEEN_SHIFT, SEEN_MASK as u64) as u32
    }

    /// Whether it is time to write down that the connection lives.
    #[inline(always)]
    pub const fn is_stale(self, now: Instant) -> bool {
        !self.doubtful && self.age(now) >= TOUCH_AFTER
    }
}

/// Owner of an entry that changes hands. Identities are odd.
const NOBODY: u64 = 2;

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
    // A word of zeros is that of nobody.
    let (mut room, mut word) = (0, 0);
    for way in 0..LINK_WAYS {
        let owner = set.load(way * LINK_WORDS);
        // The uppermost bit, for zero alone. Reckoned without a branch: the verifier would follow both.
        room |= owner.wrapping_sub(1) & !owner;
        if owner == identity {
            (room, word) = (0, set.load(way * LINK_WORDS + 1));
            if set.load(way * LINK_WORDS) != identity {
                // Somebody else has taken the entry meanwhile.
                word = 0;
            }
            break;
        }
    }
    let news = (room >> (u64::BITS - 1)) as u32 * NEWS;
    let link = Link::from_word(word, identity);
    Link { seen: link.seen | news, ..link }
}

/// Writes down a connection's link: over its own entry, else over the one that is given up most gladly. A drop where there is no
/// entry for it.
///
/// A concurrent writer of the same set can undo this; then the connection is asked about again.
#[inline(always)]
pub fn remember<E: Env>(context: &Context<'_, E>, gate: &Gate) -> Step {
    let (env, now) = (context.env, context.now);
    let identity = gate.identity;
    let (newcomer, passes_through) = (gate.link.word(identity), gate.link.seen & PASSES_THROUGH != 0);
    let Some(set) = links(env, identity) else { return drop(Reason::TcpSequence) };
    let mut openings = 0;
    for way in 0..LINK_WAYS {
        if set.load(way * LINK_WORDS) == identity {
            set.store(way * LINK_WORDS + 1, newcomer);
            return Step::Continue(());
        }
        openings += opening_of(set.load(way * LINK_WORDS + 1));
    }
    let mut best = None;
    let mut best_rank = 0;
    for way in 0..LINK_WAYS {
        let (owner, word) = (set.load(way * LINK_WORDS), set.load(way * LINK_WORDS + 1));
        let rank = match kind(owner, word, newcomer, passes_through, now) {
            FRESH if openings >= RESERVE => STALE,
            kind => kind,
        };
        let rank = if rank == 0 { 0 } else { rank + age_of(word, now) };
        if rank > best_rank {
            best_rank = rank;
            best = Some((way, owner));
        }
    }
    let Some((way, owner)) = best else {
        env.note(Table::Connections, Note::Full);
        return drop(Reason::TcpSequence);
    };
    // Of two that choose one entry at once, one gets it, and nobody finds the state of one under the name of the other.
    if !set.replace(way * LINK_WORDS, owner, NOBODY) {
        return drop(Reason::TcpSequence);
    }
    set.store(way * LINK_WORDS + 1, newcomer);
    set.store(way * LINK_WORDS, identity);
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
    let is_heard_again = known.has_shown_hello() && known.is_stale(context.now);
    let word = if is_heard_again { link.settled() } else { link }.word(identity);
    let Some(set) = links(context.env, identity) else { return Step::Continue(()) };
    for way in 0..LINK_WAYS {
        if set.load(way * LINK_WORDS) == identity {
            set.replace(way * LINK_WORDS + 1, known.word(identity), word);
            break;
        }
    }
    Step::Continue(())
}

/// 1 for the word of a connection that has shown no hello, else 0. Without a branch, too.
#[inline(always)]
const fn opening_of(word: u64) -> u64 {
    let has_passed = ((word >> PASSED & 15) + (16 - PREFIX as u64)) >> 4;
    !(word >> (PHASE + 1) | has_passed) & 1
}

/// How gladly an entry is given up, before its age counts.
const KIND: u32 = 32;
const EMPTY: u64 = 5 << KIND;
/// Has shown no hello, and may never.
const STALE: u64 = 4 << KIND;
/// Has shown a hello, and is silent.
const SILENT: u64 = 3 << KIND;
/// Has shown no hello yet.
const FRESH: u64 = 2 << KIND;
/// Ends here, so that a question replaces it.
const PROVEN: u64 = 1 << KIND;

/// The kind of an entry; 0: it is not given up for this newcomer.
#[inline(always)]
const fn kind(owner: u64, word: u64, newcomer: u64, passes_through: bool, now: Instant) -> u64 {
    let age = age_of(word, now);
    let is_proven = is_proven(word);
    if owner == 0 {
        EMPTY
    } else if owner == NOBODY {
        0
    } else if opening_of(word) != 0 {
        if age >= LAG as u64 { STALE } else { FRESH }
    } else if !passes_through {
        if is_proven && self::is_proven(newcomer) { PROVEN } else { 0 }
    } else if age >= LONG as u64
        || (age >= BRIEF as u64 && (is_proven || word >> PASSED & 15 < SETTLED as u64))
    {
        SILENT
    } else if is_proven {
        PROVEN
    } else {
        0
    }
}

#[inline(always)]
const fn is_proven(word: u64) -> bool {
    word >> PHASE & 3 == Phase::Proven as u64
}

#[inline(always)]
const fn age_of(word: u64, now: Instant) -> u64 {
    units_since(word >> SEEN, now >> SEEN_SHIFT, SEEN_MASK as u64)
}

#[inline(always)]
fn links<E: Env>(env: &E, identity: u64) -> Option<E::Links> {
    env.links(Table::Connections, (identity >> 32) as u32 & (env.sets(Table::Connections) - 1))
}
