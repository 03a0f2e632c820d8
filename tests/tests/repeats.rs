//! Frames like one that was dropped are dropped, and nothing else is: a CPU that knows what it dropped judges as one that forgets it
//! after every packet.

use gateway_common::abi::{SLOT_TATS, listing};
use gateway_common::env::{Table, Words as _};
use gateway_common::packet::flags;
use gateway_common::rate::Dimension;
use gateway_common::table::drops::BULK;
use gateway_common::verdict::Reason;
use gateway_tests::builder::{ip, quic};
use gateway_tests::cases::{Draft as _, Offer, SERVER, SERVER_V6, START, limit};
use gateway_tests::twins::{LATE, Twins};
use gateway_user::host::Stand;
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
                    // Which limit it is over may be another meanwhile.
                    (verdict.action, verdict.reason.stage())
                });
                prop_assert_eq!(verdict, wanted, "bits {:?}, length {}", bits, longer);
            }
        }
    }
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
