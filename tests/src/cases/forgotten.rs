//! A table of connections that is full: what goes first, what stays, and that nothing passes of whoever was forgotten. One set,
//! for four connections.

use std::time::Duration;

use gateway_common::env::Socket;
use gateway_common::verdict::Reason;
use gateway_user::host::{Sets, Stand};

use super::frames::{HTTP, SSH, a_hello, v4};
use super::{Case, Draft, Offer};
use crate::builder::{Frame, flags};

/// Sequence number of the first byte behind [`syn`].
const BASE: u32 = 1_001;
/// What says nothing of where it belongs.
const LATER: &[u8] = &[23, 3, 3, 0, 32];

/// Long enough to count as heard of again.
const SOON: Duration = Duration::from_secs(20);
/// Longer than one may be silent that said nothing after its first seconds.
const BRIEF: Duration = Duration::from_secs(40);
/// Longer than anybody may be silent.
const LONG: Duration = Duration::from_secs(320);

fn small(offer: Offer) -> Stand {
    Stand { sets: Sets { connections: 1, ..Sets::default() }, ..Stand::new().serve(offer) }
}

/// A case with a gated service to another host.
fn through(name: &str) -> Case {
    Case::under(format!("forgotten: {name}"), small(Offer::tls(443))).socket(Socket::Unknown)
}

/// A SYN from a port.
fn syn(port: u16) -> Frame {
    v4().tcp(port, 443).flags(flags::SYN).seq(BASE - 1)
}

/// Data from a port, at a place of its stream.
fn data(port: u16, position: i32, payload: &[u8]) -> Frame {
    v4().tcp(port, 443)
        .flags(flags::ACK | flags::PSH)
        .seq(BASE.wrapping_add_signed(position))
        .payload(payload)
}

/// Data that follow a hello.
fn more(port: u16) -> Frame {
    data(port, 600, LATER)
}

/// SYNs alone.
fn syns(case: Case, ports: impl Iterator<Item = u16>) -> Case {
    ports.fold(case, |case, port| case.gets(syn(port), Reason::Ok))
}

/// SYNs with the hellos behind them.
fn opened(case: Case, ports: impl Iterator<Item = u16>) -> Case {
    ports
        .fold(case, |case, port| case.gets(syn(port), Reason::Ok).gets(data(port, 0, &a_hello()), Reason::Ok))
}

/// Nothing is let through of these.
fn cut(case: Case, ports: impl Iterator<Item = u16>) -> Case {
    ports.fold(case, |case, port| {
        case.gets(more(port), Reason::TcpSequence).gets(data(port, 0, &a_hello()), Reason::TcpSequence)
    })
}

pub(super) fn cases() -> Vec<Case> {
    [pushed_out(), unseen(), kept(), listening(), reading()].concat()
}

fn pushed_out() -> Vec<Case> {
    let hello = a_hello();
    let shifted = [&hello[..11], SSH].concat();
    let half =
        through("half a hello, pushed out by SYNs, then one from before the stream with plaintext behind")
            .gets(syn(1), Reason::Ok)
            .gets(data(1, 0, &hello[..3]), Reason::Ok)
            .gets(data(1, -8, &shifted), Reason::NotTls);
    let half = syns(half, 2..=5).gets(data(1, -8, &shifted), Reason::TcpSequence);
    let half_by_hellos = through("the same, pushed out by hellos")
        .gets(syn(1), Reason::Ok)
        .gets(data(1, 0, &hello[..3]), Reason::Ok);
    let half_by_hellos = opened(half_by_hellos, 2..=5);
    vec![
        half.gets(data(1, 3, &hello[3..]), Reason::TcpSequence).gets(data(5, 0, &hello), Reason::Ok),
        half_by_hellos
            .gets(data(1, -8, &shifted), Reason::TcpSequence)
            .gets(data(1, 3, HTTP), Reason::TcpSequence)
            .gets(syn(1), Reason::TcpSequence),
        cut(syns(through("a SYN, pushed out by SYNs"), 1..=5), 1..=1),
        syns(through("a SYN again, after it was pushed out"), 1..=5)
            .gets(syn(1), Reason::Ok)
            .gets(data(1, 0, &hello), Reason::Ok)
            .gets(more(1), Reason::Ok),
    ]
}

/// Data whose SYN nobody has seen.
fn unseen() -> Vec<Case> {
    let forged =
        |case: Case| (100..120).fold(case, |case, port| case.gets(data(port, 0, &a_hello()), Reason::Ok));
    let full = opened(through("data without a SYN find no room"), 1..=4);
    let full = (100..120).fold(full, |case, port| case.gets(data(port, 0, &a_hello()), Reason::TcpSequence));
    vec![
        // Were there an entry of one of them, nothing of it would pass that is no hello.
        forged(through("data without a SYN leave nothing behind")).gets(data(100, 0, SSH), Reason::Ok),
        opened(forged(through("data without a SYN take no room")), 1..=4).gets(more(1), Reason::Ok),
        (1..=4).fold(full.after(BRIEF), |case, port| case.gets(more(port), Reason::Ok)),
    ]
}

/// Who stays.
fn kept() -> Vec<Case> {
    let all = |case: Case| (1..=4).fold(case, |case, port| case.gets(more(port), Reason::Ok));
    let young = opened(through("hellos of the last half minute stay, and a SYN waits"), 1..=4)
        .gets(syn(5), Reason::TcpSequence)
        .after(SOON)
        .gets(syn(5), Reason::TcpSequence)
        .after(SOON);
    let young = opened(young, 5..=5).gets(more(5), Reason::Ok);
    let syns_first =
        opened(through("SYNs take two places of the silent, then each other's"), 1..=4).after(BRIEF);
    let syns_first = cut(syns(syns_first, 5..=20), 1..=2).gets(more(3), Reason::Ok).gets(more(4), Reason::Ok);
    let stale = opened(through("an old SYN goes before a silent connection"), 1..=3).gets(syn(4), Reason::Ok);
    let stale = opened(stale.after(BRIEF), 5..=5);
    let settled = all(opened(through("who was heard of again stays for minutes"), 1..=4).after(SOON));
    let settled = all(settled.after(BRIEF).gets(syn(5), Reason::TcpSequence).after(BRIEF * 4));
    let settled = settled.after(LONG).gets(more(1), Reason::Ok).gets(more(2), Reason::Ok);
    let settled = cut(opened(settled, 5..=6), 3..=4).gets(syn(7), Reason::TcpSequence);
    let mut active = opened(through("who goes on stays, whoever comes"), 1..=1);
    for round in 0..30 {
        let others = 10 + 4 * round..12 + 4 * round;
        active = opened(active.after(BRIEF).gets(more(1), Reason::Ok), others)
            .gets(syn(5_000 + round), Reason::Ok);
    }
    let mut reads = opened(through("who only acknowledges stays too"), 1..=1);
    for round in 0..30 {
        reads = reads.after(BRIEF).gets(data(1, 600, b"").flags(flags::ACK), Reason::Ok);
        reads = opened(reads, 10 + 4 * round..12 + 4 * round);
    }
    let open = Socket::Open { base: BASE, received: 600 };
    let here = (10..20)
        .fold(opened(through("who ends here takes no room"), 1..=4).socket(open), |case, port| {
            case.gets(more(port), Reason::Ok)
        });
    let full = (10..14).fold(through("who ends here makes room").socket(open), |case, port| {
        case.gets(more(port), Reason::Ok)
    });
    let full = opened(full.socket(Socket::Unknown), 1..=4).gets(more(1), Reason::Ok);
    vec![
        cut(young, 1..=1),
        syns_first,
        (1..=3).fold(stale, |case, port| case.gets(more(port), Reason::Ok)),
        settled,
        active.gets(more(1), Reason::Ok),
        reads.gets(more(1), Reason::Ok),
        all(here.after(LONG).socket(Socket::Unknown)),
        full.socket(open).gets(more(10), Reason::Ok),
    ]
}

/// A listener that has nothing to do with the connection: a proxy's for a published port, or one on the wildcard address.
fn listening() -> Vec<Case> {
    let hello = a_hello();
    let beside = |name| through(name).socket(Socket::Listening).without_cookies();
    let shifted = [&hello[..11], SSH].concat();
    let full = opened(beside("beside a listener: a SYN without room passes, its data do not"), 1..=4);
    vec![
        opened(beside("beside a listener: it goes on after its hello"), 1..=1)
            .gets(more(1), Reason::Ok)
            .after(SOON)
            .gets(more(1), Reason::Ok)
            .gets(data(1, 0, SSH), Reason::NotTls)
            .gets(data(1, -8, &shifted), Reason::NotTls)
            .after(LONG)
            .gets(more(1), Reason::Ok),
        beside("beside a listener: half a hello, then one from before the stream with plaintext behind")
            .gets(syn(1), Reason::Ok)
            .gets(data(1, 0, &hello[..3]), Reason::Ok)
            .after(SOON)
            .gets(data(1, -8, &shifted), Reason::NotTls)
            .gets(data(1, 3, HTTP), Reason::NotTls)
            .gets(data(1, 3, &hello[3..]), Reason::Ok),
        cut(full.gets(syn(5), Reason::Ok), 5..=5).gets(more(1), Reason::Ok),
        syns(beside("beside a listener: pushed out"), 1..=5).gets(data(1, -8, &shifted), Reason::TcpSequence),
    ]
}

/// Services whose hellos are read.
fn reading() -> Vec<Case> {
    let named = || small(Offer::tls(443).named(&["api.example.org"]));
    let through =
        |name| Case::under(format!("forgotten, hellos read: {name}"), named()).socket(Socket::Unknown);
    let hello = a_hello();
    let (half, rest) = hello.split_at(8);
    let unseen = (100..120).fold(through("data without a SYN leave nothing behind"), |case, port| {
        case.gets(data(port, 0, LATER), Reason::Ok)
    });
    let pushed_out =
        through("a part of a hello, pushed out").gets(syn(1), Reason::Ok).gets(data(1, 0, half), Reason::Ok);
    vec![
        unseen.gets(data(100, 0, SSH), Reason::Ok).gets(data(100, 0, HTTP), Reason::PlaintextHttp),
        opened(through("the second round of sequence numbers"), 1..=1)
            .gets(data(1, (1 << 30) + 1, SSH), Reason::Ok)
            .gets(data(1, 0, SSH), Reason::Ok),
        opened(pushed_out, 2..=5)
            .gets(data(1, 8, rest), Reason::TcpSequence)
            .gets(data(1, 0, &hello), Reason::TcpSequence),
    ]
}
