//! Bytes to [`Packet`]: the only stage, with the TLS gate, that reads the frame.

use network_types::ip::IpProto;

use crate::{
    frame::Frame,
    packet::{Fragment, Packet},
    verdict::{Reason, Step, pass},
    wire::{Network, eth, icmp, ipv4, ipv6, tcp, udp},
};

const TCP: u8 = IpProto::Tcp as u8;
const UDP: u8 = IpProto::Udp as u8;
const ICMP: u8 = IpProto::Icmp as u8;
const ICMPV6: u8 = IpProto::Ipv6Icmp as u8;

/// Parses a frame down to its IP header and what extends it. What is not IP passes.
///
/// The answer is left in place: an enum whose tag lies inside its data is described by the compiler in a way that the
/// kernel's BTF check refuses.
#[inline(never)]
pub fn network<F: Frame>(frame: &F, network: &mut Network) -> Step {
    let (ether_type, offset) = eth::network(frame)?;
    match ether_type {
        eth::IPV4 => *network = ipv4::parse(frame, offset)?,
        eth::IPV6 => ipv6::parse(frame, offset, network)?,
        _ => return pass(Reason::NonIp),
    }
    Step::Continue(())
}

/// Parses the transport header.
#[inline(never)]
pub fn transport<F: Frame>(frame: &F, network: &Network, packet: &mut Packet) -> Step {
    *packet = header(frame, *network)?;
    Step::Continue(())
}

#[inline(always)]
fn header<F: Frame>(frame: &F, network: Network) -> Step<Packet> {
    if matches!(network.packet.fragment, Fragment::Later) {
        return Step::Continue(network.packet);
    }
    match (network.packet.protocol, network.packet.ipv6) {
        (TCP, _) => tcp::parse(frame, network),
        (UDP, _) => udp::parse(frame, network),
        (ICMP, false) | (ICMPV6, true) => icmp::parse(frame, network),
        _ => Step::Continue(network.packet),
    }
}
