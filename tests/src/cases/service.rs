//! Which service a packet is for, and limits of a service's own.

use gateway_common::{limit::rate::Dimension, verdict::Reason};
use gateway_user::host::Stand;

use super::frames::{CLIENT, CLIENT_V6, HTTP, SERVER, SERVER_V6, datagram, v4};
use super::{Case, Draft, Offer, limit};
use crate::builder::{Frame, flags, ip};

const OTHER: &str = "198.51.100.2";

fn http(destination: &str, port: u16) -> Frame {
    let source = if destination.contains(':') { CLIENT_V6 } else { CLIENT };
    ip(source, destination).tcp(40_000, port).payload(HTTP)
}

fn packets(burst: u64) -> gateway_common::limit::rate::Limit {
    limit(Dimension::Packets, 1, burst)
}

pub(super) fn cases() -> Vec<Case> {
    [found(), own_limits()].concat()
}

fn found() -> Vec<Case> {
    let shared = (1..8).fold(Stand::new(), |stand, host| {
        stand.serve(Offer::tcp(443).on(&format!("198.51.100.{}", 100 + host)))
    });
    let many = (1..=8).fold(Offer::tls(443), |offer, host| offer.on(&format!("2001:db8:5::{host}")));
    vec![
        Case::under("a service on all addresses", Stand::new().serve(Offer::tls(443)))
            .gets(http(SERVER, 443), Reason::PlaintextHttp)
            .gets(http(SERVER_V6, 443), Reason::PlaintextHttp)
            .gets(http(SERVER, 442), Reason::Ok)
            .gets(http(SERVER, 444), Reason::Ok)
            .gets(v4().udp(40_000, 443).payload(HTTP), Reason::Ok),
        Case::under("a service on one address", Stand::new().serve(Offer::tls(443).on(SERVER)))
            .gets(http(SERVER, 443), Reason::PlaintextHttp)
            .gets(http(OTHER, 443), Reason::Ok)
            .gets(http(SERVER_V6, 443), Reason::Ok),
        Case::under("a service on eight addresses", Stand::new().serve(many))
            .gets(http("2001:db8:5::1", 443), Reason::PlaintextHttp)
            .gets(http("2001:db8:5::8", 443), Reason::PlaintextHttp)
            .gets(http("2001:db8:5::9", 443), Reason::Ok)
            .gets(http(SERVER, 443), Reason::Ok),
        Case::under("the eighth service of a port", shared.serve(Offer::tls(443).on(SERVER)))
            .gets(http("198.51.100.101", 443), Reason::Ok)
            .gets(http("198.51.100.107", 443), Reason::Ok)
            .gets(http(SERVER, 443), Reason::PlaintextHttp)
            .gets(http(OTHER, 443), Reason::Ok),
        Case::under(
            "the first service that fits counts",
            Stand::new().serve(Offer::tcp(443).on(OTHER)).serve(Offer::tls(443)),
        )
        .gets(http(OTHER, 443), Reason::Ok)
        .gets(http(SERVER, 443), Reason::PlaintextHttp),
        Case::under("ports 0 and 65535", Stand::new().serve(Offer::tls(0)).serve(Offer::tls(65_535)))
            .gets(http(SERVER, 0), Reason::PlaintextHttp)
            .gets(http(SERVER, 65_535), Reason::PlaintextHttp)
            .gets(http(SERVER, 1), Reason::Ok),
    ]
}

fn own_limits() -> Vec<Case> {
    let base = Stand::new().each(Dimension::Packets, packets(2));
    let own = base.clone().serve(Offer::tcp(443).own(Dimension::Packets, packets(4)));
    let two = own.clone().serve(Offer::udp(53).own(Dimension::Packets, packets(3)));
    let class = own.clone().class(1, Dimension::Packets, packets(1)).list("192.0.2.0/24", 0, 1);
    let syn = limit(Dimension::Syn, 1, 1);
    let partly = base.serve(Offer::tcp(443).own(Dimension::Syn, syn));
    let to = |port| v4().tcp(40_000, port);
    vec![
        Case::under("a service's own limit, apart from the source's", own)
            .times(4, to(443), Reason::Ok)
            .gets(to(443), Reason::LimitPackets)
            .times(2, to(22), Reason::Ok)
            .gets(to(22), Reason::LimitPackets),
        Case::under("two services, each its own", two)
            .times(4, to(443), Reason::Ok)
            .gets(to(443), Reason::LimitPackets)
            .times(3, datagram(), Reason::Ok)
            .gets(datagram(), Reason::LimitPackets)
            .times(2, to(22), Reason::Ok)
            .gets(to(22), Reason::LimitPackets),
        Case::under("a class's limit before a service's", class)
            .gets(to(443), Reason::Ok)
            .gets(to(443), Reason::LimitPackets)
            .gets(to(22), Reason::LimitPackets),
        Case::under("a service's limit of one dimension leaves the others", partly)
            .gets(to(443).flags(flags::SYN), Reason::Ok)
            .gets(to(443).flags(flags::SYN), Reason::LimitSyn)
            .gets(to(443), Reason::Ok)
            .gets(to(443), Reason::LimitPackets),
    ]
}
