//! First messages that are read, where the host's own TCP answers.

use std::time::Duration;

use gateway_common::env::Socket;
use gateway_common::verdict::Reason;
use gateway_user::host::{Sets, Stand};

use super::frames::{HTTP, SSH, data, syn, v4};
use super::{Case, Draft, Offer};
use crate::builder::{Frame, hello};

/// Sequence number of the first byte behind [`syn`].
const BASE: u32 = 1_001;
const NAME: &str = "api.example.org";
/// Where the extensions of [`hello::tls13`] start: behind record and message headers, version, random, session, five suites and
/// one compression method.
const EXTENSIONS: usize = 5 + 4 + 2 + 32 + 1 + 32 + 2 + 10 + 2 + 2;
/// In the middle of the first one, the name.
const CUT: u32 = EXTENSIONS as u32 + 9 + 7;

fn wanted() -> Stand {
    Stand::new().serve(Offer::tls(443).named(&[NAME]))
}

const fn open(received: u64) -> Socket {
    Socket::Open { base: BASE, received }
}

fn at(position: u32, payload: &[u8]) -> Frame {
    data(payload).seq(BASE.wrapping_add(position))
}

pub(super) fn cases() -> Vec<Case> {
    let good = hello::tls13(NAME);
    let bad = hello::tls13("xyz.example.org");
    let (half, rest) = good.split_at(60);
    let end = good.len() as u32;
    vec![
        opened("a hello that is wanted")
            .gets(at(0, &good), Reason::Ok)
            .socket(open(u64::from(end)))
            .gets(at(end, SSH), Reason::Ok)
            .socket(Socket::Unknown)
            .gets(at(end + 50, HTTP), Reason::Ok),
        opened("a hello for another").gets(at(0, &bad), Reason::ServerName),
        opened("two halves, taken late").gets(at(0, half), Reason::Ok).gets(at(60, rest), Reason::Ok),
        opened("two halves, taken at once")
            .gets(at(0, half), Reason::Ok)
            .socket(open(60))
            .gets(at(60, &bad[60..]), Reason::ServerName)
            .gets(at(60, rest), Reason::Ok),
        opened("the first half again, with other bytes")
            .gets(at(0, half), Reason::Ok)
            .gets(at(0, &bad), Reason::ServerName)
            .gets(at(0, &good), Reason::Ok),
        Case::under("a socket: a connection of before the gateway", wanted())
            .socket(open(300))
            .gets(at(300, SSH), Reason::Ok),
        Case::under("a socket: nothing was taken yet, and nothing seen", wanted())
            .socket(open(0))
            .gets(at(0, &bad), Reason::ServerName)
            .gets(at(0, &good), Reason::Ok),
        Case::under("a listener: a hello in two parts", wanted())
            .socket(Socket::Listening)
            .gets(at(0, half), Reason::Ok)
            .gets(at(60, rest), Reason::TcpSequence),
        full(&good),
    ]
    .into_iter()
    .chain(untaken())
    .chain(untaken_parts())
    .collect()
}

/// Hellos that were seen, and that TCP does not take: by their checksum, for one. Nothing of them counts.
fn untaken() -> Vec<Case> {
    let good = hello::tls13(NAME);
    let bad = hello::tls13("xyz.example.org");
    let end = good.len() as u32;
    let longer = padded(&good);
    let seen = |name: &str| opened(name).gets(at(0, &good), Reason::Ok);
    let rest_first = |received, reason| {
        opened(&format!("not taken: after {received} bytes another's rest"))
            .gets(at(0, &good[..11]), Reason::Ok)
            .gets(at(11, &good[11..]), Reason::Ok)
            .socket(open(received))
            .gets(at(11, &bad[11..]), reason)
            .gets(at(11, &good[11..]), Reason::Ok)
    };
    vec![
        seen("not taken: a hello for another")
            .gets(at(0, &bad), Reason::ServerName)
            .gets(at(0, &good), Reason::Ok),
        seen("not taken: another's later bytes, then its first")
            .gets(at(1, &bad[1..]), Reason::HelloGap)
            .gets(at(0, &bad[..1]), Reason::HelloGap)
            .gets(at(1, &bad[1..]), Reason::HelloGap)
            .gets(at(0, &good), Reason::Ok),
        seen("not taken: the hello again, and what follows")
            .gets(at(0, &good), Reason::Ok)
            .gets(at(end, SSH), Reason::Ok)
            .gets(at(0, &good), Reason::Ok)
            .socket(open(u64::from(end)))
            .gets(at(0, &good), Reason::Ok)
            .gets(at(end, SSH), Reason::Ok)
            .socket(Socket::Unknown)
            .gets(at(end + 50, HTTP), Reason::Ok),
        seen("not taken: a longer one, whose rest is there already")
            .gets(at(end, &[0; 400]), Reason::Ok)
            .gets(at(0, &longer[..end as usize]), Reason::HelloGap)
            .gets(at(0, &longer), Reason::HelloGap),
        seen("not taken: a keep-alive")
            .gets(at(u32::MAX, b"x"), Reason::Ok)
            .gets(at(0, &bad), Reason::ServerName),
        seen("not taken: a part of it, then another's rest")
            .gets(at(0, &good[..60]), Reason::HelloGap)
            .gets(at(60, &bad[60..]), Reason::HelloGap),
        rest_first(0, Reason::ServerName),
        rest_first(11, Reason::ServerName),
    ]
}

/// The same hello with an extension of 400 bytes (RFC 7685) before the others.
fn padded(hello: &[u8]) -> Vec<u8> {
    const LENGTH: u16 = 400;
    let mut hello = hello.to_vec();
    for place in [3, 7, EXTENSIONS - 2] {
        let length = u16::from_be_bytes([hello[place], hello[place + 1]]) + 4 + LENGTH;
        hello[place..place + 2].copy_from_slice(&length.to_be_bytes());
    }
    let padding = [[0, 21], LENGTH.to_be_bytes()].concat().into_iter().chain([0; LENGTH as usize]);
    hello.splice(EXTENSIONS..EXTENSIONS, padding);
    hello
}

/// Hellos in parts, of which TCP takes some or none.
fn untaken_parts() -> Vec<Case> {
    let good = hello::tls13(NAME);
    let bad = hello::tls13("xyz.example.org");
    let end = good.len() as u32;
    let (half, rest) = good.split_at(CUT as usize);
    let seen = |name: &str| opened(name).gets(at(0, half), Reason::Ok);
    let both = |name: &str| seen(name).gets(at(CUT, rest), Reason::Ok);
    vec![
        both("parts: both again")
            .gets(at(0, half), Reason::Ok)
            .gets(at(CUT, rest), Reason::Ok)
            .gets(at(0, &good), Reason::Ok)
            .gets(at(end, SSH), Reason::Ok),
        both("parts: the second again, after TCP took the first")
            .socket(open(u64::from(CUT)))
            .gets(at(CUT, rest), Reason::Ok)
            .gets(at(0, half), Reason::Ok)
            .gets(at(0, &good), Reason::Ok)
            .gets(at(end, SSH), Reason::Ok)
            .socket(open(u64::from(end)))
            .gets(at(end, SSH), Reason::Ok),
        both("parts: the second was taken, the first is another's")
            .gets(at(0, &bad[..half.len()]), Reason::HelloGap),
        both("parts: another's from its second byte on, then its first")
            .gets(at(1, &bad[1..]), Reason::HelloGap)
            .gets(at(0, &bad[..1]), Reason::HelloGap),
        seen("parts: the first of another in the same moment, then the second")
            .gets(at(0, &bad[..half.len()]), Reason::HelloGap)
            .gets(at(1, &bad[1..]), Reason::HelloGap)
            .gets(at(CUT, rest), Reason::Ok),
        opened("parts: the first of another, and the wanted one in the same moment")
            .gets(at(0, &bad[..half.len()]), Reason::Ok)
            .gets(at(0, &good), Reason::HelloGap)
            .gets(at(CUT, rest), Reason::ServerName),
        both("parts: eleven bytes taken prove nothing")
            .socket(open(11))
            .gets(at(11, &bad[11..]), Reason::HelloGap)
            .gets(at(11, &good[11..half.len()]), Reason::HelloGap),
    ]
}

fn opened(name: &str) -> Case {
    Case::under(format!("a socket: {name}"), wanted())
        .socket(Socket::Listening)
        .gets(syn(), Reason::Ok)
        .socket(open(0))
}

/// A table of four first messages: who has a connection is not pushed out, and who finds no slot is asked again.
fn full(hello: &[u8]) -> Case {
    let mut stand = wanted();
    stand.sets = Sets { hellos: 1, ..Sets::default() };
    let from = |port: u16, position: usize, payload: &[u8]| {
        v4().tcp(port, 443).seq(BASE + position as u32).payload(payload)
    };
    let (half, rest) = hello.split_at(60);
    let case = Case::under("a socket: no slot for a hello", stand).socket(open(0));
    let case = (1..=4).fold(case, |case, port| case.gets(from(port, 0, half), Reason::Ok));
    case.gets(from(5, 0, half), Reason::HelloGap)
        .gets(from(2, 60, rest), Reason::Ok)
        .gets(from(5, 0, half), Reason::HelloGap)
        .after(Duration::from_secs(5))
        .gets(from(5, 0, half), Reason::Ok)
        .gets(from(5, 60, rest), Reason::Ok)
}
