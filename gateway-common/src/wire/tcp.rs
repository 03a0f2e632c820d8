//! TCP (RFC 9293): contract: fills ports, sequence, flags and payload into the packet.

use super::Network;
use crate::{
    frame::Frame,
    packet::{Fragment, Packet},
    verdict::{Reason, Step, drop},
};

/// The header without options.
pub const HEADER_MIN: u32 = network_types::tcp::TcpHdr::LEN as u32;

/// Offset of the acknowledgment number.
pub const ACKNOWLEDGMENT: u32 = 8;
/// Offset of the checksum.
pub const CHECKSUM: u32 = 16;

/// Parses the header.
#[inline(always)]
pub fn parse<F: Frame>(frame: &F, network: Network, packet: &mut Packet) -> Step {
    let cut_short =
        if matches!(packet.fragment, Fragment::First) { Reason::TinyFragment } else { Reason::TcpMalformed };
    if network.length < HEADER_MIN {
        return drop(cut_short);
    }
    let Some([s0, s1, d0, d1, q0, q1, q2, q3, _, _, _, _, offset, tcp_flags]) =
        frame.bytes::<14>(network.transport)
    else {
        return drop(cut_short);
    };
    let header_length = u32::from(offset >> 4) * 4;
    if header_length < HEADER_MIN {
        return drop(Reason::TcpMalformed);
    }
    if header_length > network.length {
        return drop(cut_short);
    }
    packet.source_port = u16::from_be_bytes([s0, s1]);
    packet.destination_port = u16::from_be_bytes([d0, d1]);
    packet.sequence = u32::from_be_bytes([q0, q1, q2, q3]);
    packet.tcp_flags = tcp_flags;
    packet.payload = network.transport + header_length;
    packet.payload_length = network.length - header_length;
    Step::Continue(())
}
