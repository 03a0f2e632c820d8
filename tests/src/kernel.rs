//! The packet's way in the kernel, a frame at a time: [`Judge`] is to the loaded program what `HostEnv` is to the stages.

pub mod counts;
pub mod parity;
mod runner;
pub mod tables;

use std::ops::RangeInclusive;

use anyhow::{Context as _, Result, ensure};
use gateway_common::{
    abi::{ABI_VERSION, DROP_WAYS, Identity, PAIR_WAYS, WAYS},
    env::LiveEntry as _,
    hash::Key,
    limit::rate::Instant,
    tables::TableSizes,
    verdict::{Action, Reason, Verdict},
};
use gateway_user::host::{self, Sets, Stand};
use gateway_user::kernel::{Holders, Kernel, LoadOptions, cpus};
use gateway_user::{policy::PolicySet, prefixes::Prefixes};
use ipnet::IpNet;

pub use runner::Runner;

/// Lengths of frames that a test run takes: a whole Ethernet header, and one page less head and tail room.
pub const FRAME_LENGTHS: RangeInclusive<usize> = 14..=3_000;

/// How tests load the program: with the kernel's clock, of one interface, by itself.
#[must_use]
pub fn options() -> LoadOptions {
    LoadOptions {
        identity: Identity { key: [1, 2], epoch: 0, abi: u64::from(ABI_VERSION) },
        tables: TableSizes::default(),
        interfaces: vec![1],
        debug_log: false,
        testing: false,
        sockets: false,
        pins: None,
        first: None,
    }
}

/// The program in the kernel under a clock that the test sets.
pub struct Judge {
    kernel: Kernel,
    holders: Holders,
    runner: Runner,
    sets: Sets,
    key: Key,
    /// What its clock says, and how late readings of it are.
    clock: (Instant, Instant),
}

impl Judge {
    /// Loads the program with tables of a stand's shape and key. Takes about a second; [`Self::lay`] begins anew sooner.
    ///
    /// # Errors
    /// When the program cannot be loaded.
    pub fn new(sets: Sets, key: Key) -> Result<Self> {
        let defaults = options();
        let identity = Identity { key: key.0, ..defaults.identity };
        let options = LoadOptions { identity, tables: sizes(sets), testing: true, ..defaults };
        let mut kernel = Kernel::load(&options)?;
        let runner = Runner::new(&mut kernel)?;
        let holders = kernel.take_holders().context("it has none")?;
        let mut judge = Self { kernel, holders, runner, sets, key, clock: (0, 0) };
        judge.set_clock(0, 0)?;
        Ok(judge)
    }

    /// Lays a stand down before empty tables, its bans and live entries with no drops yet.
    ///
    /// # Errors
    /// When the stand is of another shape or key, or a map cannot be written.
    pub fn lay(&mut self, stand: &Stand) -> Result<()> {
        ensure!((self.sets, self.key) == (stand.sets, stand.key), "tables of another shape or key");
        self.kernel.clear_tables()?;
        self.kernel.set_live(&Prefixes::default())?;
        for source in self.kernel.banned() {
            self.kernel.unban(source)?;
        }
        self.holders.set(&stand.holders, &stand.full, stand.held_until)?;
        self.kernel.set_own_ports(&stand.own_ports)?;
        self.kernel.set_tunnels(&stand.tunnels)?;
        for &(source, until) in &stand.bans {
            self.kernel.ban(source, until)?;
        }
        apply(&mut self.kernel, stand)
    }

    /// Sets the clock, and by how much readings of it are late where they may be.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn set_clock(&mut self, now: Instant, late: Instant) -> Result<()> {
        self.clock = (now, late);
        Ok(self.kernel.set_clock(now, late)?)
    }

    /// Judges one frame that comes at `now` on a CPU whose readings of the clock are late by so much, where they may be.
    ///
    /// # Errors
    /// When the kernel does not take the frame, or what the program returns is not what it says of its verdict.
    pub fn judge(&mut self, frame: &[u8], now: Instant, late: Instant) -> Result<Verdict> {
        if self.clock != (now, late) {
            self.set_clock(now, late)?;
        }
        let returned = self.runner.run(frame)?;
        let (action, reason) = self.kernel.test_hook()?;
        let action = Action::ALL.get(action as usize).copied().context("no such action")?;
        let reason = Reason::ALL.get(reason as usize).copied().context("no such reason")?;
        let verdict = Verdict { action, reason };
        ensure!(returned == xdp_action(action), "{verdict:?}, but the program returned {returned}");
        Ok(verdict)
    }

    /// The loaded program with its maps.
    pub fn kernel(&mut self) -> &mut Kernel {
        &mut self.kernel
    }

    /// The program for another thread.
    ///
    /// # Errors
    /// When the kernel gives no second handle.
    pub fn runner(&mut self) -> Result<Runner> {
        Runner::new(&mut self.kernel)
    }
}

/// Puts a stand's policy and live entries into force.
///
/// # Errors
/// When a map cannot be written.
pub fn apply(kernel: &mut Kernel, stand: &Stand) -> Result<()> {
    kernel.apply(&policy(stand))?;
    Ok(kernel.set_live(&prefixes(&stand.live, |live| live.read()))?)
}

/// A stand's policy as the kernel takes it.
#[must_use]
pub fn policy(stand: &Stand) -> PolicySet {
    PolicySet {
        settings: stand.settings.clone(),
        prefixes: prefixes(&stand.listings, |listing| *listing).into(),
    }
}

/// What the program returns for an action (enum xdp_action in the kernel's include/uapi/linux/bpf.h).
const fn xdp_action(action: Action) -> u32 {
    match action {
        Action::Drop => 1,
        Action::Pass | Action::WouldDrop => 2,
        Action::Tx => 3,
    }
}

fn sizes(sets: Sets) -> TableSizes {
    let ways = WAYS as u32;
    TableSizes {
        sources: sets.sources * ways,
        service_sources: sets.service_sources * ways,
        neighbours: sets.neighbours * ways,
        connections: sets.connections * PAIR_WAYS as u32,
        hellos: sets.hellos * ways,
        tuples: sets.tuples * ways,
        clients: sets.clients * PAIR_WAYS as u32,
        drops: sets.drops * DROP_WAYS as u32 * cpus(),
    }
}

fn prefixes<V, W>(set: &host::Prefixes<V>, read: impl Fn(&V) -> W) -> Prefixes<W> {
    let mut prefixes = Prefixes::default();
    for (prefix, value) in set.iter().map(|(prefix, value)| (prefix, read(value))) {
        match prefix {
            IpNet::V4(net) => prefixes.v4.push((net.addr().octets(), net.prefix_len(), value)),
            IpNet::V6(net) => prefixes.v6.push((net.addr().octets(), net.prefix_len(), value)),
        }
    }
    prefixes
}
