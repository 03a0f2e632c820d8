//! Bytes to [`Packet`]: the headers of every frame. The drop cache reads some of them before, and some later stages
//! read more of a frame.

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

/// Parses a frame up to its transport header: the lists need no more. A frame that is not IP passes.
///
/// The answer is left in place: in the kernel that is map memory, whose contents the verifier does not track.
#[inline(always)]
pub fn network<F: Frame>(frame: &F, network: &mut Network, packet: &mut Packet) -> Step {
    let (ether_type, offset) = eth::network(frame)?;
    match ether_type {
        eth::IPV4 => ipv4::parse(frame, offset, network, packet),
        eth::IPV6 => ipv6::parse(frame, offset, network, packet),
        eth::PPPOE | eth::MPLS | eth::MPLS_GROUPS => pass(Reason::Encapsulated),
        _ => pass(Reason::NonIp),
    }
}

/// Parses the transport header.
#[inline(always)]
pub fn transport<F: Frame>(frame: &F, network: &Network, packet: &mut Packet) -> Step {
    if matches!(packet.fragment, Fragment::Later) {
        return Step::Continue(());
    }
    match (packet.protocol, packet.ipv6) {
        (TCP, _) => tcp::parse(frame, *network, packet),
        (UDP, _) => udp::parse(frame, *network, packet),
        (ICMP, false) | (ICMPV6, true) => icmp::parse(frame, *network, packet),
        _ => Step::Continue(()),
    }
}

/// The packet in a frame, if its headers can be read.
pub fn packet<F: Frame>(frame: &F) -> Option<Packet> {
    let (mut headers, mut packet) = (Network::default(), Packet::default());
    network(frame, &mut headers, &mut packet).is_continue().then_some(())?;
    transport(frame, &headers, &mut packet).is_continue().then_some(packet)
}
