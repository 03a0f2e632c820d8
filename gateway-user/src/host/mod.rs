//! The packet's way on the host: [`HostEnv`] is to [`gateway_common::pipeline`] what the kernel's maps are.
//!
//! A [`Stand`] holds what user space would write into the maps; [`HostEnv`] adds clock, tables and counters. Both ends are
//! exact: given the same stand, frames and times, a kernel program and a [`HostEnv`] come to the same verdicts. Everything
//! that a packet changes is atomic, so several threads may judge frames at once, as several CPUs do.

mod counters;
mod prefixes;
mod tables;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use gateway_common::abi::{
    Active, FIRST_SYN_SETS, LINK_SET_WORDS, LINK_WORDS, Listing, Live, STRIKE_SETS, Settings, mode,
};
use gateway_common::env::{Asked, Env, Found, Note, Receiver, Socket, Table};
use gateway_common::hash::Key;
use gateway_common::packet::Packet;
use gateway_common::pipeline::{self, Scratch};
use gateway_common::rate::{Instant, Reading, SECOND};
use gateway_common::verdict::{Action, Reason, Verdict};
use gateway_common::wire::synack::{Cookie, SynAck};
use zerocopy::FromZeros as _;

use crate::bans::table::strikes_of;

pub use counters::Counters;
pub use prefixes::Prefixes;
pub use tables::{Sets, Slot, Tables, Words};

/// What is laid down before the first packet: one policy, live entries, and the shape of the tables.
#[derive(Clone, Debug)]
pub struct Stand {
    /// The policy but for its prefixes. [`Settings::flags`] must say which prefix sets have entries.
    pub settings: Box<Settings>,
    /// The policy's prefixes.
    pub listings: Prefixes<Listing>,
    /// Live entries.
    pub live: Prefixes<Live>,
    /// The key of the tables.
    pub key: Key,
    /// Sizes of the tables.
    pub sets: Sets,
}

impl Stand {
    /// The first policy, in enforce mode, that limits nothing: sources are /32 and /64, neighbourhoods /24 and /48.
    #[must_use]
    pub fn new() -> Self {
        let mut settings = zeroed_settings();
        settings.generation = 1;
        settings.mode = mode::ENFORCE;
        settings.source_mask_v4 = 0xffff_ffff;
        settings.source_mask_v6 = u64::MAX;
        settings.neighbour_mask_v4 = 0xffff_ff00;
        settings.neighbour_mask_v6 = u64::MAX << 16;
        Self {
            settings,
            listings: Prefixes::default(),
            live: Prefixes::default(),
            key: Key::default(),
            sets: Sets::default(),
        }
    }

    /// The word that switches to this policy.
    #[must_use]
    pub fn active(&self) -> Active {
        let mut word = 0;
        if self.live.has_v4() {
            word |= Active::LIVE_V4;
        }
        if self.live.has_v6() {
            word |= Active::LIVE_V6;
        }
        Active(word)
    }
}

impl Default for Stand {
    fn default() -> Self {
        Self::new()
    }
}

/// All-zero settings, made where they stay: they are too large for a stack.
///
/// # Panics
/// Where there is no memory for them.
#[must_use]
pub fn zeroed_settings() -> Box<Settings> {
    Settings::new_box_zeroed().expect("memory for one policy")
}

/// The word behind the last set of strikes.
const STRIKES_LAST: usize = STRIKE_SETS as usize * LINK_SET_WORDS;

/// Answers for the host's TCP.
type Sockets = Box<dyn Fn(&Packet) -> Socket + Send + Sync>;
/// Whether the host's TCP has completed a handshake.
type Established = Box<dyn Fn(&Packet) -> bool + Send + Sync>;

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
    /// Made when the first strike is counted.
    strikes: OnceLock<Box<[AtomicU64]>>,
    first_syns: OnceLock<Box<[AtomicU64]>>,
    receivers: Receivers,
}

/// By how many bits the host scales its windows.
const SCALE: u8 = 7;

impl HostEnv {
    /// Empty tables at instant 0, on a host without sockets.
    #[must_use]
    pub fn new(stand: Stand) -> Self {
        Self {
            tables: Tables::new(stand.sets),
            stand,
            clock: AtomicU64::new(0),
            late: AtomicU64::new(0),
            counters: Counters::default(),
            sockets: Box::new(|_| Socket::Unknown),
            has_cookies: true,
            established: Box::new(|_| false),
            strikes: OnceLock::new(),
            first_syns: OnceLock::new(),
            receivers: Box::new(|_, _| Receiver::Elsewhere),
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

    /// Whether listeners make SYN cookies, and find them good in what comes next; at first they do.
    pub fn set_cookies(&mut self, has_cookies: bool) {
        self.has_cookies = has_cookies;
    }

    /// Changes which handshakes the host's TCP has completed.
    pub fn set_established(&mut self, established: impl Fn(&Packet) -> bool + Send + Sync + 'static) {
        self.established = Box::new(established);
    }

    /// Sources with strikes, and how many they have had.
    pub fn strikes(&self) -> impl Iterator<Item = (u64, u32)> {
        let words = self.strikes.get().map_or(&[][..], |words| &words[..STRIKES_LAST]);
        words.chunks_exact(LINK_WORDS).filter_map(strikes_of)
    }

    /// Sources whose strikes were forgotten because others took their place.
    #[must_use]
    pub fn strikes_evicted(&self) -> u64 {
        self.strikes.get().map_or(0, |words| words[STRIKES_LAST].load(Ordering::Relaxed))
    }

    /// Changes the answers to whom packets are for.
    pub fn set_receivers(&mut self, receivers: impl Fn(&Packet, bool) -> Receiver + Send + Sync + 'static) {
        self.receivers = Box::new(receivers);
    }

    /// Sets the clock, forward or back.
    pub fn set_now(&self, now: Instant) {
        self.clock.store(now, Ordering::SeqCst);
    }

    /// By how much readings of the clock are late where they may be; at first they are not.
    pub fn set_late(&self, late: Instant) {
        self.late.store(late, Ordering::SeqCst);
    }

    fn time(&self) -> Instant {
        self.clock.load(Ordering::SeqCst)
    }

    /// What holds; to be changed between packets.
    pub fn stand_mut(&mut self) -> &mut Stand {
        &mut self.stand
    }

    /// What holds.
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
        pipeline::handle(&frame, &self, &mut Scratch::default())
    }
}

/// A set of a table that is made when it is first asked for.
fn link_set(table: &OnceLock<Box<[AtomicU64]>>, sets: u32, index: u32) -> Option<Words<'_>> {
    let length = sets as usize * LINK_SET_WORDS;
    let words = table.get_or_init(|| std::iter::repeat_with(AtomicU64::default).take(length).collect());
    let start = index as usize * LINK_SET_WORDS;
    words.get(start..start + LINK_SET_WORDS).map(Words::new)
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

impl<'a> Env for &'a HostEnv {
    type Buckets = Words<'a>;
    type Links = Words<'a>;
    type Live = Live;

    fn read_clock(&self, may_be_late: bool) -> Reading {
        let late = if may_be_late { self.late.load(Ordering::SeqCst) } else { 0 };
        Reading { latest: self.time().wrapping_add(late), late }
    }

    fn key(&self) -> Key {
        self.stand.key
    }

    fn active(&self) -> Active {
        self.stand.active()
    }

    fn settings(&self, _: Active) -> Option<&Settings> {
        // Generation 0 is the zeroed map of before the first policy.
        Some(&*self.stand.settings).filter(|settings| settings.generation != 0)
    }

    fn listing(&self, _: Active, packet: &Packet) -> Option<Listing> {
        self.stand.listings.longest(packet.ipv6, packet.source).copied()
    }

    fn live(&self, packet: &Packet) -> Option<Live> {
        self.stand.live.longest(packet.ipv6, packet.source).copied()
    }

    fn sets(&self, table: Table) -> u32 {
        self.stand.sets.of(table)
    }

    fn buckets(&self, table: Table, index: u32) -> Option<Self::Buckets> {
        if table.is_of_links() { None } else { self.tables.set(table, index) }
    }

    fn links(&self, table: Table, index: u32) -> Option<Self::Links> {
        self.tables.set(table, index)
    }

    fn ask(&self, packet: &Packet, _: u32, asked: &mut Asked) {
        *asked = Asked::of((self.sockets)(packet));
        asked.scale = SCALE;
        asked.has_cookie = asked.found == Found::Listener && self.has_cookies;
    }

    fn syn_cookie(&self, packet: &Packet, transport: u32) -> Option<Cookie> {
        let mut asked = Asked::default();
        self.ask(packet, transport, &mut asked);
        // Any number does.
        (asked.found == Found::Listener && self.has_cookies)
            .then(|| Cookie { sequence: packet.sequence.rotate_left(16), mss: 1_460 })
    }

    fn tcp_clock(&self, now: Instant) -> u32 {
        (now / (SECOND / 1_000)) as u32
    }

    fn reply(&self, _: u32, _: &SynAck) -> bool {
        true
    }

    fn strikes(&self, index: u32) -> Option<Self::Links> {
        link_set(&self.strikes, STRIKE_SETS + 1, index)
    }

    fn first_syns(&self, index: u32) -> Option<Self::Links> {
        link_set(&self.first_syns, FIRST_SYN_SETS, index)
    }

    fn is_established(&self, packet: &Packet) -> bool {
        (self.established)(packet)
    }

    fn receiver(&self, packet: &Packet, forwarding: bool) -> Receiver {
        (self.receivers)(packet, forwarding)
    }

    fn count(&self, action: Action, reason: Reason, service: u32, bytes: u32) {
        self.counters.count(action, reason, service, bytes);
    }

    fn note(&self, table: Table, note: Note) {
        self.counters.note(table, note);
    }
}
