//! Bans: which prefix is banned until when, how much longer the next time, and until when that is remembered.
//!
//! A prefix can be claimed by several origins, each with an end and a reason of its own. A ban is in force while any claim
//! holds, until the latest end; no origin lifts the claim of another.
//!
//! Pure: time comes as an argument, in Unix seconds here and in milliseconds for [`strikes`]. `store` keeps bans over a
//! restart, `kernel` enforces them.

pub mod guard;
mod rules;
pub mod strikes;
pub mod table;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use crate::model::{Origin, Prefix};

pub use rules::{FADE, Rules};

/// A prefix and the origin of a claim on it.
pub type ClaimKey = (Prefix, Origin);

/// What one origin says of a prefix: a ban, or after its end the memory of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Why.
    pub reason: Option<Arc<str>>,
    /// How many bans before it are not forgotten, this one included; 0 for one that is no offence.
    pub level: u32,
    /// Unix seconds since when.
    pub added_at: u64,
    /// Unix seconds until when; nothing: until taken back.
    pub until_at: Option<u64>,
}

impl Claim {
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

/// All claims and memories.
#[derive(Debug, Default)]
pub struct Bans {
    claims: BTreeMap<ClaimKey, Claim>,
    /// When each comes to its end, or is forgotten.
    ends: BTreeSet<(u64, ClaimKey)>,
    /// How many hold, by origin.
    active: BTreeMap<Origin, usize>,
}

/// What came to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Claims that hold no longer, some of which are remembered.
    pub ended: Vec<ClaimKey>,
    /// What nothing is remembered of any more.
    pub forgotten: Vec<ClaimKey>,
}

impl Bans {
    /// Takes over what was kept. What is forgotten by now is left out.
    pub fn restore(kept: impl IntoIterator<Item = (ClaimKey, Claim)>, now: u64) -> Self {
        let mut bans = Self::default();
        for (key, claim) in kept {
            if claim.forgotten_at().is_none_or(|at| at > now) {
                bans.set(key, Some(claim), now);
            }
        }
        bans
    }

    /// Puts a claim in the place of what was known of it, or takes that away; gives what was known.
    pub fn set(&mut self, key: ClaimKey, claim: Option<Claim>, now: u64) -> Option<Claim> {
        let before = self.remove(&key);
        if let Some(claim) = claim {
            self.ends.extend(next_of(&claim, now).map(|at| (at, key.clone())));
            if claim.is_active(now) {
                *self.active.entry(key.1.clone()).or_default() += 1;
            }
            self.claims.insert(key, claim);
        }
        before
    }

    fn remove(&mut self, key: &ClaimKey) -> Option<Claim> {
        let claim = self.claims.remove(key)?;
        let mut was_active = claim.until_at.is_none();
        for at in [claim.until_at, claim.forgotten_at()].into_iter().flatten() {
            // What has ended but was not yet said to have still counts.
            was_active |= self.ends.remove(&(at, key.clone())) && Some(at) == claim.until_at;
        }
        if was_active {
            self.count_out(&key.1);
        }
        Some(claim)
    }

    fn count_out(&mut self, origin: &Origin) {
        if let Some(active) = self.active.get_mut(origin) {
            *active -= 1;
            if *active == 0 {
                self.active.remove(origin);
            }
        }
    }

    /// The claim that a source earns by its strikes, longer than the last time. Nothing where it is banned.
    pub fn strike_out(&self, source: Prefix, rules: &Rules, reason: &str, now: u64) -> Option<Claim> {
        if self.in_force(source, now).is_some() {
            return None;
        }
        let before = self.claims.get(&(source, Origin::Strikes));
        let level = rules.next_level(before.map_or(0, |claim| claim.level_at(now)));
        let until_at = Some(now + rules.length(level));
        Some(Claim { reason: Some(reason.into()), level, added_at: now, until_at })
    }

    /// The end of a prefix's ban, by all claims on it together; nothing: it is not banned.
    pub fn in_force(&self, prefix: Prefix, now: u64) -> Option<Option<u64>> {
        let ends = self.claims_on(prefix).filter(|(_, claim)| claim.is_active(now));
        ends.map(|(_, claim)| claim.until_at).reduce(|one, other| Some(one?.max(other?)))
    }

    /// All that is known of a prefix.
    pub fn claims_on(&self, prefix: Prefix) -> impl Iterator<Item = (&Origin, &Claim)> {
        let from = self.claims.range((prefix, Origin::Operator)..);
        from.take_while(move |((other, _), _)| *other == prefix).map(|((_, origin), claim)| (origin, claim))
    }

    /// What has come to its end, at most so many at a time.
    pub fn expire(&mut self, now: u64, most: usize) -> Expired {
        let mut expired = Expired::default();
        for _ in 0..most {
            if self.ends.first().is_none_or(|(at, _)| *at > now) {
                break;
            }
            let Some((at, key)) = self.ends.pop_first() else { break };
            let Some(claim) = self.claims.get(&key) else { continue };
            let forgotten_at = claim.forgotten_at().unwrap_or(u64::MAX);
            if claim.until_at == Some(at) {
                self.count_out(&key.1);
                expired.ended.push(key.clone());
            }
            if forgotten_at <= now {
                self.claims.remove(&key);
                expired.forgotten.push(key);
            } else {
                self.ends.insert((forgotten_at, key));
            }
        }
        expired
    }

    /// Moves all times by so many seconds, as the wall clock was moved.
    pub fn shift(&mut self, step: i64) {
        let shift = |at: &mut u64| *at = at.saturating_add_signed(step);
        for claim in self.claims.values_mut() {
            shift(&mut claim.added_at);
            claim.until_at.iter_mut().for_each(shift);
        }
        let ends = std::mem::take(&mut self.ends);
        self.ends = ends.into_iter().map(|(at, key)| (at.saturating_add_signed(step), key)).collect();
    }

    /// All that is known, ended claims included.
    pub fn iter(&self) -> impl Iterator<Item = (&ClaimKey, &Claim)> {
        self.claims.iter()
    }

    /// When the next one comes to its end.
    pub fn next_expiry(&self) -> Option<u64> {
        self.ends.first().map(|&(at, _)| at)
    }

    /// A claim or memory.
    pub fn get(&self, key: &ClaimKey) -> Option<&Claim> {
        self.claims.get(key)
    }

    /// Claims that hold, in the order of their prefixes, from behind one on.
    pub fn after(&self, key: Option<ClaimKey>, now: u64) -> impl Iterator<Item = (&ClaimKey, &Claim)> {
        let from = key.map_or(Bound::Unbounded, Bound::Excluded);
        self.claims.range((from, Bound::Unbounded)).filter(move |(_, claim)| claim.is_active(now))
    }

    /// How many hold, by origin; those of this host even where there are none.
    pub fn counts(&self) -> impl Iterator<Item = (Origin, usize)> {
        let mut counts = BTreeMap::from([(Origin::Operator, 0), (Origin::Strikes, 0)]);
        counts.extend(self.active.clone());
        counts.into_iter()
    }
}

/// When a claim is over, or if it is, when it is forgotten.
fn next_of(claim: &Claim, now: u64) -> Option<u64> {
    if claim.is_active(now) { claim.until_at } else { claim.forgotten_at() }
}
