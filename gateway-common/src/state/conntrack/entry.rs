//! The state of one connection: a word that changes as a whole.

mod word;

pub(super) use word::{age_of, has_begun, is_proven, is_settled, opening_of};

use crate::{
    limit::rate::{Instant, SEEN_SHIFT, units_since},
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
pub struct ConnState {
    /// Sequence number of the stream's first byte.
    pub base: u32,
    /// How far the gate is.
    pub phase: Phase,
    /// What the lengths at the stream's start have shown: bits of [`crate::wire::tls::shown`], and `STRUCK`.
    pub shown: u32,
    /// How many of the stream's first bytes passed, without a gap; at most [`PREFIX`], or above it `SETTLED` or `PAST`.
    pub passed: u32,
    /// Other facts: [`REFUSED`] and those behind it.
    flags: u8,
    /// When it was last written; for a connection in doubt, since when. In units of [`SEEN_SHIFT`], wraps after
    /// 2.4 hours. The bits above [`SEEN_MASK`] are not kept in the entry: [`PASSES_THROUGH`] and [`NEVER_EVICTED`].
    seen: u32,
}

const SEEN_MASK: u32 = 0x1fff;
const PASSES_THROUGH: u32 = 1 << 13;
const NEVER_EVICTED: u32 = 1 << 14;
/// Bytes at the stream's start were refused, and none took their place yet.
const REFUSED: u8 = 1;
/// Another stream of the same flow lives, or may come to life by a SYN cookie: nothing is proven for [`DOUBT`].
const DOUBTFUL: u8 = 2;
/// The stream that lived when a SYN came had shown all that it had to.
const ACCEPTED: u8 = 4;
/// A segment with a SYN cookie has started the stream, and the host's TCP was not seen to know it yet.
const BEGUN: u8 = 8;
/// The client has closed it or reset it, as far as the host's TCP takes that.
const CLOSING: u8 = 16;
/// A strike was counted for the stream ([`crate::stage::strike`]).
const STRUCK: u32 = 1 << 7;
/// An entry is written again when it was last seen this many units ago: often enough to choose the oldest by.
pub(super) const TOUCH_AFTER: u32 = 16;
/// Longer than packets wait between the gate and the host's TCP, in units of [`SEEN_SHIFT`].
pub(super) const LAG: u32 = 3;
/// Longer than a SYN cookie is good for, in the same units: two minutes (`MAX_SYNCOOKIE_AGE` in include/net/tcp.h).
const DOUBT: u32 = 128;

/// Values of [`ConnState::passed`] above [`PREFIX`]: the connection was heard of later than [`TOUCH_AFTER`] after its
/// hello; it is so far past its hello that the same sequence numbers come again.
const SETTLED: u32 = PREFIX + 1;
const PAST: u32 = PREFIX + 2;

impl ConnState {
    /// A connection of which nothing is known. No `Option`: half of a state that is not there is undefined, and the
    /// verifier refuses to copy it.
    pub(super) const UNKNOWN: Self =
        Self { base: 0, phase: Phase::Unknown, shown: 0, passed: 0, flags: 0, seen: 0 };

    #[inline(always)]
    const fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    #[inline(always)]
    const fn with(self, flags: u8) -> Self {
        Self { flags: self.flags | flags, ..self }
    }

    #[inline(always)]
    const fn without(self, flags: u8) -> Self {
        Self { flags: self.flags & !flags, ..self }
    }

    /// Whether bytes at its start were refused, and none took their place yet.
    #[inline(always)]
    pub const fn is_refused(self) -> bool {
        self.has(REFUSED)
    }

    /// The same, after that.
    #[inline(always)]
    pub const fn refused(self) -> Self {
        self.with(REFUSED)
    }

    /// The same, after others took their place.
    #[inline(always)]
    pub const fn not_refused(self) -> Self {
        self.without(REFUSED)
    }

    /// Whether it, or the stream that lived when its SYN came, has shown all that it had to.
    #[inline(always)]
    pub const fn is_accepted(self) -> bool {
        self.has(ACCEPTED)
    }

    /// The same, after that.
    #[inline(always)]
    pub const fn accepted(self) -> Self {
        self.with(ACCEPTED)
    }

    /// The same, as a stream of its own, whatever another one had shown.
    #[inline(always)]
    pub const fn not_accepted(self) -> Self {
        self.without(ACCEPTED)
    }

    /// Whether nothing is known of the connection.
    #[inline(always)]
    pub const fn is_unknown(self) -> bool {
        matches!(self.phase, Phase::Unknown)
    }

    /// Whether it is sure that nothing was ever known, since its set has room. Entries are replaced and never removed,
    /// so such a set has evicted nothing, and a connection without an entry was open before the gateway came.
    #[inline(always)]
    pub const fn was_never_evicted(self) -> bool {
        self.is_unknown() && self.seen & NEVER_EVICTED != 0
    }

    /// The same, as a newcomer that passes through: the table may be all there is.
    #[inline(always)]
    pub const fn passing_through(self) -> Self {
        Self { seen: self.seen | PASSES_THROUGH, ..self }
    }

    /// Whether it is a newcomer of that kind.
    #[inline(always)]
    pub(super) const fn passes_through(self) -> bool {
        self.seen & PASSES_THROUGH != 0
    }

    /// The same, with `news` 1 if nothing was ever known of it, else 0.
    #[inline(always)]
    pub(super) const fn with_never_evicted(self, news: u32) -> Self {
        Self { seen: self.seen | (news * NEVER_EVICTED), ..self }
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

    /// The same, after a strike.
    #[inline(always)]
    pub const fn struck(self) -> Self {
        Self { shown: self.shown | STRUCK, ..self }
    }

    /// Whether a strike was counted for the stream that starts at `base`.
    #[inline(always)]
    pub const fn is_struck(self, base: u32) -> bool {
        self.shown & STRUCK != 0 && self.base == base
    }

    /// The same, after it was heard of again.
    #[inline(always)]
    pub(super) const fn settled(self) -> Self {
        if self.has_shown_hello() && self.passed < SETTLED { Self { passed: SETTLED, ..self } } else { self }
    }

    /// Whether the host's TCP may not have its SYN yet.
    #[inline(always)]
    pub const fn is_fresh(self, now: Instant) -> bool {
        matches!(self.phase, Phase::Opening | Phase::Forwarded) && self.age(now) < LAG
    }

    /// Whether the host's TCP may speak of another stream of the same flow.
    #[inline(always)]
    pub const fn is_doubtful(self, now: Instant) -> bool {
        self.has(DOUBTFUL) && self.age(now) < DOUBT
    }

    /// What is known of the stream that starts at `base`.
    #[inline(always)]
    pub const fn of_stream(self, base: u32, now: Instant) -> Self {
        if !self.is_unknown() && self.base == base {
            self
        } else if self.has(DOUBTFUL) {
            let (shown, flags) = (self.shown & !STRUCK, self.flags & (DOUBTFUL | ACCEPTED));
            Self { base, phase: Phase::Opening, shown, passed: 0, flags, ..self }
        } else {
            Self::new(base, Phase::Opening, now)
        }
    }

    /// A new stream after this one. A client with two SYN cookies can use both.
    #[inline(always)]
    pub const fn followed_by(self, base: u32, now: Instant) -> Self {
        let is_second = !self.is_unknown() && self.base != base && self.age(now) < DOUBT;
        let link = Self::new(base, Phase::Opening, now);
        if is_second || self.is_doubtful(now) { link.with(DOUBTFUL) } else { link }
    }

    /// The state after a segment with a SYN cookie, which makes a stream that starts at `base` once the host's TCP has
    /// it. Such a cookie is good for other streams, too, so nothing is proven of this one.
    #[inline(always)]
    pub const fn begins(self, base: u32, now: Instant) -> Self {
        let link = if self.base == base && self.is_fresh(now) { self } else { self.followed_by(base, now) };
        let shown = if self.is_doubtful(now) { self.shown & !STRUCK } else { link.shown };
        Self { shown, ..link }.with(BEGUN | DOUBTFUL)
    }

    /// Whether the host's TCP may be about to make a stream of what has passed. Meanwhile no other stream can begin.
    #[inline(always)]
    pub const fn has_begun(self, now: Instant) -> bool {
        self.has(BEGUN) && self.is_fresh(now)
    }

    /// The same, after the host's TCP was seen to know the stream.
    #[inline(always)]
    pub const fn met(self) -> Self {
        self.without(BEGUN)
    }

    /// Whether its client has closed it or reset it.
    #[inline(always)]
    pub const fn is_closing(self) -> bool {
        self.has(CLOSING)
    }

    /// The same, after that.
    #[inline(always)]
    pub const fn closing(self) -> Self {
        self.with(CLOSING)
    }

    /// The same, while SYN cookies may be out that make other streams of the same flow.
    #[inline(always)]
    pub const fn in_doubt(self) -> Self {
        self.with(DOUBTFUL)
    }

    /// The state after a SYN that came while the host's TCP had a stream open, which the SYN may or may not end.
    #[inline(always)]
    pub const fn doubted(self, base: u32, now: Instant) -> Self {
        let is_accepted = self.is_accepted() || matches!(self.phase, Phase::Forwarded | Phase::Proven);
        let link =
            Self { shown: self.shown & !STRUCK, ..Self::new(base, Phase::Opening, now) }.with(DOUBTFUL);
        if is_accepted { link.with(ACCEPTED) } else { link }
    }

    /// The same: what another stream of the same flow has shown counts for this one too.
    #[inline(always)]
    pub const fn taught_by(self, other: Self) -> Self {
        let flags = (self.flags & !ACCEPTED) | (other.flags & ACCEPTED);
        Self { shown: other.shown, flags, ..self }
    }

    /// A connection seen now, of which nothing has passed.
    #[inline(always)]
    pub const fn new(base: u32, phase: Phase, now: Instant) -> Self {
        Self { base, phase, ..Self::UNKNOWN }.at(now)
    }

    /// The same, written now.
    #[inline(always)]
    pub const fn at(self, now: Instant) -> Self {
        let seen = if self.has(DOUBTFUL) { self.seen } else { (now >> SEEN_SHIFT) as u32 & SEEN_MASK };
        Self { seen, ..self }
    }

    #[inline(always)]
    const fn age(self, now: Instant) -> u32 {
        units_since(self.seen as u64, now >> SEEN_SHIFT, SEEN_MASK as u64) as u32
    }

    /// Whether it is time to write down that the connection lives.
    #[inline(always)]
    pub const fn is_stale(self, now: Instant) -> bool {
        !self.has(DOUBTFUL) && self.age(now) >= TOUCH_AFTER
    }
}
