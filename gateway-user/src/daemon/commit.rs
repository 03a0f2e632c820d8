//! The one way for a change: put into the kernel, written down with its actor, told, and answered with what is in force
//! afterwards. If the kernel refuses, nothing has changed anywhere.

use std::collections::{BTreeMap, BTreeSet};

use gateway_common::verdict::Reason;
use tokio::sync::oneshot;

use crate::{
    bans::{Claim, ClaimKey},
    config::{Config, Report},
    event_rows::change_rows,
    live,
    live::{Entry, Live, LiveLimit},
    model::{Actor, Dimension, Fact, Happened, LimitScope, Mode, Prefix, Session, What},
    policy::{Overrides, modes, overridden, places},
    store::{Batch, Outgoing, Row},
};

use super::{part::drops::DROPS, state::Gateway};

/// A change, checked.
pub(super) enum Change {
    /// A live limit in the place of what was said live before; nothing: as configured again.
    Limit {
        /// Where.
        scope: LimitScope,
        /// What it counts.
        dimension: Dimension,
        /// The limit.
        limit: Option<LiveLimit>,
    },
    /// The mode, until then or until the next reload.
    Mode {
        /// Of which service or class; nothing: the gateway's.
        scope: Option<LimitScope>,
        /// The mode.
        mode: Mode,
        /// Unix seconds.
        until_at: Option<u64>,
    },
    /// Claims; nothing: taken away. All of them or none.
    Claims(Vec<(ClaimKey, Option<Claim>)>),
    /// Trusted prefixes, likewise.
    Trust(Vec<(Prefix, Option<Entry>)>),
    /// The configuration file, read again.
    Reload,
    /// The end of live limits and of the mode whose time is over.
    Ends,
}

/// The cause of a change, and the sessions that it may not cut.
#[derive(Clone, Copy)]
pub(super) struct By<'a> {
    pub(super) actor: &'a Actor,
    pub(super) spared: &'a [Session],
}

impl<'a> By<'a> {
    /// A change that is tried on no session: one that was there before, or that leaves sessions out itself.
    pub(super) const fn itself(actor: &'a Actor) -> Self {
        Self { actor, spared: &[] }
    }
}

/// A change that was made.
pub(super) struct Committed {
    /// What is other than before.
    pub(super) facts: Vec<Fact>,
    /// What the operator should know, a sentence each.
    pub(super) warnings: Vec<String>,
    /// Answers once it is on the disk (true), or could not be written yet (false).
    pub(super) written: oneshot::Receiver<bool>,
}

/// Why a change was refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommitError {
    /// The file is not there any more.
    #[error("there is no {0} any more; the policy that was read from it holds")]
    Gone(String),
    /// The file is wrong.
    #[error("the configuration is wrong\n{0}")]
    Configuration(Report),
    /// It would cut a management session.
    #[error("it would lock out {0}: a new login would be dropped as `{reason}`", reason = .1.name())]
    Cut(Session, Reason),
    /// It cannot be applied.
    #[error("{0:#}")]
    Policy(anyhow::Error),
}

impl Gateway {
    /// Makes a change.
    ///
    /// # Errors
    /// When the configuration is wrong, it cuts a session that it may not cut, or the kernel refuses: everything is as it was.
    pub(super) fn commit(&mut self, change: Change, by: By<'_>) -> Result<Committed, CommitError> {
        let mut warnings = Vec::new();
        let spared = self.reachable(by.spared);
        let facts = match change {
            Change::Limit { scope, dimension, limit } => {
                let mut live = self.live.clone();
                live.limits.retain(|limit| limit.place != scope || limit.dimension != dimension);
                live.limits.extend(limit);
                self.change_live(live, &spared)?
            }
            Change::Mode { scope, mode, until_at } => {
                let mut live = self.live.clone();
                match scope {
                    None => live.mode = Some((mode, until_at)),
                    Some(scope) => drop(live.modes.insert(scope, (mode, until_at))),
                }
                self.change_live(live, &spared)?
            }
            Change::Ends => self.change_live(self.live.without_over(live::now()), &spared)?,
            Change::Claims(claims) => self.change_claims(claims, &spared)?,
            Change::Trust(entries) => self.change_trust(entries, &spared)?,
            Change::Reload => {
                let (facts, told) = self.reload(&spared)?;
                warnings = told;
                facts
            }
        };
        Ok(Committed { written: self.put_down(&facts, by.actor), facts, warnings })
    }

    /// Tells the log what was changed, and writes it down together with all that has changed in memory: one transaction.
    pub(super) fn put_down(&mut self, facts: &[Fact], actor: &Actor) -> oneshot::Receiver<bool> {
        for fact in facts.iter().take(LINES) {
            log::info!("{fact}, by {actor}");
        }
        if let Some(more) = facts.len().checked_sub(LINES).filter(|more| *more != 0) {
            log::info!("{more} more of these, by {actor}");
        }
        for fact in facts.iter().filter(|fact| fact.what == What::Block) {
            self.bans.count(fact, actor);
        }
        let at = live::now_ms();
        let (shown, others) = facts.split_at(facts.len().min(EVENTS));
        let rest =
            others.last().map(|last| Fact { target: format!("{} more", others.len()), ..last.clone() });
        for change in shown.iter().cloned().chain(rest) {
            self.tell_at(at, Happened::Change { change, actor: actor.clone() }, None);
        }
        let rows = change_rows(facts, actor, self.config.audit.sources);
        self.write(rows.map(|body| Row { at, body }).collect())
    }

    /// Writes all that has changed in memory, with rows of now for the record.
    pub(super) fn keep(&mut self, rows: Vec<Outgoing>) -> oneshot::Receiver<bool> {
        let at = live::now_ms();
        let row = |row: Outgoing| Row { at, body: serde_json::to_string(&row).unwrap_or_default() };
        self.write(rows.into_iter().map(row).collect())
    }

    fn write(&mut self, rows: Vec<Row>) -> oneshot::Receiver<bool> {
        let kept = self.live.facts();
        let mut facts: BTreeMap<String, Option<String>> = BTreeMap::new();
        let gone = self.kept.keys().filter(|key| !kept.contains_key(*key));
        facts.extend(gone.map(|key| (key.clone(), None)));
        let new = kept.iter().filter(|(key, value)| self.kept.get(*key) != Some(value));
        facts.extend(new.map(|(key, value)| (key.clone(), Some(value.clone()))));
        facts.extend(self.live.touched());
        facts.extend(
            self.drops.touched(self.kernel.identity().epoch).map(|told| (DROPS.to_owned(), Some(told))),
        );
        self.kept = kept;
        self.store.write(Batch { claims: self.bans.touched(), facts, rows })
    }

    fn change_live(&mut self, live: Live, spared: &[Session]) -> Result<Vec<Fact>, CommitError> {
        let before = std::mem::replace(&mut self.live, live);
        let applied = self.spare(spared).and_then(|()| self.apply().map_err(CommitError::Policy));
        if let Err(error) = applied {
            // What was done to this host is done.
            let sysctls = std::mem::take(&mut self.live.sysctls);
            self.live = before;
            self.live.sysctls = sysctls;
            return Err(error);
        }
        Ok(live_facts((&self.config, &before), (&self.config, &self.live)))
    }

    pub(super) fn change_claims(
        &mut self,
        claims: Vec<(ClaimKey, Option<Claim>)>,
        spared: &[Session],
    ) -> Result<Vec<Fact>, CommitError> {
        let now = live::now();
        let prefixes: BTreeSet<Prefix> = claims.iter().map(|((prefix, _), _)| *prefix).collect();
        let mut before = Vec::with_capacity(claims.len());
        for (key, claim) in claims {
            before.push((key.clone(), self.bans.all.set(key, claim, now)));
        }
        let cut = self.spare(spared);
        let is_cut = cut.is_err();
        if let Err(error) = cut.and_then(|()| self.enforce(&prefixes).map_err(CommitError::Policy)) {
            for (key, claim) in before.into_iter().rev() {
                self.bans.all.set(key, claim, now);
            }
            // Of those that the kernel has taken; what it refuses now too is tried again.
            if !is_cut && self.enforce(&prefixes).is_err() {
                self.bans.unenforced.extend(prefixes);
            }
            return Err(error);
        }
        let facts =
            before.iter().map(|(key, before)| claim_fact(key, before.as_ref(), self.bans.all.get(key), now));
        let facts = facts.collect();
        self.bans.touch(before.into_iter().map(|(key, _)| key));
        Ok(facts)
    }

    fn change_trust(
        &mut self,
        entries: Vec<(Prefix, Option<Entry>)>,
        spared: &[Session],
    ) -> Result<Vec<Fact>, CommitError> {
        let mut before = Vec::with_capacity(entries.len());
        for (prefix, entry) in entries {
            before.push((prefix, self.live.trust(prefix, entry)));
        }
        let applied = self.spare(spared).and_then(|()| self.apply_live().map_err(CommitError::Policy));
        if let Err(error) = applied {
            for (prefix, entry) in before.into_iter().rev() {
                self.live.trust(prefix, entry);
            }
            return Err(error);
        }
        let word =
            |entry: Option<&Entry>| Some(if entry.is_some() { "trusted" } else { "not trusted" }.to_owned());
        let fact = |(prefix, before): (Prefix, Option<Entry>)| {
            let entry = self.live.allow().get(&prefix);
            let fact = Fact::new(What::Allow, prefix.to_string(), word(before.as_ref()), word(entry));
            Fact { until_at: entry.and_then(|entry| entry.until_at), ..fact }
        };
        Ok(before.into_iter().map(fact).collect())
    }
}

/// Lines of the log about one change.
const LINES: usize = 8;
/// Events of one change: a client that follows is to keep up.
const EVENTS: usize = 256;

/// What a claim was and is.
pub(super) fn claim_fact(key: &ClaimKey, before: Option<&Claim>, after: Option<&Claim>, now: u64) -> Fact {
    let word = |claim: Option<&Claim>| match claim.filter(|claim| claim.is_active(now)) {
        None => Some("not banned".to_owned()),
        Some(Claim { level: 0, .. }) => Some("banned".to_owned()),
        Some(Claim { level, .. }) => Some(format!("banned, level {level}")),
    };
    let said = after.or(before);
    Fact {
        until_at: after.and_then(|claim| claim.until_at),
        origin: Some(key.1.to_string()),
        reason: said.and_then(|claim| claim.reason.as_deref().map(str::to_owned)),
        ..Fact::new(What::Block, key.0.to_string(), word(before), word(after))
    }
}

/// What is other in limits and mode than before, as far as it was said live.
pub(super) fn live_facts(old: (&Config, &Live), new: (&Config, &Live)) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mode = |(config, live): (&Config, &Live)| live.mode.map_or(config.mode, |(mode, _)| mode);
    if old.1.mode != new.1.mode {
        let names = (mode(old).name().to_owned(), mode(new).name().to_owned());
        let fact = Fact::new(What::Mode, "", Some(names.0), Some(names.1));
        facts.push(Fact { until_at: new.1.mode.and_then(|(_, until)| until), ..fact });
    }
    let scopes: BTreeSet<_> = old.1.modes.keys().chain(new.1.modes.keys()).collect();
    for scope in scopes.into_iter().filter(|scope| old.1.modes.get(scope) != new.1.modes.get(scope)) {
        let name = |(config, live): (&Config, &Live)| {
            let said = live.modes.get(scope).map(|(mode, _)| *mode);
            said.or_else(|| configured_mode(config, scope)).map(|mode| mode.name().to_owned())
        };
        let until_at = new.1.modes.get(scope).and_then(|(_, until)| *until);
        facts.push(Fact { until_at, ..Fact::new(What::Mode, scope.to_string(), name(old), name(new)) });
    }
    let keys = [old.1, new.1].into_iter().flat_map(|live| &live.limits);
    let keys: BTreeSet<_> = keys.map(|limit| (limit.place.clone(), limit.dimension as usize)).collect();
    let (before, after) = (old.1.overrides(), new.1.overrides());
    for (scope, index) in keys {
        let dimension = Dimension::ALL[index];
        let said = |live: &'_ Live| {
            live.limits.iter().find(|limit| limit.place == scope && limit.dimension == dimension).cloned()
        };
        let limit = said(new.1);
        if limit == said(old.1) {
            continue;
        }
        let from = limit_text(old.0, &before, &scope, dimension);
        let to = limit_text(new.0, &after, &scope, dimension);
        let fact = Fact::new(What::Limit, format!("{scope} {dimension}"), Some(from), Some(to));
        facts.push(Fact { until_at: limit.and_then(|limit| limit.until_at), ..fact });
    }
    facts
}

/// The mode of a service or class by the configuration; nothing: there is no such.
pub(super) fn configured_mode(config: &Config, scope: &LimitScope) -> Option<Mode> {
    modes(config).find(|(other, _)| other == scope).map(|(_, mode)| mode)
}

/// The limit in force: `20k/s, burst 40k`, or `no limit`.
pub(super) fn limit_text(
    config: &Config,
    overrides: &Overrides,
    scope: &LimitScope,
    dimension: Dimension,
) -> String {
    let places = places(config);
    let quotas = places.iter().find(|(other, _)| other == scope).map(|(_, quotas)| *quotas);
    let quota = quotas.and_then(|quotas| overridden(scope, quotas, overrides).get(dimension));
    quota.map_or_else(|| "no limit".to_owned(), |quota| format!("{quota}, burst {}", quota.burst_text()))
}
