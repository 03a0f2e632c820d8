//! A word of an entry of the drop cache.

use super::{BULK, Entry, Ledger};
use crate::{abi::SERVICES, limit::rate::Instant, verdict::Reason};

/// The other facts of an entry, in a word. From the lowest bit up: drops to tell (8), heat (3), ledger (2), service
/// (6), reason (7), and the upper bits of the instant when it ends (38).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Meta(pub(super) u64);

impl Meta {
    pub(super) const HEAT_SHIFT: u32 = 8;
    const HEAT_MAX: u64 = 7;
    const LEDGER_SHIFT: u32 = 11;
    const SERVICE_SHIFT: u32 = 13;
    const SERVICE_MASK: u32 = 63;
    const REASON_SHIFT: u32 = 19;
    const REASON_MASK: u64 = 127;
    const END_MASK: u64 = u64::MAX << 26;

    #[inline(always)]
    pub(super) const fn new(Entry { reason, ledger, service, .. }: &Entry, heat: u64, end: Instant) -> Self {
        Self(
            end & Self::END_MASK
                | (*reason as u64) << Self::REASON_SHIFT
                | ((*service & Self::SERVICE_MASK) as u64) << Self::SERVICE_SHIFT
                | (*ledger as u64) << Self::LEDGER_SHIFT
                | heat << Self::HEAT_SHIFT,
        )
    }

    #[inline(always)]
    pub(super) const fn is_told(self, ledger: Ledger) -> bool {
        self.0 >> Self::LEDGER_SHIFT & 3 == ledger as u64
    }

    #[inline(always)]
    pub(super) const fn drops(self) -> u64 {
        self.0 & BULK
    }

    #[inline(always)]
    pub(super) const fn heat(self) -> u64 {
        self.0 >> Self::HEAT_SHIFT & Self::HEAT_MAX
    }

    #[inline(always)]
    pub(super) const fn service(self) -> u32 {
        (self.0 >> Self::SERVICE_SHIFT) as u32 & Self::SERVICE_MASK
    }

    #[inline(always)]
    pub(super) fn reason(self) -> Reason {
        let number = self.0 >> Self::REASON_SHIFT & Self::REASON_MASK;
        // Only numbers of reasons are written.
        Reason::ALL.get(number as usize).copied().unwrap_or(Reason::Contended)
    }

    /// How much of its time is left, less 1: [`super::LIFE`] or more if it is stale.
    #[inline(always)]
    pub(super) const fn left(self, now: Instant) -> Instant {
        (self.0 & Self::END_MASK).wrapping_sub(now).wrapping_sub(1)
    }

    /// The same after its drops are told, which warm it.
    #[inline(always)]
    pub(super) const fn told(self) -> Self {
        let warmer = self.heat() + self.drops();
        let heat = if warmer < Self::HEAT_MAX { warmer } else { Self::HEAT_MAX };
        Self((self.0 & !(Self::HEAT_MAX << Self::HEAT_SHIFT | BULK)) | heat << Self::HEAT_SHIFT)
    }
}

const _: () =
    assert!(SERVICES as u32 <= Meta::SERVICE_MASK + 1 && Reason::COUNT as u64 <= Meta::REASON_MASK + 1);
