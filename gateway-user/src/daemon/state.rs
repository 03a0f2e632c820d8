//! All state of a running gateway, and every change of it.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Instant};

use anyhow::Result;
use gateway_common::{
    abi::{LOCALS, Listing, Settings},
    hash::Key,
    packet::Family,
    verdict::{Action, Reason},
};

use crate::{
    config::{Config, Problem},
    exposure,
    kernel::{Kernel, pins::Pins},
    live::{self, Clock, Live},
    model::{Actor, Happened, Mode},
    net::{self, Interface},
    policy::{self, PolicySet, Rows},
    prefixes::Prefixes,
    store::{Lock, Store},
};

use super::part::{
    attach::Attached,
    bans::BanState,
    connections::Watcher,
    cookies,
    drops::DropState,
    hub::Hub,
    options::Options,
    own,
    pressure::Pressure,
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
    pub(super) hub: Hub,
    pub(super) drops: DropState,
    pub(super) pressure: Pressure,
    pub(super) clock: Clock,
    pub(super) kernel: Kernel,
    pub(super) attached: Vec<Attached>,
    pub(super) generation: u64,
    /// What was found at the start.
    pub(super) warnings: Vec<String>,
    /// What is wrong now, by what it is about.
    pub(super) alarms: BTreeMap<&'static str, String>,
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
    pub(super) options: Options,
    /// There was no file at the default place.
    pub(super) has_defaults: bool,
    pub(super) rows: Rows,
    /// What outlives this process.
    pub(super) store: Store,
    /// What of the live changes was given to it last.
    pub(super) kept: BTreeMap<String, String>,
    /// When it is tried again to take back what is over.
    pub(super) expire_again: Option<u64>,
    /// The user that has asked for the end.
    pub(super) stopped_by: Option<Actor>,
    /// The folder of state is this daemon's alone.
    pub(super) _lock: Option<Lock>,
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
        let mut rows = std::mem::take(&mut self.rows);
        let compiled = self.settings(&mut rows, self.generation + 1);
        self.rows = rows;
        let mut settings = compiled?;
        let host = self.tend_host();
        host.fit(&mut settings);
        self.kernel.switch(&PolicySet::new(settings, Arc::clone(&self.prefixes)))?;
        self.host = host;
        self.generation += 1;
        self.applied_at = live::now();
        self.follow_connections();
        if self.live.rows != self.rows.0 {
            self.live.rows.clone_from(&self.rows.0);
            drop(self.keep(Vec::new()));
        }
        Ok(())
    }

    /// The policy of now as the packet path takes it, but for what this host's TCP does; services that are new get their counter rows.
    pub(super) fn settings(&self, rows: &mut Rows, generation: u64) -> Result<Box<Settings>> {
        let key = Key(self.kernel.identity().key);
        let overrides = self.live.overrides();
        let mut settings = policy::compile(&self.config, self.mode(), &overrides, rows, generation, key)?;
        let modes = self.live.modes.iter().map(|(scope, (mode, _))| (scope, *mode));
        policy::set_modes(&mut settings, &self.config, rows, modes);
        policy::set_locals(&mut settings, &self.addresses);
        policy::let_reserved(&mut settings, self.config.sanity, &self.addresses);
        policy::set_segments(&mut settings, &self.segments);
        Ok(settings)
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
    pub(super) fn segments_now(&self) -> Vec<[u16; 2]> {
        let interfaces = self.attached.iter().map(|attached| net::interface(&attached.name));
        interfaces.collect::<Result<Vec<_>, _>>().map_or_else(|_| self.segments.clone(), |now| segments(&now))
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
        self.shift_bans(step);
        drop(self.keep(Vec::new()));
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

    /// Tells what is wrong with something, in the log once and in status for as long as it lasts; nothing: it is well.
    pub(super) fn alarm(&mut self, about: &'static str, warning: Option<String>) {
        let before = self.alarms.get(about);
        match warning {
            Some(warning) if before != Some(&warning) => {
                log::warn!("{warning}");
                self.alarms.insert(about, warning.clone());
                self.put_down_event(Happened::Alarm { about: about.to_owned(), warning: Some(warning) });
            }
            None if before.is_some() => {
                log::info!("{about}: well again");
                self.alarms.remove(about);
                self.put_down_event(Happened::Alarm { about: about.to_owned(), warning: None });
            }
            _ => {}
        }
    }

    /// What is wrong with the store now.
    fn store_warnings(&self) -> impl Iterator<Item = String> {
        let trouble = self.store.trouble().map(|trouble| {
            format!(
                "cannot write {trouble}; changes are in force and will not outlive a restart until that is mended; it is tried \
                 again and again"
            )
        });
        let lost = self.store.lost();
        let lost = (lost != 0)
            .then(|| format!("{lost} rows of the record were lost: the disk took none for too long"));
        trouble.into_iter().chain(self.store.record_troubles()).chain(lost)
    }

    /// Begins to end connections that are refused, unless no service asks for it yet.
    pub(super) fn follow_refusals(&mut self) {
        if self.ender.is_some() || !are_ended(&self.config) || self.kernel.sockets_missing().is_some() {
            return;
        }
        match Ender::start(&mut self.kernel) {
            Ok(ender) => {
                self.ender = Some(ender);
                self.alarm("refused connections", None);
            }
            Err(error) => self.alarm("refused connections", Some(format!(
                "refuse = \"reset\" counts as \"drop\": {error:#}; connections that are refused stay open until the server gives them up"
            ))),
        }
    }

    /// What the program logs, if it was told to.
    pub(super) fn log(&mut self) -> Result<Option<aya_log::EbpfLogger<&'static dyn log::Log>>> {
        if self.options.debug_log { Ok(Some(self.kernel.log()?)) } else { Ok(None) }
    }

    /// The file, for status.
    pub(super) fn config_path(&self) -> String {
        self.options.config.display().to_string()
    }

    /// What the operator should know: what was found at the start, and what the host's settings keep the policy from.
    pub(super) fn all_warnings(&self) -> Vec<String> {
        let mut warnings = [&self.warnings[..], &self.closed].concat();
        warnings.extend(self.alarms.values().cloned());
        warnings.extend(self.store_warnings());
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
        if self.config.services.is_empty() {
            warnings.push(format!(
                "no service is configured, so there is no TLS gate, no SYN cookie and no limit but those of sources; say `gateway run \
                 --service tls:443`, or write a [[service]] into {}",
                self.config_path()
            ));
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
