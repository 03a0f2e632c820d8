//! Neighbour discovery and path-MTU messages, under an ICMP limit that is used up.

use std::time::Duration;

use gateway_common::env::Receiver;
use gateway_common::rate::Dimension;
use gateway_common::verdict::Reason;
use gateway_user::host::Stand;

use super::frames::{CLIENT, CLIENT_V6, SERVER, SERVER_V6, ping, ping_v6, v4, v6};
use super::{Case, Draft, limit};
use crate::builder::{Frame, IpProto, ip};

/// The case's frame comes when its source has no ICMP left.
fn exhausted(name: &str, frame: Frame, reason: Reason) -> Case {
    let stand = Stand::new().each(Dimension::Icmp, limit(Dimension::Icmp, 1, 1));
    Case::under(name, stand)
        .gets(ping(), Reason::Ok)
        .gets(ping_v6(), Reason::Ok)
        .gets(ping(), Reason::LimitIcmp)
        .gets(ping_v6(), Reason::LimitIcmp)
        .after(Duration::from_millis(999))
        .gets(frame, reason)
}

pub(super) fn cases() -> Vec<Case> {
    [neighbour_discovery(), path_mtu(), path_mtu_v6(), path_mtu_flood()].concat()
}

fn neighbour_discovery() -> Vec<Case> {
    let message = |kind, hops| v6().hops(hops).icmp(kind, 0, [0; 4]).payload(&[0; 16]);
    let ours = (133..=137).map(|kind| {
        exhausted(&format!("neighbour discovery {kind}"), message(kind, 255), Reason::NeighbourDiscovery)
    });
    let theirs = (133..=137).map(|kind| {
        exhausted(&format!("neighbour discovery {kind} from afar"), message(kind, 64), Reason::LimitIcmp)
    });
    let others = [132, 138].map(|kind| {
        exhausted(&format!("no neighbour discovery: {kind}"), message(kind, 255), Reason::LimitIcmp)
    });
    let fragmented = message(135, 255).fragment(0, true);
    let hop_254 = message(135, 254);
    let v4_135 = v4().hops(255).icmp(135, 0, [0; 4]);
    ours.chain(theirs)
        .chain(others)
        .chain([
            exhausted("a fragment of neighbour discovery", fragmented, Reason::LimitIcmp),
            exhausted("neighbour discovery from one hop away", hop_254, Reason::LimitIcmp),
            exhausted("ICMP of the same number", v4_135, Reason::LimitIcmp),
        ])
        .collect()
}

fn path_mtu() -> Vec<Case> {
    let quoting = |source, length| {
        let quote = ip(source, CLIENT).tcp(443, 40_000).packet();
        v4().icmp(3, 4, [0, 0, 5, 0]).payload(&quote[..length])
    };
    let unreachable = v4().icmp(3, 1, [0; 4]).payload(&ip(SERVER, CLIENT).tcp(443, 1).packet()[..28]);
    vec![
        exhausted("path MTU quotes us", quoting(SERVER, 28), Reason::PathMtu),
        exhausted("path MTU quotes our header alone", quoting(SERVER, 20), Reason::PathMtu),
        exhausted("path MTU quotes half a header", quoting(SERVER, 16), Reason::IcmpError),
        exhausted("path MTU quotes nothing", quoting(SERVER, 0), Reason::IcmpError),
        exhausted("path MTU quotes somebody else", quoting("198.51.100.2", 28), Reason::IcmpError),
        exhausted("path MTU in a fragment", quoting(SERVER, 28).fragment(0, true), Reason::LimitIcmp),
        exhausted(
            "path MTU quotes us in the padding",
            quoting(SERVER, 28).poke(2, &[0, 36]),
            Reason::IcmpError,
        ),
        exhausted("another ICMP error quotes us", unreachable, Reason::LimitIcmp),
    ]
}

/// What is above the first thousand counts for the peer that is quoted, if it quotes what a socket has sent.
fn path_mtu_flood() -> Vec<Case> {
    let families = [(SERVER, CLIENT, "203.0.113.9", 28), (SERVER_V6, CLIENT_V6, "2001:db8:9::9", 60)];
    let case = |(server, peer, other, length): (&'static str, &'static str, &'static str, usize)| {
        let quoting = move |peer| {
            let quote = ip(server, peer).tcp(443, 40_000).packet();
            let message =
                if length == 28 { v4().icmp(3, 4, [0, 0, 5, 0]) } else { v6().icmp(2, 0, [0, 0, 5, 0]) };
            message.payload(&quote[..length])
        };
        let stand = Stand::new().each(Dimension::Icmp, limit(Dimension::Icmp, 1, 1)).local(server);
        let case = Case::under(format!("a flood of path MTU to {server}"), stand).receiver(Receiver::Nobody);
        case.times(1_000, quoting(peer), Reason::PathMtu)
            .gets(quoting(peer), Reason::IcmpError)
            .receiver(Receiver::Socket)
            .gets(quoting(peer), Reason::Ok)
            .gets(quoting(peer), Reason::LimitIcmp)
            .gets(quoting(other), Reason::Ok)
            .after(Duration::from_millis(2))
            .gets(quoting(peer), Reason::PathMtu)
            .gets(quoting(peer), Reason::PathMtu)
            .gets(quoting(peer), Reason::LimitIcmp)
    };
    families.map(case).into()
}

fn path_mtu_v6() -> Vec<Case> {
    let quoting = |source, length| {
        let quote = ip(source, CLIENT_V6).tcp(443, 40_000).packet();
        v6().icmp(2, 0, [0, 0, 5, 0]).payload(&quote[..length])
    };
    let behind = quoting(SERVER_V6, 60).extension(IpProto::HopOpt, &[1, 4, 0, 0, 0, 0]);
    vec![
        exhausted("packet too big quotes us", quoting(SERVER_V6, 60), Reason::PathMtu),
        exhausted("packet too big quotes our header alone", quoting(SERVER_V6, 40), Reason::PathMtu),
        exhausted("packet too big quotes half a header", quoting(SERVER_V6, 39), Reason::IcmpError),
        exhausted("packet too big quotes somebody else", quoting("2001:db8:5::2", 60), Reason::IcmpError),
        exhausted("packet too big behind options", behind, Reason::PathMtu),
    ]
}
