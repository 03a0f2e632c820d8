//! Requests of the control socket, each answered by doing it.

use crate::{
    config::{Quota, Quotas, Service},
    control::{
        document::{Changed, LimitOrigin, LimitRow},
        protocol::{Done, FailureKind, Reply, Request, Row},
        words::{Dimension, Mode, Place, Remark},
    },
    live::{self, LiveLimit},
    policy::{overridden, places},
};

use super::state::{Gateway, ReloadError};

impl Gateway {
    /// Does what is asked. The second answer is whether the program stays, when the gateway is to end.
    pub(super) fn answer(&mut self, request: &Request) -> (Reply, Option<bool>) {
        if let Request::Stop { keep } = request {
            if *keep == Some(true) && !self.can_keep() {
                let why = "the program is not pinned, and would go with the gateway";
                return (
                    Reply::failed(FailureKind::Failed, why, "mount bpffs and start the gateway again"),
                    None,
                );
            }
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
                message: if self.has_defaults {
                    format!("there is no {}: the defaults hold", self.config_path())
                } else {
                    format!("reloaded {}", self.config_path())
                },
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
        if rate == "none" {
            if burst.is_some() {
                let help = "leave the burst out; nothing was changed";
                return Err(Reply::failed(FailureKind::Usage, "what has no limit has no burst", help));
            }
            let message = format!("{place} {what}: no limit");
            return self.change_limit(place, what, Some(None), for_seconds, message);
        }
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
            // As often as it is said: a script that says it twice takes no protection away.
            (false, Some(quota)) => Ok(self.done(format!("{place} {what}: {quota}, as configured"), None)),
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
            Place::Default | Place::Neighbours | Place::Rest | Place::Class(_) => &Dimension::OF_SOURCES,
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
        let places = places(&self.config);
        let found = places.iter().find(|(other, _)| other == place);
        found.map(|(_, quotas)| **quotas).ok_or_else(|| {
            let there: Vec<_> = places.iter().map(|(place, _)| place.to_string()).collect();
            let help = format!("there are {}", there.join(", "));
            Reply::failed(FailureKind::Usage, format!("there is no {place}"), help)
        })
    }

    fn limit_rows(&self) -> Vec<LimitRow> {
        let overrides = self.overrides();
        let mut rows = Vec::new();
        for (place, quotas) in places(&self.config) {
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

    pub(super) fn done(&self, message: String, until_at: Option<u64>) -> Reply {
        self.done_with(message, until_at, Vec::new())
    }

    pub(super) fn done_with(&self, message: String, until_at: Option<u64>, warnings: Vec<String>) -> Reply {
        log::info!("{message}");
        let generation = self.generation;
        Reply::Done(Done::Changed(Changed { message, generation, until_at, warnings }))
    }
}

pub(super) fn failed(error: impl std::fmt::Display) -> Reply {
    Reply::failed(
        FailureKind::Failed,
        format!("{error:#}"),
        "nothing was changed; see the gateway's log and `gateway doctor`",
    )
}
