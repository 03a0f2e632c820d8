//! SYNs of sources, neighbourhoods and services that may have no more connections.

use std::time::Duration;

use gateway_common::{
    abi::{FOREVER, cookies, listing, mode},
    limit::rate::SECOND,
    verdict::Reason,
};
use gateway_user::host::Stand;

use super::frames::{SERVER_V6, ack, syn, v4};
use super::{CLIENT, Case, Draft as _, Offer, START};
use crate::builder::{Frame, flags, ip};

fn syn_to(port: u16) -> Frame {
    v4().tcp(40_000, port).flags(flags::SYN)
}

fn syn_v6(source: &str) -> Frame {
    ip(source, SERVER_V6).tcp(40_000, 443).flags(flags::SYN)
}

fn both() -> Stand {
    Stand::new().serve(Offer::tls(443)).serve(Offer::tcp(22))
}

pub(super) fn cases() -> Vec<Case> {
    let until = START + 5 * SECOND;
    vec![
        Case::under("a source has all the connections to one service", both().hold(CLIENT, 1, until))
            .gets(syn(), Reason::LimitConnections)
            .gets(syn_to(22), Reason::Ok)
            .gets(ip("192.0.2.77", super::SERVER).tcp(9, 443).flags(flags::SYN), Reason::Ok)
            .after(Duration::from_secs(6))
            .gets(syn(), Reason::Ok),
        Case::under("an IPv6 source has", both().hold("2001:db8::/64", 1, FOREVER))
            .gets(syn_v6("2001:db8::9"), Reason::LimitConnections)
            .gets(syn_v6("2001:db8::ffff:1"), Reason::LimitConnections)
            .gets(syn_v6("2001:db8:0:1::9"), Reason::Ok),
        Case::under("a neighbourhood has, to all services", both().hold("192.0.2.0", 0, FOREVER))
            .gets(syn(), Reason::NeighboursConnections)
            .gets(syn_to(22), Reason::NeighboursConnections)
            .gets(ip("198.51.100.7", super::SERVER).tcp(9, 443).flags(flags::SYN), Reason::Ok),
        Case::under("a service has", both().full(1, until))
            .gets(syn(), Reason::TotalConnections)
            .gets(syn_v6("2001:db8::9"), Reason::TotalConnections)
            .gets(syn_to(22), Reason::Ok)
            .after(Duration::from_secs(6))
            .gets(syn(), Reason::Ok),
        Case::under("only SYNs are refused for it", both().full(2, FOREVER))
            .gets(syn_to(22), Reason::TotalConnections)
            .gets(v4().tcp(40_000, 22).flags(flags::ACK), Reason::Ok),
        Case::under(
            "no cookie answers who may have no more",
            Stand::new().serve(Offer::tls(443).cookies(cookies::ALWAYS)).hold(CLIENT, 1, FOREVER),
        )
        .gets(syn(), Reason::LimitConnections),
        Case::under(
            "who is trusted may always",
            both().hold(CLIENT, 1, FOREVER).full(1, FOREVER).list("192.0.2.0/24", listing::ALLOW, 0),
        )
        .gets(syn(), Reason::AllowListed)
        .gets(ack(), Reason::AllowListed),
        Case::under("a class is not held to its neighbourhood", {
            both().hold("192.0.2.0", 0, FOREVER).list("192.0.2.0/24", 0, 1)
        })
        .gets(syn(), Reason::Ok),
        Case::under("in monitor mode it is told", both().mode(mode::MONITOR).full(1, FOREVER))
            .gets(syn(), Reason::TotalConnections),
    ]
}
