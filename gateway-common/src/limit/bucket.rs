//! Buckets, as slots of a table ([`crate::state::buckets`]).
//!
//! A slot is a source's exact key and a TAT for each dimension. If none of its TATs is ahead of now, it holds a full
//! bucket, which is the same as no bucket. So its eviction loses nothing, and nothing needs a clean-up. In a set
//! without such a slot the one with the least debt is evicted: a forged newcomer owes one packet, a source over its
//! limit owes a burst.
//!
//! Several CPUs change a slot at once without locks. Every change of a TAT is a compare-and-swap, so no charge is lost.

use crate::{
    limit::{
        limits::Limits,
        rate::{Dimension, Instant, Limit, Mask, Reading, bit, debt_without_branch, has},
    },
    packet::Packet,
    words::{Slots, Words},
};

/// Slots that one set of a bucket table has.
pub const WAYS: usize = 4;
/// Words of a bucket slot, one cache line: key, a TAT for each [`Dimension::column`], bytes, and packets with drops.
pub const SLOT_WORDS: usize = 8;
/// Words of a set of buckets.
pub const SET_WORDS: usize = WAYS * SLOT_WORDS;
/// Word of a slot that holds the source's key; 0: the slot is empty.
pub const SLOT_KEY: usize = 0;
/// First of the TATs, by [`Dimension::column`].
pub const SLOT_TATS: usize = 1;
/// Bytes admitted since the source took the slot.
pub const SLOT_BYTES: usize = 6;
/// Packets admitted (upper half) and packets dropped (lower half) since the source took the slot. Both stop at their
/// highest number.
pub const SLOT_COUNTS: usize = 7;

const _: () = assert!(SLOT_TATS + Dimension::COLUMNS == SLOT_BYTES && SLOT_WORDS * 8 == 64);

/// Tries of a compare-and-swap before a packet is given up as contended.
const TRIES: usize = 4;

/// The dimensions that a packet counts in, and its bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// Bytes of the frame.
    pub bytes: u32,
    /// The dimensions that it counts in.
    pub mask: Mask,
}

impl Cost {
    /// The cost of a packet.
    #[inline(always)]
    pub const fn of(packet: &Packet) -> Self {
        let kind = match Dimension::of_kind(packet) {
            Some(kind) => bit(kind),
            None => 0,
        };
        Self { bytes: packet.length, mask: bit(Dimension::Packets) | bit(Dimension::Bytes) | kind }
    }
}

/// The dimensions of [`Dimension::OF_SOURCES`].
pub const OF_SOURCES: Mask = all_of(&Dimension::OF_SOURCES);
/// The dimensions by protocol: a packet counts in one of them at most.
pub const OF_KINDS: Mask = all_of(&[Dimension::Syn, Dimension::Udp, Dimension::Icmp]);
/// The dimensions of QUIC packets.
const OF_QUIC: Mask = all_of(&[Dimension::Initial, Dimension::Migration]);

const fn all_of(mut dimensions: &[Dimension]) -> Mask {
    let mut mask = 0;
    while let [first, rest @ ..] = dimensions {
        mask |= bit(*first);
        dimensions = rest;
    }
    mask
}

/// The number of the dimension of [`OF_KINDS`] in a set with one of them. It is its column, too.
#[inline(always)]
const fn kind(mask: Mask) -> usize {
    2 + ((mask & OF_KINDS) >> 3) as usize
}

const _: () = {
    let mut left: &[Dimension] = &[Dimension::Syn, Dimension::Udp, Dimension::Icmp];
    while let [dimension, rest @ ..] = left {
        let number = kind(bit(*dimension));
        assert!(number == *dimension as usize && number == dimension.column());
        left = rest;
    }
};

/// Does the same for each [`Dimension`] of a set, in their order, with its number and its column. Written out, and once
/// for all of [`OF_KINDS`]: LLVM may keep a loop. Then the kernel looks up in every turn what is known here, and the
/// verifier follows each turn with all possible values.
macro_rules! for_each {
    (of $mask:expr, |$number:ident, $column:ident| $body:block) => {
        for_each!(@ $mask, $number $column $body Packets Bytes);
        if $mask & OF_KINDS != 0 {
            let $number = kind($mask);
            let $column = $number;
            $body
        }
        if $mask & OF_QUIC != 0 {
            for_each!(@ $mask, $number $column $body Initial Migration);
        }
    };
    (@ $mask:expr, $number:ident $column:ident $body:block $($dimension:ident)*) => {
        $(
            if has($mask, Dimension::$dimension) {
                let $number = Dimension::$dimension as usize;
                let $column = const { Dimension::$dimension.column() };
                $body
            }
        )*
    };
}

/// A bit of [`Bucket::charge`]'s answer, beside dimensions: other CPUs changed the bucket at every try.
pub const CONTENDED: Mask = 1 << Dimension::COUNT;

/// The result of further tries to charge.
#[repr(u32)]
enum Again {
    Charged,
    /// The packet does not fit.
    Over,
    /// Other CPUs changed the bucket at every try.
    Contended,
}

/// One source's slot.
#[derive(Clone, Copy)]
pub struct Bucket<W>(W);

impl<W: Words> Bucket<W> {
    /// The slot of a set.
    #[inline(always)]
    pub fn in_set<S: Slots<Slot = W>>(set: S, way: u32) -> Self {
        Self(set.slot(way as usize))
    }

    /// The bucket in a slot.
    #[inline(always)]
    pub const fn of(slot: W) -> Self {
        Self(slot)
    }

    /// The dimensions of the cost in which the packet does not fit; charges nothing.
    #[inline(always)]
    pub fn over(&self, cost: Cost, limits: &Limits, clock: Reading) -> Mask {
        let mut over = 0;
        for_each!(of cost.mask, |number, column| {
            let limit = limits.at(number);
            let tat = self.0.load(SLOT_TATS + column);
            over |= limit.is_over(tat, clock, price(limit, number, cost.bytes)) << number;
        });
        over
    }

    /// How long a packet that is over its limits in a set of dimensions is refused, and with it every packet of its
    /// kind that is not shorter than `bytes`.
    #[inline(always)]
    pub fn refused_for(&self, cost: Cost, limits: &Limits, now: Instant) -> Instant {
        let mut longest = 0;
        for_each!(of cost.mask, |number, column| {
            let limit = limits.at(number);
            let lasts = limit.refused_for(self.0.load(SLOT_TATS + column), now, price(limit, number, cost.bytes));
            // The longer one, without a branch.
            let more = lasts.wrapping_sub(longest);
            longest += more & !((more as i64 >> 63) as u64);
        });
        longest
    }

    /// Charges the packet in every dimension of the cost: an empty set. Else the dimension in which it does not fit, or
    /// [`CONTENDED`].
    ///
    /// If another CPU used up one dimension since [`Self::over`], charges in other dimensions stay: the limits hold,
    /// and the source pays for one packet more.
    #[inline(always)]
    pub fn charge(&self, cost: Cost, limits: &Limits, clock: Reading) -> Mask {
        for_each!(of cost.mask, |number, column| {
            let limit = limits.at(number);
            let price = price(limit, number, cost.bytes);
            let word = SLOT_TATS + column;
            if limit.is_limit() && !self.charge_one(word, price, limit, clock) {
                match self.charge_again(word, price, limit, &clock) {
                    Again::Charged => {}
                    Again::Over => return 1 << number,
                    Again::Contended => return CONTENDED,
                }
            }
        });
        0
    }

    /// Charges the packet in one dimension, if it fits and no other CPU changes the bucket at the same moment.
    #[inline(always)]
    fn charge_one(&self, word: usize, price: Instant, limit: &Limit, clock: Reading) -> bool {
        let tat = self.0.load(word);
        limit.admit(tat, clock, price).is_some_and(|next| self.0.replace(word, tat, next))
    }

    /// Tries again after that failed. A function of its own in the kernel: it is rare, and the verifier follows the
    /// tries once for each dimension, not once for each combination of dimensions.
    #[inline(never)]
    fn charge_again(&self, word: usize, price: Instant, limit: &Limit, clock: &Reading) -> Again {
        for _ in 1..TRIES {
            if self.charge_one(word, price, limit, *clock) {
                return Again::Charged;
            }
        }
        let is_over = limit.is_over(self.0.load(word), *clock, price) != 0;
        if is_over { Again::Over } else { Again::Contended }
    }

    /// Counts an admitted packet of the source.
    #[inline(always)]
    pub fn count_packet(&self, bytes: u32) {
        if self.counts() >> 32 != u64::from(u32::MAX) {
            self.0.add(SLOT_COUNTS, 1 << 32);
        }
        self.0.add(SLOT_BYTES, u64::from(bytes));
    }

    /// Counts dropped packets of the source.
    #[inline(always)]
    pub fn count_drops(&self, drops: u32) {
        if drops != 0 {
            let room = u32::MAX - self.counts() as u32;
            self.0.add(SLOT_COUNTS, u64::from(drops.min(room)));
        }
    }

    #[inline(always)]
    fn counts(&self) -> u64 {
        self.0.load(SLOT_COUNTS)
    }

    /// The debts of all dimensions together; 0: the slot is free. Five of [`crate::limit::rate::BURST_MAX`] fit.
    /// `nothing` is that of [`debt_without_branch`].
    #[inline(always)]
    pub fn debt(&self, now: Instant, nothing: u64) -> Instant {
        let mut sum: Instant = 0;
        for column in 0..Dimension::COLUMNS {
            let debt = debt_without_branch(self.0.load(SLOT_TATS + column), now, nothing);
            sum = sum.wrapping_add(debt);
        }
        sum
    }

    /// Forgives the debt of the former owner. A TAT that has just moved is the newcomer's own, and stays. All are
    /// written, owed or not: else the verifier would follow all combinations.
    #[inline(never)]
    pub fn reset(&self, now: Instant) {
        for column in 0..Dimension::COLUMNS {
            let tat = self.0.load(SLOT_TATS + column);
            self.0.replace(SLOT_TATS + column, tat, now);
        }
    }
}

/// The price of a packet of `bytes` in the dimension of a number: in all but bytes, one packet.
#[inline(always)]
const fn price(limit: &Limit, number: usize, bytes: u32) -> Instant {
    let is_bytes = number == Dimension::Bytes as usize;
    limit.price(if is_bytes { Dimension::Bytes } else { Dimension::Packets }, bytes)
}
