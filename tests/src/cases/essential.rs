//! Neighbour discovery and path-MTU messages, under an ICMP limit that is used up.

use std::time::Duration;

use gateway_common::{env::Receiver, limit::rate::Dimension, verdict::Reason};
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
    [neighbour_discovery(), link_control(), link_floods(), path_mtu(), path_mtu_v6(), path_mtu_flood()]
        .concat()
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

/// The router on the link.
const ROUTER: &str = "fe80::1";
const GROUP_V4: &str = "224.0.0.1";
const GROUP_V6: &str = "ff02::1";

fn mld(source: &str, kind: u8) -> Frame {
    ip(source, GROUP_V6).hops(1).icmp(kind, 0, [0; 4]).payload(&[0; 16])
}

fn link_control() -> Vec<Case> {
    let bfd = || ip(CLIENT, SERVER).udp(49_152, 3_784).payload(&[0x20; 24]);
    let control = [
        ("an MLD query", mld(ROUTER, 130)),
        ("an MLD report", mld(ROUTER, 131)),
        ("an MLD done", mld(ROUTER, 132)),
        ("an MLD report of version 2", mld(ROUTER, 143)),
        ("an MLD report from nobody yet", mld("::", 143)),
        ("multicast router discovery", mld(ROUTER, 151)),
        ("IGMP", ip(CLIENT, GROUP_V4).hops(1).protocol(2).payload(&[0x11; 12])),
        ("DHCP's answer", ip(CLIENT, SERVER).udp(67, 68).payload(&[2; 300])),
        ("DHCPv6's answer", ip(ROUTER, SERVER_V6).udp(547, 546).payload(&[7; 60])),
        ("VRRP", ip(CLIENT, "224.0.0.18").hops(255).protocol(112).payload(&[0x21; 20])),
        ("BFD", bfd().hops(255)),
        ("OSPF", ip(CLIENT, "224.0.0.5").hops(1).protocol(89).payload(&[2; 44])),
        ("OSPF over IPv6", ip(ROUTER, "ff02::5").hops(1).protocol(89).payload(&[3; 36])),
    ]
    .map(|(name, frame)| exhausted(name, frame, Reason::LinkControl));
    let other = [
        ("MLD from afar", ip(CLIENT_V6, GROUP_V6).hops(1).icmp(130, 0, [0; 4]), Reason::LimitIcmp),
        ("MLD with hops left", mld(ROUTER, 130).hops(2), Reason::Ok),
        ("BFD from afar", bfd().hops(254), Reason::Ok),
        ("a question to DHCP's server", ip(CLIENT, SERVER).udp(68, 67).payload(&[1; 300]), Reason::Ok),
        ("IGMP to one host", ip(CLIENT, SERVER).hops(1).protocol(2).payload(&[0x11; 12]), Reason::Ok),
        ("VRRP from afar", ip(CLIENT, SERVER).hops(254).protocol(112).payload(&[0x21; 20]), Reason::Ok),
    ]
    .map(|(name, frame, reason)| exhausted(name, frame, reason));
    [control.to_vec(), other.to_vec()].concat()
}

/// A flood of strangers has a thousand in a second; a peer that was seen before is heard, and a stranger is not; nor has a peer more than that
/// itself. What another kind needs is there.
fn link_floods() -> Vec<Case> {
    let solicitation =
        |source: &str| ip(source, "ff02::1:ff00:1").hops(255).icmp(135, 0, [0; 4]).payload(&[0; 16]);
    let forged = |number: usize| format!("fe80::bad:{number:x}");
    let flood = |case: Case, frame: &dyn Fn(&str) -> Frame, reason| {
        (0..1_000).fold(case, |case, number| case.gets(frame(&forged(number)), reason))
    };
    let of = |name: &str, frame: &dyn Fn(&str) -> Frame, reason, other: Frame, others| {
        let seen = Case::new(format!("a flood of {name}")).times(2, frame(ROUTER), reason);
        flood(seen.after(Duration::from_secs(2)), frame, reason)
            .gets(frame("fe80::2"), Reason::LinkFlood)
            .gets(other, others)
            .times(1_000, frame(ROUTER), reason)
            .gets(frame(ROUTER), Reason::LinkFlood)
            .after(Duration::from_secs(1))
            .gets(frame("fe80::2"), reason)
    };
    vec![
        of(
            "MLD",
            &|source| mld(source, 143),
            Reason::LinkControl,
            solicitation(ROUTER),
            Reason::NeighbourDiscovery,
        ),
        of(
            "neighbour discovery",
            &solicitation,
            Reason::NeighbourDiscovery,
            mld(ROUTER, 130),
            Reason::LinkControl,
        ),
    ]
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
