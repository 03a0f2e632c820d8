//! What follows when a packet is refused: who is banned until when, what is a strike, what ends a connection, and what never does.

use std::net::Ipv4Addr;

use gateway_common::{
    abi::{FOREVER, Refusal, STRIKE_SETS, listing, mode, refuse},
    env::Socket,
    limit::rate::{Dimension, SECOND},
    packet::{Packet, flags},
    source::KEY_V4,
    tables::{Note, Table},
    verdict::Reason,
};
use gateway_tests::builder::{Frame, hello, ip};
use gateway_tests::cases::{CLIENT, Draft as _, Offer, SERVER, SERVER_V6, START, limit};
use gateway_tests::kernel::{Judge, apply};
use gateway_tests::lab::require_lab;
use gateway_user::bans::table::source_of;
use gateway_user::host::{HostEnv, Stand};

/// Sequence number of the first byte of the client's stream.
const BASE: u32 = 1_001;
const HTTP: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

fn datagram(source: &str) -> Vec<u8> {
    ip(source, SERVER).udp(40_000, 53).build()
}

fn source(prefix: &str) -> u64 {
    source_of(prefix.parse().unwrap()).expect("a source of the table")
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn the_kernel_ends_bans_and_counts_them() {
    require_lab();
    let stand = Stand::new()
        .list("192.0.2.50/32", listing::NEVER, 0)
        .list("192.0.2.51/32", listing::ALLOW, 0)
        .live("203.0.113.0/24", 0, FOREVER)
        .live("192.0.2.52/32", START + SECOND, 0);
    let mut judge = Judge::new(stand.sets, stand.key).unwrap();
    judge.lay(&stand).unwrap();
    let reason = |judge: &mut Judge, from: &str, after: u64| {
        let server = if from.contains(':') { "2001:db8:ff::1" } else { SERVER };
        judge.judge(&ip(from, server).udp(40_000, 53).build(), START + after, 0).unwrap().reason
    };
    assert_eq!(reason(&mut judge, CLIENT, 0), Reason::Ok);
    let prefixes = ["192.0.2.9", "192.0.2.50", "192.0.2.51", "192.0.2.52", "2001:db8:0:5::/64"];
    for prefix in prefixes {
        judge.kernel().ban(source(prefix), START + 60 * SECOND).unwrap();
    }
    for (from, expected) in [
        ("192.0.2.9", Reason::Banned),
        ("192.0.2.10", Reason::Ok),
        ("192.0.2.50", Reason::Ok),
        ("192.0.2.51", Reason::AllowListed),
        ("192.0.2.52", Reason::AllowListed),
        ("2001:db8:0:5:6::7", Reason::Banned),
        ("2001:db8:0:6::7", Reason::Ok),
        ("203.0.113.7", Reason::Banned),
    ] {
        assert_eq!(reason(&mut judge, from, 0), expected, "{from}");
    }
    // Live trust is over; a ban with another end goes on counting.
    assert_eq!(reason(&mut judge, "192.0.2.52", SECOND), Reason::Banned);
    judge.kernel().ban(source("192.0.2.9"), START + 90 * SECOND).unwrap();
    for (after, expected) in [(59, Reason::Banned), (89, Reason::Banned), (91, Reason::Ok)] {
        assert_eq!(reason(&mut judge, "192.0.2.9", after * SECOND), expected, "after {after} s");
    }
    assert_eq!(reason(&mut judge, "2001:db8:0:5::1", 61 * SECOND), Reason::Ok);
    let drops = |judge: &mut Judge, prefix| judge.kernel().ban_drops(source(prefix));
    assert_eq!(drops(&mut judge, "192.0.2.9"), Some(3));
    assert_eq!(drops(&mut judge, "2001:db8:0:5::/64"), Some(1));
    assert_eq!(drops(&mut judge, "192.0.2.51"), Some(0));
    assert_eq!(judge.kernel().live_drops("203.0.113.0/24".parse().unwrap()), Some(1));
    for prefix in prefixes {
        judge.kernel().unban(source(prefix)).unwrap();
    }
    assert_eq!((reason(&mut judge, "192.0.2.9", 0), drops(&mut judge, "192.0.2.9")), (Reason::Ok, None));
    assert_eq!(judge.kernel().bans(), 0);
}

/// Of a live prefix that did not change, the count goes on when others change.
#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn changes_of_others_leave_counts_alone() {
    require_lab();
    let stand = Stand::new().live("203.0.113.0/24", 0, FOREVER);
    let mut judge = Judge::new(stand.sets, stand.key).unwrap();
    judge.lay(&stand).unwrap();
    let _ = judge.judge(&datagram("203.0.113.7"), START, 0).unwrap();
    apply(judge.kernel(), &stand.clone().live("198.51.100.0/24", 0, FOREVER)).unwrap();
    let _ = judge.judge(&datagram("203.0.113.8"), START, 0).unwrap();
    let drops = |judge: &mut Judge| judge.kernel().live_drops("203.0.113.0/24".parse().unwrap());
    assert_eq!(drops(&mut judge), Some(2));
    judge.lay(&Stand::new()).unwrap();
    assert_eq!(drops(&mut judge), None);
}

/// A gate, limits that are soon used up, and a host whose TCP says the same of every connection.
fn gate(socket: Socket, is_established: bool) -> HostEnv {
    let stand = Stand::new()
        .each(Dimension::Syn, limit(Dimension::Syn, 1, 5))
        .each(Dimension::Udp, limit(Dimension::Udp, 1, 5))
        .list("192.0.2.51/32", listing::ALLOW, 0)
        .serve(Offer::tls(443));
    let mut env = HostEnv::new(stand).with_sockets(move |_: &Packet| socket);
    env.set_established(move |_| is_established);
    env
}

const fn open(received: u64) -> Socket {
    Socket::Open { base: BASE, received }
}

fn tcp(from: &str, flags: u8, position: u32, payload: &[u8]) -> Frame {
    ip(from, SERVER).tcp(40_000, 443).flags(flags).seq(BASE.wrapping_add(position)).payload(payload)
}

fn data(position: u32, payload: &[u8]) -> Frame {
    tcp(CLIENT, flags::ACK | flags::PSH, position, payload)
}

/// Strikes of the client after frames, each with the reason that it must get.
fn strikes(env: &HostEnv, frames: &[(Frame, Reason)]) -> u32 {
    for (frame, reason) in frames {
        assert_eq!(env.judge(&frame.build(), START).reason, *reason);
    }
    env.strikes().map(|(_, strikes)| strikes).sum()
}

#[test]
fn a_connection_that_is_refused_is_one_strike() {
    let env = gate(open(0), true);
    assert_eq!(
        strikes(
            &env,
            &[
                (data(0, HTTP), Reason::PlaintextHttp),
                (data(0, HTTP), Reason::PlaintextHttp),
                (data(0, b"SSH-2.0-x\r\n"), Reason::NotTls),
                (data(0, b"SSH-2.0-x\r\n"), Reason::NotTls),
                (data(0, &hello::tls13("api.example.org")), Reason::Ok),
            ]
        ),
        1
    );
    let another = || ip(CLIENT, SERVER).tcp(40_001, 443).flags(flags::ACK).seq(BASE).payload(HTTP);
    assert_eq!(strikes(&env, &[(another(), Reason::PlaintextHttp), (another(), Reason::PlaintextHttp)]), 2);
    assert_eq!(env.strikes().collect::<Vec<_>>(), [(source(CLIENT), 2)]);
}

#[test]
fn where_sources_are_finer_a_strike_is_one_hosts() {
    let stand = Stand::new().finer("2001:db8::/64", 3, 120).serve(Offer::tls(443));
    let mut env = HostEnv::new(stand).with_sockets(move |_: &Packet| open(0));
    env.set_established(move |_| true);
    let from = |source: &str, port: u16| {
        ip(source, SERVER_V6).tcp(port, 443).flags(flags::ACK).seq(BASE).payload(HTTP)
    };
    let refused = |frame: Frame| (frame, Reason::PlaintextHttp);
    let frames = [("2001:db8::a01", 1), ("2001:db8::a02", 2), ("2001:db8::b01", 3), ("2001:db8:0:1::a01", 4)]
        .map(|(source, port)| refused(from(source, port)));
    assert_eq!(strikes(&env, &frames), 4);
    let finer = |bits: u64| 1 << 62 | 3 << 56 | bits;
    let mut all: Vec<(u64, u32)> = env.strikes().collect();
    all.sort_unstable();
    assert_eq!(all, [(0x2001_0db8_0000_0001, 1), (finer(10), 2), (finer(11), 1)]);
}

#[test]
fn who_has_not_answered_gets_no_strike() {
    // A SYN and data of somebody who chose the numbers himself, without having seen the answer.
    assert_eq!(strikes(&gate(open(0), false), &[(data(0, HTTP), Reason::PlaintextHttp)]), 0);
    for socket in [Socket::Listening, Socket::Unknown] {
        assert_eq!(strikes(&gate(socket, true), &[(data(0, HTTP), Reason::PlaintextHttp)]), 0, "{socket:?}");
    }
}

/// Everything that forged packets can bring about under the address of a client with an open connection.
#[test]
fn forged_packets_are_nobodys_strikes() {
    let env = gate(open(600), true);
    let syn = |seq: u32| (tcp(CLIENT, flags::SYN, seq, &[]), Reason::Ok);
    let over = (tcp(CLIENT, flags::SYN, 1 << 30, &[]), Reason::LimitSyn);
    let urgent = tcp(CLIENT, flags::ACK | flags::URG, 600, HTTP);
    let mut frames = vec![(data(600, b"a record"), Reason::Ok), (urgent, Reason::TcpUrgent)];
    frames.push((data(1 << 31, HTTP), Reason::Ok));
    frames.extend((0..5).map(|turn| syn((1 << 20) * (turn + 1))));
    frames.extend([(data(900, HTTP), Reason::Ok), over.clone(), over]);
    let flood = |reason| (ip(CLIENT, SERVER).udp(40_000, 53), reason);
    frames.extend((0..5).map(|_| flood(Reason::Ok)));
    frames.extend((0..200).map(|_| flood(Reason::LimitUdp)));
    assert_eq!(strikes(&env, &frames), 0);
}

#[test]
fn who_is_trusted_gets_no_strikes() {
    let env = gate(open(0), true);
    let frame = tcp("192.0.2.51", flags::ACK | flags::PSH, 0, HTTP);
    assert_eq!(strikes(&env, &[(frame, Reason::PlaintextHttp)]), 0);
}

/// The table is full: newcomers take the place of who has been quiet, and that is counted.
#[test]
fn a_full_table_of_strikes_forgets_the_quiet() {
    let env = gate(open(0), true);
    let loud = |turn: u32| {
        // A connection each, so that each is a strike.
        ip(CLIENT, SERVER).tcp(1_024 + (turn % 60_000) as u16, 443).flags(flags::ACK).seq(BASE).payload(HTTP)
    };
    let others = STRIKE_SETS * 8;
    for other in 0..others {
        let now = START + u64::from(other) * SECOND / 100;
        let from = Ipv4Addr::from(0x0a00_0000 + other).to_string();
        let _ = env.judge(&tcp(&from, flags::ACK | flags::PSH, 0, HTTP).build(), now);
        let _ = env.judge(&loud(other).build(), now);
    }
    let all: Vec<(u64, u32)> = env.strikes().collect();
    assert!(all.contains(&(source(CLIENT), others)), "the loud one was forgotten");
    assert_eq!(all.len() as u64 + env.counters().noted(Table::Strikes, Note::Evicted), u64::from(others) + 1);
    assert!(all.iter().all(|(key, _)| key >> 32 == KEY_V4 >> 32));
}

/// What was to be ended after a frame.
fn ends(env: &HostEnv, frame: &[u8]) -> Vec<Refusal> {
    let _ = env.judge(frame, START);
    env.take_refusals()
}

/// Bytes before the TCP header.
const HEADERS: [usize; 2] = [14 + 20, 14 + 40];

#[test]
fn a_segment_ends_its_connection_unless_a_bit_of_it_is_wrong() {
    let env = gate(open(0), true);
    let text = HTTP.repeat(20);
    for (from, to, header) in [(CLIENT, SERVER, HEADERS[0]), ("2001:db8::7", "2001:db8:ff::1", HEADERS[1])] {
        // Shorter, as long as, and longer than what is added at once, with every remainder.
        for length in (3..140).chain([300]) {
            let segment = ip(from, to).tcp(40_000, 443).flags(flags::ACK).seq(BASE).payload(&text[..length]);
            let whole = segment.build();
            let told = ends(&env, &whole);
            assert_eq!(told.len(), 1, "{length} bytes from {from}");
            assert_eq!((told[0].client_port, told[0].server_port, told[0].received), (40_000, 443, 0));
            for bit in 0..8 * (whole.len() - header) {
                let mut other = whole.clone();
                other[header + bit / 8] ^= 1 << (bit % 8);
                assert_eq!(ends(&env, &other), [], "{length} bytes from {from}, bit {bit}");
            }
        }
    }
}

/// The sum of a pseudo header alone, which a sender leaves to its network card.
#[test]
fn a_checksum_that_a_card_would_finish_is_right() {
    let env = gate(open(0), true);
    for (from, to, header) in [(CLIENT, SERVER, HEADERS[0]), ("2001:db8::7", "2001:db8:ff::1", HEADERS[1])] {
        let segment = ip(from, to).tcp(40_000, 443).flags(flags::ACK).seq(BASE).payload(HTTP);
        let mut frame = segment.build();
        let addresses = &frame[if header == HEADERS[0] { 26 } else { 22 }..header];
        let words = addresses.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
        let sum = words.sum::<u32>() + 6 + (frame.len() - header) as u32;
        let folded = ((sum >> 16) + (sum & 0xffff)) as u16;
        frame[header + 16..header + 18].copy_from_slice(&folded.to_be_bytes());
        assert_eq!(ends(&env, &frame).len(), 1, "{from}");
    }
}

#[test]
fn what_tcp_would_not_take_ends_nothing() {
    let stamps = |stamp: u8| [1, 1, 8, 10, 0, 0, 0, stamp, 0, 0, 0, 0];
    let of = |position: u32| data(position, HTTP).ack(70);
    for (frame, received, expected) in [
        (of(0), 0, 1),
        (of(0).ack(71), 0, 0),
        (of(0).tcp_options(&stamps(9)), 0, 1),
        (of(0).tcp_options(&stamps(8)), 0, 0),
        (of(1), 0, 0),
        (of(u32::MAX), 0, 0),
        (of(0).flags(flags::PSH), 0, 0),
        (of(0).flags(flags::ACK | flags::FIN), 0, 1),
        (of(0).tcp_options(&[[19, 18].as_slice(), &[7; 16], &[1, 1]].concat()), 0, 0),
        (of(0).tcp_options(&[29, 16, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), 0, 0),
        // The start of a hello came before, and TCP has it.
        (of(3), 3, 1),
        (of(2), 3, 0),
    ] {
        let mut env = gate(open(received), true);
        env.set_takers(|_, acknowledgment, options| {
            acknowledgment == 70 && (!options.has_timestamps || options.timestamp >= 9)
        });
        if received != 0 {
            assert_eq!(ends(&env, &data(0, &hello::tls13("a.test")[..3]).build()), []);
        }
        assert_eq!(ends(&env, &frame.build()).len(), expected, "{frame:?}, {received} bytes received");
    }
    for socket in [Socket::Unknown, Socket::Listening] {
        let mut env = gate(socket, true);
        env.set_cookies(false);
        assert_eq!(ends(&env, &of(0).build()), [], "{socket:?}");
    }
}

#[test]
fn only_enforce_mode_ends_connections_and_only_where_it_is_asked_for() {
    let mut env = gate(open(0), true);
    env.stand_mut().settings.mode = mode::MONITOR;
    assert_eq!(ends(&env, &data(0, HTTP).build()), []);
    env.stand_mut().settings.mode = mode::ENFORCE;
    env.stand_mut().settings.services[1].refuse = refuse::DROP;
    assert_eq!(ends(&env, &data(0, HTTP).build()), []);
    env.stand_mut().settings.services[1].refuse = refuse::RESET;
    assert_eq!(ends(&env, &data(0, HTTP).build()).len(), 1);
}
