//! Which drops user space is shown: some of each reason, as many a second as a CPU may show of it.
//!
//! A token bucket for each reason, so that a flood leaves the samples of other reasons alone. Frames that the drop cache
//! drops are not sampled: the frame before, which put its source there, was judged in full.

use crate::{
    limit::rate::{self, Instant, SECOND},
    verdict::Reason,
};

/// Samples of one reason that a CPU takes in a second; as many at once.
pub const RATE: Instant = 40;

/// From one sample to the next, on average.
const SPACING: Instant = SECOND / RATE;
/// What may be owed.
const BURST: Instant = SECOND - SPACING;
/// Readings of the clock may be late by less: what is owed beyond is as old as the clock.
const STALE: Instant = 4 * SECOND;

/// The bucket of each reason, of one CPU.
#[derive(Clone, Copy, Debug)]
pub struct State {
    tats: [Instant; Reason::SLOTS],
}

impl Default for State {
    fn default() -> Self {
        Self { tats: [0; Reason::SLOTS] }
    }
}

impl State {
    /// Whether a drop is to be sampled; `reason` is the number of its reason.
    #[inline(always)]
    pub fn takes(&mut self, reason: usize, now: Instant) -> bool {
        let tat = &mut self.tats[reason & (Reason::SLOTS - 1)];
        let debt = rate::debt(*tat, now);
        if debt > BURST && debt < STALE {
            return false;
        }
        *tat = now.wrapping_add(if debt > BURST { 0 } else { debt }).wrapping_add(SPACING);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{RATE, State};
    use crate::limit::rate::{Instant, SECOND};

    fn taken(state: &mut State, reason: usize, from: Instant, packets: u64, every: Instant) -> u64 {
        let at = |packet: u64| from.wrapping_add(packet * every);
        (0..packets).filter(|packet| state.takes(reason, at(*packet))).count() as u64
    }

    #[test]
    fn a_flood_is_sampled_at_its_rate_and_leaves_other_reasons_alone() {
        let mut state = State::default();
        // A burst, and ten seconds of 10,000 a second.
        let of_flood = taken(&mut state, 3, 0, 100_000, SECOND / 10_000);
        assert!((10 * RATE..=11 * RATE + 1).contains(&of_flood), "{of_flood}");
        assert_eq!(taken(&mut state, 4, 10 * SECOND, 5, 1), 5);
    }

    #[test]
    fn a_clock_that_is_late_or_comes_round_neither_opens_nor_closes_it() {
        let mut state = State::default();
        let start: Instant = 0_u64.wrapping_sub(SECOND / 2);
        assert_eq!(taken(&mut state, 0, start.wrapping_sub(10 * SECOND), 1, 0), 1);
        assert_eq!(taken(&mut state, 0, start, 100, 0), RATE);
        assert_eq!(taken(&mut state, 0, start.wrapping_sub(SECOND / 100), 100, 0), 0, "late");
        assert_eq!(taken(&mut state, 0, start.wrapping_add(SECOND), 100, 0), RATE);
        assert_eq!(taken(&mut state, 0, start.wrapping_add(1 << 62), 100, 0), RATE, "long after");
    }
}
