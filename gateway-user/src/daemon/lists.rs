//! Requests about who is blocked and who is trusted.

use ipnet::IpNet;

use crate::{
    bans::{Ban, Origin},
    control::{
        document::PrefixRow,
        protocol::{FailureKind, Reply, Request, Row},
        words::Prefix,
    },
    live::{self, Entry},
};

use super::{answer::failed, bans::holds, state::Gateway};

/// Rows of a page of `block list`: what is answered at once, before others have their turn.
const PAGE: usize = 2_048;

/// Which of the two sets of prefixes a request is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Set {
    Block,
    Allow,
}

impl Gateway {
    pub(super) fn block(
        &mut self,
        prefix: Prefix,
        for_seconds: Option<u64>,
        reason: Option<&str>,
    ) -> Result<Reply, Reply> {
        let never = self.config.ban.as_ref().map_or(&[][..], |ban| &ban.never);
        if holds(never, prefix) {
            let help = format!(
                "nothing was changed; take it out of ban.never in {}, and reload",
                self.config_path()
            );
            return Err(Reply::failed(FailureKind::Failed, format!("{prefix} is never banned"), help));
        }
        let (added_at, until_at) = (live::now(), for_seconds.map(|seconds| live::now() + seconds));
        let inside = never.iter().filter(|network| prefix.network().contains(*network));
        let warnings =
            inside.map(|network| format!("{network} in it is in ban.never, and is not blocked")).collect();
        let reason = reason.map(Into::into);
        self.ban(prefix, Ban { origin: Origin::Operator, reason, level: 0, added_at, until_at })
            .map_err(failed)?;
        Ok(self.done_with(format!("{prefix} blocked"), until_at, warnings))
    }

    pub(super) fn unblock(&mut self, prefix: Prefix) -> Result<Reply, Reply> {
        if !self.unban(prefix).map_err(failed)? {
            return self.not_there(Set::Block, prefix);
        }
        Ok(self.done(format!("{prefix} no longer blocked"), None))
    }

    pub(super) fn allow(&mut self, prefix: Prefix, for_seconds: Option<u64>) -> Result<Reply, Reply> {
        let until_at = for_seconds.map(|seconds| live::now() + seconds);
        let entry = Entry { reason: None, added_at: live::now(), until_at };
        let before = self.live.allow.insert(prefix, entry);
        if let Err(error) = self.apply_live() {
            match before {
                Some(entry) => self.live.allow.insert(prefix, entry),
                None => self.live.allow.remove(&prefix),
            };
            return Err(failed(error));
        }
        self.save();
        Ok(self.done(format!("{prefix} trusted"), until_at))
    }

    pub(super) fn disallow(&mut self, prefix: Prefix) -> Result<Reply, Reply> {
        let Some(entry) = self.live.allow.remove(&prefix) else {
            return self.not_there(Set::Allow, prefix);
        };
        if let Err(error) = self.apply_live() {
            self.live.allow.insert(prefix, entry);
            return Err(failed(error));
        }
        self.save();
        Ok(self.done(format!("{prefix} no longer trusted"), None))
    }

    /// The answer where a prefix was not added by hand: that it is as wished, unless something else has it in the set.
    fn not_there(&self, set: Set, prefix: Prefix) -> Result<Reply, Reply> {
        let (verb, done, configured) = match set {
            Set::Block => ("block", "blocked", &self.config.lists.block),
            Set::Allow => ("allow", "trusted", &self.config.lists.allow),
        };
        let network = prefix.network();
        let fail = |message: String, help: String| Err(Reply::failed(FailureKind::Failed, message, help));
        let by_hand = |wider: IpNet| {
            let Ok(wider) = Prefix::try_from(wider) else { return false };
            match set {
                Set::Block => self.bans.all.get(wider).is_some_and(|ban| ban.is_active(live::now())),
                Set::Allow => self.live.allow.contains_key(&wider),
            }
        };
        let wider = |length| IpNet::new(network.addr(), length).ok().map(|wider| wider.trunc());
        if let Some(wider) = (0..network.prefix_len()).rev().filter_map(wider).find(|wider| by_hand(*wider)) {
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
        Ok(self.done(format!("{prefix} was not {done}"), None))
    }

    /// Bans, then what the configuration blocks: a page of both together.
    pub(super) fn block_page(&self, after: Option<Prefix>, listed: u64) -> Reply {
        let mut rows = Vec::new();
        let mut last = after;
        if listed == 0 {
            for (prefix, ban) in self.bans.all.after(after, live::now()).take(PAGE) {
                last = Some(prefix);
                rows.push(Row::Prefix(PrefixRow {
                    prefix,
                    origin: ban.origin.to_string(),
                    reason: ban.reason.as_deref().map(str::to_owned),
                    added_at: ban.added_at,
                    until_at: ban.until_at,
                    packets: self.ban_drops(prefix),
                    level: (ban.level != 0).then_some(ban.level),
                }));
            }
        }
        if rows.len() == PAGE {
            return Reply::Page(rows, Some(Box::new(Request::BlockMore { after: last, listed: 0 })));
        }
        let (from, room) = (usize::try_from(listed).unwrap_or(usize::MAX), PAGE - rows.len());
        let configured = self.config.lists.block.get(from..).unwrap_or_default();
        rows.extend(configured.iter().take(room).filter_map(|&net| self.listed(net)));
        let next = listed + configured.len().min(room) as u64;
        let more = configured.len() > room;
        Reply::Page(rows, more.then(|| Box::new(Request::BlockMore { after: None, listed: next })))
    }

    pub(super) fn allow_list(&self) -> Reply {
        let by_hand = self.live.allow.iter().map(|(&prefix, entry)| {
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
