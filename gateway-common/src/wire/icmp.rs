//! ICMP (RFC 792) and ICMPv6 (RFC 4443): contract: fills type, code and the place of the message body into the packet.

use super::Network;
use crate::{
    frame::Frame,
    packet::{Fragment, Packet},
    verdict::{Reason, Step, drop},
};

/// Type, code, checksum, and four bytes whose meaning depends on the type.
const HEADER: u32 = 8;

/// Parses the header.
#[inline(always)]
pub fn parse<F: Frame>(frame: &F, network: Network, packet: &mut Packet) -> Step {
    let first = matches!(packet.fragment, Fragment::First);
    let header = frame.bytes::<2>(network.transport);
    let (Some([icmp_type, icmp_code]), true) = (header, network.length >= HEADER) else {
        return drop(if first { Reason::TinyFragment } else { Reason::IcmpMalformed });
    };
    packet.icmp_type = icmp_type;
    packet.icmp_code = icmp_code;
    packet.payload = network.transport + HEADER;
    packet.payload_length = network.length - HEADER;
    Step::Continue(())
}
