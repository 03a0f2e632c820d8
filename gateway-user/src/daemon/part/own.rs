//! What of this host's traffic is its own, as the program is told of it: see [`gateway_common::stage::own_traffic`].

use std::{collections::HashSet, net::IpAddr, ops::RangeInclusive};

use gateway_common::{
    abi::{OwnPorts, Tunnel},
    packet::Address,
    stage::reflection::{add, remove},
};
use nix::libc;

use crate::net::{Listener, TunnelPeer};

/// The ports that this host opens connections from.
pub(in crate::daemon) const PORT_RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// What the program was told.
pub(in crate::daemon) struct Told {
    pub(in crate::daemon) ports: Box<OwnPorts>,
    pub(in crate::daemon) tunnels: HashSet<Tunnel>,
}

impl Default for Told {
    fn default() -> Self {
        Self { ports: Box::new(OwnPorts::NONE), tunnels: HashSet::new() }
    }
}

/// A tunnel as the program knows it.
pub(in crate::daemon) fn tunnel(TunnelPeer { peer, protocol, port }: TunnelPeer) -> Tunnel {
    let Address { high, low } = peer.into();
    Tunnel { peer: [high, low], protocol: protocol.into(), port: port.into() }
}

/// The first and the last port, as the kernel writes them; nothing where that is something else.
pub(in crate::daemon) fn port_range(text: &str) -> Option<RangeInclusive<u16>> {
    let mut numbers = text.split_whitespace().map(str::parse);
    Some(numbers.next()?.ok()?..=numbers.next()?.ok()?)
}

/// Of TCP the ports of a range on which nobody listens that can be reached; of UDP those of connected sockets and of tunnels.
pub(in crate::daemon) fn ports(
    range: Option<RangeInclusive<u16>>,
    listeners: &[Listener],
    connected: &[u16],
    peers: &[TunnelPeer],
) -> Box<OwnPorts> {
    let mut ports = Box::new(OwnPorts::NONE);
    range.into_iter().flatten().for_each(|port| add(&mut ports.tcp, port));
    let reachable = listeners.iter().map(|listener| listener.address).filter(|at| !is_loopback(at.ip()));
    reachable.for_each(|at| remove(&mut ports.tcp, at.port()));
    let of_udp = |peer: &&TunnelPeer| i32::from(peer.protocol) == libc::IPPROTO_UDP;
    let tunnels = peers.iter().filter(of_udp).map(|peer| peer.port);
    connected.iter().copied().chain(tunnels).for_each(|port| add(&mut ports.udp, port));
    ports
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use gateway_common::{abi::PORT_WORDS, stage::reflection::holds};

    use super::*;

    #[test]
    fn a_port_on_which_somebody_listens_is_nobodys_own() {
        let listener =
            |address: &str| Listener { address: address.parse().unwrap(), is_v6_only: false, device: 0 };
        let listeners = [listener("0.0.0.0:40000"), listener("127.0.0.1:40001"), listener("[::]:443")];
        let vxlan = TunnelPeer { peer: "192.0.2.9".parse().unwrap(), protocol: 17, port: 4_789 };
        let gre = TunnelPeer { protocol: 47, port: 0, ..vxlan };
        let ports = ports(port_range("32768\t60999\n"), &listeners, &[50_000], &[vxlan, gre]);
        let of = |set: &[u64; PORT_WORDS]| {
            [0, 443, 4_789, 32_767, 32_768, 40_000, 40_001, 50_000, 60_999, 61_000]
                .map(|port| holds(set, port))
        };
        assert_eq!(of(&ports.tcp), [false, false, false, false, true, false, true, true, true, false]);
        assert_eq!(of(&ports.udp), [false, false, true, false, false, false, false, true, false, false]);
        assert_eq!((port_range(""), port_range("1 x")), (None, None));
    }
}
