//! A rate and a burst, and one of them for each dimension.

use std::fmt;

use gateway_common::limit::rate::{BURST_MAX, Dimension, Limit, LimitError, Rate, SECOND};

use super::{units, wrong::Wrong};

/// The burst in bytes that a limit has at least where none is written: the largest frame that is charged for,
/// an aggregate of the kernel's generic mode.
const BURST_BYTES: u64 = gateway_common::limit::rate::FRAME_MAX;

/// A rate and a burst that the packet path can keep.
///
/// `Display` writes the rate as configuration has it: `20k/s`, `1Gbit/s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    dimension: Dimension,
    rate: Rate,
    burst: u64,
    limit: Limit,
}

/// Which text of a quota is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Rate,
    Burst,
}

impl Quota {
    /// A quota; without a burst, one second's worth of the rate, at least 1 packet or 65,536 bytes.
    ///
    /// # Errors
    /// Where the packet path could not keep it within 0.1 %.
    pub fn new(dimension: Dimension, rate: Rate, burst: Option<u64>) -> Result<Self, LimitError> {
        let burst = burst.unwrap_or_else(|| second_of(dimension, rate));
        let limit = Limit::new(dimension, rate, burst)?;
        Ok(Self { dimension, rate, burst, limit })
    }

    /// A quota from the texts of a configuration or a command line: `20k/s` and `40k`.
    ///
    /// # Errors
    /// What is wrong and what would be right.
    pub fn parse(dimension: Dimension, rate: &str, burst: Option<&str>) -> Result<Self, String> {
        Self::from_texts(dimension, rate, burst).map_err(|(_, wrong)| wrong.to_string())
    }

    pub(crate) fn from_texts(
        dimension: Dimension,
        rate: &str,
        burst: Option<&str>,
    ) -> Result<Self, (Part, Wrong)> {
        let rate = units::rate(dimension, rate).map_err(|wrong| (Part::Rate, wrong))?;
        let burst = burst.map(|text| units::burst(dimension, text)).transpose();
        let burst = burst.map_err(|wrong| (Part::Burst, wrong))?;
        Self::new(dimension, rate, burst).map_err(|error| cannot_keep(dimension, rate, error))
    }

    /// What is counted.
    pub const fn dimension(&self) -> Dimension {
        self.dimension
    }

    /// Packets or bytes in a time.
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    /// Packets or bytes that may come at once.
    pub const fn burst(&self) -> u64 {
        self.burst
    }

    /// As the packet path reads it.
    pub const fn limit(&self) -> Limit {
        self.limit
    }

    /// The burst as configuration has it: `40k`, `64MiB`.
    pub fn burst_text(&self) -> String {
        units::burst_text(self.dimension, self.burst)
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&units::rate_text(self.dimension, self.rate))
    }
}

/// One second of the rate, rounded up.
fn second_of(dimension: Dimension, rate: Rate) -> u64 {
    const NANOS: u128 = 1_000_000_000;
    let worth = (u128::from(rate.amount) * NANOS).div_ceil(u128::from(rate.per.max(1)));
    let least = if dimension == Dimension::Bytes { BURST_BYTES } else { 1 };
    u64::try_from(worth).unwrap_or(u64::MAX).max(least)
}

/// A limit that cannot be kept, said with what could be.
fn cannot_keep(dimension: Dimension, rate: Rate, error: LimitError) -> (Part, Wrong) {
    let bytes = dimension == Dimension::Bytes;
    let pick = |of_bytes: &str, of_packets: &str| {
        if bytes { of_bytes.to_owned() } else { of_packets.to_owned() }
    };
    let (part, message, help) = match error {
        LimitError::Zero => (
            Part::Rate,
            "a rate of zero would let nothing through",
            "write a rate above zero; to let nothing through, put the sources under `block` in [lists]"
                .to_owned(),
        ),
        LimitError::TooFast => (
            Part::Rate,
            "the rate is too high to be kept exactly",
            pick("the highest is 100Gbit/s", "the highest is 148810k/s, the smallest frames at 100 Gbit/s"),
        ),
        LimitError::TooSlow => {
            (Part::Rate, "the rate is too low to be kept", pick("the lowest is 10B/s", "the lowest is 1/d"))
        }
        LimitError::BurstTooSmall => (
            Part::Burst,
            "the burst is too small for a single packet",
            pick("write at least 1518B, the largest Ethernet frame", "write at least 1"),
        ),
        LimitError::BurstTooLong => (
            Part::Burst,
            "the burst would take longer than 100 days to come back at this rate",
            format!("write at most {}, or a higher rate", units::burst_text(dimension, longest_burst(rate))),
        ),
    };
    (part, Wrong::new(message, help))
}

/// The burst that comes back in [`BURST_MAX`], rounded down.
fn longest_burst(rate: Rate) -> u64 {
    const NANOS: u128 = 1_000_000_000;
    let seconds = u128::from(BURST_MAX / SECOND);
    let burst = u128::from(rate.amount) * seconds * NANOS / u128::from(rate.per.max(1));
    u64::try_from(burst).unwrap_or(u64::MAX)
}

/// At most one quota for each dimension.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quotas {
    slots: [Slot; Dimension::COUNT],
}

/// What is written for a dimension.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Slot {
    /// Nothing.
    #[default]
    Absent,
    /// The word `none`.
    Lifted,
    Set(Quota),
}

impl Quotas {
    /// No quota at all.
    pub const NONE: Self = Self { slots: [Slot::Absent; Dimension::COUNT] };

    /// The quota of a dimension, if there is one.
    pub fn get(&self, dimension: Dimension) -> Option<Quota> {
        match self.slots[dimension as usize] {
            Slot::Set(quota) => Some(quota),
            Slot::Absent | Slot::Lifted => None,
        }
    }

    /// Sets a quota in the place of its dimension.
    pub fn set(&mut self, quota: Quota) {
        self.slots[quota.dimension as usize] = Slot::Set(quota);
    }

    /// Lifts a dimension's limit, as the word `none` does: there is none, whatever holds elsewhere.
    pub fn lift(&mut self, dimension: Dimension) {
        self.slots[dimension as usize] = Slot::Lifted;
    }

    /// Whether the word `none` stands for the dimension, which is more than that nothing is written.
    pub fn is_lifted(&self, dimension: Dimension) -> bool {
        self.slots[dimension as usize] == Slot::Lifted
    }

    /// The quotas that there are, in the order of [`Dimension::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = Quota> + '_ {
        Dimension::ALL.into_iter().filter_map(|dimension| self.get(dimension))
    }

    /// Whether there is no quota.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}
