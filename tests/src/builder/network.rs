//! IPv4 and IPv6 headers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use network_types::ip::{IpProto, Ipv4Hdr, Ipv6Hdr};

use super::checksum;

/// Identification of fragments.
const IDENTIFICATION: u16 = 0x4711;
/// IPv4 flag "don't fragment".
const DONT_FRAGMENT: u16 = 0x4000;
/// IPv4 flag "more fragments".
const MORE_FRAGMENTS: u16 = 0x2000;

/// The network layer of a frame.
#[derive(Clone, Debug)]
pub(super) enum Network {
    None,
    V4 { source: Ipv4Addr, destination: Ipv4Addr, hops: u8, options: Vec<u8>, fragmentation: u16 },
    V6 { source: Ipv6Addr, destination: Ipv6Addr, hops: u8, chain: Vec<Extension> },
}

/// An IPv6 extension header: its number, and its bytes, the first of which becomes the number of the next.
#[derive(Clone, Debug)]
pub(super) struct Extension {
    kind: u8,
    bytes: Vec<u8>,
}

impl Network {
    pub(super) fn between(source: IpAddr, destination: IpAddr) -> Self {
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                Self::V4 { source, destination, hops: 64, options: Vec::new(), fragmentation: DONT_FRAGMENT }
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                Self::V6 { source, destination, hops: 64, chain: Vec::new() }
            }
            _ => panic!("{source} and {destination} are of different families"),
        }
    }

    pub(super) fn set_hops(&mut self, value: u8) {
        if let Self::V4 { hops, .. } | Self::V6 { hops, .. } = self {
            *hops = value;
        }
    }

    pub(super) fn set_options(&mut self, value: &[u8]) {
        assert!(value.len().is_multiple_of(4) && value.len() <= 40, "such options have no header");
        let Self::V4 { options, .. } = self else { panic!("options are of IPv4") };
        *options = value.to_vec();
    }

    pub(super) fn set_fragment(&mut self, start: u16, more: bool) {
        assert!(start.is_multiple_of(8), "fragments start at multiples of eight");
        match self {
            Self::V4 { fragmentation, .. } => {
                *fragmentation = (start / 8) | if more { MORE_FRAGMENTS } else { 0 };
            }
            Self::V6 { .. } => {
                let [high, low] = (start | u16::from(more)).to_be_bytes();
                self.extend(IpProto::Ipv6Frag as u8, &[high, low, 0, 0, 0x47, 0x11]);
            }
            Self::None => panic!("only IP has fragments"),
        }
    }

    pub(super) fn extend(&mut self, kind: u8, body: &[u8]) {
        let Self::V6 { chain, .. } = self else { panic!("extension headers are of IPv6") };
        let mut bytes = vec![0, 0];
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes[1] = match kind {
            kind if kind == IpProto::Ipv6Frag as u8 => 0,
            // RFC 4302 section 2.2: in units of four bytes, less two.
            kind if kind == IpProto::Ah as u8 => (bytes.len() / 4 - 2) as u8,
            _ => (bytes.len() / 8 - 1) as u8,
        };
        chain.push(Extension { kind, bytes });
    }

    /// Bytes before the transport header.
    pub(super) fn header_length(&self) -> usize {
        match self {
            Self::None => 0,
            Self::V4 { options, .. } => Ipv4Hdr::LEN + options.len(),
            Self::V6 { chain, .. } => Ipv6Hdr::LEN + chain_length(chain),
        }
    }

    /// What goes into the transport's checksum.
    pub(super) fn pseudo_header(&self, protocol: u8, length: usize) -> Vec<u8> {
        let length = length as u32;
        match self {
            Self::None => Vec::new(),
            Self::V4 { source, destination, .. } => {
                let [_, _, high, low] = length.to_be_bytes();
                [&source.octets()[..], &destination.octets(), &[0, protocol, high, low]].concat()
            }
            Self::V6 { source, destination, .. } => {
                [&source.octets()[..], &destination.octets(), &length.to_be_bytes(), &[0, 0, 0, protocol]]
                    .concat()
            }
        }
    }

    pub(super) fn is_v6(&self) -> bool {
        matches!(self, Self::V6 { .. })
    }

    /// The header with its extensions, and the segment behind it.
    pub(super) fn bytes(&self, protocol: u8, segment: &[u8]) -> Vec<u8> {
        let mut packet = match self {
            Self::None => Vec::new(),
            Self::V4 { .. } => self.v4_header(protocol, segment.len()),
            Self::V6 { source, destination, hops, chain } => {
                let length = (chain_length(chain) + segment.len()) as u16;
                let first = chain.first().map_or(protocol, |extension| extension.kind);
                let mut header = vec![0x60, 0, 0, 0];
                header.extend(length.to_be_bytes());
                header.extend([first, *hops]);
                header.extend(source.octets());
                header.extend(destination.octets());
                for (position, extension) in chain.iter().enumerate() {
                    let start = header.len();
                    header.extend(&extension.bytes);
                    header[start] = chain.get(position + 1).map_or(protocol, |next| next.kind);
                }
                header
            }
        };
        packet.extend(segment);
        packet
    }

    fn v4_header(&self, protocol: u8, length: usize) -> Vec<u8> {
        let Self::V4 { source, destination, hops, options, fragmentation } = self else {
            return Vec::new();
        };
        let total = (Ipv4Hdr::LEN + options.len() + length) as u16;
        let mut header = vec![0x45 + (options.len() / 4) as u8, 0];
        header.extend(total.to_be_bytes());
        header.extend(IDENTIFICATION.to_be_bytes());
        header.extend(fragmentation.to_be_bytes());
        header.extend([*hops, protocol, 0, 0]);
        header.extend(source.octets());
        header.extend(destination.octets());
        header.extend(options);
        let sum = checksum::of(&[&header]);
        header[10..12].copy_from_slice(&sum);
        header
    }
}

fn chain_length(chain: &[Extension]) -> usize {
    chain.iter().map(|extension| extension.bytes.len()).sum()
}
