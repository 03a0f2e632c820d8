//! The packet path on the host: [`HostEnv`] is to [`crate::pipeline`] what the kernel's maps are.
//!
//! A [`Stand`] holds what user space would write into the maps; [`HostEnv`] adds clock, tables and counters. Given the
//! same stand, frames and times, a kernel program and a [`HostEnv`] come to the same verdicts. Everything that a packet
//! changes is atomic, so several threads may judge frames at once, as several CPUs do.

mod bans;
mod counters;
mod cpu;
mod env;
mod live;
mod prefixes;
mod stand;
mod tables;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::{
    abi::{HANDSHAKE_FULL, HANDSHAKE_HOLDERS, HANDSHAKE_SLOT, Refusal, SERVICES},
    env::{Receiver, Socket},
    frame::Frame,
    limit::rate::Instant,
    packet::Packet,
    pipeline,
    state::{ban_table::strikes_of, bans::State},
    tables::Table,
    verdict::Verdict,
    wire::options::Options,
    words::{Slots as _, Words as _},
};

pub use crate::tables::Sets;
use bans::Bans;
pub use counters::Counters;
pub use cpu::{Cpu, Drops};
pub use live::LiveEntry;
pub use prefixes::Prefixes;
pub use stand::{Stand, zeroed_settings};
pub use tables::{Slot, Tables, Words};

/// Answers for the host's TCP.
type Sockets = Box<dyn Fn(&Packet) -> Socket + Send + Sync>;
/// Whether the host's TCP has completed a handshake, or opened a connection itself.
type Established = Box<dyn Fn(&Packet) -> bool + Send + Sync>;

/// Whether the host's TCP would take a segment, by its acknowledgment and timestamp.
type Takers = Box<dyn Fn(&Packet, u32, &Options) -> bool + Send + Sync>;
/// Answers for the host's sockets.
type Receivers = Box<dyn Fn(&Packet, bool) -> Receiver + Send + Sync>;

/// Clock, policy, tables and counters in memory.
pub struct HostEnv {
    stand: Stand,
    clock: AtomicU64,
    late: AtomicU64,
    tables: Tables,
    counters: Counters,
    sockets: Sockets,
    has_cookies: bool,
    established: Established,
    bans: Bans,
    own_connections: Established,
    receivers: Receivers,
    takers: Takers,
    refusals: Mutex<Vec<Refusal>>,
}

impl HostEnv {
    /// Empty tables but for the stand's bans at instant 0, on a host without sockets.
    #[must_use]
    pub fn new(stand: Stand) -> Self {
        Self {
            tables: held(&stand),
            bans: Bans::new(stand.key, &stand.bans),
            stand,
            clock: AtomicU64::new(0),
            late: AtomicU64::new(0),
            counters: Counters::default(),
            sockets: Box::new(|_| Socket::Unknown),
            has_cookies: true,
            established: Box::new(|_| false),
            own_connections: Box::new(|_| false),
            receivers: Box::new(|_, _| Receiver::Elsewhere),
            takers: Box::new(|_, _, _| true),
            refusals: Mutex::default(),
        }
    }

    /// The same with other answers of the host's TCP.
    #[must_use]
    pub fn with_sockets(mut self, sockets: impl Fn(&Packet) -> Socket + Send + Sync + 'static) -> Self {
        self.set_sockets(sockets);
        self
    }

    /// Changes the answers of the host's TCP.
    pub fn set_sockets(&mut self, sockets: impl Fn(&Packet) -> Socket + Send + Sync + 'static) {
        self.sockets = Box::new(sockets);
    }

    /// Whether listeners make SYN cookies, and find them good in later packets; at first they do.
    pub fn set_cookies(&mut self, has_cookies: bool) {
        self.has_cookies = has_cookies;
    }

    /// Changes which handshakes the host's TCP has completed.
    pub fn set_established(&mut self, established: impl Fn(&Packet) -> bool + Send + Sync + 'static) {
        self.established = Box::new(established);
    }

    /// Bans a source until then, or gives its ban another end; whether there was room.
    pub fn ban(&mut self, source: u64, until: Instant) -> bool {
        self.bans.set(source, until)
    }

    /// Each ban, with its end and its drops in one word.
    pub fn bans(&self) -> impl Iterator<Item = (u64, State)> {
        self.bans.entries()
    }

    /// Sources with strikes, and how many they have had.
    pub fn strikes(&self) -> impl Iterator<Item = (u64, u32)> {
        self.tables.asked_for(Table::Strikes).as_chunks().0.iter().filter_map(strikes_of)
    }

    /// Changes which packets are of connections that the host has opened; at first none.
    pub fn set_own_connections(&mut self, own: impl Fn(&Packet) -> bool + Send + Sync + 'static) {
        self.own_connections = Box::new(own);
    }

    /// Changes the receivers of packets.
    pub fn set_receivers(&mut self, receivers: impl Fn(&Packet, bool) -> Receiver + Send + Sync + 'static) {
        self.receivers = Box::new(receivers);
    }

    /// Changes which segments the host's TCP would take; at first it takes all.
    pub fn set_takers(&mut self, takers: impl Fn(&Packet, u32, &Options) -> bool + Send + Sync + 'static) {
        self.takers = Box::new(takers);
    }

    /// Takes the connections that were to be ended since the last call.
    pub fn take_refusals(&self) -> Vec<Refusal> {
        std::mem::take(&mut *self.refusals.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sets the clock, forward or back.
    pub fn set_now(&self, now: Instant) {
        self.clock.store(now, Ordering::SeqCst);
    }

    /// Sets how late readings of the clock are, where they may be; at first 0.
    pub fn set_late(&self, late: Instant) {
        self.late.store(late, Ordering::SeqCst);
    }

    fn time(&self) -> Instant {
        self.clock.load(Ordering::SeqCst)
    }

    /// The stand, to be changed between packets.
    pub fn stand_mut(&mut self) -> &mut Stand {
        &mut self.stand
    }

    /// The stand.
    #[must_use]
    pub fn stand(&self) -> &Stand {
        &self.stand
    }

    /// The tables as packets left them.
    #[must_use]
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Judges one frame that comes at `now`.
    pub fn judge(&self, frame: &[u8], now: Instant) -> Verdict {
        self.set_now(now);
        self.judge_on(frame, &mut Cpu::default())
    }

    /// Judges one frame on a CPU that has judged others before.
    pub fn judge_on(&self, frame: &[u8], cpu: &mut Cpu) -> Verdict {
        self.judge_frame(&frame, cpu)
    }

    /// The same with a frame of any kind.
    pub fn judge_frame(&self, frame: &impl Frame, cpu: &mut Cpu) -> Verdict {
        let mut clock = self;
        pipeline::handle(frame, &self, &mut clock, Drops(&cpu.drops), &mut cpu.state)
    }
}

/// Empty tables but for the words of the limits of connections.
fn held(stand: &Stand) -> Tables {
    let tables = Tables::new(stand.sets);
    for row in 0..SERVICES as u8 {
        if let Some(set) = tables.set(Table::Totals, row.into()) {
            let slot = set.slot(HANDSHAKE_SLOT);
            let until = |holds: bool| if holds { stand.held_until } else { 0 };
            slot.store(HANDSHAKE_FULL, until(stand.full.contains(&row)));
            slot.store(HANDSHAKE_HOLDERS, until(!stand.holders.is_empty()));
        }
    }
    tables
}

impl fmt::Debug for HostEnv {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("HostEnv")
            .field("generation", &self.stand.settings.generation)
            .field("clock", &self.clock)
            .field("sets", &self.stand.sets)
            .finish_non_exhaustive()
    }
}
