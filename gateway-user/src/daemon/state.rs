//! All state of a running gateway, and every change of it.

use std::{net::IpAddr, path::PathBuf, sync::Arc, time::Instant};

use anyhow::Result;
use gateway_common::{
    abi::{LOCALS, Listing},
    hash::Key,
    packet::Family,
    verdict::{Action, Reason},
};
use nix::time::{ClockId, clock_gettime};

use crate::{
    cli::args::{Global, RunArgs},
    config::{Config, FromOutside, Mode, Problem, Quota, Report},
    exposure,
    kernel::{Kernel, PolicySet, Prefixes, VerdictLog, pins::Pins},
    live::{self, Clock, Live},
    net::{self, Interface},
    policy::{self, Overrides, Rows},
};

use super::{
    attach::Attached,
    bans::BanState,
    connections::Watcher,
    cookies,
    escalation::Pressure,
    own,
    refusals::{Ender, are_ended},
    sockets,
};

/// A running gateway.
pub(super) struct Gateway {
    pub(super) config: Config,
    /// Its prefixes, compiled.
    pub(super) prefixes: Arc<Prefixes<Listing>>,
    pub(super) live: Live,
    pub(super) bans: BanState,
    pub(super) pressure: Pressure,
    pub(super) clock: Clock,
    pub(super) kernel: Kernel,
    pub(super) attached: Vec<Attached>,
    pub(super) generation: u64,
    pub(super) warnings: Vec<String>,
    /// Why one of the endpoints is not there.
    pub(super) closed: Vec<String>,
    pub(super) started: Instant,
    pub(super) reloads_ok: u64,
    pub(super) reloads_failed: u64,
    pub(super) applied_at: u64,
    /// Where this host can be reached.
    pub(super) addresses: Vec<IpAddr>,
    /// Which segments its TCP takes by each of the interfaces, over IPv4 and over IPv6.
    pub(super) segments: Vec<[u16; 2]>,
    /// What its TCP does with SYN cookies, as the policy in force has it.
    pub(super) host: cookies::Host,
    /// A SYN flood is under way, or was a moment ago.
    pub(super) surge: bool,
    pub(super) arguments: (RunArgs, Global),
    /// There was no file at the default place.
    pub(super) has_defaults: bool,
    pub(super) rows: Rows,
    pub(super) state: PathBuf,
    /// What was written to it last.
    pub(super) saved: Option<Vec<u8>>,
    /// Where program and tables are pinned; nothing: they go with this process.
    pub(super) pins: Option<Pins>,
    /// Ends connections that were refused; nothing: they stay open.
    pub(super) ender: Option<Ender>,
    /// What of this host's traffic the program knows as its own.
    pub(super) own: own::Told,
    /// Counts connections, and ends those that are too many or wait too long; nothing: no service asks for it.
    pub(super) watcher: Option<Watcher>,
}

impl Gateway {
    /// The mode in force.
    pub(super) fn mode(&self) -> Mode {
        self.live.mode.map_or(self.config.mode, |(mode, _)| mode)
    }

    /// Compiles and switches to the policy of now; [`Self::settle`] is to follow.
    pub(super) fn apply(&mut self) -> Result<()> {
        let overrides = self.overrides();
        let generation = self.generation + 1;
        let key = Key(self.kernel.identity().key);
        let mut settings =
            policy::compile(&self.config, self.mode(), &overrides, &mut self.rows, generation, key)?;
        let host = self.tend_host();
        host.fit(&mut settings);
        policy::set_locals(&mut settings, &self.addresses);
        policy::let_reserved(&mut settings, self.config.sanity, &self.addresses);
        policy::set_segments(&mut settings, &self.segments);
        self.kernel.switch(&PolicySet::new(settings, Arc::clone(&self.prefixes)))?;
        self.host = host;
        self.generation += 1;
        self.applied_at = live::now();
        self.follow_connections();
        if self.live.rows != self.rows.0 {
            self.live.rows.clone_from(&self.rows.0);
            self.save();
        }
        Ok(())
    }

    /// Whether there was a switch of policies, and [`Self::settle`] is to follow.
    pub(super) const fn is_unsettled(&self) -> bool {
        self.kernel.is_unsettled()
    }

    /// Waits for the packets under way at the last switch: after the answer, for in a flood it takes the kernel some 20 ms.
    pub(super) fn settle(&mut self) {
        if let Err(error) = self.kernel.settle() {
            log::error!("cannot free the place of the old policy: {error}");
        }
    }

    /// Brings bans, trusted prefixes and shared buckets into the kernel.
    pub(super) fn apply_live(&mut self) -> Result<()> {
        self.kernel.set_live(&self.live.compile(&self.clock, &self.bans.wide, self.shared()))?;
        self.follow_connections();
        Ok(())
    }

    /// Live limits as the policy takes them. What no longer parses, or names nothing any more, was checked when it was set.
    pub(super) fn overrides(&self) -> Overrides {
        let quota = |limit: &live::LiveLimit| {
            let quota =
                limit.quota.as_ref().map(|(rate, burst)| Quota::parse(limit.dimension, rate, Some(burst)));
            quota.transpose().ok().map(|quota| ((limit.place.clone(), limit.dimension), quota))
        };
        self.live.limits.iter().filter_map(quota).collect()
    }

    /// Reads the file again and applies it as one change; on any error everything stays as it is.
    pub(super) fn reload(&mut self) -> Result<Vec<String>, ReloadError> {
        let outcome = self.try_reload();
        match &outcome {
            Ok(_) => self.reloads_ok += 1,
            Err(_) => self.reloads_failed += 1,
        }
        outcome
    }

    fn try_reload(&mut self) -> Result<Vec<String>, ReloadError> {
        let (args, global) = &self.arguments;
        let config = super::load(args, global, FromOutside::Needed).map_err(ReloadError::Configuration)?;
        let (warnings, has_defaults) = (self.unchangeable(&config), super::is_missing(global));
        let prefixes = std::mem::replace(&mut self.prefixes, policy::prefixes(&config));
        let old = (std::mem::replace(&mut self.config, config), prefixes, self.live.clone());
        self.live.renew();
        self.segments = self.segments_now();
        if let Err(error) = self.apply() {
            let sysctls = std::mem::take(&mut self.live.sysctls);
            (self.config, self.prefixes, self.live) = old;
            self.live.sysctls = sysctls;
            return Err(ReloadError::Policy(error));
        }
        self.has_defaults = has_defaults;
        self.follow_refusals();
        self.save();
        if let Err(error) = self.lift_never() {
            log::error!("cannot take bans back: {error:#}");
        }
        Ok(warnings)
    }

    /// What a reload cannot change, and what to do about it.
    fn unchangeable(&self, new: &Config) -> Vec<String> {
        let old = &self.config;
        [
            ("attach.interfaces", old.attach.interfaces != new.attach.interfaces),
            ("attach.driver", old.attach.driver != new.attach.driver),
            ("attach.btf", old.attach.btf != new.attach.btf),
            ("metrics.listen", old.metrics != new.metrics),
            ("control", old.control != new.control),
        ]
        .into_iter()
        .filter(|&(_, changed)| changed)
        .map(|(key, _)| format!("{key} changed, which takes effect when the gateway is restarted"))
        .collect()
    }

    /// SIGHUP.
    pub(super) fn reload_on_signal(&mut self) {
        match self.reload() {
            Ok(warnings) => {
                warnings.iter().for_each(|warning| log::warn!("{warning}"));
                log::info!("reloaded, generation {}", self.generation);
            }
            Err(error) => log::error!("not reloaded, the old policy holds: {error}"),
        }
    }

    /// When the next live change is over.
    pub(super) fn next_expiry(&self) -> Option<u64> {
        self.live.next_expiry().into_iter().chain(self.next_ban_expiry()).min()
    }

    /// Looks whether this host has other addresses or settings now.
    pub(super) fn follow_host(&mut self) {
        let names = self.attached.iter().map(|attached| attached.name.as_str());
        let addresses = addresses(names);
        let segments = self.segments_now();
        let host = self.tend_host();
        if addresses != self.addresses || segments != self.segments || host != self.host {
            (self.addresses, self.segments) = (addresses, segments);
            if let Err(error) = self.apply() {
                log::error!("cannot go on to this host's new addresses and settings: {error:#}");
            }
        }
    }

    /// Which segments this host's TCP takes now; while an interface is gone, what it took.
    fn segments_now(&self) -> Vec<[u16; 2]> {
        let interfaces = self.attached.iter().map(|attached| net::interface(&attached.name));
        interfaces.collect::<Result<Vec<_>, _>>().map_or_else(|_| self.segments.clone(), |now| segments(&now))
    }

    /// Takes back what is over.
    pub(super) fn expire(&mut self) {
        let (policy, prefixes) = self.live.expire(live::now());
        let outcome = if policy { self.apply() } else { Ok(()) };
        let outcome = if prefixes { outcome.and_then(|()| self.apply_live()) } else { outcome };
        if let Err(error) = outcome.and_then(|()| self.expire_bans()) {
            log::error!("cannot take back what is over: {error:#}");
        }
        if policy || prefixes {
            self.save();
        }
    }

    /// Goes on with the wall clock where somebody has set it: what ends after a time ends when it would have, and is told, and written
    /// down, by the clock as it is now.
    pub(super) fn follow_clock(&mut self) {
        let step = live::stepped();
        if step == 0 {
            return;
        }
        log::info!("the clock was set by {step} s; what ends after a time ends when it would have");
        self.live.shift(step);
        self.applied_at = self.applied_at.saturating_add_signed(step);
        self.clock = self.fresh_clock();
        self.save();
        self.shift_bans(step);
    }

    /// Writes the state file if what outlives a restart has changed; without it live changes do not outlive this process.
    pub(super) fn save(&mut self) {
        let saved = self.live.lasting().and_then(|lasting| {
            if self.saved.as_ref() != Some(&lasting) {
                Live::save(&self.state, &lasting)?;
            }
            Ok(lasting)
        });
        match saved {
            Ok(lasting) => self.saved = Some(lasting),
            Err(error) => {
                let state = self.state.display();
                self.warn(format!("cannot write {state}: {error}; timed changes will not outlive a restart"));
            }
        }
    }

    /// Writes down why one of the endpoints is not there; the log has it once.
    pub(super) fn tell_closed(&mut self, closed: Vec<String>) {
        for why in closed.iter().filter(|why| !self.closed.contains(why)) {
            log::warn!("{why}");
        }
        self.closed = closed;
    }

    /// Warns once, in the log and in status.
    pub(super) fn warn(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            log::warn!("{warning}");
            self.warnings.push(warning);
        }
    }

    /// Begins to end connections that are refused, unless no service asks for it yet.
    pub(super) fn follow_refusals(&mut self) {
        if self.ender.is_some() || !are_ended(&self.config) || self.kernel.sockets_missing().is_some() {
            return;
        }
        match Ender::start(&mut self.kernel) {
            Ok(ender) => self.ender = Some(ender),
            Err(error) => self.warn(format!(
                "refuse = \"reset\" counts as \"drop\": {error:#}; connections that are refused stay open until the server gives them up"
            )),
        }
    }

    /// What the program logs, if it was told to.
    pub(super) fn log(&mut self) -> Result<Option<aya_log::EbpfLogger<VerdictLog>>> {
        if self.arguments.0.debug_log { Ok(Some(self.kernel.log()?)) } else { Ok(None) }
    }

    /// The file, for status.
    pub(super) fn config_path(&self) -> String {
        self.arguments.1.config.display().to_string()
    }

    /// What the operator should know: what was found at the start, and what the host's settings keep the policy from.
    pub(super) fn all_warnings(&self) -> Vec<String> {
        let mut warnings = [&self.warnings[..], &self.closed].concat();
        warnings.extend(self.config.warnings.in_short(&self.config_path()).map(Problem::to_string));
        warnings.extend(sockets::warning(&self.kernel));
        let left_out = self.addresses.len().saturating_sub(LOCALS);
        if left_out != 0 {
            warnings.push(format!(
                "{left_out} of this host's {} addresses find no room: what nobody asked for is dropped on the others alone",
                self.addresses.len()
            ));
        }
        if self.has_defaults {
            warnings.push(format!("there is no {}: the defaults hold", self.config_path()));
        }
        match exposure::gaps(&self.config, &self.addresses) {
            Ok(gaps) => warnings.extend(gaps),
            Err(error) => warnings.push(format!("cannot look which servers listen: {error}")),
        }
        warnings.extend(cookies::warnings(&self.config, &self.host, &self.attached));
        warnings.extend(self.encapsulated());
        warnings
    }

    /// Interfaces by which packets of PPPoE or MPLS have come.
    fn encapsulated(&self) -> Vec<String> {
        let has_some = |place: usize| {
            let tallies = self.kernel.tallies(place);
            tallies.is_ok_and(|of| of(Action::Pass, Reason::Encapsulated).packets != 0)
        };
        let attached = self.attached.iter().enumerate().filter(|(place, _)| has_some(*place));
        attached
            .map(|(_, attached)| {
                format!(
                    "packets in PPPoE or MPLS come by {}, and what is inside them is not judged: if this host unpacks them, protect the device \
                     on which they come out (as ppp0), else what forwards to it",
                    attached.name
                )
            })
            .collect()
    }

    /// Counter rows of services.
    pub(super) const fn rows(&self) -> &Rows {
        &self.rows
    }
}

/// Why a reload was refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReloadError {
    /// The file is wrong.
    #[error("the configuration is wrong\n{0}")]
    Configuration(Report),
    /// It cannot be applied.
    #[error("{0:#}")]
    Policy(anyhow::Error),
}

/// The kernel's monotonic clock, as the program reads it.
pub(super) fn monotonic() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |now| now.tv_sec().unsigned_abs() * 1_000_000_000 + now.tv_nsec().unsigned_abs())
}

/// Which segments this host's TCP takes by each of the interfaces, over IPv4 and over IPv6, as it says itself in its SYNs.
pub(super) fn segments(interfaces: &[Interface]) -> Vec<[u16; 2]> {
    let of = |interface: &Interface, family| {
        net::segment(interface, family).unwrap_or_else(|error| {
            log::warn!("cannot read the route by {}: {error}", interface.name);
            0
        })
    };
    interfaces.iter().map(|interface| [Family::V4, Family::V6].map(|family| of(interface, family))).collect()
}

/// Where this host can be reached, first by these interfaces. Of addresses that it does not know the gateway asks no sockets.
pub(super) fn addresses<'a>(interfaces: impl Iterator<Item = &'a str>) -> Vec<IpAddr> {
    net::addresses(interfaces).unwrap_or_else(|error| {
        log::warn!(
            "cannot read this host's addresses ({error}): what nobody asked for is held by limits alone"
        );
        Vec::new()
    })
}
