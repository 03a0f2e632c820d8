//! IPv4 (RFC 791): contract: a frame and the header's offset in, [`Network`] out, and addresses, protocol and fragment
//! in the packet; options are stepped over.

use network_types::ip::{IpProto, Ipv4Hdr};

use super::Network;
use crate::{
    frame::Frame,
    packet::{Address, Fragment, Packet},
    verdict::{Reason, Step, drop},
};

const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET_MASK: u16 = 0x1fff;

/// Parses the header.
#[inline(always)]
pub fn parse<F: Frame>(frame: &F, offset: u32, network: &mut Network, packet: &mut Packet) -> Step {
    let Some(header) = frame.bytes::<{ Ipv4Hdr::LEN }>(offset) else {
        return drop(Reason::Ipv4Malformed);
    };
    let [vihl, _, l0, l1, _, _, f0, f1, ttl, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] = header;
    let header_length = u32::from(vihl & 0xf) * 4;
    let total = super::said(u16::from_be_bytes([l0, l1]), frame.length().wrapping_sub(offset));
    if vihl >> 4 != 4
        || header_length < Ipv4Hdr::LEN as u32
        || total < header_length
        || offset + total > frame.length()
    {
        return drop(Reason::Ipv4Malformed);
    }
    let length = total - header_length;
    let fragmentation = u16::from_be_bytes([f0, f1]);
    let fragment = match (fragmentation & OFFSET_MASK, fragmentation & MORE_FRAGMENTS) {
        (0, 0) => Fragment::Whole,
        (0, _) => Fragment::First,
        (start, _) => later(u32::from(start) * 8, length, protocol)?,
    };
    *packet = Packet {
        source: Address::v4([s0, s1, s2, s3]),
        destination: Address::v4([d0, d1, d2, d3]),
        length: frame.length(),
        from_v4: true,
        protocol,
        hops: ttl,
        fragment,
        ..Packet::default()
    };
    *network = Network { transport: offset + header_length, length };
    Step::Continue(())
}

/// The largest IP packet; fragments that end beyond it are the "ping of death".
const PACKET_MAX: u32 = 65_535;

/// A fragment that starts at a byte other than 0: none may reach back into the transport header (RFC 3128).
#[inline(always)]
pub(super) fn later(start: u32, length: u32, protocol: u8) -> Step<Fragment> {
    let overlays = protocol == IpProto::Tcp as u8 && start < super::tcp::HEADER_MIN;
    if overlays || start + length > PACKET_MAX {
        return drop(Reason::FragmentOverlay);
    }
    Step::Continue(Fragment::Later)
}
