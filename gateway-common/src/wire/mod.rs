//! One protocol a file: what its header must look like, and what of it goes into a [`crate::packet::Packet`].

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
