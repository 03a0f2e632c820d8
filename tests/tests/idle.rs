//! Connections that are idle for longer than any clock of the gate's counts, with a clock that the test sets.

use gateway_common::{
    env::Socket,
    limit::rate::{Instant, SECOND},
    verdict::{Action, Reason},
};
use gateway_tests::builder::{Frame, flags, hello, ip};
use gateway_tests::cases::{CLIENT, Draft as _, Offer, SERVER, START};
use gateway_user::host::{HostEnv, Stand};

/// Sequence number of the SYN.
const ISN: u32 = 1_000;
/// Pauses in seconds: a minute, a night, longer than the 104 days after which the time in a link wraps, two years.
const PAUSES: [u64; 4] = [60, 36_000, 9_100_000, 63_000_000];
/// Connections that come meanwhile.
const OTHERS: u32 = 20_000;

fn segment(position: u32, bytes: &[u8]) -> Frame {
    ip(CLIENT, SERVER).tcp(40_000, 443).flags(flags::ACK).seq(ISN + 1 + position).payload(bytes)
}

/// Another connection's SYN, and its hello if wanted.
fn other(number: u32, hello: bool) -> Vec<Frame> {
    let [_, a, b, c] = number.to_be_bytes();
    let packet = ip(&format!("198.18.{a}.{b}"), SERVER).tcp(1_024 + u16::from(c), 443).seq(number);
    let mut frames = vec![packet.clone().flags(flags::SYN)];
    if hello {
        frames.push(packet.seq(number + 1).payload(&hello::tls13("api.example.org")));
    }
    frames
}

/// Plays a connection with a long pause in which others come; gives what becomes of its data, and of plaintext in place of
/// its first bytes.
fn after(pause: u64, sockets: bool, hellos: bool) -> (Action, Action) {
    let mut env = HostEnv::new(Stand::new().serve(Offer::tls(443)));
    let stream = hello::tls13("api.example.org");
    let mut now: Instant = START;
    let syn = segment(0, &[]).flags(flags::SYN).seq(ISN);
    for frame in [syn, segment(0, &stream), segment(stream.len() as u32, b"data")] {
        assert_eq!(env.judge(&frame.build(), now).reason, Reason::Ok);
        now += SECOND;
    }
    if sockets {
        let base = ISN + 1;
        let received = stream.len() as u64 + 4;
        let ours = move |packet: &gateway_common::packet::Packet| packet.source_port == 40_000;
        env.set_sockets(
            move |packet| {
                if ours(packet) { Socket::Open { base, received } } else { Socket::Listening }
            },
        );
    }
    for number in 0..OTHERS {
        now += pause * SECOND / u64::from(OTHERS);
        for frame in other(number, hellos) {
            let _ = env.judge(&frame.build(), now);
        }
    }
    let next = segment(stream.len() as u32 + 4, b"GET is what this says in the midst of a record");
    let first = segment(0, b"GET / HTTP/1.1\r\n");
    let [next, first] = [next, first].map(|frame| env.judge(&frame.build(), now).action);
    (next, first)
}

#[test]
fn whoever_ends_here_goes_on_after_any_pause() {
    for pause in PAUSES {
        for hellos in [false, true] {
            assert_eq!(after(pause, true, hellos).0, Action::Pass, "{pause} s");
        }
    }
}

#[test]
fn whoever_passes_through_goes_on_after_any_pause_under_syns() {
    for pause in PAUSES {
        assert_eq!(after(pause, false, false), (Action::Pass, Action::Drop), "{pause} s");
    }
}
