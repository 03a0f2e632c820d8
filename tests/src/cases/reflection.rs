//! What nobody on the host asked for: datagrams of reflectors, and ICMP errors.

use gateway_common::{
    abi::{listing, policy},
    env::Receiver,
    limit::rate::Dimension,
    verdict::Reason,
};
use gateway_user::host::Stand;

use super::frames::{CLIENT, CLIENT_V6, SERVER, SERVER_V6, v4, v6};
use super::{Case, Draft, Offer, limit};
use crate::builder::{Frame, IpProto, ip};

/// A host that nobody knows of.
const OTHER: &str = "198.51.100.2";

fn host() -> Stand {
    Stand::new().local(SERVER).local(SERVER_V6)
}

fn asked(name: &str, receiver: Receiver) -> Case {
    Case::under(name, host()).receiver(receiver)
}

fn answer(port: u16) -> Frame {
    v4().udp(port, 40_000).payload(b"an answer")
}

fn answer_v6(port: u16) -> Frame {
    v6().udp(port, 40_000).payload(b"an answer")
}

pub(super) fn cases() -> Vec<Case> {
    [datagrams(), passed(), quotes(), quotes_v6(), connections()].concat()
}

fn datagrams() -> Vec<Case> {
    vec![
        asked("reflectors: nobody asked", Receiver::Nobody)
            .gets(answer(53), Reason::Reflection)
            .gets(answer(123), Reason::Reflection)
            .gets(answer(11_211), Reason::Reflection)
            .gets(answer(53_413), Reason::Reflection)
            .gets(answer_v6(53), Reason::Reflection)
            .gets(answer(53).fragment(0, true), Reason::Reflection)
            .gets(answer(54), Reason::Ok)
            .gets(answer(65_535), Reason::Ok)
            .gets(answer(0), Reason::Ok),
        many(),
        asked("reflectors: a socket asked", Receiver::Socket)
            .gets(answer(53), Reason::Ok)
            .gets(answer_v6(123), Reason::Ok),
        Case::under(
            "reflectors: what a connected socket waits for needs no room in the total of what is no service's",
            host().rest(Dimension::Udp, limit(Dimension::Udp, 1, 1)).each(Dimension::Udp, limit(Dimension::Udp, 1, 4)),
        )
        .receiver(Receiver::Socket)
        .gets(answer(53), Reason::Ok)
        .gets(answer(53), Reason::TotalUdp)
        .receiver(Receiver::Connected)
        .times(3, answer(53), Reason::Ok)
        .gets(answer(53), Reason::LimitUdp),
        Case::under(
            "reflectors: for an answer to a socket that hears everybody half of that total is kept",
            host().rest(Dimension::Udp, limit(Dimension::Udp, 1, 4)),
        )
        .receiver(Receiver::Socket)
        .times(2, answer(54), Reason::Ok)
        .gets(answer(54), Reason::TotalUdp)
        .times(2, answer(53), Reason::Ok)
        .gets(answer(53), Reason::TotalUdp)
        .receiver(Receiver::Connected)
        .gets(answer(53), Reason::Ok),
        asked("reflectors: the host forwards", Receiver::Elsewhere)
            .gets(answer(53), Reason::Ok)
            .gets(answer_v6(53), Reason::Ok),
        asked("reflectors: for another host", Receiver::Nobody)
            .gets(ip(CLIENT, OTHER).udp(53, 40_000).payload(b"an answer"), Reason::Ok),
        asked("reflectors: no UDP", Receiver::Nobody).gets(v4().tcp(53, 40_000), Reason::Ok),
        asked("reflectors: a later fragment", Receiver::Nobody)
            .gets(v4().fragment(1_480, false).protocol(17).payload(&[0, 53, 0, 53, 0, 8, 0, 0]), Reason::Ok),
        Case::under(
            "reflectors: the flood costs nobody's budget anything",
            host().each(Dimension::Udp, limit(Dimension::Udp, 1, 1)),
        )
        .receiver(Receiver::Nobody)
        .times(5, answer(53), Reason::Reflection)
        .receiver(Receiver::Socket)
        .gets(answer(53), Reason::Ok)
        .gets(answer(53), Reason::LimitUdp),
    ]
}

/// A host of 60 addresses.
fn many() -> Case {
    let addresses = || (1..=60).map(|host| format!("198.51.100.{}", host * 3));
    let stand = addresses().fold(host(), |stand, address| stand.local(&address));
    let answer = |address: &str| ip(CLIENT, address).udp(53, 40_000).payload(b"an answer");
    let case = Case::under("reflectors: nobody asked, of 60 addresses", stand).receiver(Receiver::Nobody);
    addresses()
        .fold(case, |case, address| case.gets(answer(&address), Reason::Reflection))
        .gets(answer("198.51.100.2"), Reason::Ok)
        .gets(answer("198.51.100.181"), Reason::Ok)
        .gets(answer_v6(53), Reason::Reflection)
}

fn passed() -> Vec<Case> {
    let mut off = host();
    off.settings.flags &= !policy::REFLECTION;
    vec![
        Case::under("reflectors: a service asked for it", host().serve(Offer::udp(40_000)))
            .receiver(Receiver::Nobody)
            .gets(answer(53), Reason::Ok),
        Case::under("reflectors: a service on another address", host().serve(Offer::udp(40_000).on(OTHER)))
            .receiver(Receiver::Nobody)
            .gets(answer(53), Reason::Reflection),
        Case::under("reflectors: a trusted source", host().list("192.0.2.0/24", listing::ALLOW, 0))
            .receiver(Receiver::Nobody)
            .gets(answer(53), Reason::AllowListed),
        Case::under("reflectors: not to be dropped", off)
            .receiver(Receiver::Nobody)
            .gets(answer(53), Reason::Ok),
    ]
}

/// Port unreachable, with a quote.
fn error(quote: &[u8]) -> Frame {
    v4().icmp(3, 3, [0; 4]).payload(quote)
}

fn error_v6(quote: &[u8]) -> Frame {
    v6().icmp(1, 4, [0; 4]).payload(quote)
}

fn quotes() -> Vec<Case> {
    let ours = ip(SERVER, "203.0.113.5").udp(40_000, 33_434).packet();
    let theirs = ip(OTHER, "203.0.113.5").udp(40_000, 33_434).packet();
    let kinds = |quote: &[u8], reason| {
        [3, 4, 5, 11, 12].map(|kind| {
            let frame = v4().icmp(kind, 0, [0; 4]).payload(quote);
            Case::new(format!("ICMP error {kind}: {}", reason_word(reason))).gets(frame, reason)
        })
    };
    let mut cases = vec![
        Case::new("ICMP error: cut").gets(error(&ours[..19]), Reason::IcmpError),
        Case::new("ICMP error: no ports").gets(error(&ours[..20]), Reason::Ok),
        Case::new("ICMP error: in a fragment").gets(error(&theirs).fragment(0, true), Reason::Ok),
        Case::new("no ICMP error").gets(v4().icmp(8, 0, [0; 4]).payload(&theirs), Reason::Ok),
        Case::new("no ICMP error, nor an answer that quotes")
            .gets(v4().icmp(0, 0, [0; 4]).payload(b"ping"), Reason::Ok),
    ];
    cases.extend(kinds(&ours, Reason::Ok));
    cases.extend(kinds(&theirs, Reason::IcmpError));
    cases
}

fn reason_word(reason: Reason) -> &'static str {
    if reason == Reason::Ok { "quotes us" } else { "quotes somebody else" }
}

fn quotes_v6() -> Vec<Case> {
    let ours = ip(SERVER_V6, CLIENT_V6).udp(40_000, 33_434).packet();
    let theirs = ip("2001:db8:5::2", CLIENT_V6).udp(40_000, 33_434).packet();
    let kinds = [1, 3, 4, 100, 127].map(|kind| {
        Case::new(format!("ICMPv6 error {kind}"))
            .gets(v6().icmp(kind, 0, [0; 4]).payload(&ours), Reason::Ok)
            .gets(v6().icmp(kind, 0, [0; 4]).payload(&theirs), Reason::IcmpError)
    });
    let mut cases = vec![
        Case::new("ICMPv6 error: cut").gets(error_v6(&ours[..39]), Reason::IcmpError),
        Case::new("no ICMPv6 error").gets(v6().icmp(128, 0, [0; 4]).payload(&theirs), Reason::Ok),
    ];
    cases.extend(kinds);
    cases
}

fn connections() -> Vec<Case> {
    let tcp = ip(SERVER, CLIENT).tcp(443, 40_000).packet();
    let udp = ip(SERVER, "203.0.113.5").udp(40_000, 53).packet();
    let ping = ip(SERVER, CLIENT).icmp(8, 0, [0; 4]).packet();
    let fragment = ip(SERVER, CLIENT).fragment(1_480, false).protocol(17).payload(&[0; 16]).packet();
    let options = ip(SERVER, CLIENT).options(&[1; 8]).udp(40_000, 53).packet();
    let udp_v6 = ip(SERVER_V6, CLIENT_V6).udp(40_000, 53).packet();
    let behind = ip(SERVER_V6, CLIENT_V6).extension(IpProto::HopOpt, &[1, 4, 0, 0, 0, 0]).udp(1, 2).packet();
    vec![
        asked("ICMP error: of no connection", Receiver::Nobody)
            .gets(error(&tcp[..28]), Reason::IcmpError)
            .gets(error(&udp[..28]), Reason::IcmpError)
            .gets(error(&options), Reason::IcmpError)
            .gets(error_v6(&udp_v6), Reason::IcmpError),
        asked("ICMP error: of a connection", Receiver::Socket)
            .gets(error(&tcp[..28]), Reason::Ok)
            .gets(error(&udp), Reason::Ok)
            .gets(error_v6(&udp_v6), Reason::Ok),
        asked("ICMP error: the host forwards", Receiver::Elsewhere)
            .gets(error(&tcp), Reason::Ok)
            .gets(error_v6(&udp_v6), Reason::Ok),
        asked("ICMP error: what has no ports is nobody's", Receiver::Nobody)
            .gets(error(&ping), Reason::Ok)
            .gets(error(&fragment), Reason::Ok)
            .gets(error_v6(&behind), Reason::Ok)
            .gets(error(&udp[..20]), Reason::Ok),
        asked("path MTU messages pass before", Receiver::Nobody)
            .gets(v4().icmp(3, 4, [0, 0, 5, 0]).payload(&tcp[..28]), Reason::PathMtu),
    ]
}
