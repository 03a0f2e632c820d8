//! The host's own traffic: an answer that it has asked for is no attack, however large.
//!
//! Looked at only if a limit would drop a packet for no configured service, so it costs other packets nothing:
//!
//! * TCP of a connection that this host opens, or has opened: a packet that answers a SYN, or is in the receive window
//!   of an open connection, and nobody listens on its local port. An accepted connection frees nobody from limits.
//! * UDP for a socket that is connected to this very peer: it waits for an answer.
//! * Packets from a tunnel's peer, to the tunnel's port or by its protocol. The host knows the peers (its forwarding
//!   database, WireGuard, its security associations), and user space tells them.
//!
//! All of it together has a bound, since addresses and sequence numbers can be guessed.

use network_types::ip::IpProto;

use crate::{
    abi::{OWN_SLOT, OwnPorts, PORT_WORDS, Tunnel},
    env::{Context, Env, Receiver},
    limit::rate::{Limit, SECOND},
    packet::{Fragment, Packet, flags},
    stage::{packet_state::PacketState, reflection::holds},
    state::services,
    verdict::{Reason, Step, pass},
    words::Words,
};

/// Packets of the host's own traffic above limits that pass in a second.
const OWN: Limit = Limit { cost: SECOND / 1_000_000, burst: SECOND };

/// Protocols of tunnels, beside UDP: IPIP, 6in4, GRE, ESP.
const TUNNELS: [u8; 4] = [IpProto::Ipv4 as u8, IpProto::Ipv6 as u8, IpProto::Gre as u8, IpProto::Esp as u8];

impl OwnPorts {
    /// No ports.
    pub const NONE: Self = Self { tcp: [0; PORT_WORDS], udp: [0; PORT_WORDS] };
}

/// Whether a packet that a limit would drop may be the host's own: the cheap part.
#[inline(always)]
pub fn concerns(ports: &OwnPorts, state: &PacketState) -> bool {
    let PacketState { packet, role, .. } = state;
    if role.service != 0 || matches!(packet.fragment, Fragment::Later) {
        return false;
    }
    if packet.is_udp() {
        return holds(&ports.udp, packet.destination_port);
    }
    if packet.is_tcp() {
        return packet.tcp_flags & flags::ACK != 0 && holds(&ports.tcp, packet.destination_port);
    }
    TUNNELS[0] == packet.protocol
        || TUNNELS[1] == packet.protocol
        || TUNNELS[2] == packet.protocol
        || TUNNELS[3] == packet.protocol
}

/// Passes a packet that is the host's own, within the bound; goes on with all others.
#[inline(always)]
pub fn check<E: Env>(context: &Context<'_, E>, state: &mut PacketState) -> Step {
    let PacketState { packet, clock, .. } = &*state;
    if !is_own(context, packet) {
        return Step::Continue(());
    }
    let Some(words) = services::slot(context.env, 0, OWN_SLOT) else { return Step::Continue(()) };
    let tat = words.load(0);
    match OWN.admit(tat, *clock, OWN.cost) {
        // A packet that another CPU counts at the same moment is not counted.
        Some(next) => {
            words.replace(0, tat, next);
            pass(Reason::OwnTraffic)
        }
        None => Step::Continue(()),
    }
}

#[inline(always)]
fn is_own<E: Env>(context: &Context<'_, E>, packet: &Packet) -> bool {
    if packet.is_tcp() {
        return context.env.is_own_connection(packet);
    }
    let port = if packet.is_udp() { packet.destination_port } else { 0 };
    let peer = [packet.source.high, packet.source.low];
    if context.env.is_tunnel(&Tunnel { peer, protocol: packet.protocol.into(), port: port.into() }) {
        return true;
    }
    packet.is_udp() && matches!(context.env.receiver(packet, true), Receiver::Connected)
}
