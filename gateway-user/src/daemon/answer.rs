//! Requests of the control socket, each answered by doing it.

use tokio::sync::oneshot;

use crate::{
    config::Service,
    control::{
        call::Caller,
        protocol::{Done, FailureKind, Reply, Request, Row, Set},
    },
    live::{self, LiveLimit},
    model::{
        Actor, Dimension, LimitScope, Mode, Origin, Quota, Quotas, Remark, User,
        document::{Changed, LimitOrigin, LimitRow},
    },
    policy::{modes, overridden, places},
};

use super::{
    commit::{By, Change, CommitError, Committed, configured_mode, limit_text},
    lockout::spared,
    state::Gateway,
};

/// What is answered to a request.
pub(super) struct Answer {
    /// The reply.
    pub(super) reply: Reply,
    /// Of a change: answers once it is on the disk. The reply waits for it, and says how it went.
    pub(super) written: Option<oneshot::Receiver<bool>>,
    /// The gateway is to end: whether the program stays.
    pub(super) stop: Option<bool>,
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        Self { reply, written: None, stop: None }
    }
}

impl Gateway {
    /// Does what is asked.
    pub(super) fn answer(&mut self, request: &Request, user: User, caller: Caller) -> Answer {
        let spared = if request.changes() { spared(caller) } else { Vec::new() };
        let by = By { actor: &Actor::User(user), spared: &spared };
        self.answer_to(request, by).unwrap_or_else(Answer::from)
    }

    fn answer_to(&mut self, request: &Request, by: By<'_>) -> Result<Answer, Reply> {
        match request {
            Request::Status {} => {
                let status = self.status().map_err(|error| failed(CommitError::Policy(error.into())))?;
                Ok(Reply::Done(Done::Status(Box::new(status))).into())
            }
            Request::Reload {} => self.answer_reload(by),
            Request::LimitList {} => {
                Ok(Reply::Rows(self.limit_rows().into_iter().map(Row::Limit).collect()).into())
            }
            Request::LimitSet { place, dimension, rate, burst, for_seconds } => {
                self.limit_set((place, *dimension), (rate, burst.as_deref()), *for_seconds, by)
            }
            Request::LimitUnset { place, dimension } => self.limit_unset(place, *dimension, by),
            Request::Mode { mode, scope, for_seconds } => {
                self.set_mode(*mode, scope.as_ref(), *for_seconds, by)
            }
            Request::Many { set, adds, for_seconds, reason, origin, prefixes, .. } => {
                let reason = reason.as_ref().map(Remark::as_str);
                if *adds {
                    self.add_many((*set, origin.as_ref()), prefixes, *for_seconds, reason, by)
                } else {
                    self.del_many(*set, prefixes, origin.as_ref(), by)
                }
            }
            Request::BlockAdd { prefix, for_seconds, reason, origin } => {
                let reason = reason.as_ref().map(Remark::as_str);
                self.block(*prefix, origin.as_ref(), *for_seconds, reason, by)
            }
            Request::AllowAdd { prefix, for_seconds } => self.allow(*prefix, *for_seconds, by),
            Request::BlockDel { prefix, origin: None } => self.unblock(*prefix, by),
            Request::BlockDel { prefix, origin: Some(origin) } => {
                self.del_many(Set::Block, &[*prefix], Some(origin), by)
            }
            Request::AllowDel { prefix } => self.disallow(*prefix, by),
            Request::BlockList {} => Ok(self.block_page(None, 0).into()),
            Request::BlockMore { after, origin, listed } => {
                let origin = origin.as_deref().map_or(Origin::Operator, Origin::from);
                Ok(self.block_page(after.map(|prefix| (prefix, origin)), *listed).into())
            }
            Request::AllowList {} => Ok(self.allow_list().into()),
            Request::Sources { top, by } => {
                let sources = self.sources(*top as usize, *by);
                Ok(Reply::Rows(sources.into_iter().map(Row::Source).collect()).into())
            }
            Request::Events { filter, follow, frames } => {
                Ok(self.hub.answer(filter, *follow, *frames).into())
            }
            Request::Stop { keep } => self.stop(*keep, by),
        }
    }

    fn stop(&mut self, keep: Option<bool>, by: By<'_>) -> Result<Answer, Reply> {
        if keep == Some(true) && !self.can_keep() {
            let why = "the program is not pinned, and would go with the gateway";
            return Err(Reply::failed(FailureKind::Failed, why, "mount bpffs and start the gateway again"));
        }
        let keep = keep.unwrap_or(self.keeps());
        let what =
            if keep { "stopping; the attached program goes on protecting" } else { "stopping and detaching" };
        self.stopped_by = Some(by.actor.clone());
        Ok(Answer { stop: Some(keep), ..Reply::changed(what, self.generation).into() })
    }

    fn answer_reload(&mut self, by: By<'_>) -> Result<Answer, Reply> {
        let committed = self.commit(Change::Reload, by).map_err(|error| match error {
            error @ CommitError::Cut(..) => failed(error),
            error @ CommitError::Configuration(_) => Reply::failed(
                FailureKind::Usage,
                error.to_string(),
                "the old policy holds; mend the file, see `gateway check`",
            ),
            error => Reply::failed(FailureKind::Failed, error.to_string(), "the old policy holds"),
        })?;
        let message = if self.has_defaults {
            format!("there is no {}: the defaults hold", self.config_path())
        } else {
            format!("reloaded {}", self.config_path())
        };
        Ok(self.done(message, None, committed))
    }

    fn limit_set(
        &mut self,
        (place, what): (&LimitScope, Dimension),
        (rate, burst): (&str, Option<&str>),
        for_seconds: Option<u64>,
        by: By<'_>,
    ) -> Result<Answer, Reply> {
        self.quotas_at(place)?;
        self.countable(place, what)?;
        let quota = match rate {
            "none" if burst.is_some() => {
                let help = "leave the burst out; nothing was changed";
                return Err(Reply::failed(FailureKind::Usage, "what has no limit has no burst", help));
            }
            "none" => None,
            rate => {
                let quota = Quota::parse(what, rate, burst)
                    .map_err(|error| Reply::failed(FailureKind::Usage, error, "nothing was changed"))?;
                Some((quota.to_string(), quota.burst_text()))
            }
        };
        let until_at = for_seconds.map(|seconds| live::now() + seconds);
        let limit = LiveLimit { place: place.clone(), dimension: what, quota, until_at };
        self.change_limit(place, what, Some(limit), "", by)
    }

    fn limit_unset(&mut self, place: &LimitScope, what: Dimension, by: By<'_>) -> Result<Answer, Reply> {
        let configured = self.quotas_at(place)?.get(what);
        self.countable(place, what)?;
        let was_live = self.live.limits.iter().any(|limit| limit.place == *place && limit.dimension == what);
        if was_live {
            let again = if configured.is_some() { " again, as configured" } else { ", as configured" };
            return self.change_limit(place, what, None, again, by);
        }
        // As often as it is said: a script that says it twice takes no protection away.
        let in_force = limit_text(&self.config, &self.live.overrides(), place, what);
        Ok(self.unchanged(format!("{place} {what}: {in_force}, as configured")))
    }

    /// Replaces what is said live of a limit.
    fn change_limit(
        &mut self,
        place: &LimitScope,
        what: Dimension,
        limit: Option<LiveLimit>,
        remark: &str,
        by: By<'_>,
    ) -> Result<Answer, Reply> {
        let until_at = limit.as_ref().and_then(|limit| limit.until_at);
        let change = Change::Limit { scope: place.clone(), dimension: what, limit };
        let committed = self.commit(change, by).map_err(failed)?;
        let in_force = limit_text(&self.config, &self.live.overrides(), place, what);
        Ok(self.done(format!("{place} {what}: {in_force}{remark}"), until_at, committed))
    }

    /// Refuses a dimension in which nothing is counted at this place.
    fn countable(&self, place: &LimitScope, what: Dimension) -> Result<(), Reply> {
        let counted = match place {
            LimitScope::Service(name) | LimitScope::Total(name) => {
                let service = self.config.services.iter().find(|service| service.name == *name);
                service.map_or(&[][..], |service| Service::dimensions(service.protocol, service.require))
            }
            LimitScope::Default | LimitScope::Neighbours | LimitScope::Rest | LimitScope::Class(_) => {
                &Dimension::OF_SOURCES
            }
        };
        if counted.contains(&what) {
            return Ok(());
        }
        let there: Vec<_> = counted.iter().map(|dimension| dimension.name()).collect();
        let message = format!("`{what}` counts nothing at {place}");
        Err(Reply::failed(FailureKind::Usage, message, format!("there is {}", there.join(", "))))
    }

    /// The configured quotas of a place, which also says that there is such a place.
    fn quotas_at(&self, place: &LimitScope) -> Result<Quotas, Reply> {
        let places = places(&self.config);
        let found = places.iter().find(|(other, _)| other == place);
        found.map(|(_, quotas)| **quotas).ok_or_else(|| {
            let there: Vec<_> = places.iter().map(|(place, _)| place.to_string()).collect();
            let help = format!("there are {}", there.join(", "));
            Reply::failed(FailureKind::Usage, format!("there is no {place}"), help)
        })
    }

    /// The limits in force, and those that were lifted live.
    fn limit_rows(&self) -> Vec<LimitRow> {
        let overrides = self.live.overrides();
        let mut rows = Vec::new();
        for (place, quotas) in places(&self.config) {
            let quotas = overridden(&place, quotas, &overrides);
            for dimension in Dimension::ALL {
                let live = self
                    .live
                    .limits
                    .iter()
                    .find(|limit| limit.place == place && limit.dimension == dimension);
                let (rate, burst) = match (quotas.get(dimension), live) {
                    (Some(quota), _) => (quota.to_string(), quota.burst_text()),
                    (None, Some(_)) => ("none".to_owned(), "-".to_owned()),
                    (None, None) => continue,
                };
                rows.push(LimitRow {
                    place: place.clone(),
                    dimension,
                    rate,
                    burst,
                    origin: if live.is_some() { LimitOrigin::Live } else { LimitOrigin::Configuration },
                    until_at: live.and_then(|limit| limit.until_at),
                });
            }
        }
        rows
    }

    fn set_mode(
        &mut self,
        mode: Mode,
        scope: Option<&LimitScope>,
        for_seconds: Option<u64>,
        by: By<'_>,
    ) -> Result<Answer, Reply> {
        let configured = match scope {
            None => self.config.mode,
            Some(scope) => configured_mode(&self.config, scope).ok_or_else(|| self.no_mode(scope))?,
        };
        let until_at = for_seconds.map(|seconds| live::now() + seconds);
        let change = Change::Mode { scope: scope.cloned(), mode, until_at };
        let mut committed = self.commit(change, by).map_err(failed)?;
        if until_at.is_none() && mode != configured {
            let (path, whose) =
                (self.config_path(), scope.map_or(String::new(), |scope| format!(" of {scope}")));
            let hint = format!(
                "it holds until the next reload or restart; mode = \"{mode}\"{whose} in {path} makes it last"
            );
            committed.warnings.push(hint);
        }
        let whole = self.mode();
        if let Some(scope) = scope.filter(|_| whole > mode) {
            committed.warnings.push(format!(
                "the gateway's mode is {whole}, which goes before: it holds for {scope} too; see `gateway mode`"
            ));
        }
        let whose = scope.map_or(String::new(), |scope| format!("{scope}: "));
        Ok(self.done(format!("{whose}mode {mode}"), until_at, committed))
    }

    /// The answer where a mode is asked for of what has none.
    fn no_mode(&self, scope: &LimitScope) -> Reply {
        let there: Vec<_> = modes(&self.config).map(|(scope, _)| scope.to_string()).collect();
        let help = if there.is_empty() {
            "there are no services and no classes; leave it out for the gateway's mode".to_owned()
        } else {
            format!("there are {}", there.join(", "))
        };
        Reply::failed(FailureKind::Usage, format!("{scope} has no mode of its own"), help)
    }

    /// The answer to a change that was made.
    pub(super) fn done(&self, message: String, until_at: Option<u64>, committed: Committed) -> Answer {
        let Committed { facts, warnings, written } = committed;
        let changed =
            Changed { message, generation: self.generation, until_at, warnings, facts, ..Changed::default() };
        Answer { reply: Reply::Done(Done::Changed(changed)), written: Some(written), stop: None }
    }

    /// The answer where everything is as it was asked to be.
    pub(super) fn unchanged(&self, message: String) -> Answer {
        Reply::changed(message, self.generation).into()
    }
}

/// The answer to what was not done.
pub(super) fn failed(error: CommitError) -> Reply {
    match error {
        CommitError::Cut(..) => Reply::failed(
            FailureKind::Refused,
            error.to_string(),
            "nothing was changed; leave that address out, or say --force if you have another way in",
        ),
        error => Reply::failed(
            FailureKind::Failed,
            error.to_string(),
            "nothing was changed; see the gateway's log and `gateway doctor`",
        ),
    }
}
