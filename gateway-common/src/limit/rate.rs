//! Rates, and the virtual scheduling algorithm that holds traffic to them.
//!
//! GCRA (ITU-T I.371, ATM Forum TM 4.0 section 4.4.3.2) is the token bucket with one number of state: the *theoretical
//! arrival time* (TAT). A packet of cost `c` conforms when `max(tat, now) + c - now <= burst`; then the TAT moves
//! there. Over any time `t` no more than `rate * t + burst` is admitted. A TAT that is not in the future is a full
//! bucket.
//!
//! Time is counted in [`Instant`]s of 1/256 ns, which keeps 100 Gbit/s within 0.1 % for the smallest frame. Bytes have
//! ten more fractional bits and are rounded up once a packet, so rounding never admits more.
//!
//! A [`Reading`] of the clock that may be late admits less and never more: packets are held to the time that it shows,
//! and a full bucket begins at the latest possible time. The next reading gives back what was held back.

#[cfg(test)]
mod tests;

use core::{fmt, str::FromStr};

use crate::packet::Packet;

/// Time since the table's epoch in 1/256 ns; wraps after 2.28 years, and is compared by wrapping difference.
pub type Instant = u64;

/// Fractional bits of an [`Instant`] below one nanosecond.
pub const INSTANT_SHIFT: u32 = 8;
/// Fractional bits that the cost of one byte has below an [`Instant`].
pub const BYTE_SHIFT: u32 = 10;
/// One second as a difference of [`Instant`]s.
pub const SECOND: Instant = 1_000_000_000 << INSTANT_SHIFT;

/// The longest time that a burst may stand for: 100 days, far below 1.14 years, where wrapping differences are
/// ambiguous.
pub const BURST_MAX: Instant = 100 * 86_400 * SECOND;
/// The largest Ethernet frame: a burst of bytes has room for one.
const ETHERNET_MAX: u32 = 1_518;
/// The largest frame that is charged for: a generic-mode aggregate of 64 KiB.
pub const FRAME_MAX: u64 = 65_536;

/// The shift from [`Instant`]s to the unit in which tables keep times: 2^38 instants, about 1.07 s.
pub const SEEN_SHIFT: u32 = 38;

/// How long ago something was seen, for times in some unit and in as many bits as `mask` has. A time one unit ahead
/// counts as now: it is from a CPU whose clock was read a little later.
#[inline(always)]
pub const fn units_since(seen: u64, now: u64, mask: u64) -> u64 {
    let units = now.wrapping_sub(seen).wrapping_add(1) & mask;
    // Less one, unless it is zero: all but zero give a carry. Without a branch, as [`debt`].
    units - (units.wrapping_add(mask) >> mask.count_ones())
}

/// A reading of the clock that may be late: the time is not before `latest - late`, and not after `latest`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The latest that the time can be.
    pub latest: Instant,
    /// How long before that the clock was read.
    pub late: Instant,
}

impl Reading {
    /// The time that the clock showed.
    #[inline(always)]
    pub const fn now(self) -> Instant {
        self.latest.wrapping_sub(self.late)
    }
}

impl From<Instant> for Reading {
    /// A reading that is not late.
    #[inline(always)]
    fn from(now: Instant) -> Self {
        Self { latest: now, late: 0 }
    }
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "host", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[repr(u8)]
pub enum Dimension {
    /// Every packet.
    Packets,
    /// Every byte of the frame, Ethernet header included.
    Bytes,
    /// TCP packets with SYN and without ACK.
    Syn,
    /// UDP packets.
    Udp,
    /// ICMP and ICMPv6 packets.
    Icmp,
    /// QUIC packets that can open a connection, to a service that requires QUIC.
    Initial,
    /// QUIC packets with a short header of a flow that has opened no connection, to a service that requires QUIC.
    Migration,
}

impl Dimension {
    /// How many there are.
    pub const COUNT: usize = 7;
    /// All, in the order of [`crate::abi::Limits`].
    pub const ALL: [Self; Self::COUNT] =
        [Self::Packets, Self::Bytes, Self::Syn, Self::Udp, Self::Icmp, Self::Initial, Self::Migration];
    /// The dimensions of a source, wherever it sends to.
    pub const OF_SOURCES: [Self; 5] = [Self::Packets, Self::Bytes, Self::Syn, Self::Udp, Self::Icmp];
    /// TATs that a bucket has.
    pub const COLUMNS: usize = 5;

    /// The place of the dimension's TAT in a bucket. Two places are shared: [`Self::Initial`] and [`Self::Migration`]
    /// are limits of UDP services alone, to which nobody sends a SYN or ICMP.
    #[inline(always)]
    pub const fn column(self) -> usize {
        match self {
            Self::Packets => 0,
            Self::Bytes => 1,
            Self::Syn | Self::Initial => 2,
            Self::Udp => 3,
            Self::Icmp | Self::Migration => 4,
        }
    }

    /// The word for it in configuration, command line and output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Packets => "packets",
            Self::Bytes => "bytes",
            Self::Syn => "syn",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
            Self::Initial => "initial",
            Self::Migration => "migration",
        }
    }

    /// The dimension beside packets and bytes that a packet counts in, if any.
    #[inline(always)]
    pub const fn of_kind(packet: &Packet) -> Option<Self> {
        if packet.is_syn() {
            Some(Self::Syn)
        } else if packet.is_udp() {
            Some(Self::Udp)
        } else if packet.is_icmp() {
            Some(Self::Icmp)
        } else {
            None
        }
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A word that is no [`Dimension`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoDimension;

impl fmt::Display for NoDimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not one of packets, bytes, syn, udp, icmp, initial, migration")
    }
}

impl core::error::Error for NoDimension {}

impl FromStr for Dimension {
    type Err = NoDimension;

    fn from_str(word: &str) -> Result<Self, NoDimension> {
        Self::ALL.into_iter().find(|dimension| dimension.name() == word).ok_or(NoDimension)
    }
}

/// A set of dimensions, a bit each.
pub type Mask = u32;

/// The bit of a dimension in a [`Mask`].
#[inline(always)]
pub const fn bit(dimension: Dimension) -> Mask {
    1 << dimension as u32
}

/// Whether a set has a dimension.
#[inline(always)]
pub const fn has(mask: Mask, dimension: Dimension) -> bool {
    mask & bit(dimension) != 0
}

/// `amount` of packets or bytes in `per` nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Packets or bytes.
    pub amount: u64,
    /// Nanoseconds, at least 1.
    pub per: u64,
}

/// Why a limit cannot be kept exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitError {
    /// The rate is zero; to let nothing through, block the source instead.
    Zero,
    /// The rate is too high to be within 0.1 %: the highest is 148,810,000 packets/s or 100 Gbit/s.
    TooFast,
    /// The rate is too low: the lowest is one packet a day or 10 bytes a second.
    TooSlow,
    /// The burst is below one packet, or for bytes below the largest Ethernet frame of 1,518 bytes.
    BurstTooSmall,
    /// The burst would take longer than 100 days to come back at this rate.
    BurstTooLong,
}

/// A limit as the packet path reads it. All zero: no limit.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "host", derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable))]
pub struct Limit {
    /// Time for one packet in [`Instant`]s, or for one byte in [`Instant`]s with [`BYTE_SHIFT`] more bits; 0: no limit.
    pub cost: u64,
    /// How far the TAT may be ahead of now.
    pub burst: Instant,
}

impl Limit {
    /// The limit that lets everything through.
    pub const NONE: Self = Self { cost: 0, burst: 0 };

    /// Compiles a rate and a burst (in packets or bytes) of a dimension.
    ///
    /// # Errors
    /// If the rate cannot be kept within 0.1 %, or if the burst is too small or too long.
    pub fn new(dimension: Dimension, rate: Rate, burst: u64) -> Result<Self, LimitError> {
        if rate.amount == 0 || rate.per == 0 {
            return Err(LimitError::Zero);
        }
        let bytes = matches!(dimension, Dimension::Bytes);
        let shift = if bytes { INSTANT_SHIFT + BYTE_SHIFT } else { INSTANT_SHIFT };
        let cost = (u128::from(rate.per) << shift).div_ceil(u128::from(rate.amount));
        let (fastest, slowest, least) = if bytes {
            (1u128 << (INSTANT_SHIFT + BYTE_SHIFT) >> 4, 100_000_000u128 << shift, u64::from(ETHERNET_MAX))
        } else {
            (1_000, 86_400_000_000_000u128 << shift, 1)
        };
        if cost < fastest {
            return Err(LimitError::TooFast);
        }
        if cost > slowest {
            return Err(LimitError::TooSlow);
        }
        if burst < least {
            return Err(LimitError::BurstTooSmall);
        }
        let time = (cost * u128::from(burst)) >> (shift - INSTANT_SHIFT);
        if time > u128::from(BURST_MAX) {
            return Err(LimitError::BurstTooLong);
        }
        // Both fit: cost is at most 86,400 s << 8 or 0.1 s << 18, time at most BURST_MAX.
        Ok(Self { cost: cost as u64, burst: time as u64 })
    }

    /// The same rate with half the burst, but at least what one packet needs.
    pub fn halved(self, dimension: Dimension) -> Self {
        Self { burst: (self.burst / 2).max(self.price(dimension, ETHERNET_MAX)), ..self }
    }

    /// Whether there is a limit.
    #[inline(always)]
    pub const fn is_limit(&self) -> bool {
        self.cost != 0
    }

    /// The price of a packet of `bytes` in `dimension`.
    #[inline(always)]
    pub const fn price(&self, dimension: Dimension, bytes: u32) -> Instant {
        match dimension {
            // At most 65,536 * (0.1 s << 18) < 2^61.
            Dimension::Bytes => {
                ((bytes as u64).wrapping_mul(self.cost).wrapping_add((1 << BYTE_SHIFT) - 1)) >> BYTE_SHIFT
            }
            _ => self.cost,
        }
    }

    /// 1 if a packet of this price does not conform, else 0; 0 without a limit. Without a branch, as [`debt`].
    #[inline(always)]
    pub fn is_over(&self, tat: Instant, clock: Reading, price: Instant) -> u32 {
        // Debts are below 2^62, and prices, costs and bursts below 2^61: a negative number has the highest bit.
        let debt = debt(tat, clock.latest).wrapping_add(price);
        let room = self.burst.wrapping_sub(debt.wrapping_add(clock.late));
        ((room & 0_u64.wrapping_sub(self.cost)) >> 63) as u32
    }

    /// How long after an instant no packet of this price conforms, whatever is charged meanwhile; 0: one may now.
    #[inline(always)]
    pub fn refused_for(&self, tat: Instant, now: Instant, price: Instant) -> Instant {
        let over = debt(tat, now).wrapping_add(price).wrapping_sub(self.burst);
        // All ones where there is a limit and the packet is over it.
        let is_over = !((over as i64 >> 63) as u64) & 0_u64.wrapping_sub((self.cost != 0) as u64);
        over & is_over
    }

    /// The TAT after a packet of this price, or nothing when the packet does not conform.
    #[inline(always)]
    pub fn admit(&self, tat: Instant, clock: Reading, price: Instant) -> Option<Instant> {
        let debt = debt(tat, clock.latest).wrapping_add(price);
        if debt.wrapping_add(clock.late) > self.burst { None } else { Some(clock.latest.wrapping_add(debt)) }
    }
}

/// How far a TAT is ahead of now: 0 for a full bucket.
///
/// 2^62 instants (208 days) and more cannot come from a packet: such a TAT lies in the past, or is from before a wrap.
#[inline(always)]
pub fn debt(tat: Instant, now: Instant) -> Instant {
    debt_without_branch(tat, now, 0)
}

/// The same for many TATs: the kernel's verifier would follow all combinations of branches. `nothing` is 0, which LLVM
/// must not know: it turns a mask into a branch.
#[inline(always)]
pub fn debt_without_branch(tat: Instant, now: Instant, nothing: u64) -> Instant {
    let ahead = tat.wrapping_sub(now);
    // All ones where one of the upper two bits is set.
    let past = ((ahead | ahead << 1) as i64 >> 63) as u64;
    ahead & !past.wrapping_add(nothing)
}
