//! How limits meet: sources, prefixes, neighbourhoods and totals; what is dropped costs nobody anything.

use std::time::Duration;

use gateway_common::{
    abi::FOREVER,
    limit::rate::{Dimension, Limit},
    source::shared_56,
    verdict::Reason,
};
use gateway_user::host::Stand;

use super::frames::{PORT, SERVER, SERVER_V6, data, datagram, ping, syn, v4};
use super::{Case, Draft, Offer, limit};
use crate::builder::{Frame, flags, ip};

fn udp(source: &str) -> Frame {
    let server = if source.contains(':') { SERVER_V6 } else { SERVER };
    ip(source, server).udp(PORT, 53)
}

fn packets(burst: u64) -> Limit {
    limit(Dimension::Packets, 1, burst)
}

pub(super) fn cases() -> Vec<Case> {
    [sources(), kinds(), order()].concat()
}

fn sources() -> Vec<Case> {
    let one = Stand::new().each(Dimension::Packets, packets(1));
    let wide = {
        let mut stand = one.clone();
        stand.settings.source_mask_v4 = 0xffff_ff00;
        stand.settings.source_mask_v6 = u64::MAX << 8;
        stand
    };
    vec![
        Case::under("each source has its own bucket", one.clone())
            .gets(udp("192.0.2.9"), Reason::Ok)
            .gets(udp("192.0.2.10"), Reason::Ok)
            .gets(udp("192.0.2.9"), Reason::LimitPackets)
            .gets(udp("192.0.2.10"), Reason::LimitPackets),
        Case::under("an IPv6 source is a /64", one)
            .gets(udp("2001:db8::9"), Reason::Ok)
            .gets(udp("2001:db8::ffff:0:0:1"), Reason::LimitPackets)
            .gets(udp("2001:db8:0:1::9"), Reason::Ok),
        Case::under("sources may be wider", wide)
            .gets(udp("192.0.2.9"), Reason::Ok)
            .gets(udp("192.0.2.200"), Reason::LimitPackets)
            .gets(udp("192.0.3.9"), Reason::Ok)
            .gets(udp("2001:db8::9"), Reason::Ok)
            .gets(udp("2001:db8:0:ff::9"), Reason::LimitPackets)
            .gets(udp("2001:db8:0:100::9"), Reason::Ok),
        Case::under(
            "where sources are finer each counts by itself, whatever its neighbourhood shares",
            Stand::new()
                .each(Dimension::Packets, packets(1))
                .finer("2001:db8::/64", 1, 120)
                .finer("2001:db8:0:2::/64", 2, 120)
                .finer("2001:db8:0:2:64::/96", 3, 128)
                .share("2001:db8::/48", shared_56(0x2001_0db8_0000_0000), FOREVER),
        )
        .gets(udp("2001:db8::9"), Reason::Ok)
        .gets(udp("2001:db8::109"), Reason::Ok)
        .gets(udp("2001:db8::8"), Reason::LimitPackets)
        .gets(udp("2001:db8::1:0:0:9"), Reason::Ok)
        .gets(udp("2001:db8:0:2::9"), Reason::Ok)
        .gets(udp("2001:db8:0:2:64::9"), Reason::Ok)
        .gets(udp("2001:db8:0:2:64::8"), Reason::Ok)
        .gets(udp("2001:db8:0:2:64::9"), Reason::LimitPackets)
        // No network of these.
        .gets(udp("2001:db8:0:3::9"), Reason::Ok)
        .gets(udp("2001:db8:0:4::9"), Reason::LimitPackets),
        Case::under(
            "a neighbourhood holds finer sources too",
            Stand::new().neighbours(Dimension::Packets, packets(2)).finer("2001:db8::/64", 1, 120),
        )
        .gets(udp("2001:db8::9"), Reason::Ok)
        .gets(udp("2001:db8::109"), Reason::Ok)
        .gets(udp("2001:db8::209"), Reason::NeighboursPackets),
        Case::under(
            "a finer source has all the connections that it may have, and its neighbours have not",
            Stand::new().serve(Offer::tcp(22)).finer("2001:db8::/64", 1, 120).hold(
                "2001:db8::501",
                1,
                FOREVER,
            ),
        )
        .gets(ip("2001:db8::509", SERVER_V6).tcp(PORT, 22).flags(flags::SYN), Reason::LimitConnections)
        .gets(ip("2001:db8::609", SERVER_V6).tcp(PORT, 22).flags(flags::SYN), Reason::Ok),
        Case::under("neighbours share", Stand::new().neighbours(Dimension::Packets, packets(2)))
            .gets(udp("192.0.2.9"), Reason::Ok)
            .gets(udp("192.0.2.10"), Reason::Ok)
            .gets(udp("192.0.2.11"), Reason::NeighboursPackets)
            .gets(udp("192.0.3.11"), Reason::Ok)
            .gets(udp("2001:db8:0:1::9"), Reason::Ok)
            .gets(udp("2001:db8:0:2::9"), Reason::Ok)
            .gets(udp("2001:db8:0:3::9"), Reason::NeighboursPackets)
            .gets(udp("2001:db8:1::9"), Reason::Ok),
        Case::under(
            "sources share a service's total",
            Stand::new().serve(Offer::udp(53).total(Dimension::Packets, packets(2))),
        )
        .gets(udp("192.0.2.9"), Reason::Ok)
        .gets(udp("2001:db8::9"), Reason::Ok)
        .gets(udp("203.0.113.9"), Reason::TotalPackets)
        .gets(ip("203.0.113.9", SERVER).udp(PORT, 54), Reason::Ok),
        Case::under(
            "sources share a total of what is no service's",
            Stand::new()
                .rest(Dimension::Udp, limit(Dimension::Udp, 1, 4))
                .rest(Dimension::Icmp, limit(Dimension::Icmp, 1, 1))
                .serve(Offer::udp(54)),
        )
        .gets(udp("192.0.2.9"), Reason::Ok)
        // A fragment behind the first is no service's, whatever it is of.
        .gets(ip("203.0.113.9", SERVER).protocol(17).payload(&[0; 64]).fragment(64, false), Reason::Ok)
        .gets(udp("2001:db8::9"), Reason::TotalUdp)
        .gets(ip("203.0.113.9", SERVER).udp(PORT, 54), Reason::Ok)
        .gets(syn(), Reason::Ok)
        .gets(ping(), Reason::Ok)
        .gets(ping(), Reason::TotalIcmp),
    ]
}

fn kinds() -> Vec<Case> {
    let each = |dimension, burst| Stand::new().each(dimension, limit(dimension, 1, burst));
    let fragment = v4().protocol(17).payload(&[0; 64]).fragment(64, false);
    let mixed = each(Dimension::Udp, 1).each(Dimension::Icmp, limit(Dimension::Icmp, 1, 1));
    vec![
        Case::under("only SYNs without ACK are SYNs", each(Dimension::Syn, 1))
            .gets(syn(), Reason::Ok)
            .gets(syn(), Reason::LimitSyn)
            .gets(syn().flags(0x12), Reason::Ok)
            .gets(data(b"x"), Reason::Ok)
            .gets(datagram(), Reason::Ok),
        Case::under("later fragments of UDP are UDP", each(Dimension::Udp, 1))
            .gets(fragment.clone(), Reason::Ok)
            .gets(fragment, Reason::LimitUdp)
            .gets(datagram(), Reason::LimitUdp),
        Case::under("every kind for itself", mixed)
            .gets(datagram(), Reason::Ok)
            .gets(ping(), Reason::Ok)
            .gets(datagram(), Reason::LimitUdp)
            .gets(ping(), Reason::LimitIcmp)
            .times(50, syn(), Reason::Ok),
    ]
}

fn order() -> Vec<Case> {
    let both =
        Stand::new().each(Dimension::Packets, packets(3)).each(Dimension::Udp, limit(Dimension::Udp, 1, 1));
    let all = Stand::new()
        .each(Dimension::Packets, packets(1))
        .neighbours(Dimension::Packets, packets(2))
        .serve(Offer::udp(53).total(Dimension::Packets, packets(3)));
    let long = v4().udp(PORT, 53).payload(&[0; 1_400]);
    let bytes = Stand::new().each(Dimension::Bytes, limit(Dimension::Bytes, 1_000, 1_518));
    vec![
        Case::under("what is dropped costs the source nothing", both)
            .gets(datagram(), Reason::Ok)
            .times(10, datagram(), Reason::LimitUdp)
            .times(2, syn(), Reason::Ok)
            .gets(syn(), Reason::LimitPackets),
        Case::under("what is dropped costs neighbours and service nothing", all)
            .gets(udp("192.0.2.9"), Reason::Ok)
            .times(10, udp("192.0.2.9"), Reason::LimitPackets)
            .gets(udp("192.0.2.10"), Reason::Ok)
            .times(10, udp("192.0.2.11"), Reason::NeighboursPackets)
            .gets(udp("192.0.3.9"), Reason::Ok)
            .gets(udp("192.0.4.9"), Reason::TotalPackets),
        Case::under("packets before bytes before kinds", {
            Stand::new()
                .each(Dimension::Packets, packets(1))
                .each(Dimension::Bytes, limit(Dimension::Bytes, 10, 1_518))
                .each(Dimension::Udp, limit(Dimension::Udp, 1, 1))
        })
        .gets(long.clone(), Reason::Ok)
        .gets(long.clone(), Reason::LimitPackets)
        .after(Duration::from_secs(1))
        .gets(long.clone(), Reason::LimitBytes)
        .gets(datagram(), Reason::Ok),
        Case::under("a short frame fits where a long one does not", bytes)
            .gets(long.clone(), Reason::Ok)
            .gets(long, Reason::LimitBytes)
            .gets(datagram(), Reason::Ok)
            .gets(datagram(), Reason::LimitBytes),
    ]
}
