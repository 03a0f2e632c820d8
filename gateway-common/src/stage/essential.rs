//! What must come through whatever the limits say: without it a host falls off its link, or connections stall.

use crate::{
    frame::Frame,
    packet::{Address, Fragment, Packet},
    verdict::{Reason, Step, pass},
};

/// ICMPv6 router solicitation to redirect (RFC 4861).
const NDP_FIRST: u8 = 133;
const NDP_LAST: u8 = 137;
/// Neighbour discovery is only valid with this hop limit, which nothing from beyond the link can have (RFC 4861 section 7.1).
const NDP_HOPS: u8 = 255;
/// ICMPv6 packet too big (RFC 4443 section 3.2).
const PACKET_TOO_BIG: u8 = 2;
/// ICMP destination unreachable, fragmentation needed (RFC 1191 section 4).
const UNREACHABLE: u8 = 3;
const FRAGMENTATION_NEEDED: u8 = 4;

/// Whether a message's type is one of those.
#[inline(always)]
pub const fn concerns(packet: &Packet) -> bool {
    match (packet.is_icmp(), packet.ipv6) {
        (true, true) => matches!(packet.icmp_type, PACKET_TOO_BIG | NDP_FIRST..=NDP_LAST),
        (true, false) => packet.icmp_type == UNREACHABLE,
        (false, _) => false,
    }
}

/// Neighbour discovery, and path-MTU messages that quote a packet which the addressed host may have sent.
#[inline(always)]
pub fn check<F: Frame>(frame: &F, packet: &Packet) -> Step {
    if !packet.is_icmp() || !matches!(packet.fragment, Fragment::Whole) {
        return Step::Continue(());
    }
    let quoted = if packet.ipv6 {
        if matches!(packet.icmp_type, NDP_FIRST..=NDP_LAST) && packet.hops == NDP_HOPS {
            return pass(Reason::NeighbourDiscovery);
        }
        if packet.icmp_type != PACKET_TOO_BIG || packet.payload_length < 40 {
            return Step::Continue(());
        }
        frame.bytes(packet.payload + 8).map(Address::v6)
    } else {
        let fragmentation_needed =
            packet.icmp_type == UNREACHABLE && packet.icmp_code == FRAGMENTATION_NEEDED;
        if !fragmentation_needed || packet.payload_length < 20 {
            return Step::Continue(());
        }
        frame.bytes(packet.payload + 12).map(Address::v4)
    };
    if quoted == Some(packet.destination) { pass(Reason::PathMtu) } else { Step::Continue(()) }
}
