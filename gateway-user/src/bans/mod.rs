//! Bans: who is banned until when, how much longer the next time, and until when that is remembered.
//!
//! Pure: time comes as an argument, in Unix seconds here and in milliseconds for [`strikes`]. [`store`] keeps bans over a
//! restart, `kernel` enforces them.

mod rules;
pub mod store;
pub mod strikes;
pub mod table;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::Bound,
    sync::Arc,
};

use crate::control::words::Prefix;

pub use rules::{FADE, Rules};

/// Who banned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// By hand.
    Operator,
    /// Strikes.
    Strikes,
}

impl Origin {
    /// All, in the order of their numbers in the store.
    pub const ALL: [Self; 2] = [Self::Operator, Self::Strikes];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Strikes => "strikes",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A ban, or after its end the memory of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// Who banned.
    pub origin: Origin,
    /// Why.
    pub reason: Option<Arc<str>>,
    /// How many bans before it are not forgotten, this one included; 0 for one by hand, which is no offence.
    pub level: u32,
    /// Unix seconds since when.
    pub added_at: u64,
    /// Unix seconds until when; nothing: until taken back.
    pub until_at: Option<u64>,
}

impl Ban {
    /// Whether it holds.
    pub fn is_active(&self, now: u64) -> bool {
        self.until_at.is_none_or(|until| until > now)
    }

    /// What is left of its level: one less for each [`FADE`] times its length since its end.
    pub fn level_at(&self, now: u64) -> u32 {
        let Some(until) = self.until_at else { return self.level };
        let step = self.fades_in().max(1);
        let faded = now.saturating_sub(until) / step;
        self.level.saturating_sub(u32::try_from(faded).unwrap_or(u32::MAX))
    }

    /// When nothing is left to remember.
    fn forgotten_at(&self) -> Option<u64> {
        let memory = self.fades_in().saturating_mul(u64::from(self.level));
        self.until_at.map(|until| until.saturating_add(memory))
    }

    fn fades_in(&self) -> u64 {
        self.until_at.map_or(0, |until| until.saturating_sub(self.added_at).saturating_mul(FADE))
    }
}

/// All bans and memories.
#[derive(Debug, Default)]
pub struct Bans {
    all: BTreeMap<Prefix, Ban>,
    /// When each comes to its end, or is forgotten.
    ends: BTreeSet<(u64, Prefix)>,
    /// How many hold, by origin.
    active: [usize; Origin::ALL.len()],
}

/// What came to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Bans that hold no longer, some of which are remembered.
    pub ended: Vec<Prefix>,
    /// What nothing is remembered of any more.
    pub forgotten: Vec<Prefix>,
}

impl Bans {
    /// Takes over what was kept. What is forgotten by now is left out.
    pub fn restore(kept: impl IntoIterator<Item = (Prefix, Ban)>, now: u64) -> Self {
        let remembered = |ban: &Ban| ban.forgotten_at().is_none_or(|at| at > now);
        let all: BTreeMap<_, _> = kept.into_iter().filter(|(_, ban)| remembered(ban)).collect();
        let mut active = [0; Origin::ALL.len()];
        for ban in all.values().filter(|ban| ban.is_active(now)) {
            active[ban.origin as usize] += 1;
        }
        let ends = all.iter().filter_map(|(prefix, ban)| next_of(ban, now).map(|at| (at, *prefix))).collect();
        Self { all, ends, active }
    }

    /// Bans a prefix, in the place of what was known of it.
    pub fn add(&mut self, prefix: Prefix, ban: Ban, now: u64) {
        self.remove(prefix);
        self.ends.extend(next_of(&ban, now).map(|at| (at, prefix)));
        self.active[ban.origin as usize] += usize::from(ban.is_active(now));
        self.all.insert(prefix, ban);
    }

    /// Bans a source for its strikes, longer than the last time. Nothing where it is banned.
    pub fn strike_out(&mut self, source: Prefix, rules: &Rules, reason: &str, now: u64) -> Option<&Ban> {
        let before = self.all.get(&source);
        if before.is_some_and(|ban| ban.is_active(now)) {
            return None;
        }
        let level = rules.next_level(before.map_or(0, |ban| ban.level_at(now)));
        let until_at = Some(now + rules.length(level));
        let ban =
            Ban { origin: Origin::Strikes, reason: Some(reason.into()), level, added_at: now, until_at };
        self.add(source, ban, now);
        self.all.get(&source)
    }

    /// Takes a ban back, and forgets it.
    pub fn remove(&mut self, prefix: Prefix) -> Option<Ban> {
        let ban = self.all.remove(&prefix)?;
        let waiting = [ban.until_at, ban.forgotten_at()].into_iter().flatten();
        let mut was_active = ban.until_at.is_none();
        for at in waiting {
            // What has ended but was not yet said to have still counts.
            was_active |= self.ends.remove(&(at, prefix)) && Some(at) == ban.until_at;
        }
        self.active[ban.origin as usize] -= usize::from(was_active);
        Some(ban)
    }

    /// What has come to its end, at most so many at a time.
    pub fn expire(&mut self, now: u64, most: usize) -> Expired {
        let mut expired = Expired::default();
        for _ in 0..most {
            let Some(&(at, prefix)) = self.ends.first().filter(|(at, _)| *at <= now) else { break };
            self.ends.pop_first();
            let Some(ban) = self.all.get(&prefix) else { continue };
            let forgotten_at = ban.forgotten_at().unwrap_or(u64::MAX);
            if ban.until_at == Some(at) {
                self.active[ban.origin as usize] -= 1;
                expired.ended.push(prefix);
            }
            if forgotten_at <= now {
                self.all.remove(&prefix);
                expired.forgotten.push(prefix);
            } else {
                self.ends.insert((forgotten_at, prefix));
            }
        }
        expired
    }

    /// Moves all times by so many seconds, as the wall clock was moved.
    pub fn shift(&mut self, step: i64) {
        let shift = |at: &mut u64| *at = at.saturating_add_signed(step);
        for ban in self.all.values_mut() {
            shift(&mut ban.added_at);
            ban.until_at.iter_mut().for_each(shift);
        }
        let ends = std::mem::take(&mut self.ends);
        self.ends = ends.into_iter().map(|(at, prefix)| (at.saturating_add_signed(step), prefix)).collect();
    }

    /// All prefixes that something is known of.
    pub fn prefixes(&self) -> impl Iterator<Item = Prefix> {
        self.all.keys().copied()
    }

    /// When the next one comes to its end.
    pub fn next_expiry(&self) -> Option<u64> {
        self.ends.first().map(|&(at, _)| at)
    }

    /// A prefix's ban or memory.
    pub fn get(&self, prefix: Prefix) -> Option<&Ban> {
        self.all.get(&prefix)
    }

    /// Bans that hold, in the order of their prefixes, from behind one on.
    pub fn after(&self, prefix: Option<Prefix>, now: u64) -> impl Iterator<Item = (Prefix, &Ban)> {
        let from = prefix.map_or(Bound::Unbounded, Bound::Excluded);
        let rest = self.all.range((from, Bound::Unbounded)).map(|(prefix, ban)| (*prefix, ban));
        rest.filter(move |(_, ban)| ban.is_active(now))
    }

    /// How many hold, by origin.
    pub fn counts(&self) -> impl Iterator<Item = (Origin, usize)> {
        Origin::ALL.into_iter().zip(self.active)
    }
}

/// When a ban is over, or if it is, when it is forgotten.
fn next_of(ban: &Ban, now: u64) -> Option<u64> {
    if ban.is_active(now) { ban.until_at } else { ban.forgotten_at() }
}
