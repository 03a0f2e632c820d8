//! How a gateway begins and ends.

use std::{
    collections::BTreeMap,
    panic::resume_unwind,
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use gateway_common::{
    abi::{ABI_VERSION, INTERFACE_PLACES, INTERFACES, Identity},
    tables::TableSizes,
};

use crate::{
    config::{Audit, Config, OnExit},
    kernel::{Groundwork, Kernel, LoadOptions, memory, pins::Pins},
    live::{Clock, Live, is_of_trust},
    model::{Actor, Happened},
    net::{self, Covered, Interface},
    policy::{self, Rows},
    store::{self, Lock, LockError, Store, StoreOptions},
};

use super::{
    part::{
        attach::{self, Attached, attach},
        bans::BanState,
        clock::monotonic,
        cookies,
        drops::{DROPS, DropState},
        hub::Hub,
        options::Options,
        own::Told,
        pressure::Pressure,
        sockets,
    },
    state::{Gateway, addresses, segments},
};

/// How long the end waits for the disk.
const CLOSED_WITHIN: Duration = Duration::from_secs(2);

/// What is there before the program is: read while the kernel is asked for its types.
struct Kept {
    pins: Option<Pins>,
    lock: Option<Lock>,
    store: Store,
    live: Live,
    /// What the store has of it, but for trusted prefixes.
    facts: BTreeMap<String, String>,
    /// How far drops were told.
    drops: Option<String>,
    bans: BanState,
    interfaces: Vec<Interface>,
    warnings: Vec<String>,
}

impl Kept {
    fn read(config: &Config, options: &Options) -> Result<Self> {
        let (pins, pinless) = match Pins::open(&options.pins) {
            Ok((pins, warning)) => (Some(pins), warning),
            Err(error) => (None, Some(format!("protection ends with this process: {error}"))),
        };
        let mut warnings = Vec::from_iter(pinless);
        let path = store::path(&config.audit.database);
        let lock = match Lock::take(&path) {
            Ok(lock) => Some(lock),
            Err(error @ LockError::Taken(_)) => return Err(error.into()),
            Err(error @ LockError::File { .. }) => {
                warnings.push(format!(
                    "cannot lock {error}; another gateway might keep its state in the same folder"
                ));
                None
            }
        };
        let (store, mut kept, told) = Store::start(&path, store_options(config));
        warnings.extend(told);
        let drops = kept.facts.remove(DROPS);
        let (mut live, left_out) = Live::from_facts(&kept.facts);
        if left_out != 0 {
            warnings
                .push(format!("{left_out} entries of {} make no sense, and are left out", path.display()));
        }
        live.renew();
        let bans = BanState::new(kept.claims);
        let interfaces = interfaces(config, &mut warnings)?;
        if let Some(pins) = &pins {
            find_again(pins, &interfaces, &mut warnings);
        }
        let facts = kept.facts.into_iter().filter(|(key, _)| !is_of_trust(key)).collect();
        Ok(Self { pins, lock, store, live, facts, drops, bans, interfaces, warnings })
    }
}

impl Gateway {
    /// Loads, applies the policy, and only then attaches: no packet meets a program without one.
    pub(super) fn start(config: Config, options: Options) -> Result<Self> {
        let (groundwork, kept) = thread::scope(|scope| {
            let kept = scope.spawn(|| Kept::read(&config, &options));
            (
                Groundwork::lay(config.attach.btf.as_deref()),
                kept.join().unwrap_or_else(|panic| resume_unwind(panic)),
            )
        });
        let Kept { pins, lock, store, live, facts, drops, bans, interfaces, mut warnings } = kept?;
        let whole = TableSizes { sources: options.sources, ..TableSizes::default() };
        let (tables, smaller) = memory::tables(whole);
        warnings.extend(smaller);
        let load = LoadOptions {
            debug_log: options.debug_log,
            pins: pins.clone(),
            first: interfaces.first().map(attach::program),
            ..load_options(&interfaces, tables)
        };
        let kernel = Kernel::load_on(groundwork, &load)?;
        let rows = if kernel.resumed() { Rows(live.rows.clone()) } else { Rows::default() };
        let mut gateway = Self {
            prefixes: policy::prefixes(&config),
            config,
            live,
            bans,
            hub: Hub::default(),
            drops: DropState::resume(drops.as_deref().filter(|_| kernel.resumed()), kernel.identity().epoch),
            pressure: Pressure::default(),
            clock: Clock::new(monotonic(), kernel.identity().epoch),
            kernel,
            attached: Vec::new(),
            generation: 0,
            warnings,
            alarms: BTreeMap::new(),
            closed: Vec::new(),
            started: Instant::now(),
            reloads_ok: 0,
            reloads_failed: 0,
            applied_at: 0,
            addresses: addresses(interfaces.iter().map(|interface| interface.name.as_str())),
            segments: segments(&interfaces),
            host: cookies::Host::default(),
            surge: false,
            has_defaults: options.lack_file(),
            options,
            rows,
            store,
            kept: facts,
            expire_again: None,
            stopped_by: None,
            _lock: lock,
            pins,
            ender: None,
            watcher: None,
            own: Told::default(),
        };
        gateway.restore_bans()?;
        gateway.surge = gateway.has_surge()?;
        gateway.apply()?;
        gateway.apply_live()?;
        let lifted = gateway.lift_never()?;
        drop(gateway.put_down(&lifted, &Actor::Start));
        gateway.follow_own();
        drop(gateway.grown(true));
        gateway.attach(&interfaces)?;
        for warning in &gateway.all_warnings() {
            log::warn!("{warning}");
        }
        gateway.follow_refusals();
        for off in sockets::row(&gateway.kernel).off {
            log::warn!("off: {}: {}", off.feature, off.instead);
        }
        gateway.put_down_event(Happened::Start {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            mode: gateway.mode().to_string(),
            interfaces: gateway.attached.iter().map(|attached| attached.name.clone()).collect(),
            resumed: gateway.kernel.resumed(),
        });
        Ok(gateway)
    }

    fn attach(&mut self, interfaces: &[Interface]) -> Result<()> {
        for interface in interfaces {
            let replace = self.options.replace;
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
        let ended = self.take_off(keep);
        let actor = self.stopped_by.take().unwrap_or(Actor::Signal { name: "SIGTERM".to_owned() });
        self.sum_up_rest();
        self.put_down_event(Happened::Stop { actor, keeps: keep });
        if !self.store.close(CLOSED_WITHIN) {
            log::warn!("not all of the last changes are on the disk");
        }
        ended
    }

    fn take_off(&mut self, keep: bool) -> Result<()> {
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

/// What the configuration says of state and record.
pub(super) fn store_options(config: &Config) -> StoreOptions {
    let Audit { retention, sources, checkpoint, max_size, .. } = config.audit.clone();
    StoreOptions { retention, sources, checkpoint, max_size }
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
