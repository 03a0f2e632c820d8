//! Tunnels of this host: their devices, and who their peers are, as the kernel knows them.
//!
//! * devices of one peer (GRE, IPIP, 6in4, VXLAN and Geneve with a remote): `RTM_GETLINK`
//! * VXLAN's forwarding database: `RTM_GETNEIGH` of the bridge family
//! * WireGuard: its generic netlink family; needs `CAP_NET_ADMIN`
//! * IPsec: the security associations; needs `CAP_NET_ADMIN`

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use netlink_packet_core::{DefaultNla, NLM_F_DUMP, NlasIterator};
use netlink_packet_route::link::LinkMessage;
use nix::libc;

use super::{
    Interface, NetError, features, link,
    socket::{Netlink, bytes},
};

/// A peer, and what its packets are: an IP protocol, and of UDP the local port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TunnelPeer {
    /// Its address.
    pub peer: IpAddr,
    /// The IP protocol.
    pub protocol: u8,
    /// The local port of UDP; else 0.
    pub port: u16,
}

/// Kinds of tunnel devices, as `ip -d link` names them.
const KINDS: [&str; 14] = [
    "vxlan",
    "geneve",
    "bareudp",
    "wireguard",
    "ipip",
    "sit",
    "ip6tnl",
    "gre",
    "gretap",
    "erspan",
    "ip6gre",
    "ip6gretap",
    "vti",
    "xfrm",
];

/// `struct ifinfomsg`, before the attributes.
const LINK_HEADER: usize = 16;
/// Of linux/if_link.h: what an attribute of a link has of its kind, and what of that is the kind's own.
const INFO_DATA: u16 = 2;
/// `IFLA_VXLAN_*`: the remote, over IPv4 and over IPv6, and the port.
const VXLAN: ([u16; 2], u16) = ([2, 16], 15);
/// `IFLA_GENEVE_*`.
const GENEVE: ([u16; 2], u16) = ([2, 7], 5);
/// `IFLA_IPTUN_REMOTE`, `IFLA_GRE_REMOTE`.
const IPTUN_REMOTE: u16 = 3;
const GRE_REMOTE: u16 = 7;
/// Of linux/neighbour.h: `struct ndmsg`, and one of its attributes.
const NEIGHBOUR_HEADER: usize = 12;
const NDA_DST: u16 = 1;
/// Of linux/wireguard.h.
const WG_CMD_GET_DEVICE: u8 = 0;
const WGDEVICE_A_IFINDEX: u16 = 1;
const WGDEVICE_A_LISTEN_PORT: u16 = 6;
const WGDEVICE_A_PEERS: u16 = 8;
const WGPEER_A_ENDPOINT: u16 = 4;
/// Of linux/xfrm.h: `XFRM_MSG_GETSA`, `struct xfrm_usersa_info` and what is looked at of it, and `XFRMA_ENCAP`.
const XFRM_MSG_GETSA: u16 = 0x12;
const SA_LENGTH: usize = 224;
const SA_PEER: usize = 80;
const SA_FAMILY: usize = 212;
const XFRMA_ENCAP: u16 = 4;

const UDP: u8 = libc::IPPROTO_UDP as u8;

/// The interfaces whose packets come in others.
pub fn tunnel_devices(all: &[Interface]) -> impl Iterator<Item = &Interface> {
    all.iter().filter(|one| one.kind.as_deref().is_some_and(|kind| KINDS.contains(&kind)))
}

/// The peers of this host's tunnels. What this process may not ask for, and what this kernel does not have, has none.
///
/// # Errors
/// Whatever keeps the kernel from answering.
pub fn tunnel_peers() -> Result<Vec<TunnelPeer>, NetError> {
    let mut netlink = Netlink::open(libc::NETLINK_ROUTE)?;
    let answers = netlink
        .ask(libc::RTM_GETLINK, NLM_F_DUMP, &bytes(&LinkMessage::default()))
        .map_err(|failure| failure.into_error("list the interfaces"))?;
    let (mut peers, mut vxlans) = (Vec::new(), HashMap::new());
    for answer in &answers {
        let (interface, _) = link::parse(answer)?;
        let attributes = answer.get(LINK_HEADER..).unwrap_or_default();
        let data = features::nested(attributes, libc::IFLA_LINKINFO)
            .and_then(|info| features::nested(&info, INFO_DATA))
            .unwrap_or_default();
        let kind = interface.kind.as_deref().unwrap_or_default();
        match kind {
            "vxlan" => {
                let (remotes, port) = udp(&data, VXLAN);
                vxlans.insert(interface.index, port);
                peers.extend(of_udp(remotes, port));
            }
            "geneve" => {
                let (remotes, port) = udp(&data, GENEVE);
                peers.extend(of_udp(remotes, port));
            }
            "wireguard" => peers.extend(wireguard(interface.index).unwrap_or_default()),
            "ipip" | "sit" | "ip6tnl" => {
                let remote = address_of(&data, IPTUN_REMOTE);
                let both = [libc::IPPROTO_IPIP, libc::IPPROTO_IPV6];
                peers.extend(remote.into_iter().flat_map(|peer| both.map(|protocol| bare(peer, protocol))));
            }
            kind if kind.contains("gre") || kind == "erspan" => {
                peers.extend(address_of(&data, GRE_REMOTE).map(|peer| bare(peer, libc::IPPROTO_GRE)));
            }
            _ => {}
        }
    }
    if !vxlans.is_empty() {
        peers.extend(forwarded(&mut netlink, &vxlans)?);
    }
    peers.extend(ipsec_peers().unwrap_or_default());
    peers.retain(|one| !one.peer.is_unspecified() && !one.peer.is_multicast());
    Ok(peers)
}

fn bare(peer: IpAddr, protocol: i32) -> TunnelPeer {
    TunnelPeer { peer, protocol: protocol as u8, port: 0 }
}

fn of_udp(remotes: impl IntoIterator<Item = IpAddr>, port: u16) -> impl Iterator<Item = TunnelPeer> {
    remotes.into_iter().map(move |peer| TunnelPeer { peer, protocol: UDP, port })
}

/// Remotes and port of a device whose packets come in UDP.
fn udp(data: &[u8], (remotes, port): ([u16; 2], u16)) -> (Vec<IpAddr>, u16) {
    let remotes = remotes.into_iter().filter_map(|kind| address_of(data, kind)).collect();
    (remotes, port_of(data, port).unwrap_or(0))
}

fn address_of(attributes: &[u8], kind: u16) -> Option<IpAddr> {
    address(&features::nested(attributes, kind)?)
}

/// A port in network order.
fn port_of(attributes: &[u8], kind: u16) -> Option<u16> {
    Some(u16::from_be_bytes(*features::nested(attributes, kind)?.first_chunk()?))
}

/// An address of either family, by its length.
fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(v4).into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| Ipv6Addr::from(v6).into())
}

/// The hosts that VXLAN devices, here with their ports, forward to.
fn forwarded(netlink: &mut Netlink, vxlans: &HashMap<u32, u16>) -> Result<Vec<TunnelPeer>, NetError> {
    let mut question = [0; NEIGHBOUR_HEADER];
    question[0] = libc::AF_BRIDGE as u8;
    let answers = netlink
        .ask(libc::RTM_GETNEIGH, NLM_F_DUMP, &question)
        .map_err(|failure| failure.into_error("list forwarding databases"))?;
    Ok(answers
        .iter()
        .filter_map(|answer| {
            let index = u32::from_ne_bytes(*answer.get(4..)?.first_chunk()?);
            let port = *vxlans.get(&index)?;
            let attributes = answer.get(NEIGHBOUR_HEADER..)?;
            Some(TunnelPeer { peer: address_of(attributes, NDA_DST)?, protocol: UDP, port })
        })
        .collect())
}

/// The endpoints of a WireGuard device's peers.
fn wireguard(index: u32) -> Result<Vec<TunnelPeer>, NetError> {
    let mut netlink = Netlink::open(libc::NETLINK_GENERIC)?;
    let Some(family) = features::family(&mut netlink, b"wireguard\0")? else { return Ok(Vec::new()) };
    let device = DefaultNla::new(WGDEVICE_A_IFINDEX, index.to_ne_bytes().to_vec());
    let answers = netlink
        .ask(family, NLM_F_DUMP, &features::question(WG_CMD_GET_DEVICE, device))
        .map_err(|failure| failure.into_error("tell of a WireGuard device"))?;
    let mut peers = Vec::new();
    let mut port = 0;
    for answer in &answers {
        let attributes = answer.get(features::HEADER..).unwrap_or_default();
        // Only the first message of a device has it.
        if let Some(own) = features::nested(attributes, WGDEVICE_A_LISTEN_PORT) {
            port = own.first_chunk().map_or(port, |own| u16::from_ne_bytes(*own));
        }
        let all = features::nested(attributes, WGDEVICE_A_PEERS).unwrap_or_default();
        for peer in NlasIterator::new(&all).filter_map(Result::ok) {
            peers.extend(features::nested(peer.value(), WGPEER_A_ENDPOINT).and_then(|one| endpoint(&one)));
        }
    }
    Ok(of_udp(peers, port).collect())
}

/// The address in a `sockaddr_in` or `sockaddr_in6`.
fn endpoint(bytes: &[u8]) -> Option<IpAddr> {
    match i32::from(u16::from_ne_bytes(*bytes.first_chunk()?)) {
        libc::AF_INET => address(bytes.get(4..8)?),
        libc::AF_INET6 => address(bytes.get(8..24)?),
        _ => None,
    }
}

/// The peers of security associations: ESP, or UDP where it is in that (RFC 3948).
///
/// # Errors
/// Whatever keeps the kernel from answering; a kernel without IPsec, too.
pub fn ipsec_peers() -> Result<Vec<TunnelPeer>, NetError> {
    let mut netlink = Netlink::open(libc::NETLINK_XFRM)?;
    let answers = netlink
        .ask(XFRM_MSG_GETSA, NLM_F_DUMP, &[])
        .map_err(|failure| failure.into_error("list security associations"))?;
    let of = |answer: &Vec<u8>| {
        let family = i32::from(u16::from_ne_bytes(*answer.get(SA_FAMILY..)?.first_chunk()?));
        let length = if family == libc::AF_INET { 4 } else { 16 };
        let peer = address(answer.get(SA_PEER..SA_PEER + length)?)?;
        let encapsulation = features::nested(answer.get(SA_LENGTH..)?, XFRMA_ENCAP);
        let port = encapsulation.and_then(|of| Some(u16::from_be_bytes(*of.get(4..)?.first_chunk()?)));
        Some(match port {
            Some(port) => TunnelPeer { peer, protocol: UDP, port },
            None => bare(peer, libc::IPPROTO_ESP),
        })
    };
    Ok(answers.iter().filter_map(of).collect())
}
