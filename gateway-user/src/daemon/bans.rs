//! Bans of the running daemon, in memory and in the kernel.

use std::{collections::BTreeSet, time::Instant};

use anyhow::Result;
use ipnet::IpNet;

use crate::{
    bans::{
        Claim, ClaimKey, Rules,
        table::{prefix_of, source_by_limits, source_of},
    },
    kernel::KernelError,
    live::{self, Clock},
    lockout::logind,
    model::{Actor, Fact, Origin, Prefix},
};

use super::{
    commit::{By, Change, claim_fact},
    part::{bans::BanState, clock::monotonic},
    state::Gateway,
};

/// Ends and memories that are dealt with at once; requests come in between.
const EXPIRED_AT_ONCE: usize = 4_096;
/// How often times that lie far ahead are written anew, in seconds: the kernel is told of them only in part.
const REFRESH: u64 = 3_600;

impl Gateway {
    /// Brings what was kept into the kernel, and takes out what an earlier daemon left there and is over.
    pub(super) fn restore_bans(&mut self) -> Result<()> {
        let began = Instant::now();
        let (mut sources, mut full) = self.enforce_all()?;
        if self.kernel.bans() > sources || full != 0 {
            self.remove_stale()?;
            (sources, full) = self.enforce_all()?;
        }
        let count = sources + full + self.bans.wide.len();
        if count != 0 {
            log::info!("{count} bans restored in {:.1?}", began.elapsed());
        }
        if full != 0 {
            self.warnings.push(format!("{full} bans found no room; take some away with `gateway block del`"));
        }
        Ok(())
    }

    /// Bans in the kernel all that is banned; how many sources are, and how many found no room.
    fn enforce_all(&mut self) -> Result<(usize, usize)> {
        let (now, clock) = (live::now(), self.fresh_clock());
        let (mut sources, mut full) = (0, 0);
        let mut last = None;
        for ((prefix, _), _) in self.bans.all.after(None, now) {
            // One look for all claims on a prefix, which are neighbours.
            if last.replace(*prefix) == Some(*prefix) {
                continue;
            }
            let Some(until_at) = self.bans.all.in_force(*prefix, now) else { continue };
            match source_of(*prefix) {
                None => drop(self.bans.wide.insert(*prefix, until_at)),
                Some(source) => match self.kernel.ban(source, clock.until(until_at)) {
                    Err(KernelError::BansFull) => full += 1,
                    other => {
                        other?;
                        sources += 1;
                    }
                },
            }
        }
        Ok((sources, full))
    }

    /// Takes out of the kernel what is not banned.
    fn remove_stale(&mut self) -> Result<()> {
        let now = live::now();
        for source in self.kernel.banned() {
            let prefix = prefix_of(source, 32, 64);
            if prefix.is_none_or(|prefix| self.bans.all.in_force(prefix, now).is_none()) {
                self.kernel.unban(source)?;
            }
        }
        Ok(())
    }

    /// Has the kernel hold what is in force for prefixes now.
    pub(super) fn enforce(&mut self, prefixes: &BTreeSet<Prefix>) -> Result<()> {
        let (now, clock) = (live::now(), self.fresh_clock());
        // Of those that are matched as prefixes: what the kernel had of them.
        let mut before = Vec::new();
        for &prefix in prefixes {
            let in_force = self.bans.all.in_force(prefix, now);
            match (source_of(prefix), in_force) {
                (Some(source), Some(until_at)) => self.kernel.ban(source, clock.until(until_at))?,
                (Some(source), None) => self.kernel.unban(source)?,
                (None, Some(until_at)) => before.push((prefix, self.bans.wide.insert(prefix, until_at))),
                (None, None) => before.push((prefix, self.bans.wide.remove(&prefix))),
            }
        }
        let is_changed =
            before.iter().any(|(prefix, until_at)| self.bans.wide.get(prefix) != until_at.as_ref());
        if !is_changed {
            return Ok(());
        }
        self.apply_live().inspect_err(|_| {
            for (prefix, until_at) in before {
                match until_at {
                    Some(until_at) => drop(self.bans.wide.insert(prefix, until_at)),
                    None => drop(self.bans.wide.remove(&prefix)),
                }
            }
        })
    }

    /// Packets that a ban has dropped.
    pub(super) fn ban_drops(&self, prefix: Prefix) -> Option<u64> {
        match source_of(prefix) {
            Some(source) => self.kernel.ban_drops(source),
            None => self.kernel.live_drops(prefix.network()),
        }
    }

    /// Whether strikes are to be looked at.
    pub(super) const fn counts_strikes(&self) -> bool {
        self.config.ban.is_some()
    }

    /// Bans sources that have too many strikes.
    pub(super) fn judge_strikes(&mut self) {
        let Some(config) = self.config.ban.clone() else { return };
        let (rules, now) = (Rules::from(&config), live::now());
        let out = self.bans.tracker.read(self.kernel.strikes(), &rules, monotonic() / 1_000_000);
        let sessions = if out.is_empty() { Vec::new() } else { logind::sessions() };
        for (source, strikes) in out {
            let Some(prefix) = source_by_limits(source, &self.config.limits) else { continue };
            if let Some(session) = sessions.iter().find(|session| prefix.network().contains(&session.client))
            {
                log::warn!("{prefix} is not banned for {strikes} strikes: it has {session}");
                continue;
            }
            if holds(&config.never, prefix) || holds(&self.config.lists.allow, prefix) {
                continue;
            }
            let reason = format!("{strikes} strikes within {}", humantime::format_duration(config.within));
            let Some(claim) = self.bans.all.strike_out(prefix, &rules, &reason, now) else { continue };
            let claims = vec![((prefix, Origin::Strikes), Some(claim))];
            // One by one: what the kernel refuses keeps no other from being banned.
            if let Err(error) = self.commit(Change::Claims(claims), By::itself(&Actor::Strikes)) {
                log::error!("{prefix} is not banned: {error:#}");
            }
        }
    }

    /// Takes bans out of the kernel that are over; it has ended them itself by then.
    pub(super) fn expire_bans(&mut self) -> Result<()> {
        let now = live::now();
        let expired = self.bans.all.expire(now, EXPIRED_AT_ONCE);
        let mut prefixes: BTreeSet<Prefix> = expired.ended.iter().map(|(prefix, _)| *prefix).collect();
        prefixes.append(&mut self.bans.unenforced);
        let outcome = self.enforce(&prefixes);
        let facts: Vec<Fact> = expired.ended.iter().map(|key| self.ended_fact(key)).collect();
        let is_quiet = facts.is_empty() && expired.forgotten.is_empty();
        self.bans.touch(expired.forgotten);
        if !is_quiet {
            drop(self.put_down(&facts, &Actor::Timer));
        }
        if let Err(error) = outcome {
            self.bans.unenforced = prefixes;
            return Err(error);
        }
        if now >= self.bans.refreshed_at + REFRESH {
            self.bans.refreshed_at = now;
            self.refresh(now)?;
        }
        Ok(())
    }

    /// The end of a claim.
    fn ended_fact(&self, key: &ClaimKey) -> Fact {
        let (claim, now) = (self.bans.all.get(key), live::now());
        let before = claim.cloned().map(|claim| Claim { until_at: None, ..claim });
        let fact = claim_fact(key, before.as_ref(), claim, now);
        Fact { from: Some("banned".to_owned()), until_at: None, reason: None, ..fact }
    }

    /// When that is to be done next.
    pub(super) fn next_ban_expiry(&self) -> Option<u64> {
        self.bans.all.next_expiry()
    }

    /// The networks that are never banned.
    pub(super) fn never(&self) -> &[IpNet] {
        self.config.ban.as_ref().map_or(&[], |ban| &ban.never)
    }

    /// Takes back bans of sources that the configuration says are never banned; the kernel lets them through already.
    pub(super) fn lift_never(&mut self) -> Result<Vec<Fact>> {
        let never = self.never();
        if never.is_empty() {
            return Ok(Vec::new());
        }
        let all = self.bans.all.after(None, live::now()).map(|(key, _)| key);
        let lifted = all.filter(|(prefix, _)| holds(never, *prefix)).map(|key| (key.clone(), None));
        let lifted: Vec<_> = lifted.collect();
        if lifted.is_empty() {
            return Ok(Vec::new());
        }
        let facts = self.change_claims(lifted, &[])?;
        let why = |fact| Fact { reason: Some("ban.never holds it".to_owned()), ..fact };
        Ok(facts.into_iter().map(why).collect())
    }

    /// Writes times anew that lie too far ahead for the kernel, and those of live entries.
    fn refresh(&mut self, now: u64) -> Result<()> {
        let clock = self.fresh_clock();
        self.clock = clock;
        for ((prefix, _), _) in self.bans.all.after(None, now) {
            let until_at = self.bans.all.in_force(*prefix, now).flatten();
            let is_far = until_at.is_some_and(|at| at > now + live::AHEAD_MAX - 2 * REFRESH);
            if let Some(source) = source_of(*prefix).filter(|_| is_far) {
                self.kernel.ban(source, clock.until(until_at))?;
            }
        }
        self.apply_live()
    }

    /// Moves all times by so many seconds, as the wall clock was moved.
    pub(super) fn shift_bans(&mut self, step: i64) {
        let BanState { all, wide, refreshed_at, .. } = &mut self.bans;
        all.shift(step);
        for at in wide.values_mut().flatten().chain([refreshed_at]) {
            *at = at.saturating_add_signed(step);
        }
        let keys: Vec<ClaimKey> = all.iter().map(|(key, _)| key.clone()).collect();
        self.bans.touch(keys);
    }

    /// Which instant is which second.
    pub(super) fn fresh_clock(&self) -> Clock {
        Clock::new(monotonic(), self.kernel.identity().epoch)
    }
}

/// Whether one of the networks holds all of a prefix.
pub(super) fn holds(networks: &[IpNet], prefix: Prefix) -> bool {
    networks.iter().any(|network| network.contains(&prefix.network()))
}
