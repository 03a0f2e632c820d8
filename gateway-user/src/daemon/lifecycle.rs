//! How a gateway begins and ends.

use std::{panic::resume_unwind, path::PathBuf, thread, time::Instant};

use anyhow::Result;
use gateway_common::{
    abi::{ABI_VERSION, INTERFACE_PLACES, INTERFACES, Identity},
    tables::TableSizes,
};

use crate::{
    cli::args::{Global, RunArgs},
    config::{Config, OnExit},
    kernel::{Groundwork, Kernel, LoadOptions, memory, pins::Pins},
    live::{self, Clock, Live},
    net::{self, Covered, Interface},
    policy::{self, Rows},
};

use super::{
    attach::{self, Attached, attach},
    bans::BanState,
    cookies,
    escalation::Pressure,
    own::Told,
    sockets,
    state::{Gateway, addresses, monotonic, segments},
};

/// What is there before the program is: read while the kernel is asked for its types.
struct Kept {
    pins: Option<Pins>,
    state: PathBuf,
    live: Live,
    bans: BanState,
    interfaces: Vec<Interface>,
    warnings: Vec<String>,
}

impl Kept {
    fn read(config: &Config, arguments: &RunArgs) -> Result<Self> {
        let (pins, pinless) = match Pins::open(&arguments.pins) {
            Ok((pins, warning)) => (Some(pins), warning),
            Err(error) => (None, Some(format!("protection ends with this process: {error}"))),
        };
        let state = Live::path(&config.audit.database);
        let (mut live, warning) = Live::load(&state);
        let mut warnings = Vec::from_iter(pinless.into_iter().chain(warning));
        live.renew();
        live.expire(live::now());
        let bans = BanState::load(config, &mut live, &mut warnings);
        let interfaces = interfaces(config, &mut warnings)?;
        if let Some(pins) = &pins {
            find_again(pins, &interfaces, &mut warnings);
        }
        Ok(Self { pins, state, live, bans, interfaces, warnings })
    }
}

impl Gateway {
    /// Loads, applies the policy, and only then attaches: no packet meets a program without one.
    pub(super) fn start(config: Config, arguments: (RunArgs, Global)) -> Result<Self> {
        let (groundwork, kept) = thread::scope(|scope| {
            let kept = scope.spawn(|| Kept::read(&config, &arguments.0));
            (
                Groundwork::lay(config.attach.btf.as_deref()),
                kept.join().unwrap_or_else(|panic| resume_unwind(panic)),
            )
        });
        let Kept { pins, state, live, bans, interfaces, mut warnings } = kept?;
        let whole = TableSizes { sources: arguments.0.sources, ..TableSizes::default() };
        let (tables, smaller) = memory::tables(whole);
        warnings.extend(smaller);
        let options = LoadOptions {
            debug_log: arguments.0.debug_log,
            pins: pins.clone(),
            first: interfaces.first().map(attach::program),
            ..load_options(&interfaces, tables)
        };
        let kernel = Kernel::load_on(groundwork, &options)?;
        let rows = if kernel.resumed() { Rows(live.rows.clone()) } else { Rows::default() };
        let mut gateway = Self {
            prefixes: policy::prefixes(&config),
            config,
            live,
            bans,
            pressure: Pressure::default(),
            clock: Clock::new(monotonic(), kernel.identity().epoch),
            kernel,
            attached: Vec::new(),
            generation: 0,
            warnings,
            closed: Vec::new(),
            started: Instant::now(),
            reloads_ok: 0,
            reloads_failed: 0,
            applied_at: 0,
            addresses: addresses(interfaces.iter().map(|interface| interface.name.as_str())),
            segments: segments(&interfaces),
            host: cookies::Host::default(),
            surge: false,
            has_defaults: super::is_missing(&arguments.1),
            arguments,
            rows,
            state,
            saved: None,
            pins,
            ender: None,
            watcher: None,
            own: Told::default(),
        };
        gateway.restore_bans()?;
        gateway.surge = gateway.has_surge()?;
        gateway.apply()?;
        gateway.apply_live()?;
        gateway.lift_never()?;
        gateway.save();
        gateway.follow_own();
        gateway.attach(&interfaces)?;
        for warning in &gateway.all_warnings() {
            log::warn!("{warning}");
        }
        gateway.follow_refusals();
        for off in sockets::row(&gateway.kernel).off {
            log::warn!("off: {}: {}", off.feature, off.instead);
        }
        Ok(gateway)
    }

    fn attach(&mut self, interfaces: &[Interface]) -> Result<()> {
        for interface in interfaces {
            let replace = self.arguments.0.replace;
            let driver = self.config.attach.driver;
            match attach(&mut self.kernel, self.pins.as_ref(), interface, driver, replace, &mut self.warnings)
            {
                Ok(attached) => self.attached.push(attached),
                Err(error) => {
                    // What this start attached goes again; what an earlier daemon left stays.
                    for attached in self.attached.drain(..).filter(|_| !self.kernel.resumed()) {
                        let _ = attached.attachment.detach();
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Whether the program stays after a signal to end.
    pub(super) fn keeps(&self) -> bool {
        self.can_keep() && self.config.attach.on_exit == OnExit::Keep
    }

    /// Whether the program can outlive this process.
    pub(super) const fn can_keep(&self) -> bool {
        self.pins.is_some()
    }

    /// Ends: the program goes, or stays and goes on protecting.
    pub(super) fn end(&mut self, keep: bool) -> Result<()> {
        if keep {
            log::info!("ended; the attached program goes on protecting");
            return Ok(());
        }
        self.restore_sysctls();
        for attached in self.attached.drain(..) {
            attached.attachment.detach()?;
        }
        self.pins.as_ref().map_or(Ok(()), Pins::forget_maps)?;
        log::info!("ended and detached");
        Ok(())
    }

    /// One line for the log.
    pub(super) fn greeting(&self) -> String {
        let on = |attached: &Attached| format!("{} ({})", attached.name, attached.driver.name());
        let interfaces: Vec<_> = self.attached.iter().map(on).collect();
        let resumed = if self.kernel.resumed() { ", tables of the last run taken over" } else { "" };
        format!(
            "protecting {} in {} mode, policy generation {}{resumed}",
            interfaces.join(", "),
            self.mode(),
            self.generation
        )
    }
}

/// The interfaces of the configuration, each with what the kernel says of it.
///
/// One whose packets have all gone through others of them before is left out: they would be judged, and charged, twice.
fn interfaces(config: &Config, warnings: &mut Vec<String>) -> Result<Vec<Interface>> {
    let names = &config.attach.interfaces;
    anyhow::ensure!(
        names.len() <= INTERFACES,
        "{} interfaces are named; at most {INTERFACES} can be",
        names.len()
    );
    let mut found: Vec<Interface> = Vec::new();
    let all = net::interfaces()?;
    let others: Vec<&str> = names.iter().map(String::as_str).collect();
    for name in names {
        let interface = net::interface(name).map_err(|error| match error.help() {
            Some(help) => anyhow::anyhow!("{error}; {help}"),
            None => error.into(),
        })?;
        if let Some((why, remedy)) = interface.unjudged() {
            anyhow::bail!("{why}; {remedy}");
        }
        match net::covered(&interface, &others, &all) {
            Covered::No => {}
            Covered::Whole => {
                warnings.push(format!(
                    "{name}: the program is not put on it, since all that comes by it has come by another of attach.interfaces before, and is \
                     judged there"
                ));
                continue;
            }
            Covered::InPart => anyhow::bail!(
                "some of what comes by {name} has come by another of attach.interfaces before, and would be judged and charged twice; name \
                 all of its ports instead, or it alone"
            ),
        }
        let place = |interface: &Interface| interface.index % INTERFACE_PLACES;
        if let Some(other) = found.iter().find(|other| place(other) == place(&interface)) {
            anyhow::bail!(
                "{name} and {} cannot be told apart (indices {} and {}); make one of them anew",
                other.name,
                interface.index,
                other.index
            );
        }
        found.push(interface);
    }
    Ok(found)
}

/// Pins again what an earlier daemon left on these interfaces, where its pins are hidden.
fn find_again(pins: &Pins, interfaces: &[Interface], warnings: &mut Vec<String>) {
    let pinned = pins.interfaces();
    for interface in interfaces.iter().filter(|interface| !pinned.contains(&interface.name)) {
        let name = &interface.name;
        if interface.xdp.is_some_and(|xdp| pins.find_again(name, interface.index, xdp.program_id)) {
            warnings.push(format!(
                "{name}: the pins of the gateway's own program were hidden, as by another bpffs mounted above them; they were made again, and \
                 what is known goes on (`findmnt /sys/fs/bpf` shows what is mounted there)"
            ));
        }
    }
}

/// How a program is loaded that is to judge these interfaces, but for what the command line says.
pub(super) fn load_options(interfaces: &[Interface], tables: TableSizes) -> LoadOptions {
    LoadOptions {
        identity: fresh_identity(),
        tables,
        interfaces: interfaces.iter().map(|interface| interface.index).collect(),
        debug_log: false,
        testing: false,
        sockets: true,
        pins: None,
        first: None,
    }
}

/// A secret that nobody outside knows, and the clock's origin.
fn fresh_identity() -> Identity {
    Identity { key: rand::random(), epoch: monotonic(), abi: u64::from(ABI_VERSION) }
}
