//! The host's own traffic, above the limits of whoever sends it.

use std::net::IpAddr;

use gateway_common::{
    abi::Tunnel, limit::rate::Dimension, packet::Address, stage::reflection::add, verdict::Reason,
};
use gateway_user::host::Stand;

use super::frames::{CLIENT, CLIENT_V6, SERVER, SERVER_V6};
use super::{Case, Draft, Offer, limit};
use crate::builder::{Frame, ip};

/// The port of VXLAN.
const PORT: u16 = 4_789;

/// Each source has a packet, and the client's are a tunnel's peer's.
fn stand(peer: &str, protocol: u32, port: u16) -> Stand {
    let mut stand = Stand::new().each(Dimension::Packets, limit(Dimension::Packets, 1, 1));
    let Address { high, low } = peer.parse::<IpAddr>().expect("an address").into();
    stand.tunnels.insert(Tunnel { peer: [high, low], protocol, port: port.into() });
    add(&mut stand.own_ports.udp, PORT);
    stand
}

pub(super) fn cases() -> Vec<Case> {
    let udp = |source: &str, to: &str, port| ip(source, to).udp(50_000, port).payload(&[8; 60]);
    let esp = |source: &str| ip(source, SERVER).protocol(50).payload(&[1; 60]);
    let twice = |name: &str, stand, frame: Frame, reason| {
        Case::under(name, stand).gets(frame.clone(), Reason::Ok).gets(frame, reason)
    };
    let vxlan = || stand(CLIENT, 17, PORT);
    vec![
        twice("VXLAN's peer", vxlan(), udp(CLIENT, SERVER, PORT), Reason::OwnTraffic),
        twice(
            "VXLAN's peer over IPv6",
            stand(CLIENT_V6, 17, PORT),
            udp(CLIENT_V6, SERVER_V6, PORT),
            Reason::OwnTraffic,
        ),
        twice(
            "another host to VXLAN's port",
            vxlan(),
            udp("198.51.100.9", SERVER, PORT),
            Reason::LimitPackets,
        ),
        twice("VXLAN's peer to another port", vxlan(), udp(CLIENT, SERVER, 9_999), Reason::LimitPackets),
        twice(
            "VXLAN's peer, where that is a service",
            vxlan().serve(Offer::udp(PORT)),
            udp(CLIENT, SERVER, PORT),
            Reason::LimitPackets,
        ),
        twice("IPsec's peer", stand(CLIENT, 50, 0), esp(CLIENT), Reason::OwnTraffic),
        twice("ESP of another host", stand(CLIENT, 50, 0), esp("198.51.100.9"), Reason::LimitPackets),
    ]
}
