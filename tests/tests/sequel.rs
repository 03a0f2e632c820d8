//! Packets that go on at the budgets, because they follow their like: they are judged and counted as any other.

use std::collections::BTreeMap;

use gateway_common::abi::{SLOT_COUNTS, SLOT_KEY, SLOT_WORDS, listing};
use gateway_common::env::{Receiver, Table, Words as _};
use gateway_common::packet::flags;
use gateway_common::pipeline::{self, Scratch};
use gateway_common::rate::{Dimension, SECOND};
use gateway_common::verdict::{Action, Reason};
use gateway_tests::builder::{Frame, hello, ip, quic};
use gateway_tests::cases::{Draft as _, Offer, SERVER, SERVER_V6, START, limit};
use gateway_tests::twins::{LATE, Twins};
use gateway_user::host::{Sets, Stand, Tables};
use proptest::prelude::*;

/// The tables of buckets.
const BUCKETS: [Table; 4] = [Table::Sources, Table::ServiceSources, Table::Neighbours, Table::Totals];
/// More packets than it takes to begin a run.
const RUN: usize = 12;

/// Limits of all kinds, some of which are met, and services of all kinds.
fn stand() -> Stand {
    let few = |dimension, amount| limit(dimension, amount, amount);
    let stand =
        [(Dimension::Packets, 90), (Dimension::Bytes, 90_000), (Dimension::Udp, 40), (Dimension::Icmp, 20)]
            .into_iter()
            .fold(Stand::new(), |stand, (dimension, amount)| stand.each(dimension, few(dimension, amount)))
            .neighbours(Dimension::Packets, few(Dimension::Packets, 200))
            .neighbours(Dimension::Syn, few(Dimension::Syn, 30))
            .rest(Dimension::Packets, few(Dimension::Packets, 300))
            .list("192.0.2.3/32", listing::ALLOW, 0)
            .local(SERVER);
    stand
        .serve(Offer::udp(5_353).own(Dimension::Udp, few(Dimension::Udp, 25)))
        .serve(Offer::udp(53).own(Dimension::Udp, few(Dimension::Udp, 25)))
        .serve(Offer::tls(443).total(Dimension::Syn, few(Dimension::Syn, 60)))
        .serve(Offer::quic(4_433).total(Dimension::Initial, few(Dimension::Initial, 60)))
        .serve(Offer::tcp(80))
}

/// Packets of a source, in groups of the same length: those of one group follow each other without being alike.
fn packet(source: usize, what: usize) -> Frame {
    let (source, server) = [
        ("192.0.2.1", SERVER),
        ("192.0.2.2", SERVER),
        ("192.0.2.3", SERVER),
        ("2001:db8:1::1", SERVER_V6),
        ("2001:db8:1::2", SERVER_V6),
    ][source];
    let packet = ip(source, server);
    let hello = hello::tls13("api.example.org");
    let tcp = |to: u16, with: u8| packet.clone().tcp(40_000, to).flags(with).seq(1_001);
    match what {
        0 => packet.udp(40_000, 53).payload(b"a question of 18 b"),
        1 => packet.udp(40_001, 53).payload(b"another one of 18b"),
        2 => packet.udp(40_000, 54).payload(b"a question of 18 b"),
        3 => packet.udp(53, 40_000).payload(b"an answer of 18 by"),
        4 => packet.icmp(8, 0, [0, 1, 0, 1]).payload(&[0; 40]),
        5 => packet.icmp(3, 4, [0, 0, 5, 0]).payload(&[0; 40]),
        6 => tcp(22, flags::SYN).tcp_options(&[2, 4, 5, 180]),
        7 => tcp(22, flags::ACK).payload(b"data"),
        8 => tcp(443, flags::SYN).seq(1_000).tcp_options(&[2, 4, 5, 180]),
        9 => tcp(443, flags::ACK | flags::PSH).payload(&hello),
        10 => tcp(443, flags::ACK | flags::PSH).payload(&vec![b'x'; hello.len()]),
        11 => tcp(80, flags::SYN).tcp_options(&[2, 4, 5, 180]),
        12 => packet.udp(40_000, 4_433).payload(&quic::initial(1, 1_200)),
        13 => packet.udp(40_000, 4_433).payload(&quic::short(1_200)),
        14 => packet.udp(40_002, 4_433).payload(&quic::short(1_200)),
        15 => packet.udp(40_000, 5_353).payload(b"a question of 18 b"),
        _ => packet.udp(40_000, 54).vlan(7).payload(b"a question of 18 b"),
    }
}
const PACKETS: usize = 17;

/// Packets alike, between two of which bits of one change; then the time that goes by, and whether the clock is late.
#[derive(Clone, Debug)]
struct Run {
    source: usize,
    what: usize,
    length: usize,
    bits: Vec<usize>,
    pause: bool,
    late: bool,
}

prop_compose! {
    fn run()(
        source in 0..5usize,
        what in 0..PACKETS,
        length in 1..20usize,
        bits in prop::collection::vec(0..400usize, 0..3),
        pause in prop::bool::weighted(0.1),
        late in prop::bool::weighted(0.9),
    ) -> Run {
        Run { source, what, length, bits, pause, late }
    }
}

proptest! {
    /// What is known of packets before changes no verdict, and nothing in a bucket.
    #[test]
    fn who_follows_counts_as_much(runs in prop::collection::vec(run(), 1..60)) {
        let mut twins = Twins::new(stand);
        let mut now = START;
        for Run { source, what, length, bits, pause, late } in runs {
            now += if pause { SECOND / 10 } else { 0 };
            twins.set_clocks(now, if late { LATE } else { 0 });
            let frame = packet(source, what).build();
            let mut other = frame.clone();
            for bit in bits {
                let at = (12 + bit / 8) % frame.len();
                other[at] ^= 1 << (bit % 8);
            }
            for turn in 0..length {
                let frame = if turn == RUN { &other } else { &frame };
                let [one, another] = twins.judge(frame).map(|verdict| {
                    // A drop stays one, be it for another reason meanwhile.
                    (verdict.action, (verdict.action != Action::Drop).then_some(verdict.reason))
                });
                prop_assert_eq!(one, another, "turn {} of {}", turn, what);
            }
        }
        // What a CPU has counted for itself is added when the clock is read.
        twins.set_clocks(now + 1, 0);
        let _ = twins.judge(&packet(0, PACKETS).build());
        let [one, another] = &twins.envs;
        for table in BUCKETS {
            prop_assert_eq!(slots(one.tables(), table), slots(another.tables(), table), "{:?}", table);
        }
    }
}

/// The slots of a table that hold something but drops: those a CPU forgets too that forgets all.
fn slots(tables: &Tables, table: Table) -> BTreeMap<u64, [u64; SLOT_WORDS]> {
    let all = tables.slots(table).map(|slot| {
        let mut words: [u64; SLOT_WORDS] = std::array::from_fn(|word| slot.load(word));
        words[SLOT_COUNTS] >>= 32;
        (std::mem::take(&mut words[SLOT_KEY]), words)
    });
    all.filter(|(_, words)| words.iter().any(|&word| word != 0)).collect()
}

/// Packets that the source's slot has.
fn counted(twins: &Twins) -> u64 {
    twins.envs[0].tables().slots(Table::Sources).map(|slot| slot.load(SLOT_COUNTS) >> 32).sum()
}

/// They are counted in bulk, when another comes between or the clock is read.
#[test]
fn who_follows_is_counted_later() {
    let mut twins = Twins::new(Stand::new);
    let (frame, other) = (packet(0, 0).build(), packet(0, 1).build());
    for _ in 0..100 {
        let _ = twins.judge(&frame);
    }
    assert!(counted(&twins) < 10, "each was counted by itself: {}", counted(&twins));
    let _ = twins.judge(&other);
    assert_eq!(counted(&twins), 101);
    for _ in 0..100 {
        let _ = twins.judge(&frame);
    }
    assert!(counted(&twins) < 120);
    twins.set_clocks(START + LATE, 0);
    let _ = twins.judge(&frame);
    assert_eq!(counted(&twins), 202);
}

/// Whether somebody on the host has asked is asked for each answer.
#[test]
fn who_was_asked_may_not_be_asked_again() {
    let mut twins = Twins::new(stand);
    let answer = packet(0, 3).build();
    for env in &mut twins.envs {
        env.set_receivers(|_, _| Receiver::Socket);
    }
    for _ in 0..RUN {
        assert_eq!(twins.judge(&answer).map(|verdict| verdict.action), [Action::Pass; 2]);
    }
    for env in &mut twins.envs {
        env.set_receivers(|_, _| Receiver::Nobody);
    }
    assert_eq!(twins.judge(&answer), [Reason::Reflection.into(); 2]);
}

/// A change of policy holds for the very next packet.
#[test]
fn who_follows_is_held_to_the_policy_in_force() {
    let mut twins = Twins::new(stand);
    let question = packet(0, 2).build();
    for _ in 0..RUN {
        assert_eq!(twins.judge(&question).map(|verdict| verdict.action), [Action::Pass; 2]);
    }
    twins.change(|stand| stand.list("192.0.2.1/32", listing::BLOCK, 0));
    assert_eq!(twins.judge(&question), [Reason::BlockListed.into(); 2]);
}

/// Neighbour discovery comes through as such, after what looks like it but came from afar.
#[test]
fn what_must_come_through_follows_nobody() {
    let mut twins = Twins::new(Stand::new);
    let mut solicitation = |hops| {
        let frame = ip("2001:db8::1", SERVER_V6).hops(hops).icmp(135, 0, [0; 4]).payload(&[0; 16]);
        twins.judge(&frame.build())
    };
    for _ in 0..RUN {
        assert_eq!(solicitation(64), [Reason::Ok.into(); 2]);
    }
    assert_eq!(solicitation(255), [Reason::NeighbourDiscovery.into(); 2]);
}

/// Who takes the slot over takes nothing with it that is not yet counted.
#[test]
fn who_takes_the_slot_over_takes_no_packets_with_it() {
    let mut twins = Twins::new(|| {
        let mut stand = Stand::new().each(Dimension::Udp, limit(Dimension::Udp, 1_000, 1_000));
        stand.sets = Sets { sources: 1, ..Sets::default() };
        stand
    });
    let from = |last: usize| ip(&format!("192.0.2.{last}"), SERVER).udp(40_000, 54).payload(&[0; 18]).build();
    for _ in 0..100 {
        let _ = twins.judge(&from(1));
    }
    // On another CPU, when the first owes nothing any more.
    twins.set_clocks(START + SECOND, 0);
    let [env, _] = &twins.envs;
    for newcomer in 10..14 {
        let _ = pipeline::handle(&from(newcomer).as_slice(), &env, &mut Scratch::default());
    }
    let _ = twins.judge(&from(10));
    assert_eq!(counted(&twins), 5);
}

/// A reading that is not late is another, be it of the same instant.
#[test]
fn nobody_follows_once_the_clock_is_read() {
    let mut twins = Twins::new(stand);
    let (question, trusted) = (packet(0, 2).build(), packet(2, 2).build());
    for _ in 0..RUN {
        let _ = twins.judge(&question);
    }
    twins.set_clocks(START + LATE, 0);
    assert_eq!(twins.judge(&trusted), [Reason::AllowListed.into(); 2]);
    assert_eq!(twins.judge(&question), [Reason::Ok.into(); 2]);
}
