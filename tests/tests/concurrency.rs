//! Several threads, as several CPUs: no limit is passed, and what is contended is dropped.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use gateway_common::{
    abi::{Active, Holder, Limits, Listing, OwnPorts, Refusal, Settings, Tunnel},
    env::{Asked, Context, Env, Receiver, Sampled},
    frame::Frame,
    hash::Key,
    limit::{
        bucket::Cost,
        rate::{Dimension, Instant, bit},
    },
    packet::Packet,
    pipeline,
    stage::{
        packet_state::PacketState,
        subprog::{Program, Subprog},
    },
    tables::{BucketTable, Note, PairTable, Table},
    verdict::{Action, Reason, Step},
    wire::{multipath::Change, options::Options, synack::SynAck},
    words::{self, Slots},
};
use gateway_tests::builder;
use gateway_tests::cases::{CLIENT, Draft, SERVER, START, limit};
use gateway_user::host::{Drops, HostEnv, LiveEntry, Stand, Words};

const THREADS: [u64; 4] = [2, 3, 4, 8];
const RATE: u64 = 1_000;
const BURST: u64 = 5_000;
const KEY: u64 = 1 << 32 | 9;

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.each[Dimension::Packets as usize] = limit(Dimension::Packets, RATE, BURST);
    limits
}

/// One packet of a source.
fn admits(env: &HostEnv, limits: &Limits, key: u64, now: Instant) -> bool {
    let cost = Cost { bytes: 60, mask: bit(Dimension::Packets) };
    gateway_tests::bucket(env, BucketTable::Sources, key, now).is_some_and(|bucket| {
        bucket.over(cost, limits, now.into()) == 0 && bucket.charge(cost, limits, now.into()) == 0
    })
}

/// How many packets `threads` get through at once, each trying `tries` times; `tick` moves the clock with every try.
fn admitted(threads: u64, tries: u64, tick: Instant) -> (u64, Instant) {
    let env = HostEnv::new(Stand::new());
    let limits = limits();
    let (clock, admitted) = (AtomicU64::new(START), AtomicU64::new(0));
    let start = Barrier::new(threads as usize);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                start.wait();
                for _ in 0..tries {
                    let now = clock.fetch_add(tick, Ordering::SeqCst);
                    if admits(&env, &limits, KEY, now) {
                        admitted.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    (admitted.into_inner(), clock.into_inner() - START)
}

#[test]
fn a_clock_that_stands_still_grants_one_burst_to_all() {
    for threads in THREADS {
        let (admitted, _) = admitted(threads, BURST, 0);
        assert!(admitted <= BURST, "{threads} threads got {admitted}");
        // What ran out of retries is dropped, and tried again by others.
        assert!(admitted >= BURST * 99 / 100, "{threads} threads got {admitted}");
    }
}

#[test]
fn a_clock_that_moves_grants_rate_and_burst_to_all() {
    for threads in THREADS {
        // A microsecond a try.
        let (admitted, time) = admitted(threads, 40_000, 256_000);
        let most = u128::from(RATE) * u128::from(time >> 8) / 1_000_000_000 + u128::from(BURST);
        assert!(u128::from(admitted) <= most, "{threads} threads got {admitted} of {most}");
    }
}

#[test]
fn who_comes_first_on_two_cpus_gets_one_packet_more_at_most() {
    let limits = {
        let mut limits = Limits::default();
        limits.each[Dimension::Packets as usize] = limit(Dimension::Packets, 1, 3);
        limits
    };
    let threads = 4u64;
    let env = HostEnv::new(Stand::new());
    let barrier = Barrier::new(threads as usize);
    let admitted: Vec<AtomicU64> = (0..2_000).map(|_| AtomicU64::new(0)).collect();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                for (key, admitted) in (1..).zip(&admitted) {
                    barrier.wait();
                    for _ in 0..4 {
                        let count = admits(&env, &limits, 1 << 32 | key, START);
                        admitted.fetch_add(u64::from(count), Ordering::SeqCst);
                    }
                }
            });
        }
    });
    // Later keys push earlier ones out; while it lasts, none gets more than its burst and a packet of each other CPU.
    for (key, admitted) in (1u64..).zip(&admitted) {
        let admitted = admitted.load(Ordering::SeqCst);
        assert!(admitted < 3 + threads, "source {key} got {admitted}");
    }
}

#[test]
fn totals_hold_when_many_sources_meet_them() {
    let stand = Stand::new().serve(
        gateway_tests::cases::Offer::udp(53).total(Dimension::Packets, limit(Dimension::Packets, 1, 1_000)),
    );
    let env = HostEnv::new(stand);
    env.set_now(START);
    let passed = AtomicU64::new(0);
    thread::scope(|scope| {
        for thread in 0..4 {
            let (env, passed) = (&env, &passed);
            scope.spawn(move || {
                let frame = builder::ip(&format!("192.0.{thread}.9"), SERVER).udp(1, 53).build();
                for _ in 0..1_000 {
                    let verdict = env.judge(&frame, START);
                    passed.fetch_add(u64::from(verdict.action == Action::Pass), Ordering::SeqCst);
                }
            });
        }
    });
    let counted = env.counters().tally(Action::Pass, Reason::Ok).packets;
    assert_eq!(passed.into_inner(), counted);
    assert!((990..=1_000).contains(&counted), "{counted} of 1000");
}

/// An environment in which another CPU is always first.
struct Losing<'a>(&'a HostEnv);

/// Words that somebody else has just changed.
#[derive(Clone, Copy)]
struct Lost<'a>(Words<'a>);

impl Slots for Lost<'_> {
    type Slot = Self;

    fn slot(self, way: usize) -> Self {
        Self(self.0.slot(way))
    }
}

impl words::Words for Lost<'_> {
    fn load(self, word: usize) -> u64 {
        words::Words::load(self.0, word)
    }

    fn store(self, word: usize, value: u64) {
        words::Words::store(self.0, word, value);
    }

    fn replace(self, _: usize, _: u64, _: u64) -> bool {
        false
    }

    fn add(self, word: usize, value: u64) {
        words::Words::add(self.0, word, value);
    }
}

impl<'a> Env for Losing<'a> {
    type Buckets = Lost<'a>;
    type Pairs = Words<'a>;
    type Drops = Drops<'a>;
    type Live = &'a LiveEntry;

    fn key(&self) -> Key {
        Env::key(&self.0)
    }
    fn drop_shift(&self) -> u32 {
        Env::drop_shift(&self.0)
    }
    fn active(&self) -> Active {
        Env::active(&self.0)
    }
    fn settings(&self, active: Active) -> Option<&Settings> {
        Env::settings(&self.0, active)
    }
    fn listing(&self, active: Active, packet: &Packet) -> Option<Listing> {
        Env::listing(&self.0, active, packet)
    }
    fn live(&self, packet: &Packet) -> Option<&'a LiveEntry> {
        Env::live(&self.0, packet)
    }
    fn barrier_var(value: u64) -> u64 {
        value
    }
    fn sets(&self, table: Table) -> u32 {
        Env::sets(&self.0, table)
    }
    fn buckets(&self, table: BucketTable, index: u32) -> Option<Self::Buckets> {
        Env::buckets(&self.0, table, index).map(Lost)
    }
    fn pairs(&self, table: PairTable, index: u32) -> Option<Self::Pairs> {
        Env::pairs(&self.0, table, index)
    }
    fn ban_filter(&self, index: u32) -> u64 {
        Env::ban_filter(&self.0, index)
    }
    fn full_until(&self, holder: &Holder) -> Instant {
        Env::full_until(&self.0, holder)
    }
    fn own_ports(&self) -> &OwnPorts {
        Env::own_ports(&self.0)
    }
    fn is_tunnel(&self, tunnel: &Tunnel) -> bool {
        Env::is_tunnel(&self.0, tunnel)
    }
    fn is_own_connection(&self, packet: &Packet) -> bool {
        Env::is_own_connection(&self.0, packet)
    }
    fn ask(&self, packet: &Packet, transport: u32, doubts_open: bool, asked: &mut Asked) {
        Env::ask(&self.0, packet, transport, doubts_open, asked);
    }
    fn is_established(&self, packet: &Packet) -> bool {
        Env::is_established(&self.0, packet)
    }
    fn receiver(&self, packet: &Packet, forwarding: bool) -> Receiver {
        Env::receiver(&self.0, packet, forwarding)
    }
    fn syn_cookie(&self, packet: &Packet, transport: u32) -> Option<u32> {
        Env::syn_cookie(&self.0, packet, transport)
    }
    fn interface(&self) -> u32 {
        Env::interface(&self.0)
    }
    fn tcp_clock(&self, now: Instant) -> u32 {
        Env::tcp_clock(&self.0, now)
    }
    fn reply(&self, at: u32, answer: &SynAck) -> bool {
        Env::reply(&self.0, at, answer)
    }
    fn would_take(&self, packet: &Packet, acknowledgment: u32, options: &Options) -> bool {
        Env::would_take(&self.0, packet, acknowledgment, options)
    }
    fn tell(&self, refusal: &Refusal) {
        Env::tell(&self.0, refusal);
    }
    fn sample(&self, sampled: &Sampled) {
        Env::sample(&self.0, sampled);
    }
    fn change(&self, changes: [Change; 2]) {
        Env::change(&self.0, changes);
    }
    fn barrier<T>(&self, _: &mut T) {}
    fn count(&self, action: Action, reason: Reason, service: u32, bytes: u32) {
        Env::count(&self.0, action, reason, service, bytes);
    }
    fn note(&self, table: Table, note: Note) {
        Env::note(&self.0, table, note);
    }
}

impl Program for Losing<'_> {
    fn call<F: Frame>(
        &self,
        subprog: Subprog,
        frame: &F,
        context: &Context<'_, Self>,
        state: &mut PacketState,
    ) -> Step {
        subprog.run(frame, context, state)
    }
}

#[test]
fn who_loses_every_race_is_dropped_as_contended() {
    let frame = builder::ip(CLIENT, SERVER).udp(1, 53).build();
    let env = HostEnv::new(Stand::new().each(Dimension::Packets, limit(Dimension::Packets, 1, 5)));
    env.set_now(START);
    let losing = || {
        let mut state = PacketState::default();
        pipeline::handle(&frame.as_slice(), &Losing(&env), &mut &env, Drops::default(), &mut state)
    };
    // It finds no slot that it may take.
    let verdict = losing();
    assert_eq!(verdict.reason, Reason::Contended);
    assert_eq!(env.counters().noted(Table::Sources, Note::Full), 1);
    // It has a slot, and cannot charge.
    assert_eq!(env.judge(&frame, START).reason, Reason::Ok);
    let verdict = losing();
    assert_eq!((verdict.action, verdict.reason), (Action::Drop, Reason::Contended));
    assert_eq!(env.counters().noted(Table::Sources, Note::Full), 1);
}
