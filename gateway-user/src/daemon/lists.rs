//! Requests about who is blocked and who is trusted.

use ipnet::IpNet;

use crate::{
    bans::{Claim, ClaimKey},
    control::protocol::{FailureKind, Reply, Request, Row, Set},
    live::{self, Entry},
    model::{Origin, OriginName, Prefix, Session, document::PrefixRow},
};

use super::{
    answer::{Answer, failed},
    bans::holds,
    commit::{By, Change},
    state::Gateway,
};

/// Prefixes of many that an answer names.
const TOLD: usize = 10;
/// Rows of a page of `block list`: what is answered at once, before others have their turn.
const PAGE: usize = 2_048;

impl Gateway {
    pub(super) fn block(
        &mut self,
        prefix: Prefix,
        origin: Option<&OriginName>,
        for_seconds: Option<u64>,
        reason: Option<&str>,
        by: By<'_>,
    ) -> Result<Answer, Reply> {
        let origin = self.may_claim(origin, &[prefix], for_seconds)?;
        let never = self.never();
        if holds(never, prefix) {
            let help = format!(
                "nothing was changed; take it out of ban.never in {}, and reload",
                self.config_path()
            );
            return Err(Reply::failed(FailureKind::Failed, format!("{prefix} is never banned"), help));
        }
        let (added_at, until_at) = (live::now(), for_seconds.map(|seconds| live::now() + seconds));
        let inside = never.iter().filter(|network| prefix.network().contains(*network));
        let mut warnings: Vec<String> =
            inside.map(|network| format!("{network} in it is in ban.never, and is not blocked")).collect();
        warnings.extend(self.trusted_in(prefix));
        let claim = Claim { reason: reason.map(Into::into), level: 0, added_at, until_at };
        let change = Change::Claims(vec![((prefix, origin), Some(claim))]);
        let mut committed = self.commit(change, by).map_err(failed)?;
        committed.warnings.extend(warnings);
        Ok(self.done(format!("{prefix} blocked"), until_at, committed))
    }

    /// What is trusted all the same, of a prefix that is blocked.
    fn trusted_in(&self, prefix: Prefix) -> Option<String> {
        let network = prefix.network();
        let live = self.live.allow().keys().map(|trusted| trusted.network());
        let mut all = live.chain(self.config.lists.allow.iter().copied());
        let trusted = all.find(|trusted| trusted.contains(&network) || network.contains(trusted))?;
        Some(if trusted.contains(&network) {
            format!("{trusted} is trusted, so nothing of {prefix} is dropped; see `gateway allow list`")
        } else {
            format!("{trusted} in it is trusted, and is not blocked; see `gateway allow list`")
        })
    }

    /// Takes away the operator's claim and that of strikes: a user's word goes before the gateway's own. What feeds claim
    /// stays.
    pub(super) fn unblock(&mut self, prefix: Prefix, by: By<'_>) -> Result<Answer, Reply> {
        let now = live::now();
        let active = self.bans.all.claims_on(prefix).filter(|(_, claim)| claim.is_active(now));
        let (own, others): (Vec<_>, Vec<_>) =
            active.map(|(origin, _)| origin.clone()).partition(Origin::is_own);
        if own.is_empty() && others.is_empty() {
            return self.not_there(Set::Block, prefix);
        }
        let taken = own.iter().map(|origin| ((prefix, origin.clone()), None)).collect();
        let mut committed = self.commit(Change::Claims(taken), by).map_err(failed)?;
        committed.warnings.extend(self.still_blocked(prefix, &others));
        let message = if own.is_empty() {
            format!("nothing was changed: {prefix} is not blocked by hand")
        } else {
            format!("{prefix} no longer blocked")
        };
        Ok(self.done(message, None, committed))
    }

    /// What blocks a prefix, or some of it, all the same.
    fn still_blocked(&self, prefix: Prefix, feeds: &[Origin]) -> Vec<String> {
        let network = prefix.network();
        let feeds = feeds.iter().map(|origin| format!("{prefix} is still blocked: {origin} claims it"));
        let wider =
            self.wider(Set::Block, prefix).map(|wider| format!("{prefix} is still blocked: {wider} is"));
        let listed = self.config.lists.block.iter().find(|listed| listed.contains(&network));
        let listed = listed.map(|listed| {
            format!("{prefix} is still blocked: lists.block of {} has {listed}", self.config_path())
        });
        feeds.chain(wider).chain(listed).collect()
    }

    pub(super) fn allow(
        &mut self,
        prefix: Prefix,
        for_seconds: Option<u64>,
        by: By<'_>,
    ) -> Result<Answer, Reply> {
        let until_at = for_seconds.map(|seconds| live::now() + seconds);
        let entry = Entry { reason: None, added_at: live::now(), until_at };
        let change = Change::Trust(vec![(prefix, Some(entry))]);
        let committed = self.commit(change, by).map_err(failed)?;
        Ok(self.done(format!("{prefix} trusted"), until_at, committed))
    }

    pub(super) fn disallow(&mut self, prefix: Prefix, by: By<'_>) -> Result<Answer, Reply> {
        if !self.live.allow().contains_key(&prefix) {
            return self.not_there(Set::Allow, prefix);
        }
        let committed = self.commit(Change::Trust(vec![(prefix, None)]), by).map_err(failed)?;
        Ok(self.done(format!("{prefix} no longer trusted"), None, committed))
    }

    /// Blocks or trusts many, as one change.
    pub(super) fn add_many(
        &mut self,
        (set, origin): (Set, Option<&OriginName>),
        prefixes: &[Prefix],
        for_seconds: Option<u64>,
        reason: Option<&str>,
        by: By<'_>,
    ) -> Result<Answer, Reply> {
        let origin = self.may_claim(origin, prefixes, for_seconds)?;
        let (added_at, until_at) = (live::now(), for_seconds.map(|seconds| live::now() + seconds));
        let never = if set == Set::Block { self.never() } else { &[] };
        let (left_out, taken): (Vec<Prefix>, Vec<Prefix>) =
            prefixes.iter().partition(|prefix| !never.is_empty() && holds(never, **prefix));
        // Of a feed's list that alone is left out, and the rest is taken.
        let has_session = |prefix: &Prefix| {
            let holds = |session: &Session| prefix.network().contains(&session.client);
            origin != Origin::Operator && by.spared.iter().any(holds)
        };
        let (spared, taken): (Vec<Prefix>, Vec<Prefix>) = taken.into_iter().partition(has_session);
        let count = taken.len();
        let (change, done) = match set {
            Set::Block => {
                let claim = Claim { reason: reason.map(Into::into), level: 0, added_at, until_at };
                let claims = taken.into_iter().map(|prefix| ((prefix, origin.clone()), Some(claim.clone())));
                (Change::Claims(claims.collect()), "blocked")
            }
            Set::Allow => {
                let entry = Entry { reason: reason.map(str::to_owned), added_at, until_at };
                let entries = taken.into_iter().map(|prefix| (prefix, Some(entry.clone())));
                (Change::Trust(entries.collect()), "trusted")
            }
        };
        let mut committed = self.commit(change, by).map_err(failed)?;
        let told =
            left_out.iter().take(TOLD).map(|prefix| format!("{prefix} is in ban.never, and is not blocked"));
        committed.warnings.extend(told);
        let told = spared.iter().take(TOLD).map(|prefix| {
            format!("{prefix} has a management session of this host in it, and is not blocked")
        });
        committed.warnings.extend(told);
        if let Some(more) = left_out.len().checked_sub(TOLD).filter(|more| *more != 0) {
            committed.warnings.push(format!("{more} more are in ban.never, and are not blocked"));
        }
        committed.facts.truncate(TOLD);
        Ok(self.done(format!("{} {done}", counted(count)), until_at, committed))
    }

    /// Blocks or trusts many no longer, as one change. What is not there is as it is wished.
    pub(super) fn del_many(
        &mut self,
        set: Set,
        prefixes: &[Prefix],
        origin: Option<&OriginName>,
        by: By<'_>,
    ) -> Result<Answer, Reply> {
        let feed = origin.map(OriginName::origin);
        let is_meant = |origin: &Origin| match &feed {
            Some(feed) => origin == feed,
            None => origin.is_own(),
        };
        let now = live::now();
        let (change, count, done) = match set {
            Set::Block => {
                let mut taken = Vec::new();
                let mut count = 0;
                for prefix in prefixes {
                    let active = self.bans.all.claims_on(*prefix).filter(|(_, claim)| claim.is_active(now));
                    let own = active.filter(|(origin, _)| is_meant(origin));
                    let before = taken.len();
                    taken.extend(own.map(|(origin, _)| ((*prefix, origin.clone()), None)));
                    count += usize::from(taken.len() != before);
                }
                (Change::Claims(taken), count, "blocked")
            }
            Set::Allow => {
                let there = prefixes.iter().filter(|prefix| self.live.allow().contains_key(prefix));
                let taken: Vec<_> = there.map(|prefix| (*prefix, None)).collect();
                let count = taken.len();
                (Change::Trust(taken), count, "trusted")
            }
        };
        let mut committed = self.commit(change, by).map_err(failed)?;
        committed.facts.truncate(TOLD);
        let rest = prefixes.len() - count;
        let by = origin.map_or_else(|| "by hand".to_owned(), |origin| format!("by {}", origin.origin()));
        let rest = if rest == 0 { String::new() } else { format!("; {rest} were not, or not {by}") };
        Ok(self.done(format!("{} no longer {done}{rest}", counted(count)), None, committed))
    }

    /// The prefix around one that was added by hand, or banned.
    fn wider(&self, set: Set, prefix: Prefix) -> Option<IpNet> {
        let (network, now) = (prefix.network(), live::now());
        let by_hand = |wider: &IpNet| {
            let Ok(wider) = Prefix::try_from(*wider) else { return false };
            match set {
                Set::Block => self.bans.all.in_force(wider, now).is_some(),
                Set::Allow => self.live.allow().contains_key(&wider),
            }
        };
        let wider = |length| IpNet::new(network.addr(), length).ok().map(|wider| wider.trunc());
        (0..network.prefix_len()).rev().filter_map(wider).find(by_hand)
    }

    /// The answer where a prefix was not added by hand: that it is as wished, unless something else has it in the set.
    fn not_there(&self, set: Set, prefix: Prefix) -> Result<Answer, Reply> {
        let (verb, done, configured) = match set {
            Set::Block => ("block", "blocked", &self.config.lists.block),
            Set::Allow => ("allow", "trusted", &self.config.lists.allow),
        };
        let network = prefix.network();
        let fail = |message: String, help: String| Err(Reply::failed(FailureKind::Failed, message, help));
        if let Some(wider) = self.wider(set, prefix) {
            return fail(
                format!("{prefix} is still {done}: {wider} is"),
                format!("`gateway {verb} del {wider}` takes all of that away"),
            );
        }
        if let Some(wider) = configured.iter().find(|listed| listed.contains(&network)) {
            return fail(
                format!("{prefix} is still {done}: lists.{verb} of {} has {wider}", self.config_path()),
                "take it out there, and reload".to_owned(),
            );
        }
        Ok(self.unchanged(format!("{prefix} was not {done}")))
    }

    /// Bans, then what the configuration blocks: a page of both together.
    pub(super) fn block_page(&self, after: Option<ClaimKey>, listed: u64) -> Reply {
        let mut rows = Vec::new();
        let mut last = None;
        if listed == 0 {
            for (key, claim) in self.bans.all.after(after, live::now()).take(PAGE) {
                last = Some(key);
                rows.push(Row::Prefix(PrefixRow {
                    prefix: key.0,
                    origin: key.1.to_string(),
                    reason: claim.reason.as_deref().map(str::to_owned),
                    added_at: claim.added_at,
                    until_at: claim.until_at,
                    packets: self.ban_drops(key.0),
                    level: (claim.level != 0).then_some(claim.level),
                }));
            }
        }
        if rows.len() == PAGE
            && let Some((prefix, origin)) = last
        {
            let more =
                Request::BlockMore { after: Some(*prefix), origin: Some(origin.to_string()), listed: 0 };
            return Reply::Page(rows, Some(Box::new(more)));
        }
        let (from, room) = (usize::try_from(listed).unwrap_or(usize::MAX), PAGE - rows.len());
        let configured = self.config.lists.block.get(from..).unwrap_or_default();
        rows.extend(configured.iter().take(room).filter_map(|&net| self.listed(net)));
        let next = listed + configured.len().min(room) as u64;
        let more = configured.len() > room;
        Reply::Page(
            rows,
            more.then(|| Box::new(Request::BlockMore { after: None, origin: None, listed: next })),
        )
    }

    pub(super) fn allow_list(&self) -> Reply {
        let by_hand = self.live.allow().iter().map(|(&prefix, entry)| {
            Row::Prefix(PrefixRow {
                prefix,
                origin: Origin::Operator.to_string(),
                reason: entry.reason.clone(),
                added_at: entry.added_at,
                until_at: entry.until_at,
                packets: None,
                level: None,
            })
        });
        Reply::Rows(
            by_hand.chain(self.config.lists.allow.iter().filter_map(|&net| self.listed(net))).collect(),
        )
    }

    /// The row of a prefix that the configuration lists.
    fn listed(&self, net: IpNet) -> Option<Row> {
        Some(Row::Prefix(PrefixRow {
            prefix: Prefix::try_from(net).ok()?,
            origin: "configuration".to_owned(),
            reason: None,
            added_at: self.applied_at,
            until_at: None,
            packets: None,
            level: None,
        }))
    }
}

/// `1 prefix`, `7 prefixes`.
fn counted(count: usize) -> String {
    format!("{count} {}", if count == 1 { "prefix" } else { "prefixes" })
}
