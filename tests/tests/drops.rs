//! Drops of sources over their limits: what is counted in their slots, and when.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use aya::TestRunOptions;
use aya::programs::TestRun as _;
use gateway_common::{
    abi::{FOREVER, SLOT_COUNTS, SLOT_KEY, SLOT_TATS},
    env::Socket,
    limit::rate::{Dimension, SECOND},
    packet::{Packet, flags},
    source::KEY_V4,
    state::drop_cache::BULK,
    tables::Table,
    verdict::{Action, Reason},
    words::Words as _,
};
use gateway_tests::builder::ip;
use gateway_tests::cases::{Draft as _, Offer, SERVER, START, limit};
use gateway_tests::kernel::{options, policy};
use gateway_tests::lab::{THIS_THREAD, pin, require_lab};
use gateway_tests::twins::LATE;
use gateway_user::host::{Cpu, HostEnv, Sets, Stand};
use gateway_user::kernel::{Kernel, Program};
use proptest::prelude::*;

/// CPUs.
const CPUS: usize = 2;
/// Where the service is that has limits of its own, and where none is.
const PORTS: [u16; 2] = [53, 54];
/// The tables in which packets to them count.
const TABLES: [Table; 2] = [Table::ServiceSources, Table::Sources];
/// Sources.
const SOURCES: u8 = 3;

/// Tables of one set each, so that slots differ in nothing but table and source.
fn stand() -> Stand {
    let ten = limit(Dimension::Packets, 10, 10);
    let mut stand = Stand::new();
    stand.sets = Sets { sources: 1, service_sources: 1, ..Sets::default() };
    stand.each(Dimension::Packets, ten).serve(Offer::udp(PORTS[0]).own(Dimension::Packets, ten))
}

fn frame(source: u8, port: u16) -> Vec<u8> {
    ip(&format!("192.0.2.{source}"), SERVER).udp(40_000, port).payload(b"a question").build()
}

fn key(source: u8) -> u64 {
    KEY_V4 | 0xc000_0200 | u64::from(source)
}

/// Packets and drops in a source's slot.
fn counts(env: &HostEnv, table: Table, source: u8) -> Option<u64> {
    let mut slots = env.tables().slots(table);
    slots.find(|slot| slot.load(SLOT_KEY) == key(source)).map(|slot| slot.load(SLOT_COUNTS))
}

/// Whether a CPU drops a packet of a source.
fn drops(env: &HostEnv, cpu: &mut Cpu, source: u8, port: u16) -> bool {
    env.judge_on(&frame(source, port), cpu).action == Action::Drop
}

/// So many packets of a source, on a CPU, whose clock is late.
#[derive(Clone, Copy, Debug)]
struct Run {
    source: u8,
    port: usize,
    cpu: usize,
    is_late: bool,
    length: usize,
}

fn runs() -> impl Strategy<Value = Vec<Run>> {
    let run = (1..=SOURCES, 0..PORTS.len(), 0..CPUS, prop::bool::weighted(0.8), 1..200usize);
    let run = run.prop_map(|(source, port, cpu, is_late, length)| Run { source, port, cpu, is_late, length });
    prop::collection::vec(run, 1..40)
}

proptest! {
    #[test]
    fn what_a_slot_lacks_is_added_when_the_clock_is_read(runs in runs()) {
        let env = HostEnv::new(stand());
        env.set_now(START);
        let mut cpus = [(); CPUS].map(|()| Cpu::with_drop_cache(&env));
        let mut dropped = [[0u64; SOURCES as usize + 1]; PORTS.len()];
        for Run { source, port, cpu, is_late, length } in runs {
            env.set_late(if is_late { LATE } else { 0 });
            for _ in 0..length {
                let is_dropped = drops(&env, &mut cpus[cpu], source, PORTS[port]);
                dropped[port][usize::from(source)] += u64::from(is_dropped);
            }
            let counted = counts(&env, TABLES[port], source).expect("a slot") & u64::from(u32::MAX);
            let lacking = dropped[port][usize::from(source)] - counted;
            prop_assert!(lacking <= CPUS as u64 * BULK, "{lacking} are lacking");
        }
        env.set_late(0);
        for cpu in &mut cpus {
            // A set of each's is told with each.
            for _ in 0..=SOURCES {
                drops(&env, cpu, SOURCES + 1, PORTS[1]);
            }
        }
        for (table, dropped) in TABLES.into_iter().zip(dropped) {
            for source in 1..=SOURCES {
                let counted = counts(&env, table, source).unwrap_or(0) & u64::from(u32::MAX);
                prop_assert_eq!(counted, dropped[usize::from(source)], "{:?} of {}", table, source);
            }
        }
    }
}

/// A bucket is not asked again before the clock is read again, and then it is.
#[test]
fn who_was_refused_is_refused_until_the_clock_is_read() {
    let env = HostEnv::new(stand());
    let mut cpu = Cpu::with_drop_cache(&env);
    env.set_now(START);
    exhaust(&env, &mut cpu, 1);
    env.set_late(LATE);
    assert!(drops(&env, &mut cpu, 1, PORTS[1]));
    let slot = env.tables().slots(Table::Sources).find(|slot| slot.load(SLOT_KEY) == key(1)).expect("a slot");
    (SLOT_TATS..SLOT_TATS + Dimension::COLUMNS).for_each(|word| slot.store(word, 0));
    assert!(drops(&env, &mut cpu, 1, PORTS[1]));
    assert!(!drops(&env, &mut cpu, 1, PORTS[0]), "the service's own limit");
    assert!(!drops(&env, &mut cpu, 2, PORTS[1]), "another source");
    // The same instant, but read and not reckoned.
    env.set_late(0);
    env.set_now(START + LATE);
    assert!(!drops(&env, &mut cpu, 1, PORTS[1]));
}

/// Counters of services have every drop.
#[test]
fn drops_of_a_service_are_counted_as_its_own() {
    let env = HostEnv::new(stand());
    let mut cpu = Cpu::with_drop_cache(&env);
    env.set_now(START);
    env.set_late(LATE);
    let dropped = (0..100).filter(|_| drops(&env, &mut cpu, 1, PORTS[0])).count();
    assert!(dropped > 80, "{dropped}");
    assert_eq!(env.counters().service(1, Action::Drop, Reason::LimitPackets), dropped as u64);
}

/// ACKs of no connection count as SYNs of their source; those of a connection do not, and look the same.
#[test]
fn who_sends_strays_may_have_a_connection() {
    let syn = limit(Dimension::Syn, 1, 2);
    let mut env = HostEnv::new(Stand::new().each(Dimension::Syn, syn).serve(Offer::tcp(PORTS[0])));
    let open = |packet: &Packet| packet.source_port == 40_000;
    env.set_sockets(
        move |packet| {
            if open(packet) { Socket::Open { base: 1, received: 0 } } else { Socket::Unknown }
        },
    );
    env.set_now(START);
    let mut cpu = Cpu::with_drop_cache(&env);
    let mut ack = |source_port| {
        let frame = ip("192.0.2.1", SERVER).tcp(source_port, PORTS[0]).flags(flags::ACK).build();
        env.judge_on(&frame, &mut cpu).reason
    };
    assert_eq!(ack(40_000), Reason::Ok);
    env.set_late(LATE);
    assert_eq!([(); 4].map(|()| ack(50_000)).last(), Some(&Reason::OutOfStateAck));
    assert_eq!(ack(40_000), Reason::Ok);
}

/// Brings a source over its limit.
fn exhaust(env: &HostEnv, cpu: &mut Cpu, source: u8) {
    while !drops(env, cpu, source, PORTS[1]) {}
}

#[test]
fn all_sources_are_counted_in_bulk() {
    let env = HostEnv::new(stand());
    let mut cpu = Cpu::with_drop_cache(&env);
    env.set_now(START);
    (1..=2).for_each(|source| exhaust(&env, &mut cpu, source));
    let counted = |source| u64::from(counts(&env, Table::Sources, source).expect("a slot") as u32);
    env.set_late(LATE);
    // The first is judged, and so is one for which the entry has no more room.
    for dropped in 0..2 * (BULK + 1) {
        for source in 1..=2 {
            assert!(drops(&env, &mut cpu, source, PORTS[1]));
            assert_eq!(counted(source), 2 + dropped / (BULK + 1) * (BULK + 1), "{dropped}");
        }
    }
}

/// Drops are told when others take the entry.
#[test]
fn what_an_entry_counted_is_told_when_it_is_evicted() {
    let roomy = Sets { sources: 1 << 12, ..Sets::default() };
    let env = HostEnv::new(Stand { sets: roomy, ..stand() });
    let mut cpu = Cpu::with_drop_cache(&env);
    env.set_now(START);
    let mut dropped = 0;
    let mut send = |address: &str, count: usize| {
        let frame = ip(address, SERVER).udp(40_000, PORTS[1]).payload(b"a question").build();
        (0..count).filter(|_| env.judge_on(&frame, &mut cpu).action == Action::Drop).count() as u64
    };
    env.set_late(LATE);
    // More than there are entries for, each often enough to be colder than the newcomers make it.
    for turn in 0..4 {
        for source in 0..12_000_u16 {
            dropped += send(&format!("10.{turn}.{}.{}", source >> 8, source as u8), 14);
        }
    }
    let counted: u64 =
        env.tables().slots(Table::Sources).map(|slot| u64::from(slot.load(SLOT_COUNTS) as u32)).sum();
    // What went from the table of sources went with its drops.
    assert!(counted <= dropped && counted > 0, "{counted} of {dropped}");
}

#[test]
fn who_takes_the_slot_over_takes_no_drops_with_it() {
    let env = HostEnv::new(stand());
    let mut cpu = Cpu::with_drop_cache(&env);
    env.set_now(START);
    exhaust(&env, &mut cpu, 1);
    env.set_late(LATE);
    for _ in 1..BULK {
        assert!(drops(&env, &mut cpu, 1, PORTS[1]));
    }
    env.set_now(START + 10 * SECOND);
    (10..14).for_each(|newcomer| assert!(!drops(&env, &mut cpu, newcomer, PORTS[1])));
    assert_eq!(counts(&env, Table::Sources, 1), None);
    env.set_late(0);
    assert!(!drops(&env, &mut cpu, 10, PORTS[1]));
    let newcomers: Vec<u32> = (10..14)
        .filter_map(|newcomer| counts(&env, Table::Sources, newcomer))
        .map(|counts| counts as u32)
        .collect();
    assert_eq!(newcomers, [0; 4]);
}

#[test]
fn counts_stop_at_their_highest() {
    let env = HostEnv::new(stand());
    let mut cpu = Cpu::with_drop_cache(&env);
    env.set_now(START);
    exhaust(&env, &mut cpu, 1);
    let full = 7 << 32 | u64::from(u32::MAX);
    let mut slots = env.tables().slots(Table::Sources);
    slots.next().expect("a slot").store(SLOT_COUNTS, full - BULK / 2);
    env.set_late(LATE);
    for _ in 0..3 * BULK {
        assert!(drops(&env, &mut cpu, 1, PORTS[1]));
    }
    assert_eq!(counts(&env, Table::Sources, 1), Some(full));
}

/// Packets that were dropped for a reason, by the counters.
fn dropped(kernel: &Kernel, reason: Reason) -> u64 {
    kernel.tallies(0).unwrap()(Action::Drop, reason).packets
}

fn run(kernel: &mut Kernel, frame: &[u8], repeat: u32) -> Result<()> {
    let options = TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::new() };
    kernel.program(Program::Plain)?.test_run(options)?;
    Ok(())
}

/// Floods from one source that is dropped for a reason, where `counted` counts too: in bulk, and the rest when the clock is read.
fn is_counted_whole(kernel: &mut Kernel, reason: Reason, counted: impl Fn(&Kernel) -> u64) {
    pin(THIS_THREAD, 0).unwrap();
    let frame = frame(1, PORTS[1]);
    let mut was_lacking = false;
    for _ in 0..20 {
        run(kernel, &frame, 2_001).unwrap();
        let (all, part) = (dropped(kernel, reason), counted(kernel));
        assert!(part <= all && all - part <= BULK, "{part} of {all}");
        was_lacking |= part < all;
        thread::sleep(Duration::from_millis(30));
        run(kernel, &frame, 1).unwrap();
        assert_eq!(counted(kernel), dropped(kernel, reason));
    }
    assert!(was_lacking, "each drop was counted by itself");
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn a_flood_is_counted_whole_when_its_tick_is_over() {
    require_lab();
    let mut kernel = Kernel::load(&options()).unwrap();
    kernel.apply(&policy(&stand())).unwrap();
    is_counted_whole(&mut kernel, Reason::LimitPackets, |kernel| {
        let slot = kernel.tables().slots(Table::Sources).next();
        slot.map_or(0, |slot| slot.words[SLOT_COUNTS]) & u64::from(u32::MAX)
    });
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn what_a_ban_drops_is_counted_whole_too() {
    require_lab();
    let mut kernel = Kernel::load(&options()).unwrap();
    kernel.apply(&policy(&stand())).unwrap();
    kernel.ban(key(1), FOREVER).unwrap();
    is_counted_whole(&mut kernel, Reason::Banned, |kernel| kernel.ban_drops(key(1)).unwrap());
}
