//! Bans of the running daemon: into the kernel, into the store, onto the record.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Instant,
};

use anyhow::Result;
use ipnet::IpNet;

use crate::{
    bans::{
        Ban, Bans, Origin, Rules,
        store::{Kept, Store, StoreError},
        strikes::Tracker,
        table::{prefix_of, source_by_limits, source_of},
    },
    config::Config,
    control::words::Prefix,
    kernel::KernelError,
    live::{self, Clock, Live},
    state_file,
};

use super::state::{Gateway, monotonic};

/// Ends and memories that are dealt with at once; requests come in between.
const EXPIRED_AT_ONCE: usize = 4_096;
/// How often times that lie far ahead are written anew, in seconds: the kernel is told of them only in part.
const REFRESH: u64 = 3_600;

/// All that the daemon knows of bans.
pub(super) struct BanState {
    pub(super) all: Bans,
    /// Those that the kernel matches as prefixes, with their ends.
    pub(super) wide: BTreeMap<Prefix, Option<u64>>,
    /// Nothing where it cannot be written: bans do not outlive this process then.
    store: Option<Store>,
    /// What could not be written yet.
    unkept: BTreeSet<Prefix>,
    tracker: Tracker,
    refreshed_at: u64,
}

impl BanState {
    /// Reads what was kept, as far as it can be read. Bans of versions that kept them elsewhere are taken over.
    pub(super) fn load(config: &Config, live: &mut Live, warnings: &mut Vec<String>) -> Self {
        let (store, mut kept) = open(&Store::path(&config.audit.database), warnings);
        let now = live::now();
        // Where they cannot be written elsewhere they stay where they are.
        let old = if store.is_some() { std::mem::take(&mut live.block) } else { live.block.clone() };
        let unkept = old.keys().copied().collect();
        kept.extend(old.into_iter().map(|(prefix, entry)| (prefix, entry.into())));
        Self {
            all: Bans::restore(kept, now),
            wide: BTreeMap::new(),
            store,
            unkept,
            tracker: Tracker::default(),
            refreshed_at: now,
        }
    }
}

/// The store, and what is in it. A damaged one is put aside, and another takes its place.
fn open(path: &Path, warnings: &mut Vec<String>) -> (Option<Store>, Vec<(Prefix, Ban)>) {
    let whole = || {
        let store = Store::open(path)?;
        let kept = store.load()?;
        Ok::<_, StoreError>((store, kept))
    };
    let mut opened = whole();
    if let Err(error) = &opened
        && error.is_damage()
    {
        let moved = state_file::moved(state_file::put_aside(path, &["-wal", "-shm"]));
        warnings.push(format!("cannot read {error}; {moved}, and the bans that it had do not hold"));
        opened = whole();
    }
    let (store, Kept { bans, left_out }) = match opened {
        Ok((store, kept)) => (Some(store), kept),
        Err(error) => {
            warnings.push(format!("cannot write {error}; bans will not outlive a restart"));
            let kept = Store::look(path).unwrap_or_else(|error| {
                warnings.push(format!("cannot read {error}; the bans that it has do not hold"));
                Kept::default()
            });
            (None, kept)
        }
    };
    if left_out != 0 {
        warnings.push(format!("{left_out} rows of {} make no sense, and are left out", path.display()));
    }
    (store, bans)
}

impl Gateway {
    /// Brings what was kept into the kernel, and takes out what an earlier daemon left there and is over.
    pub(super) fn restore_bans(&mut self) -> Result<()> {
        let began = Instant::now();
        let (mut sources, mut full) = self.enforce_all()?;
        if self.kernel.bans() > sources || full != 0 {
            self.drop_strangers()?;
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

    /// Bans in the kernel whoever is banned; how many sources are, and how many found no room.
    fn enforce_all(&mut self) -> Result<(usize, usize)> {
        let (now, clock) = (live::now(), self.fresh_clock());
        let (mut sources, mut full) = (0, 0);
        for (prefix, ban) in self.bans.all.after(None, now) {
            match source_of(prefix) {
                None => drop(self.bans.wide.insert(prefix, ban.until_at)),
                Some(source) => match self.kernel.ban(source, clock.until(ban.until_at)) {
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

    /// Takes out of the kernel who is not banned.
    fn drop_strangers(&mut self) -> Result<()> {
        let now = live::now();
        for source in self.kernel.banned() {
            let kept = prefix_of(source, 32, 64).and_then(|prefix| self.bans.all.get(prefix));
            if kept.is_none_or(|ban| !ban.is_active(now)) {
                self.kernel.unban(source)?;
            }
        }
        Ok(())
    }

    /// Bans a prefix by hand.
    pub(super) fn ban(&mut self, prefix: Prefix, ban: Ban) -> Result<()> {
        self.enforce(prefix, ban.until_at)?;
        self.bans.all.add(prefix, ban, live::now());
        self.keep_bans(&[prefix]);
        Ok(())
    }

    /// Takes a ban back, and forgets it; whether there was one.
    pub(super) fn unban(&mut self, prefix: Prefix) -> Result<bool> {
        if self.bans.all.get(prefix).is_none_or(|ban| !ban.is_active(live::now())) {
            return Ok(false);
        }
        self.relent(&[prefix])?;
        self.bans.all.remove(prefix);
        self.keep_bans(&[prefix]);
        Ok(true)
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

    /// Bans who has too many strikes.
    pub(super) fn judge_strikes(&mut self) {
        let Some(config) = self.config.ban.clone() else { return };
        let (rules, now) = (Rules::from(&config), live::now());
        let out = self.bans.tracker.read(self.kernel.strikes(), &rules, monotonic() / 1_000_000);
        let mut banned = Vec::new();
        for (source, strikes) in out {
            let Some(prefix) = source_by_limits(source, &self.config.limits) else { continue };
            if holds(&config.never, prefix) || holds(&self.config.lists.allow, prefix) {
                continue;
            }
            let reason = format!("{strikes} strikes within {}", humantime::format_duration(config.within));
            let Some(ban) = self.bans.all.strike_out(prefix, &rules, &reason, now) else { continue };
            let (until_at, level) = (ban.until_at, ban.level);
            if let Err(error) = self.enforce(prefix, until_at) {
                log::error!("{prefix} is not banned: {error:#}");
                self.bans.all.remove(prefix);
                continue;
            }
            let length = std::time::Duration::from_secs(rules.length(level));
            log::info!("{prefix} banned for {}: {reason}, level {level}", humantime::format_duration(length));
            banned.push(prefix);
        }
        if !banned.is_empty() {
            self.keep_bans(&banned);
        }
    }

    /// Takes bans out of the kernel that are over; it has ended them itself by then.
    pub(super) fn expire_bans(&mut self) -> Result<()> {
        let now = live::now();
        let expired = self.bans.all.expire(now, EXPIRED_AT_ONCE);
        self.relent(&expired.ended)?;
        for prefix in &expired.ended {
            log::info!("{prefix}: the ban is over");
        }
        if !expired.forgotten.is_empty() {
            self.keep_bans(&expired.forgotten);
        }
        if now >= self.bans.refreshed_at + REFRESH {
            self.bans.refreshed_at = now;
            self.refresh(now)?;
        }
        Ok(())
    }

    /// When that is to be done next.
    pub(super) fn next_ban_expiry(&self) -> Option<u64> {
        self.bans.all.next_expiry()
    }

    /// Takes back bans of sources that the configuration says are never banned; the kernel lets them through already.
    pub(super) fn lift_never(&mut self) -> Result<()> {
        let Some(ban) = self.config.ban.as_ref().filter(|ban| !ban.never.is_empty()) else { return Ok(()) };
        let all = self.bans.all.after(None, live::now()).map(|(prefix, _)| prefix);
        let lifted: Vec<Prefix> = all.filter(|prefix| holds(&ban.never, *prefix)).collect();
        self.relent(&lifted)?;
        for &prefix in &lifted {
            self.bans.all.remove(prefix);
            log::info!("{prefix} no longer blocked: ban.never holds it");
        }
        self.keep_bans(&lifted);
        Ok(())
    }

    /// Bans in the kernel.
    fn enforce(&mut self, prefix: Prefix, until_at: Option<u64>) -> Result<()> {
        let Some(source) = source_of(prefix) else {
            let before = self.bans.wide.insert(prefix, until_at);
            return self.apply_live().inspect_err(|_| match before {
                Some(until_at) => drop(self.bans.wide.insert(prefix, until_at)),
                None => drop(self.bans.wide.remove(&prefix)),
            });
        };
        let until = self.fresh_clock().until(until_at);
        Ok(self.kernel.ban(source, until)?)
    }

    /// Takes bans out of the kernel.
    fn relent(&mut self, prefixes: &[Prefix]) -> Result<()> {
        let wide = self.bans.wide.len();
        for &prefix in prefixes {
            match source_of(prefix) {
                Some(source) => self.kernel.unban(source)?,
                None => drop(self.bans.wide.remove(&prefix)),
            }
        }
        if wide == self.bans.wide.len() { Ok(()) } else { self.apply_live() }
    }

    /// Writes times anew that lie too far ahead for the kernel, and those of live entries.
    fn refresh(&mut self, now: u64) -> Result<()> {
        let clock = self.fresh_clock();
        self.clock = clock;
        for (prefix, ban) in self.bans.all.after(None, now) {
            let is_far = ban.until_at.is_some_and(|at| at > now + live::AHEAD_MAX - 2 * REFRESH);
            if let Some(source) = source_of(prefix).filter(|_| is_far) {
                self.kernel.ban(source, clock.until(ban.until_at))?;
            }
        }
        self.apply_live()
    }

    /// Writes bans to the store as they are now.
    fn keep_bans(&mut self, prefixes: &[Prefix]) {
        self.bans.unkept.extend(prefixes);
        self.keep_rest();
    }

    /// Writes what could not be written before.
    pub(super) fn keep_rest(&mut self) {
        let BanState { all, store: Some(store), unkept, .. } = &mut self.bans else {
            return self.bans.unkept.clear();
        };
        if unkept.is_empty() {
            return;
        }
        match store.keep(unkept.iter().map(|prefix| (*prefix, all.get(*prefix)))) {
            Ok(()) => unkept.clear(),
            Err(error) => self.warn(format!("cannot keep bans: {error}; it is tried again and again")),
        }
    }

    /// Moves all times by so many seconds, as the wall clock was moved.
    pub(super) fn shift_bans(&mut self, step: i64) {
        let BanState { all, wide, refreshed_at, .. } = &mut self.bans;
        all.shift(step);
        for at in wide.values_mut().flatten().chain([refreshed_at]) {
            *at = at.saturating_add_signed(step);
        }
        let prefixes: Vec<Prefix> = all.prefixes().collect();
        self.keep_bans(&prefixes);
    }

    /// Which instant is which second.
    pub(super) fn fresh_clock(&self) -> Clock {
        Clock::new(monotonic(), self.kernel.identity().epoch)
    }
}

impl From<live::Entry> for Ban {
    fn from(live::Entry { reason, added_at, until_at }: live::Entry) -> Self {
        Self { origin: Origin::Operator, reason: reason.map(Into::into), level: 0, added_at, until_at }
    }
}

/// Whether one of the networks holds all of a prefix.
pub(super) fn holds(networks: &[IpNet], prefix: Prefix) -> bool {
    networks.iter().any(|network| network.contains(&prefix.network()))
}
