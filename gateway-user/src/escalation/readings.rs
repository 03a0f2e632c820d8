//! Who was over a limit since the last look.

use gateway_common::{
    abi::{Limits, SLOT_TATS, SLOT_WORDS},
    limit::rate::{self, Dimension, FRAME_MAX, Instant},
};

/// The counts of drops of a table's slots at the last look.
#[derive(Clone, Debug, Default)]
pub struct Readings {
    drops: Vec<u32>,
}

impl Readings {
    /// Takes the counts of all slots, in order; gives the places of those that have dropped something since the last look, and
    /// how much. A count that is lower than before is a newcomer's. The first counts say nothing: they may be old.
    pub fn grown(&mut self, counts: impl IntoIterator<Item = u32>) -> Vec<(usize, u64)> {
        if self.drops.is_empty() {
            self.drops.extend(counts);
            return Vec::new();
        }
        let mut grown = Vec::new();
        for (place, (count, before)) in counts.into_iter().zip(&mut self.drops).enumerate() {
            let more = more(count.into(), (*before).into());
            *before = count;
            if more != 0 {
                grown.push((place, more));
            }
        }
        grown
    }
}

/// By how much a count has grown, which begins at 0 for a newcomer.
pub const fn more(count: u64, before: u64) -> u64 {
    if count >= before { count - before } else { count }
}

/// Whether a bucket may have been over a limit in the time before now that is `within`: its debt then filled the burst, and has
/// not become less by more than the time. Drops of the gate count in a slot too, and are no sign of pressure.
pub fn is_over(words: &[u64; SLOT_WORDS], limits: &Limits, now: Instant, within: Instant) -> bool {
    Dimension::ALL.into_iter().any(|dimension| {
        let limit = limits.of(dimension);
        let debt = rate::debt(words[SLOT_TATS + dimension.column()], now);
        let price = limit.price(dimension, FRAME_MAX as u32);
        limit.is_limit() && debt.saturating_add(price).saturating_add(within) >= limit.burst
    })
}
