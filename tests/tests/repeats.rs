//! What a refused source sends is dropped, and nothing else is: a CPU with a drop cache judges as one without.

use std::collections::BTreeMap;

use gateway_common::{
    abi::{SLOT_COUNTS, SLOT_KEY, SLOT_TATS, SLOT_WORDS, listing},
    limit::rate::{Dimension, SECOND},
    packet::flags,
    state::drop_cache::BULK,
    tables::Table,
    verdict::{Action, Reason},
    words::Words as _,
};
use gateway_tests::builder::{Frame, hello, ip, quic};
use gateway_tests::cases::{Draft as _, Offer, SERVER, SERVER_V6, START, limit};
use gateway_tests::twins::{LATE, Twins};
use gateway_user::host::{Stand, Tables};
use proptest::prelude::*;

/// Where services are that have limits of their own, and where none is.
const PORTS: [u16; 2] = [53, 54];

/// A packet of one of the kinds that have limits of their own, or of none.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Datagram,
    Syn,
    Ack,
    Ping,
}

const KINDS: [Kind; 4] = [Kind::Datagram, Kind::Syn, Kind::Ack, Kind::Ping];

impl Kind {
    fn frame(self, source: &str, destination: &str, port: u16, payload: usize) -> Vec<u8> {
        let packet = ip(source, destination);
        let packet = match self {
            Self::Datagram => packet.udp(40_000, port),
            Self::Syn => packet.tcp(40_000, port).flags(flags::SYN),
            Self::Ack => packet.tcp(40_000, port).flags(flags::ACK),
            Self::Ping => packet.icmp(8, 0, [0; 4]),
        };
        packet.payload(&vec![0; payload]).build()
    }
}

/// Limits in every dimension of a source, each of which some packets are over and others not.
fn narrow() -> Stand {
    let stand = |stand: Stand, (dimension, amount)| stand.each(dimension, limit(dimension, amount, amount));
    let all =
        [(Dimension::Packets, 40), (Dimension::Bytes, 12_000), (Dimension::Syn, 6), (Dimension::Udp, 9)];
    let own = limit(Dimension::Udp, 4, 4);
    all.into_iter().fold(Stand::new(), stand).serve(Offer::udp(PORTS[0]).own(Dimension::Udp, own))
}

proptest! {
    /// A CPU that knows what it dropped judges as one that forgets it after every packet.
    #[test]
    fn what_was_refused_is_what_would_be(
        packets in prop::collection::vec((1..=2u8, 0..KINDS.len(), 0..PORTS.len(), 0..1_000usize, 1..9usize), 1..120),
    ) {
        let mut twins = Twins::new(narrow);
        for (source, kind, port, payload, times) in packets {
            let frame = KINDS[kind].frame(&format!("192.0.2.{source}"), SERVER, PORTS[port], payload);
            for _ in 0..times {
                let [verdict, wanted] = twins.judge(&frame);
                prop_assert_eq!(verdict.action, wanted.action, "{:?} of {}", KINDS[kind], source);
            }
        }
    }
}

/// Who is on a list, whose neighbourhood is over its limit, and who is over a limit of his own, for IPv4 and IPv6; and where they send
/// to.
const HELD: [(&str, &str); 6] = [
    ("203.0.113.1", SERVER),
    ("198.51.100.2", SERVER),
    ("192.0.2.3", SERVER),
    ("2001:db8:1::1", SERVER_V6),
    ("2001:db8:2::2", SERVER_V6),
    ("2001:db8:3::3", SERVER_V6),
];

/// A policy that holds them to that, in all but packets of no kind of their own; and to less towards a service.
fn held() -> Stand {
    let there = |offer: Offer| offer.on(SERVER).on(SERVER_V6);
    let stand = Stand::new()
        .list("203.0.113.1/32", listing::BLOCK, 0)
        .list("2001:db8:1::1/128", listing::BLOCK, 0)
        .list("192.0.2.3/32", 0, 1)
        .list("2001:db8:3::3/128", 0, 1)
        .serve(there(Offer::udp(PORTS[0])).own(Dimension::Udp, limit(Dimension::Udp, 2, 2)))
        .serve(there(Offer::tcp(PORTS[0])).own(Dimension::Syn, limit(Dimension::Syn, 2, 2)));
    [Dimension::Syn, Dimension::Udp, Dimension::Icmp].into_iter().fold(stand, |stand, kind| {
        let few = |amount| limit(kind, amount, amount);
        stand.each(kind, few(6)).neighbours(kind, few(3)).class(1, kind, few(2))
    })
}

/// By how many bytes: mostly none.
fn longer() -> impl Strategy<Value = isize> {
    prop_oneof![4 => Just(0), 1 => -30..30isize]
}

proptest! {
    /// What is like a dropped frame is dropped, and nothing else: bits of its headers change, or its length.
    #[test]
    fn what_is_not_like_it_is_judged(
        (ends, kind) in (0..HELD.len(), 0..KINDS.len()),
        changes in prop::collection::vec((prop::collection::vec(0..448usize, 0..3), longer()), 1..40),
    ) {
        let mut twins = Twins::new(held);
        let (source, destination) = HELD[ends];
        let frame = KINDS[kind].frame(source, destination, PORTS[0], 40);
        for (bits, longer) in changes {
            let mut other = frame.clone();
            bits.iter().for_each(|bit| other[12 + bit / 8] ^= 1 << (bit % 8));
            other.resize(other.len().saturating_add_signed(longer), 0);
            for frame in [&frame, &frame, &frame, &other] {
                let [verdict, wanted] = twins.judge(frame).map(|verdict| {
                    // What is cached is not asked for what else is wrong with it.
                    (verdict.action, (verdict.action != Action::Drop).then_some(verdict.reason))
                });
                prop_assert_eq!(verdict, wanted, "bits {:?}, length {}", bits, longer);
            }
        }
    }
}

/// Limits of all kinds, some of which are met, and services of all kinds.
fn mixed() -> Stand {
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

/// Packets of a source, in groups of the same length: those of one group follow each other and are not the same.
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

/// The same packet several times, one of them with changed bits; then the time that goes by, and whether the clock is late.
#[derive(Clone, Debug)]
struct Run {
    source: usize,
    what: usize,
    length: usize,
    changed: usize,
    bits: Vec<usize>,
    pause: bool,
    late: bool,
}

prop_compose! {
    fn run()(
        source in 0..5usize,
        what in 0..PACKETS,
        length in 1..20usize,
        changed in 0..20usize,
        bits in prop::collection::vec(0..400usize, 0..3),
        pause in prop::bool::weighted(0.1),
        late in prop::bool::weighted(0.9),
    ) -> Run {
        Run { source, what, length, changed, bits, pause, late }
    }
}

proptest! {
    /// What a CPU knows of the frames before changes no action, and nothing in a bucket.
    #[test]
    fn buckets_are_the_same(runs in prop::collection::vec(run(), 1..60)) {
        let mut twins = Twins::new(mixed);
        let mut now = START;
        for Run { source, what, length, changed, bits, pause, late } in runs {
            now += if pause { SECOND / 10 } else { 0 };
            twins.set_clocks(now, if late { LATE } else { 0 });
            let frame = packet(source, what).build();
            let mut other = frame.clone();
            for bit in bits {
                let at = (12 + bit / 8) % frame.len();
                other[at] ^= 1 << (bit % 8);
            }
            for turn in 0..length {
                let [one, another] = twins.judge(if turn == changed { &other } else { &frame }).map(|verdict| {
                    // A drop stays one, be it for another reason meanwhile.
                    (verdict.action, (verdict.action != Action::Drop).then_some(verdict.reason))
                });
                prop_assert_eq!(one, another, "turn {} of {}", turn, what);
            }
        }
        let [one, another] = &twins.envs;
        for table in [Table::Sources, Table::ServiceSources, Table::Neighbours, Table::Totals] {
            prop_assert_eq!(slots(one.tables(), table), slots(another.tables(), table), "{:?}", table);
        }
    }
}

/// What the slots of a table hold but for drops, which a CPU without a cache tells at once. One that holds nothing is as none: what is judged has
/// its slot made again, and what is cached has not.
fn slots(tables: &Tables, table: Table) -> BTreeMap<u64, [u64; SLOT_WORDS]> {
    let all = tables.slots(table).map(|slot| {
        let mut words: [u64; SLOT_WORDS] = std::array::from_fn(|word| slot.load(word));
        words[SLOT_COUNTS] >>= 32;
        (std::mem::take(&mut words[SLOT_KEY]), words)
    });
    all.filter(|(_, words)| words != &[0; SLOT_WORDS]).collect()
}

/// Neighbour discovery comes through, and what comes from beyond the link looks like it.
#[test]
fn what_must_come_through_does() {
    let mut twins = Twins::new(|| Stand::new().each(Dimension::Icmp, limit(Dimension::Icmp, 1, 1)));
    let mut solicitation = |hops| {
        let frame = ip("2001:db8::1", SERVER_V6).hops(hops).icmp(135, 0, [0; 4]).payload(&[0; 16]);
        twins.judge(&frame.build())
    };
    for _ in 0..3 {
        let _ = solicitation(64);
    }
    assert_eq!(solicitation(64), [Reason::LimitIcmp.into(); 2]);
    assert_eq!(solicitation(255), [Reason::NeighbourDiscovery.into(); 2]);
}

/// A change of policy holds for the very next packet.
#[test]
fn who_was_refused_is_held_to_the_policy_in_force() {
    let mut twins = Twins::new(|| Stand::new().each(Dimension::Packets, limit(Dimension::Packets, 10, 10)));
    let frame = Kind::Datagram.frame("192.0.2.1", SERVER, PORTS[1], 20);
    while twins.judge(&frame) != [Reason::LimitPackets.into(); 2] {}
    twins.change(|stand| stand.list("192.0.2.1/32", listing::ALLOW, 0));
    assert_eq!(twins.judge(&frame), [Reason::AllowListed.into(); 2]);
}

/// Who has opened too many connections may go on with one.
#[test]
fn who_may_not_open_may_go_on() {
    let few = limit(Dimension::Initial, 2, 2);
    let mut twins = Twins::new(|| Stand::new().serve(Offer::quic(443).own(Dimension::Initial, few)));
    let mut send = |port, datagram: &[u8]| {
        twins.judge(&ip("192.0.2.1", SERVER).udp(port, 443).payload(datagram).build())
    };
    let opening = quic::initial(1, 1_200);
    assert_eq!(send(40_000, &opening), [Reason::Ok.into(); 2]);
    while send(40_001, &opening) != [Reason::LimitInitial.into(); 2] {}
    assert_eq!(send(40_001, &opening), [Reason::LimitInitial.into(); 2]);
    assert_eq!(send(40_000, &quic::short(1_200)), [Reason::Ok.into(); 2]);
}

/// Whom another took the count over from is judged when the clock is read.
#[test]
fn who_was_refused_is_judged_once_the_clock_is_read() {
    let mut twins = Twins::new(|| Stand::new().each(Dimension::Packets, limit(Dimension::Packets, 10, 10)));
    let syn = Kind::Syn.frame("192.0.2.1", SERVER, PORTS[1], 20);
    let ack = Kind::Ack.frame("198.51.100.2", SERVER, PORTS[1], 20);
    twins.set_clocks(START, 0);
    while twins.judge(&ack) != [Reason::LimitPackets.into(); 2] {}
    while twins.judge(&syn) != [Reason::LimitPackets.into(); 2] {}
    twins.set_clocks(START, LATE);
    for _ in 0..BULK {
        assert_eq!(twins.judge(&syn), [Reason::LimitPackets.into(); 2]);
    }
    assert_eq!(twins.judge(&ack), [Reason::LimitPackets.into(); 2]);
    for env in &twins.envs {
        for slot in env.tables().slots(Table::Sources) {
            (SLOT_TATS..SLOT_TATS + Dimension::COLUMNS).for_each(|word| slot.store(word, 0));
        }
    }
    // The same instant, but read and not reckoned.
    twins.set_clocks(START + LATE, 0);
    assert_eq!(twins.judge(&syn), [Reason::Ok.into(); 2]);
}
