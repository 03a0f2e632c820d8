//! UDP (RFC 768): contract: fills ports and payload into the packet.

use network_types::udp::UdpHdr;

use super::Network;
use crate::{
    frame::Frame,
    packet::{Fragment, Packet},
    verdict::{Reason, Step, drop},
};

const HEADER: u32 = UdpHdr::LEN as u32;

/// Parses the header.
#[inline(always)]
pub fn parse<F: Frame>(frame: &F, network: Network, packet: &mut Packet) -> Step {
    let first = matches!(packet.fragment, Fragment::First);
    let header = frame.bytes::<{ UdpHdr::LEN }>(network.transport);
    let (Some([s0, s1, d0, d1, l0, l1, _, _]), true) = (header, network.length >= HEADER) else {
        return drop(if first { Reason::TinyFragment } else { Reason::UdpMalformed });
    };
    let length = u32::from(u16::from_be_bytes([l0, l1]));
    if length < HEADER || (length > network.length && !first) {
        return drop(Reason::UdpMalformed);
    }
    packet.source_port = u16::from_be_bytes([s0, s1]);
    packet.destination_port = u16::from_be_bytes([d0, d1]);
    packet.payload = network.transport + HEADER;
    packet.payload_length = if first { network.length } else { length } - HEADER;
    Step::Continue(())
}
