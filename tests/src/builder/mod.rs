//! Builds frames, right ones and wrong ones.
//!
//! ```
//! use gateway_tests::builder::{self, flags};
//! let frame = builder::ip("192.0.2.9", "198.51.100.1").vlan(7).tcp(4_000, 443).flags(flags::SYN).build();
//! assert_eq!(frame.len(), 14 + 4 + 20 + 20);
//! ```
//!
//! Lengths and checksums come out right; [`Frame::poke`] and [`Frame::truncate`] are for those that must not.

mod checksum;
pub mod hello;
mod network;
pub mod quic;
mod transport;

use std::net::IpAddr;

use network_types::eth::EtherType;

pub use gateway_common::packet::flags;
pub use network_types::ip::IpProto;

use network::Network;
use transport::Transport;

/// Hardware addresses of a frame: to the host, from its router.
const MACS: [u8; 12] = [0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2];
/// Tag protocol identifier of a customer's VLAN tag.
pub const TPID_VLAN: u16 = 0x8100;
/// Tag protocol identifier of a provider's VLAN tag, 802.1ad.
pub const TPID_QINQ: u16 = 0x88a8;

/// A frame to be. Every method returns it changed.
#[derive(Clone, Debug)]
#[must_use]
pub struct Frame {
    tags: Vec<(u16, u16)>,
    ether_type: u16,
    network: Network,
    transport: Transport,
    payload: Vec<u8>,
    edits: Vec<Edit>,
}

/// What is done to the finished bytes, in order.
#[derive(Clone, Debug)]
enum Edit {
    Truncate(usize),
    Pad(usize),
    /// Counted from the start of the IP header.
    PokeNetwork(usize, Vec<u8>),
    /// Counted from the start of the transport header.
    PokeTransport(usize, Vec<u8>),
}

/// An IP packet of no transport protocol (59).
///
/// # Panics
/// Where an address is none, or the two are of different families.
pub fn ip(source: &str, destination: &str) -> Frame {
    let parse = |text: &str| text.parse::<IpAddr>().unwrap_or_else(|_| panic!("{text} is no address"));
    between(parse(source), parse(destination))
}

/// The same for parsed addresses.
///
/// # Panics
/// Where they are of different families.
pub fn between(source: IpAddr, destination: IpAddr) -> Frame {
    let network = Network::between(source, destination);
    let ether_type = if source.is_ipv4() { EtherType::Ipv4 } else { EtherType::Ipv6 };
    Frame::of(u16::from_be(ether_type as u16), network)
}

/// A frame of another EtherType.
pub fn ethernet(ether_type: u16, payload: &[u8]) -> Frame {
    Frame::of(ether_type, Network::None).payload(payload)
}

impl Frame {
    fn of(ether_type: u16, network: Network) -> Self {
        Self {
            tags: Vec::new(),
            ether_type,
            network,
            transport: Transport::Raw(IpProto::Ipv6NoNxt as u8),
            payload: Vec::new(),
            edits: Vec::new(),
        }
    }

    /// Puts an 802.1Q tag behind the tags that are there.
    pub fn vlan(self, id: u16) -> Self {
        self.tag(TPID_VLAN, id)
    }

    /// Puts a tag of a kind behind the tags that are there.
    pub fn tag(mut self, tpid: u16, id: u16) -> Self {
        self.tags.push((tpid, id));
        self
    }

    /// TTL or hop limit; 64 if nothing is said.
    pub fn hops(mut self, hops: u8) -> Self {
        self.network.set_hops(hops);
        self
    }

    /// IPv4 options, a multiple of four bytes.
    pub fn options(mut self, options: &[u8]) -> Self {
        self.network.set_options(options);
        self
    }

    /// Makes it a fragment that starts at a byte, a multiple of eight: IPv4 fields, or an IPv6 fragment header.
    pub fn fragment(mut self, start: u16, more: bool) -> Self {
        self.network.set_fragment(start, more);
        self
    }

    /// Puts an IPv6 extension header behind those that are there: its number, and what follows its first two bytes, which
    /// with those two is padded to a multiple of eight.
    pub fn extension(mut self, kind: IpProto, body: &[u8]) -> Self {
        self.network.extend(kind as u8, body);
        self
    }

    /// Makes it TCP with a plain ACK.
    pub fn tcp(mut self, source: u16, destination: u16) -> Self {
        self.transport = Transport::tcp(source, destination);
        self
    }

    /// TCP flags.
    pub fn flags(mut self, flags: u8) -> Self {
        self.transport.set_flags(flags);
        self
    }

    /// TCP sequence number.
    pub fn seq(mut self, sequence: u32) -> Self {
        self.transport.set_sequence(sequence);
        self
    }

    /// TCP acknowledgment number; 1 if nothing is said.
    pub fn ack(mut self, number: u32) -> Self {
        self.transport.set_ack(number);
        self
    }

    /// TCP window; the largest if nothing is said.
    pub fn window(mut self, bytes: u16) -> Self {
        self.transport.set_window(bytes);
        self
    }

    /// TCP urgent pointer; its flag is [`flags::URG`].
    pub fn urgent(mut self, pointer: u16) -> Self {
        self.transport.set_urgent(pointer);
        self
    }

    /// TCP options, a multiple of four bytes.
    pub fn tcp_options(mut self, options: &[u8]) -> Self {
        self.transport.set_tcp_options(options);
        self
    }

    /// Makes it UDP.
    pub fn udp(mut self, source: u16, destination: u16) -> Self {
        self.transport = Transport::Udp { source, destination };
        self
    }

    /// Makes it ICMP, or ICMPv6 on IPv6; four bytes follow the checksum.
    pub fn icmp(mut self, kind: u8, code: u8, rest: [u8; 4]) -> Self {
        self.transport = Transport::Icmp { kind, code, rest };
        self
    }

    /// Makes it of a protocol of which the payload is all there is.
    pub fn protocol(mut self, protocol: u8) -> Self {
        self.transport = Transport::Raw(protocol);
        self
    }

    /// What the transport carries.
    pub fn payload(mut self, payload: &[u8]) -> Self {
        self.payload = payload.to_vec();
        self
    }

    /// Cuts the finished frame off at a length.
    pub fn truncate(mut self, length: usize) -> Self {
        self.edits.push(Edit::Truncate(length));
        self
    }

    /// Pads the finished frame with zeros, as Ethernet does to 60 bytes.
    pub fn pad(mut self, length: usize) -> Self {
        self.edits.push(Edit::Pad(length));
        self
    }

    /// Overwrites bytes of the finished frame, counted from the start of the IP header.
    pub fn poke(mut self, offset: usize, bytes: &[u8]) -> Self {
        self.edits.push(Edit::PokeNetwork(offset, bytes.to_vec()));
        self
    }

    /// Overwrites bytes of the finished frame, counted from the start of the transport header.
    pub fn poke_transport(mut self, offset: usize, bytes: &[u8]) -> Self {
        self.edits.push(Edit::PokeTransport(offset, bytes.to_vec()));
        self
    }

    /// The IP packet alone, as an ICMP error quotes it.
    #[must_use]
    pub fn packet(&self) -> Vec<u8> {
        let segment = self.transport.bytes(&self.payload, &self.network);
        self.network.bytes(self.transport.protocol(&self.network), &segment)
    }

    /// The bytes.
    ///
    /// # Panics
    /// Where something is poked beyond the end.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let mut frame = MACS.to_vec();
        for (tpid, id) in &self.tags {
            frame.extend(tpid.to_be_bytes());
            frame.extend(id.to_be_bytes());
        }
        frame.extend(self.ether_type.to_be_bytes());
        let network = frame.len();
        frame.extend(self.packet());
        let transport = network + self.network.header_length();
        for edit in &self.edits {
            match edit {
                Edit::Truncate(length) => frame.truncate(*length),
                Edit::Pad(length) => frame.resize(frame.len().max(*length), 0),
                Edit::PokeNetwork(offset, bytes) => poke(&mut frame, network + offset, bytes),
                Edit::PokeTransport(offset, bytes) => poke(&mut frame, transport + offset, bytes),
            }
        }
        frame
    }
}

fn poke(frame: &mut [u8], offset: usize, bytes: &[u8]) {
    frame[offset..offset + bytes.len()].copy_from_slice(bytes);
}

impl From<Frame> for Vec<u8> {
    fn from(frame: Frame) -> Self {
        frame.build()
    }
}
