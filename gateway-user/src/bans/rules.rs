//! How long bans are, and how the memory of them fades.

use crate::config;

/// A ban is remembered for so many times its length for each level.
pub const FADE: u64 = 10;

/// When strikes become a ban, and how long it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Strikes of one source, at least 1.
    pub strikes: u32,
    /// The time in which they count, in milliseconds.
    pub within_ms: u64,
    /// Seconds of the first ban.
    pub first: u64,
    /// How many times as long each further one is.
    pub factor: u32,
    /// Seconds of the longest.
    pub longest: u64,
}

impl From<&config::Ban> for Rules {
    /// Bans are whole seconds, at least one.
    fn from(ban: &config::Ban) -> Self {
        let seconds =
            |time: std::time::Duration| (time.as_secs() + u64::from(time.subsec_nanos() != 0)).max(1);
        Self {
            strikes: ban.strikes,
            within_ms: u64::try_from(ban.within.as_millis()).unwrap_or(u64::MAX).max(1),
            first: seconds(ban.first),
            factor: ban.factor,
            longest: seconds(ban.longest),
        }
    }
}

impl Rules {
    /// Seconds of the ban of a level, from 1 on.
    pub fn length(&self, level: u32) -> u64 {
        let factor = u64::from(self.factor).saturating_pow(level.saturating_sub(1));
        self.first.saturating_mul(factor).min(self.longest)
    }

    /// The level after one. Where bans grow no longer, levels grow no higher, or they would take ever longer to fade.
    pub fn next_level(&self, level: u32) -> u32 {
        if level > 0 && self.length(level) == self.length(level + 1) { level } else { level + 1 }
    }
}
