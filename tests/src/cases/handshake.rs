//! SYN cookies and packets of no connection, as far as the host's TCP can be played.

use std::time::Duration;

use gateway_common::{
    abi::{cookies, listing, mode},
    env::Socket,
    limit::rate::Dimension,
    verdict::Reason,
};
use gateway_user::host::Stand;

use super::frames::{HTTP, SSH, a_hello, ack, data, syn};
use super::{Case, Draft, Offer, limit};
use crate::builder::{Frame, flags};

/// Sequence number of the first byte behind [`syn`].
const BASE: u32 = 1_001;
/// Out-of-state packets that pass at once.
const STRAYS: usize = 1_000;

/// A connection that starts at [`BASE`] and has received so much.
const fn open(received: u64) -> Socket {
    Socket::Open { base: BASE, received }
}

/// A service of which it is known that its connections end here.
fn known(name: &str, offer: Offer) -> Case {
    known_under(name, Stand::new().serve(offer))
}

fn known_under(name: &str, stand: Stand) -> Case {
    let other = super::frames::v4().tcp(9, 443).flags(flags::ACK).seq(BASE + 600);
    Case::under(name, stand).socket(open(600)).gets(other, Reason::Ok)
}

fn always() -> Offer {
    Offer::tls(443).cookies(cookies::ALWAYS)
}

fn flagged(bits: u8) -> Frame {
    ack().flags(bits).seq(77)
}

/// As many packets of no connection as may pass.
fn used_up(case: Case) -> Case {
    case.socket(Socket::Unknown).times(STRAYS, flagged(flags::ACK), Reason::Ok)
}

pub(super) fn cases() -> Vec<Case> {
    [answered(), not_answered(), surges(), answers(), budgets(), streams(), strays(), pass()].concat()
}

fn answered() -> Vec<Case> {
    vec![
        known("a SYN is answered", always()).socket(Socket::Listening).times(5, syn(), Reason::SynCookie),
        known("a SYN with options and data is answered", always())
            .socket(Socket::Listening)
            .gets(syn().tcp_options(&[2, 4, 5, 180, 1, 3, 3, 7]).payload(b"early"), Reason::SynCookie),
        known("a SYN to a service without a gate is answered", Offer::tcp(443).cookies(cookies::ALWAYS))
            .socket(Socket::Listening)
            .gets(syn(), Reason::SynCookie),
        Case::under(
            "a trusted SYN is answered too",
            Stand::new().serve(always()).list("192.0.2.9/32", listing::ALLOW, 0),
        )
        .socket(open(600))
        .gets(ack().seq(BASE + 600), Reason::AllowListed)
        .socket(Socket::Listening)
        .gets(syn(), Reason::SynCookie),
    ]
}

fn not_answered() -> Vec<Case> {
    let unknown = |name: &str| Case::under(name, Stand::new().serve(always()));
    vec![
        unknown("a listener alone does not show that connections end here").socket(Socket::Listening).times(
            3,
            syn(),
            Reason::Ok,
        ),
        known("what ends here is forgotten", always())
            .socket(Socket::Listening)
            .after(Duration::from_secs(100))
            .gets(syn(), Reason::SynCookie)
            .after(Duration::from_secs(30))
            .gets(syn(), Reason::Ok),
        known("another address may end elsewhere", always()).socket(Socket::Listening).gets(
            crate::builder::ip(super::CLIENT, "198.51.100.2").tcp(9, 443).flags(flags::SYN),
            Reason::Ok,
        ),
        known("an open connection is not answered", always())
            .socket(open(600))
            .gets(syn().seq(900_000), Reason::Ok),
        known("no listener, no cookie", always()).socket(Socket::Unknown).gets(syn(), Reason::Ok),
        known("off", Offer::tls(443)).socket(Socket::Listening).times(5, syn(), Reason::Ok),
        known_under("monitor mode sends nothing", Stand::new().serve(always()).mode(mode::MONITOR))
            .socket(Socket::Listening)
            .times(5, syn(), Reason::Ok),
    ]
}

fn surges() -> Vec<Case> {
    let auto = || Offer::tls(443).cookies(cookies::AUTO).surge(limit(Dimension::Syn, 10, 10));
    vec![
        known("auto: from the surge on", auto())
            .socket(Socket::Listening)
            .times(10, syn(), Reason::Ok)
            .times(5, syn(), Reason::SynCookie)
            // Still, though there is room again.
            .after(Duration::from_secs(9))
            .times(5, syn(), Reason::SynCookie)
            .after(Duration::from_secs(2))
            .times(5, syn(), Reason::Ok),
        known("auto: as long as the surge lasts", auto())
            .socket(Socket::Listening)
            .times(10, syn(), Reason::Ok)
            .gets(syn(), Reason::SynCookie)
            .after(Duration::from_secs(9))
            .times(11, syn(), Reason::SynCookie)
            .after(Duration::from_secs(9))
            .gets(syn(), Reason::SynCookie),
    ]
}

/// Of more SYNs than are answered.
fn answers() -> Vec<Case> {
    let few = |rate, burst| always().answers(limit(Dimension::Syn, rate, burst));
    let listening = |name, offer| known(name, offer).socket(Socket::Listening);
    let other = || crate::builder::ip("192.0.2.10", super::SERVER).tcp(9, 443).flags(flags::SYN);
    let stranger = |port| crate::builder::ip("203.0.113.9", super::SERVER).tcp(port, 443).flags(flags::SYN);
    vec![
        listening("strangers have half of the answers, and the rest who comes again", few(1, 10))
            .times(5, syn(), Reason::SynCookie)
            .gets(syn(), Reason::SynUnanswered)
            .gets(other(), Reason::SynUnanswered)
            // Another SYN of the same ports is no SYN that comes again.
            .gets(syn().seq(7), Reason::SynUnanswered)
            .times(5, syn(), Reason::SynCookie)
            .times(2, other(), Reason::SynUnanswered)
            .after(Duration::from_secs(1))
            .gets(syn().seq(8), Reason::SynUnanswered)
            .gets(other(), Reason::SynCookie),
        listening("a SYN that was not answered is forgotten after some seconds", few(1, 20))
            .times(10, syn(), Reason::SynCookie)
            .gets(other(), Reason::SynUnanswered)
            .after(Duration::from_secs(1))
            .gets(syn(), Reason::SynCookie)
            .gets(other(), Reason::SynCookie)
            .after(Duration::from_secs(3))
            .times(2, syn(), Reason::SynCookie)
            .gets(other(), Reason::SynUnanswered),
        listening("an answer a second is given to strangers, too", few(1, 1))
            .gets(syn(), Reason::SynCookie)
            .gets(syn(), Reason::SynUnanswered)
            .after(Duration::from_secs(1))
            .gets(other(), Reason::SynCookie),
        known_under(
            "what the neighbourhood drops costs no answer",
            Stand::new().serve(few(1, 4)).neighbours(Dimension::Syn, limit(Dimension::Syn, 1, 1)),
        )
        .socket(Socket::Listening)
        .gets(syn(), Reason::SynCookie)
        .times(3, other(), Reason::NeighboursSyn)
        .gets(stranger(9), Reason::SynCookie)
        .gets(stranger(10), Reason::SynUnanswered),
    ]
}

/// What all share is not used up by a flood that cookies answer.
fn budgets() -> Vec<Case> {
    let once = limit(Dimension::Syn, 1, 1);
    let listening = |case: Case| case.socket(Socket::Listening);
    let other = || crate::builder::ip("192.0.2.10", super::SERVER).tcp(9, 443).flags(flags::SYN);
    vec![
        listening(known("an answer costs no total", always().total(Dimension::Syn, once))).times(
            5,
            syn(),
            Reason::SynCookie,
        ),
        listening(known_under(
            "an answer costs its neighbourhood",
            Stand::new().serve(always()).neighbours(Dimension::Syn, limit(Dimension::Syn, 1, 2)),
        ))
        .times(2, syn(), Reason::SynCookie)
        .gets(other(), Reason::NeighboursSyn),
        listening(known_under(
            "an answer costs its source",
            Stand::new().serve(always()).each(Dimension::Syn, limit(Dimension::Syn, 1, 2)),
        ))
        .times(2, syn(), Reason::SynCookie)
        .gets(syn(), Reason::LimitSyn)
        .gets(other(), Reason::SynCookie),
        listening(known(
            "an answer costs its source towards the service",
            always().own(Dimension::Syn, once),
        ))
        .gets(syn(), Reason::SynCookie)
        .gets(syn(), Reason::LimitSyn),
        known("what is not answered costs the total", always().total(Dimension::Syn, once))
            .socket(Socket::Unknown)
            .gets(syn(), Reason::Ok)
            .gets(syn(), Reason::TotalSyn)
            .socket(Socket::Listening)
            .gets(syn(), Reason::SynCookie),
    ]
}

/// The gate after a cookie.
fn streams() -> Vec<Case> {
    let hello = a_hello();
    let proven = |name: &str| {
        known(name, always())
            .socket(open(0))
            .gets(data(&hello), Reason::Ok)
            .socket(open(600))
            .gets(data(SSH).seq(BASE + 600), Reason::Ok)
    };
    vec![
        known("a cookie comes back", always())
            .socket(Socket::Listening)
            .gets(syn(), Reason::SynCookie)
            .gets(ack().seq(BASE), Reason::Ok)
            .socket(open(0))
            .gets(data(HTTP), Reason::PlaintextHttp)
            .gets(data(&hello), Reason::Ok),
        known("a cookie comes back with data", always())
            .socket(Socket::Listening)
            .gets(syn(), Reason::SynCookie)
            .gets(data(HTTP), Reason::PlaintextHttp)
            .gets(data(&hello), Reason::Ok),
        proven("an answered SYN replaces what was proven")
            .socket(Socket::Listening)
            .gets(syn().seq(500_000), Reason::SynCookie)
            .gets(ack().seq(500_001), Reason::Ok)
            .socket(Socket::Open { base: 500_001, received: 0 })
            .gets(data(HTTP).seq(500_001), Reason::PlaintextHttp),
        known("two cookies: what the first stream has shown proves nothing for the second", always())
            .socket(Socket::Listening)
            .gets(syn(), Reason::SynCookie)
            .gets(syn().seq(500_000), Reason::SynCookie)
            .gets(ack().seq(BASE), Reason::Ok)
            .socket(open(0))
            .gets(data(&hello), Reason::Ok)
            .socket(open(600))
            .gets(data(SSH).seq(BASE + 600), Reason::Ok)
            .after(Duration::from_secs(10))
            .gets(data(SSH).seq(BASE + 700), Reason::Ok)
            .gets(ack().flags(flags::RST).seq(BASE + 800), Reason::Ok)
            .socket(Socket::Listening)
            .gets(ack().seq(500_001), Reason::Ok)
            .socket(Socket::Open { base: 500_001, received: 0 })
            .gets(data(HTTP).seq(500_001), Reason::PlaintextHttp),
    ]
}

fn strays() -> Vec<Case> {
    let of_kind = [
        (flagged(flags::ACK), Reason::OutOfStateAck),
        (flagged(flags::ACK | flags::FIN), Reason::OutOfStateFin),
        (flagged(flags::RST), Reason::OutOfStateRst),
        (flagged(flags::RST | flags::ACK), Reason::OutOfStateRst),
        (flagged(flags::SYN | flags::ACK), Reason::OutOfStateSynAck),
        (flagged(flags::ACK).payload(HTTP), Reason::OutOfStateData),
    ];
    let all =
        |case: Case| of_kind.iter().cloned().fold(case, |case, (frame, reason)| case.gets(frame, reason));
    vec![
        all(used_up(known("strays: no socket", Offer::tls(443)))),
        all(used_up(known("strays: without a gate", Offer::tcp(443)))),
        all(used_up(known("strays: a listener, and no cookies", Offer::tls(443)))
            .socket(Socket::Listening)
            .without_cookies()),
        used_up(known("strays: after a while some pass again", Offer::tls(443)))
            .gets(flagged(flags::ACK), Reason::OutOfStateAck)
            .after(Duration::from_millis(10))
            .times(10, flagged(flags::ACK), Reason::Ok)
            .gets(flagged(flags::ACK), Reason::OutOfStateAck),
        known("strays: none of its own cookies", always())
            .socket(Socket::Listening)
            .gets(syn().seq(9), Reason::SynCookie)
            .without_cookies()
            .times(STRAYS, flagged(flags::ACK), Reason::Ok)
            .gets(flagged(flags::ACK), Reason::BadCookie)
            .gets(data(HTTP).seq(77), Reason::BadCookie)
            .gets(flagged(flags::RST), Reason::OutOfStateRst),
        known_under(
            "strays: each counts as a SYN of its source",
            Stand::new().serve(Offer::tls(443)).each(Dimension::Syn, limit(Dimension::Syn, 1, 2)),
        )
        .socket(Socket::Unknown)
        .times(2, flagged(flags::ACK), Reason::Ok)
        .gets(flagged(flags::ACK), Reason::OutOfStateAck)
        .gets(flagged(flags::ACK | flags::FIN), Reason::OutOfStateFin),
    ]
}

/// What must not be taken for a stray.
fn pass() -> Vec<Case> {
    let many = STRAYS + 10;
    let forwarded = Case::under("strays: another host's connections", Stand::new().serve(Offer::tcp(443)));
    vec![
        forwarded.times(many, flagged(flags::ACK), Reason::Ok).times(10, flagged(flags::RST), Reason::Ok),
        known("strays: another port", Offer::tls(443)).socket(Socket::Unknown).times(
            many,
            super::frames::v4().tcp(443, 40_000).flags(flags::ACK),
            Reason::Ok,
        ),
        known("strays: a connection", Offer::tls(443)).socket(open(600)).times(
            many,
            flagged(flags::ACK).seq(BASE + 600),
            Reason::Ok,
        ),
        known("strays: a proven connection is not asked for", Offer::tls(443))
            .socket(open(600))
            .gets(data(SSH).seq(BASE + 600), Reason::Ok)
            .socket(Socket::Unknown)
            .times(many, ack().seq(BASE + 700), Reason::Ok),
        known("strays: cookies that come back", Offer::tcp(443)).socket(Socket::Listening).times(
            many,
            flagged(flags::ACK),
            Reason::Ok,
        ),
    ]
}
