//! Allow lists, bans, block lists and classes: which wins, for whom, until when.

use std::time::Duration;

use gateway_common::{
    abi::{FOREVER, listing},
    limit::rate::{Dimension, SECOND},
    source::{KEY_SHARED_V4, shared_48, shared_56},
    verdict::Reason,
};
use gateway_user::host::Stand;

use super::frames::{HTTP, SERVER, SERVER_V6, data, datagram, v6};
use super::{Case, Draft, Offer, START, limit};
use crate::builder::{Frame, ip};

const ALLOW: u32 = listing::ALLOW;
const BLOCK: u32 = listing::BLOCK;
/// Both families of the client, as a host and as a network.
const HOST: &str = "192.0.2.9/32";
const NET: &str = "192.0.2.0/24";
const NET_V6: &str = "2001:db8::/64";

fn from(source: &str) -> Frame {
    let server = if source.contains(':') { SERVER_V6 } else { SERVER };
    ip(source, server).udp(40_000, 53)
}

pub(super) fn cases() -> Vec<Case> {
    [listed(), live(), banned(), shared(), precedence(), trusted(), classes()].concat()
}

fn listed() -> Vec<Case> {
    vec![
        Case::under("a blocked network", Stand::new().list(NET, BLOCK, 0))
            .gets(from("192.0.1.255"), Reason::Ok)
            .gets(from("192.0.2.0"), Reason::BlockListed)
            .gets(from("192.0.2.255"), Reason::BlockListed)
            .gets(from("192.0.3.0"), Reason::Ok)
            .gets(from("2001:db8::9"), Reason::Ok),
        Case::under("a blocked IPv6 network", Stand::new().list(NET_V6, BLOCK, 0))
            .gets(from("2001:db8::ffff:0:0:1"), Reason::BlockListed)
            .gets(from("2001:db8:0:1::1"), Reason::Ok)
            .gets(from("192.0.2.9"), Reason::Ok),
        Case::under(
            "everybody blocked but one",
            Stand::new().list("0.0.0.0/0", BLOCK, 0).list(HOST, ALLOW | BLOCK, 0),
        )
        .gets(from("192.0.2.8"), Reason::BlockListed)
        .gets(from("192.0.2.9"), Reason::AllowListed)
        .gets(from("192.0.2.10"), Reason::BlockListed),
        Case::under("a blocked IPv6 address", Stand::new().list("2001:db8::9/128", BLOCK, 0))
            .gets(from("2001:db8::9"), Reason::BlockListed)
            .gets(from("2001:db8::8"), Reason::Ok),
        Case::under("what is blocked is not looked at", Stand::new().list(NET, BLOCK, 0))
            .gets(ip("192.0.2.9", "192.0.2.9").udp(1, 1), Reason::BlockListed)
            .gets(datagram().poke_transport(4, &[0, 0]), Reason::BlockListed)
            .gets(datagram().poke(2, &[0, 0]), Reason::Ipv4Malformed),
        Case::under("what is trusted is looked at", Stand::new().list(NET, ALLOW, 0))
            .gets(datagram().poke_transport(4, &[0, 0]), Reason::UdpMalformed),
    ]
}

fn live() -> Vec<Case> {
    let second = Duration::from_secs(1);
    let until = START + SECOND;
    vec![
        Case::under("a ban for a second", Stand::new().live(HOST, 0, until))
            .gets(datagram(), Reason::Banned)
            .after(second - Duration::from_nanos(1))
            .gets(datagram(), Reason::Banned)
            .after(Duration::from_nanos(1))
            .gets(datagram(), Reason::Ok),
        Case::under("a ban for ever", Stand::new().live(NET_V6, 0, FOREVER))
            .after(Duration::from_secs(31_536_000))
            .gets(v6().udp(1, 53), Reason::Banned)
            .gets(datagram(), Reason::Ok),
        Case::under("trust for a second", Stand::new().live(HOST, until, 0))
            .gets(datagram(), Reason::AllowListed)
            .after(second)
            .gets(datagram(), Reason::Ok),
        Case::under(
            "the longest live prefix alone answers",
            Stand::new().live(NET, 0, FOREVER).live(HOST, 0, 0),
        )
        .gets(datagram(), Reason::Ok)
        .gets(from("192.0.2.10"), Reason::Banned),
    ]
}

/// Bans of single sources, which have a table of their own.
fn banned() -> Vec<Case> {
    let (minute, until) = (Duration::from_secs(60), START + 60 * SECOND);
    vec![
        Case::under("a ban of a host behind a translator", Stand::new().ban("192.0.2.9", FOREVER))
            .gets(ip("64:ff9b::192.0.2.9", SERVER_V6).udp(1, 53), Reason::Banned)
            .gets(ip("64:ff9b::192.0.2.10", SERVER_V6).udp(1, 53), Reason::Ok)
            .gets(ip("64:ff9b::1:c000:209", SERVER_V6).udp(1, 53), Reason::Ok)
            .gets(ip("64:ff9c::192.0.2.9", SERVER_V6).udp(1, 53), Reason::Ok),
        Case::under("a ban of one source", Stand::new().ban("192.0.2.9", until))
            .gets(datagram(), Reason::Banned)
            .gets(from("192.0.2.10"), Reason::Ok)
            .after(2 * minute)
            .gets(datagram(), Reason::Ok),
        Case::under("a ban of an IPv6 network of 64 bits", Stand::new().ban(NET_V6, FOREVER))
            .gets(v6().udp(1, 53), Reason::Banned)
            .gets(from("2001:db8:0:1::1"), Reason::Ok)
            .gets(datagram(), Reason::Ok),
        Case::under(
            "who is never to be banned, and who is trusted",
            Stand::new()
                .list("192.0.2.50/32", listing::NEVER, 0)
                .list("192.0.2.51/32", ALLOW, 0)
                .live("192.0.2.52/32", until, 0)
                .ban("192.0.2.50", FOREVER)
                .ban("192.0.2.51", FOREVER)
                .ban("192.0.2.52", FOREVER),
        )
        .gets(from("192.0.2.50"), Reason::Ok)
        .gets(from("192.0.2.51"), Reason::AllowListed)
        .gets(from("192.0.2.52"), Reason::AllowListed)
        .after(minute)
        .gets(from("192.0.2.52"), Reason::Banned),
    ]
}

/// An escalated neighbourhood: one bucket for all its sources, and nobody else's changes.
fn shared() -> Vec<Case> {
    let (second, until) = (Duration::from_secs(1), START + SECOND);
    let key = KEY_SHARED_V4 | 0xc000_0200;
    let udp = |burst| limit(Dimension::Udp, 1, burst);
    let stand = Stand::new().each(Dimension::Udp, udp(3)).class(1, Dimension::Udp, udp(2));
    let stand = stand.list("192.0.2.64/26", 0, 1).list("192.0.2.50/32", ALLOW, 0);
    let escalated = stand.clone().share(NET, key, until);
    let three = |case: Case, source: &str| case.times(3, from(source), Reason::Ok);
    let over = |case: Case, source: &str| case.gets(from(source), Reason::LimitUdp);
    let one_each = ["192.0.2.1", "192.0.2.2", "192.0.2.0"].into_iter().fold(
        Case::under("an escalated network's sources share one limit", escalated.clone()),
        |case, source| case.gets(from(source), Reason::Ok),
    );
    let shared = over(over(over(one_each, "192.0.2.1"), "192.0.2.0"), "192.0.2.63");
    let outside = three(shared, "192.0.3.1").gets(from("192.0.2.50"), Reason::AllowListed);
    let in_class =
        outside.times(2, from("192.0.2.64"), Reason::Ok).gets(from("192.0.2.64"), Reason::LimitUdp);
    let ended = over(three(in_class.after(second), "192.0.2.0"), "192.0.2.0");
    let mut cases = vec![three(three(ended, "192.0.2.1"), "192.0.2.63")];

    let of_service = Stand::new().serve(Offer::udp(53).own(Dimension::Udp, udp(3))).share(NET, key, FOREVER);
    let case = Case::under("an escalated network shares what it has towards a service", of_service);
    cases.push(over(over(three(case, "192.0.2.1"), "192.0.2.1"), "192.0.2.2"));

    let (wide, narrow) = (0x2001_0db8_0000_0000, 0x2001_0db8_0000_ab00);
    let v6 = Stand::new().each(Dimension::Udp, udp(3));
    let v6 = v6.share("2001:db8:0:ab00::/56", shared_56(narrow), FOREVER);
    let v6 = v6.share("2001:db8:1::/48", shared_48(wide | 1 << 16).expect("no reserved prefix"), FOREVER);
    let case = Case::under("escalated IPv6 networks", v6);
    let case = over(three(case, "2001:db8:0:ab01::1"), "2001:db8:0:abff::1");
    let case = over(three(case, "2001:db8:1:1::1"), "2001:db8:1:ffff::1");
    cases.push(three(three(case, "2001:db8:0:aa00::1"), "2001:db8:0:aa01::1"));
    cases
}

fn precedence() -> Vec<Case> {
    let until = START + SECOND;
    let second = Duration::from_secs(1);
    let case = |name: &str, stand: Stand, now, later| {
        Case::under(name, stand).gets(datagram(), now).after(second).gets(datagram(), later)
    };
    vec![
        case(
            "an allow list before a ban",
            Stand::new().list(NET, ALLOW, 0).live(HOST, 0, until),
            Reason::AllowListed,
            Reason::AllowListed,
        ),
        case(
            "live trust before a ban",
            Stand::new().live(HOST, until, FOREVER),
            Reason::AllowListed,
            Reason::Banned,
        ),
        case(
            "live trust before a block list",
            Stand::new().list(NET, BLOCK, 0).live(HOST, until, 0),
            Reason::AllowListed,
            Reason::BlockListed,
        ),
        case(
            "a ban before a block list",
            Stand::new().list(NET, BLOCK, 0).live(HOST, 0, until),
            Reason::Banned,
            Reason::BlockListed,
        ),
        case(
            "an allow list before a block list",
            Stand::new().list(NET, ALLOW | BLOCK, 0),
            Reason::AllowListed,
            Reason::AllowListed,
        ),
    ]
}

fn trusted() -> Vec<Case> {
    let limits = Stand::new()
        .list(NET, ALLOW, 0)
        .each(Dimension::Udp, limit(Dimension::Udp, 1, 1))
        .neighbours(Dimension::Packets, limit(Dimension::Packets, 1, 1))
        .serve(Offer::tls(443).total(Dimension::Packets, limit(Dimension::Packets, 1, 1)));
    vec![
        Case::under("no limit holds who is trusted", limits.clone()).times(
            100,
            datagram(),
            Reason::AllowListed,
        ),
        Case::under("the TLS gate holds who is trusted", limits.clone())
            .gets(data(HTTP), Reason::PlaintextHttp)
            .gets(data(&super::frames::a_hello()), Reason::AllowListed),
        Case::under("sanity holds who is trusted", limits)
            .gets(ip("192.0.2.9", "192.0.2.9").udp(1, 1), Reason::Land),
    ]
}

fn classes() -> Vec<Case> {
    let stand = Stand::new()
        .each(Dimension::Packets, limit(Dimension::Packets, 1, 5))
        .each(Dimension::Udp, limit(Dimension::Udp, 1, 2))
        .class(1, Dimension::Udp, limit(Dimension::Udp, 1, 4))
        .class(63, Dimension::Packets, limit(Dimension::Packets, 1, 1))
        .neighbours(Dimension::Udp, limit(Dimension::Udp, 1, 3))
        .list("192.0.2.0/25", 0, 1)
        .list("2001:db8::/32", 0, 63);
    vec![
        Case::under("everybody's limits", stand.clone())
            .times(2, from("192.0.2.200"), Reason::Ok)
            .gets(from("192.0.2.200"), Reason::LimitUdp)
            .gets(from("192.0.2.201"), Reason::Ok)
            .gets(from("192.0.2.202"), Reason::NeighboursUdp),
        Case::under("a class's own limit, and everybody's where it has none", stand.clone())
            .times(4, from("192.0.2.9"), Reason::Ok)
            .gets(from("192.0.2.9"), Reason::LimitUdp)
            .gets(ip("192.0.2.9", SERVER).tcp(1, 22), Reason::Ok)
            .gets(ip("192.0.2.9", SERVER).tcp(1, 22), Reason::LimitPackets),
        Case::under("a class has no neighbours", stand.clone())
            .times(4, from("192.0.2.9"), Reason::Ok)
            .times(4, from("192.0.2.10"), Reason::Ok),
        Case::under("the last class", stand)
            .gets(from("2001:db8::9"), Reason::Ok)
            .gets(from("2001:db8::9"), Reason::LimitPackets),
    ]
}
