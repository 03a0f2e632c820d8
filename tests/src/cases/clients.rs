//! What is kept of a service's totals for known clients.

use std::time::Duration;

use gateway_common::{abi::cookies, env::Socket, limit::rate::Dimension, verdict::Reason};
use gateway_user::host::Stand;

use super::frames::{SSH, a_hello, ack, data, syn};
use super::{CLIENT, Case, Draft as _, Offer, SERVER, SERVER_V6, limit};
use crate::builder::{
    Frame, flags, ip,
    quic::{V1, initial},
};

/// Sequence number of the first byte behind [`syn`].
const BASE: u32 = 1_001;

/// A service that takes four SYNs at once, and one a second.
fn four() -> Offer {
    Offer::tls(443).total(Dimension::Syn, limit(Dimension::Syn, 1, 4))
}

/// A connection that starts at [`BASE`] and has received so much.
const fn open(received: u64) -> Socket {
    Socket::Open { base: BASE, received }
}

/// A client that has shown a hello, and went on.
fn met(name: &str, offer: Offer) -> Case {
    met_under(name, Stand::new().serve(offer))
}

fn met_under(name: &str, stand: Stand) -> Case {
    let hello = a_hello();
    let went_on = data(SSH).seq(BASE + hello.len() as u32);
    Case::under(name, stand)
        .socket(open(0))
        .gets(data(&hello), Reason::Ok)
        .socket(open(hello.len() as u64))
        .gets(went_on, Reason::Ok)
}

/// A SYN of somebody else.
fn stranger() -> Frame {
    ip("203.0.113.9", SERVER).tcp(9, 443).flags(flags::SYN)
}

/// An Initial of QUIC.
fn opening(source: &str) -> Frame {
    ip(source, SERVER).udp(9, 443).payload(&initial(V1, 1_200))
}

fn v6(source: &str) -> Frame {
    ip(source, SERVER_V6).tcp(9, 443).flags(flags::ACK)
}

pub(super) fn cases() -> Vec<Case> {
    let hello = a_hello();
    let day = Duration::from_secs(24 * 3_600);
    vec![
        met("a known client gets what strangers do not", four())
            .socket(Socket::Listening)
            .times(2, stranger(), Reason::Ok)
            .gets(stranger(), Reason::TotalSyn)
            .times(2, syn(), Reason::Ok)
            .gets(syn(), Reason::TotalSyn)
            // What comes in is the known client's first.
            .after(Duration::from_secs(1))
            .gets(stranger(), Reason::TotalSyn)
            .gets(syn(), Reason::Ok)
            .after(Duration::from_secs(3))
            .gets(stranger(), Reason::Ok)
            .gets(stranger(), Reason::TotalSyn),
        met("a known client alone gets all of a total, and no more", four())
            .socket(Socket::Listening)
            .times(4, syn(), Reason::Ok)
            .gets(syn(), Reason::TotalSyn),
        met("who stays for a day stays known", four())
            .after(day - Duration::from_secs(600))
            .gets(ack().seq(BASE + 900), Reason::Ok)
            .after(day - Duration::from_secs(600))
            .socket(Socket::Listening)
            .times(2, stranger(), Reason::Ok)
            .gets(stranger(), Reason::TotalSyn)
            .gets(syn(), Reason::Ok),
        met("who is away for longer than a day is a stranger", four())
            .after(day + Duration::from_secs(60))
            .socket(Socket::Listening)
            .times(2, stranger(), Reason::Ok)
            .gets(syn(), Reason::TotalSyn),
        met(
            "a known client is answered by a cookie where strangers are not",
            Offer::tls(443).cookies(cookies::ALWAYS).answers(limit(Dimension::Syn, 1, 2)),
        )
        .socket(Socket::Listening)
        .gets(stranger(), Reason::SynCookie)
        .gets(stranger(), Reason::SynUnanswered)
        .times(3, syn(), Reason::SynCookie),
        Case::under(
            "a cookie's connection makes a client known",
            Stand::new().serve(four().cookies(cookies::ALWAYS)),
        )
        // So it is known that connections end here.
        .socket(open(600))
        .gets(stranger().flags(flags::ACK).seq(BASE + 600), Reason::Ok)
        .socket(Socket::Listening)
        .gets(syn(), Reason::SynCookie)
        .socket(open(0))
        .gets(data(&hello), Reason::Ok)
        .socket(open(hello.len() as u64))
        .gets(data(SSH).seq(BASE + hello.len() as u32), Reason::Ok)
        .without_cookies()
        .socket(Socket::Listening)
        .times(2, stranger(), Reason::Ok)
        .gets(stranger(), Reason::TotalSyn)
        .gets(syn(), Reason::Ok),
        Case::under("a hello alone makes nobody known", Stand::new().serve(four()))
            .socket(open(0))
            .gets(data(&hello), Reason::Ok)
            .socket(Socket::Listening)
            .times(2, stranger(), Reason::Ok)
            .gets(syn(), Reason::TotalSyn),
        Case::under("who passes through is a stranger", Stand::new().serve(four()))
            .socket(Socket::Unknown)
            .gets(syn(), Reason::Ok)
            .gets(data(&hello), Reason::Ok)
            .gets(data(SSH).seq(BASE + hello.len() as u32), Reason::Ok)
            .gets(syn(), Reason::Ok)
            .gets(syn(), Reason::TotalSyn),
        met(
            "a total of one packet lets a stranger through",
            Offer::tls(443).total(Dimension::Syn, limit(Dimension::Syn, 1, 1)),
        )
        .socket(Socket::Listening)
        .gets(stranger(), Reason::Ok)
        .gets(syn(), Reason::TotalSyn),
        met_under(
            "a client that is known by TLS opens QUIC connections where strangers do not",
            Stand::new()
                .serve(Offer::tls(443))
                .serve(Offer::quic(443).total(Dimension::Initial, limit(Dimension::Initial, 1, 4))),
        )
        .times(2, opening("203.0.113.9"), Reason::Ok)
        .gets(opening("203.0.113.9"), Reason::TotalInitial)
        .times(2, opening(CLIENT), Reason::Ok)
        .gets(opening(CLIENT), Reason::TotalInitial),
        Case::under("a client of IPv6 is known with its neighbours", Stand::new().serve(four()))
            .socket(open(0))
            .gets(v6("2001:db8::9").seq(BASE).payload(&hello), Reason::Ok)
            .socket(open(hello.len() as u64))
            .gets(v6("2001:db8::9").seq(BASE + hello.len() as u32).payload(SSH), Reason::Ok)
            .socket(Socket::Listening)
            .times(2, stranger(), Reason::Ok)
            .gets(v6("2001:db8:1::9").flags(flags::SYN), Reason::TotalSyn)
            .gets(v6("2001:db8:0:ff::9").flags(flags::SYN), Reason::Ok),
        Case::under(
            "without a gate nothing is kept",
            Stand::new().serve(Offer::tcp(443).total(Dimension::Syn, limit(Dimension::Syn, 1, 4))),
        )
        .times(4, stranger(), Reason::Ok)
        .gets(stranger(), Reason::TotalSyn),
    ]
}
