//! A packet, as the later stages see it: parsed once, flat, no borrowed bytes.

use core::net::IpAddr;

use network_types::ip::IpProto;

/// An IPv6 address, or an IPv4 address as `::ffff:a.b.c.d`, in host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Address {
    /// The upper 64 bits: of an IPv6 address, its network.
    pub high: u64,
    /// The lower 64 bits.
    pub low: u64,
}

/// The upper half of 64:ff9b::/96.
const TRANSLATED: u64 = 0x0064_ff9b << 32;
/// The bits above an IPv4 address in [`Address::low`].
const V4_MAPPED: u64 = 0xffff << 32;

impl Address {
    /// From the four bytes of an IPv4 address.
    #[inline(always)]
    pub const fn v4(bytes: [u8; 4]) -> Self {
        Self { high: 0, low: V4_MAPPED | u32::from_be_bytes(bytes) as u64 }
    }

    /// From the sixteen bytes of an IPv6 address.
    #[inline(always)]
    pub const fn v6(bytes: [u8; 16]) -> Self {
        let all = u128::from_be_bytes(bytes);
        Self { high: (all >> 64) as u64, low: all as u64 }
    }

    /// Whether an IPv6 address stands for the IPv4 host in its lower 32 bits: it has the well-known prefix of
    /// translators, 64:ff9b::/96 (RFC 6052 section 2.1).
    #[inline(always)]
    pub const fn embeds_v4(&self) -> bool {
        (self.high ^ TRANSLATED) | (self.low >> 32) == 0
    }

    /// The IPv4 address in the lower 32 bits; of an IPv6 address it means nothing, unless [`Self::embeds_v4`].
    #[inline(always)]
    pub const fn as_v4(&self) -> u32 {
        self.low as u32
    }
}

impl From<IpAddr> for Address {
    #[inline(always)]
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::v4(address.octets()),
            IpAddr::V6(address) => Self::v6(address.octets()),
        }
    }
}

/// An IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// How a packet relates to IP fragmentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Fragment {
    /// A whole packet; RFC 6946 atomic fragments are whole too.
    #[default]
    Whole,
    /// The first fragment: the transport header is there, the payload is not whole.
    First,
    /// A later fragment: no ports follow the IP header.
    Later,
}

/// TCP flag bits, RFC 9293 section 3.1.
pub mod flags {
    /// No more data from sender.
    pub const FIN: u8 = 0x01;
    /// Synchronize sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// Push function.
    pub const PSH: u8 = 0x08;
    /// Acknowledgment field is significant.
    pub const ACK: u8 = 0x10;
    /// Urgent pointer field is significant.
    pub const URG: u8 = 0x20;
}

/// One parsed IP packet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Packet {
    /// Its source address, which may be forged.
    pub source: Address,
    /// Its destination address.
    pub destination: Address,
    /// Offset in the frame of the first byte behind the transport header.
    pub payload: u32,
    /// Bytes behind the transport header, by the length in the IP header.
    pub payload_length: u32,
    /// TCP sequence number; else 0.
    pub sequence: u32,
    /// Bytes of the whole frame.
    pub length: u32,
    /// TCP or UDP source port; else 0.
    pub source_port: u16,
    /// TCP or UDP destination port; else 0.
    pub destination_port: u16,
    /// Whether it is IPv6, else IPv4.
    pub ipv6: bool,
    /// Its source is an IPv4 host, perhaps behind a translator ([`Address::embeds_v4`]).
    pub from_v4: bool,
    /// The IP protocol number after all extension headers.
    pub protocol: u8,
    /// TTL or hop limit.
    pub hops: u8,
    /// TCP flags; else 0.
    pub tcp_flags: u8,
    /// ICMP or ICMPv6 type; else 0.
    pub icmp_type: u8,
    /// ICMP or ICMPv6 code; else 0.
    pub icmp_code: u8,
    /// Whole, first or later.
    pub fragment: Fragment,
}

impl Packet {
    /// TCP, with a transport header to read.
    #[inline(always)]
    pub const fn is_tcp(&self) -> bool {
        self.protocol == IpProto::Tcp as u8 && !matches!(self.fragment, Fragment::Later)
    }

    /// The first packet of a TCP handshake.
    #[inline(always)]
    pub const fn is_syn(&self) -> bool {
        self.is_tcp() && self.tcp_flags & (flags::SYN | flags::ACK) == flags::SYN
    }

    /// UDP, later fragments included: they cost the same as whole datagrams.
    #[inline(always)]
    pub const fn is_udp(&self) -> bool {
        self.protocol == IpProto::Udp as u8
    }

    /// ICMP on IPv4 or ICMPv6 on IPv6, later fragments included.
    #[inline(always)]
    pub const fn is_icmp(&self) -> bool {
        self.protocol == if self.ipv6 { IpProto::Ipv6Icmp as u8 } else { IpProto::Icmp as u8 }
    }
}
