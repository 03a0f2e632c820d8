//! One protocol a file: how its header must look, and which of its fields go into a [`crate::packet::Packet`].

pub mod checksum;
pub mod eth;
pub mod hello;
pub mod icmp;
pub mod ipv4;
pub mod ipv6;
pub mod multipath;
pub mod options;
pub mod proxy;
pub mod quic;
pub mod synack;
pub mod tcp;
pub mod tls;
pub mod udp;

/// What an IP header leaves for the transport header.
#[derive(Clone, Copy, Debug, Default)]
pub struct Network {
    /// Offset of what follows the IP header and its extensions.
    pub transport: u32,
    /// Bytes from there to the end of the IP packet.
    pub length: u32,
}

/// The length in a field, if so many bytes are left of the frame. 0 stands for all of them, if they are more than the
/// field has room for: in packets that the host has merged (BIG TCP: `iph_totlen` in include/linux/ip.h,
/// commit b1a78b9b9886; RFC 2675 for IPv6). No such packet was so long on the wire.
#[inline(always)]
pub(crate) const fn said(field: u16, left: u32) -> u32 {
    if field == 0 && left > u16::MAX as u32 && left as i32 > 0 { left } else { field as u32 }
}
