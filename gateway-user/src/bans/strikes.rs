//! From the kernel's counts of strikes to sources that have too many of them.
//!
//! The kernel counts strikes of a source without end. The counts are read every [`POLL`], and what has been added goes into
//! parts of the time in which strikes count. A part counts as long as all of it lies within that time, so no strike counts
//! for longer than it should, and some for an eighth less.

use std::collections::HashMap;
use std::time::Duration;

use super::Rules;

/// How often the kernel's counts are read.
pub const POLL: Duration = Duration::from_millis(250);
/// Parts of the time in which strikes count.
const PARTS: usize = 8;

/// What is known of one source.
#[derive(Clone, Copy, Debug)]
struct Source {
    /// The kernel's count when it was last read.
    count: u32,
    /// Strikes in each part, the newest at `newest` modulo [`PARTS`].
    parts: [u32; PARTS],
    /// Number of the newest part.
    newest: u64,
    /// It was there at the last reading.
    seen: bool,
}

/// All sources with strikes: at most as many as the kernel's table has room for, and those that it pushed out of late.
#[derive(Debug, Default)]
pub struct Tracker {
    sources: HashMap<u64, Source>,
    /// When the counts were last read, in milliseconds.
    read_at: Option<u64>,
}

impl Tracker {
    /// Takes the kernel's counts; gives the sources that are to be banned, with their strikes. The first counts say nothing:
    /// they may be old.
    pub fn read(
        &mut self,
        counts: impl IntoIterator<Item = (u64, u32)>,
        rules: &Rules,
        now_ms: u64,
    ) -> Vec<(u64, u32)> {
        let gap = self.read_at.replace(now_ms).map(|at| now_ms.saturating_sub(at));
        let part = now_ms / (rules.within_ms / PARTS as u64).max(1);
        let mut out = Vec::new();
        for (key, count) in counts {
            let source = self.sources.entry(key).or_insert_with(|| Source::new(part));
            let added = source.take(count);
            let Some(gap) = gap else { continue };
            if let Some(strikes) = source.add(in_time(added, gap, rules.within_ms), part, rules.strikes) {
                out.push((key, strikes));
            }
        }
        self.sources.retain(|_, source| std::mem::take(&mut source.seen) || source.is_recent(part));
        out
    }
}

impl Source {
    const fn new(newest: u64) -> Self {
        Self { count: 0, parts: [0; PARTS], newest, seen: true }
    }

    /// What was added to the kernel's count. A lower one is a new count: the source had been pushed out.
    const fn take(&mut self, count: u32) -> u32 {
        let added = if count >= self.count { count - self.count } else { count };
        (self.count, self.seen) = (count, true);
        added
    }

    /// Adds strikes; all that count, if they are enough. Then they are used up.
    fn add(&mut self, added: u32, part: u64, enough: u32) -> Option<u32> {
        if added == 0 {
            return None;
        }
        for passed in self.newest + 1..=part.min(self.newest + PARTS as u64) {
            self.parts[(passed % PARTS as u64) as usize] = 0;
        }
        self.newest = part;
        let newest = &mut self.parts[(part % PARTS as u64) as usize];
        *newest = newest.saturating_add(added);
        let sum = self.parts.iter().fold(0_u32, |sum, part| sum.saturating_add(*part));
        let is_out = sum >= enough;
        if is_out {
            self.parts = [0; PARTS];
        }
        is_out.then_some(sum)
    }

    const fn is_recent(&self, part: u64) -> bool {
        part - self.newest < PARTS as u64
    }
}

/// Strikes of a longer time than that in which they count: taken as evenly spread, so that a daemon that was held up does
/// not ban for what is long past.
fn in_time(added: u32, gap: u64, within: u64) -> u32 {
    if gap <= within {
        return added;
    }
    u32::try_from(u128::from(added) * u128::from(within) / u128::from(gap)).unwrap_or(added)
}
