//! What of this host's traffic is its own, as the program is told of it: see [`gateway_common::stage::own_traffic`].

use std::{collections::HashSet, fs, net::IpAddr, ops::RangeInclusive};

use anyhow::{Context as _, Result};
use gateway_common::{
    abi::{OwnPorts, Tunnel},
    packet::Address,
    stage::reflection::{add, remove},
};
use nix::libc;

use crate::net::{self, Listener, TunnelPeer};

use super::state::Gateway;

/// The ports that this host opens connections from.
const PORT_RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// What the program was told.
pub(super) struct Told {
    ports: Box<OwnPorts>,
    tunnels: HashSet<Tunnel>,
}

impl Default for Told {
    fn default() -> Self {
        Self { ports: Box::new(OwnPorts::NONE), tunnels: HashSet::new() }
    }
}

impl Gateway {
    /// Looks at listeners, connected UDP sockets and tunnels, and tells the program what has changed.
    pub(super) fn follow_own(&mut self) {
        let trouble = self.tell_own().err().map(|error| {
            format!(
                "cannot tell what of the traffic is this host's own ({error:#}): its downloads and tunnels are held to the limits of their sources"
            )
        });
        self.alarm("own traffic", trouble);
    }

    fn tell_own(&mut self) -> Result<()> {
        let range = fs::read_to_string(PORT_RANGE).context(PORT_RANGE)?;
        let peers = net::tunnel_peers()?;
        // A kernel without `udp_diag` has the rest.
        let connected = net::connected_ports();
        let trouble = connected.as_ref().err().map(|error| {
            format!("{error}: what this host's UDP sockets wait for is held to the limits of its senders")
        });
        self.alarm("UDP sockets", trouble);
        let connected = connected.unwrap_or_default();
        let ports = ports(port_range(&range), &net::listeners()?, &connected, &peers);
        if ports != self.own.ports {
            self.kernel.set_own_ports(&ports)?;
            self.own.ports = ports;
        }
        let tunnels: HashSet<Tunnel> = peers.into_iter().map(tunnel).collect();
        if tunnels != self.own.tunnels {
            let left_out = self.kernel.set_tunnels(&tunnels)?;
            let trouble = (left_out != 0).then(|| {
                format!("{left_out} peers of tunnels find no room: they are held to the limits of sources")
            });
            self.alarm("tunnels", trouble);
            self.own.tunnels = tunnels;
        }
        Ok(())
    }
}

fn tunnel(TunnelPeer { peer, protocol, port }: TunnelPeer) -> Tunnel {
    let Address { high, low } = peer.into();
    Tunnel { peer: [high, low], protocol: protocol.into(), port: port.into() }
}

/// The first and the last port, as the kernel writes them; nothing where that is something else.
fn port_range(text: &str) -> Option<RangeInclusive<u16>> {
    let mut numbers = text.split_whitespace().map(str::parse);
    Some(numbers.next()?.ok()?..=numbers.next()?.ok()?)
}

/// Of TCP the ports of a range on which nobody listens that can be reached; of UDP those of connected sockets and of tunnels.
fn ports(
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
