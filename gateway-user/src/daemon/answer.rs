//! Requests of the control socket, each answered by doing it.

use ipnet::IpNet;

use crate::{
    bans::{Ban, Origin},
    config::{Quota, Quotas, Service},
    control::{
        document::{Changed, LimitOrigin, LimitRow, PrefixRow},
        protocol::{Done, FailureKind, Reply, Request, Row},
        words::{Dimension, Mode, Place, Prefix, Remark},
    },
    live::{self, Entry, LiveLimit},
    policy::overridden,
};

use super::{
    bans::holds,
    state::{Gateway, ReloadError},
};

/// Rows of a page of `block list`: what is answered at once, before others have their turn.
const PAGE: usize = 2_048;

/// Which of the two sets of prefixes a request is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Set {
    Block,
    Allow,
}

impl Gateway {
    /// Does what is asked. The second answer is whether the program stays, when the gateway is to end.
    pub(super) fn answer(&mut self, request: &Request) -> (Reply, Option<bool>) {
        if let Request::Stop { keep } = request {
            let keep = keep.unwrap_or(self.keeps());
            let what = if keep {
                "stopping; the attached program goes on protecting"
            } else {
                "stopping and detaching"
            };
            return (Reply::changed(what, self.generation), Some(keep));
        }
        (self.answer_running(request).unwrap_or_else(|failure| failure), None)
    }

    fn answer_running(&mut self, request: &Request) -> Result<Reply, Reply> {
        match request {
            Request::Status {} => {
                self.status().map(|status| Reply::Done(Done::Status(Box::new(status)))).map_err(failed)
            }
            Request::Reload {} => self.answer_reload(),
            Request::LimitList {} => Ok(Reply::Rows(self.limit_rows().into_iter().map(Row::Limit).collect())),
            Request::LimitSet { place, dimension, rate, burst, for_seconds } => {
                self.limit_set(place, *dimension, rate, burst.as_deref(), *for_seconds)
            }
            Request::LimitUnset { place, dimension } => self.limit_unset(place, *dimension),
            Request::Mode { mode, for_seconds } => self.set_mode(*mode, *for_seconds),
            Request::BlockAdd { prefix, for_seconds, reason } => {
                self.block(*prefix, *for_seconds, reason.as_ref().map(Remark::as_str))
            }
            Request::AllowAdd { prefix, for_seconds } => self.allow(*prefix, *for_seconds),
            Request::BlockDel { prefix } => self.unblock(*prefix),
            Request::AllowDel { prefix } => self.disallow(*prefix),
            Request::BlockList {} => Ok(self.block_page(None, 0)),
            Request::BlockMore { after, listed } => Ok(self.block_page(*after, *listed)),
            Request::AllowList {} => Ok(self.allow_list()),
            Request::Sources { top, by } => {
                Ok(Reply::Rows(self.sources(*top as usize, *by).into_iter().map(Row::Source).collect()))
            }
            Request::Stop { .. } => Ok(Reply::changed("stopping", self.generation)),
        }
    }

    fn answer_reload(&mut self) -> Result<Reply, Reply> {
        match self.reload() {
            Ok(warnings) => Ok(Reply::Done(Done::Changed(Changed {
                message: format!("reloaded {}", self.config_path()),
                generation: self.generation,
                until_at: None,
                warnings,
            }))),
            Err(error @ ReloadError::Configuration(_)) => Err(Reply::failed(
                FailureKind::Usage,
                error.to_string(),
                "the old policy holds; mend the file, see `gateway check`",
            )),
            Err(error @ ReloadError::Policy(_)) => {
                Err(Reply::failed(FailureKind::Failed, error.to_string(), "the old policy holds"))
            }
        }
    }

    fn limit_set(
        &mut self,
        place: &Place,
        what: Dimension,
        rate: &str,
        burst: Option<&str>,
        for_seconds: Option<u64>,
    ) -> Result<Reply, Reply> {
        self.quotas_at(place)?;
        self.countable(place, what)?;
        let quota = Quota::parse(what, rate, burst)
            .map_err(|error| Reply::failed(FailureKind::Usage, error, "nothing was changed"))?;
        let text = Some((quota.to_string(), quota.burst_text()));
        let message = format!("{place} {what}: {quota}, burst {}", quota.burst_text());
        self.change_limit(place, what, Some(text), for_seconds, message)
    }

    fn limit_unset(&mut self, place: &Place, what: Dimension) -> Result<Reply, Reply> {
        let configured = self.quotas_at(place)?.get(what);
        let was_live = self.live.limits.iter().any(|limit| limit.place == *place && limit.dimension == what);
        match (was_live, configured) {
            (true, Some(quota)) => self.change_limit(
                place,
                what,
                None,
                None,
                format!("{place} {what}: {quota} again, as configured"),
            ),
            (true, None) => self.change_limit(place, what, None, None, format!("{place} {what}: no limit")),
            (false, Some(_)) => {
                let message = format!("{place} {what}: no limit until the next reload");
                self.change_limit(place, what, Some(None), None, message)
            }
            (false, None) => Err(Reply::failed(
                FailureKind::Failed,
                format!("{place} has no limit on {what}"),
                "see `gateway limit list` for those there are",
            )),
        }
    }

    /// Replaces what is said live of a limit, and applies it, or leaves everything as it was.
    fn change_limit(
        &mut self,
        place: &Place,
        what: Dimension,
        quota: Option<Option<(String, String)>>,
        for_seconds: Option<u64>,
        message: String,
    ) -> Result<Reply, Reply> {
        let before = self.live.limits.clone();
        let until_at = for_seconds.map(|seconds| live::now() + seconds);
        self.live.limits.retain(|limit| limit.place != *place || limit.dimension != what);
        if let Some(quota) = quota {
            self.live.limits.push(LiveLimit { place: place.clone(), dimension: what, quota, until_at });
        }
        if let Err(error) = self.apply() {
            self.live.limits = before;
            return Err(failed(error));
        }
        self.save();
        Ok(self.done(message, until_at))
    }

    /// Refuses a dimension in which nothing is counted at this place.
    fn countable(&self, place: &Place, what: Dimension) -> Result<(), Reply> {
        let counted = match place {
            Place::Service(name) | Place::Total(name) => {
                let service = self.config.services.iter().find(|service| service.name == *name);
                service.map_or(&[][..], |service| Service::dimensions(service.protocol, service.require))
            }
            Place::Default | Place::Neighbours | Place::Class(_) => &Dimension::OF_SOURCES,
        };
        if counted.contains(&what) {
            return Ok(());
        }
        let there: Vec<_> = counted.iter().map(|dimension| dimension.name()).collect();
        let message = format!("`{what}` counts nothing at {place}");
        Err(Reply::failed(FailureKind::Usage, message, format!("there is {}", there.join(", "))))
    }

    /// The configured quotas of a place, which also says that there is such a place.
    fn quotas_at(&self, place: &Place) -> Result<Quotas, Reply> {
        let config = &self.config;
        let class = |name: &str| config.classes.iter().find(|class| class.name == name);
        let service = |name: &str| config.services.iter().find(|service| service.name == name);
        let found = match place {
            Place::Default => Some(&config.limits.quotas),
            Place::Neighbours => Some(&config.neighbours.quotas),
            Place::Class(name) => class(name).map(|class| &class.quotas),
            Place::Service(name) => service(name).map(|service| &service.quotas),
            Place::Total(name) => service(name).map(|service| &service.total),
        };
        found.copied().ok_or_else(|| {
            let classes = config.classes.iter().map(|class| format!("class/{}", class.name));
            let services =
                config.services.iter().map(|service| format!("service/{0}, total/{0}", service.name));
            let there: Vec<_> = classes.chain(services).collect();
            let help = format!("there are default, neighbours, {}", there.join(", "));
            Reply::failed(FailureKind::Usage, format!("there is no {place}"), help)
        })
    }

    fn limit_rows(&self) -> Vec<LimitRow> {
        let config = &self.config;
        let mut places =
            vec![(Place::Default, &config.limits.quotas), (Place::Neighbours, &config.neighbours.quotas)];
        places.extend(config.classes.iter().map(|class| (Place::Class(class.name.clone()), &class.quotas)));
        for service in &config.services {
            places.push((Place::Service(service.name.clone()), &service.quotas));
            places.push((Place::Total(service.name.clone()), &service.total));
        }
        let overrides = self.overrides();
        let mut rows = Vec::new();
        for (place, quotas) in places {
            for quota in overridden(&place, quotas, &overrides).iter() {
                let live = self
                    .live
                    .limits
                    .iter()
                    .find(|limit| limit.place == place && limit.dimension == quota.dimension());
                rows.push(LimitRow {
                    place: place.clone(),
                    dimension: quota.dimension(),
                    rate: quota.to_string(),
                    burst: quota.burst_text(),
                    origin: if live.is_some() { LimitOrigin::Live } else { LimitOrigin::Configuration },
                    until_at: live.and_then(|limit| limit.until_at),
                });
            }
        }
        rows
    }

    fn set_mode(&mut self, mode: Mode, for_seconds: Option<u64>) -> Result<Reply, Reply> {
        let until_at = for_seconds.map(|seconds| live::now() + seconds);
        let before = self.live.mode.replace((mode, until_at));
        if let Err(error) = self.apply() {
            self.live.mode = before;
            return Err(failed(error));
        }
        self.save();
        Ok(self.done(format!("mode {mode}"), until_at))
    }

    fn block(
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

    fn unblock(&mut self, prefix: Prefix) -> Result<Reply, Reply> {
        if !self.unban(prefix).map_err(failed)? {
            return Err(self.not_there(Set::Block, prefix));
        }
        Ok(self.done(format!("{prefix} no longer blocked"), None))
    }

    fn allow(&mut self, prefix: Prefix, for_seconds: Option<u64>) -> Result<Reply, Reply> {
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

    fn disallow(&mut self, prefix: Prefix) -> Result<Reply, Reply> {
        let Some(entry) = self.live.allow.remove(&prefix) else {
            return Err(self.not_there(Set::Allow, prefix));
        };
        if let Err(error) = self.apply_live() {
            self.live.allow.insert(prefix, entry);
            return Err(failed(error));
        }
        self.save();
        Ok(self.done(format!("{prefix} no longer trusted"), None))
    }

    fn not_there(&self, set: Set, prefix: Prefix) -> Reply {
        let (verb, configured) = match set {
            Set::Block => ("block", &self.config.lists.block),
            Set::Allow => ("allow", &self.config.lists.allow),
        };
        let help = if configured.contains(&prefix.network()) {
            format!("it comes from lists.{verb} of {}; take it out there and reload", self.config_path())
        } else {
            format!("name it exactly as `gateway {verb} list` does")
        };
        Reply::failed(FailureKind::Failed, format!("{prefix} was not added by hand"), help)
    }

    /// Bans, then what the configuration blocks: a page of both together.
    fn block_page(&self, after: Option<Prefix>, listed: u64) -> Reply {
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

    fn allow_list(&self) -> Reply {
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

    fn done(&self, message: String, until_at: Option<u64>) -> Reply {
        self.done_with(message, until_at, Vec::new())
    }

    fn done_with(&self, message: String, until_at: Option<u64>, warnings: Vec<String>) -> Reply {
        log::info!("{message}");
        let generation = self.generation;
        Reply::Done(Done::Changed(Changed { message, generation, until_at, warnings }))
    }
}

fn failed(error: impl std::fmt::Display) -> Reply {
    Reply::failed(
        FailureKind::Failed,
        format!("{error:#}"),
        "nothing was changed; see the gateway's log and `gateway doctor`",
    )
}
