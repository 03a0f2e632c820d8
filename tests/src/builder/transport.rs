//! TCP, UDP, ICMP and ICMPv6 headers.

use gateway_common::packet::flags::ACK;
use network_types::ip::IpProto;
use network_types::tcp::TcpHdr;
use network_types::udp::UdpHdr;

use super::checksum;
use super::network::Network;

/// The window that is offered.
const WINDOW: u16 = 0xffff;

/// The transport layer of a frame.
#[derive(Clone, Debug)]
pub(super) enum Transport {
    Raw(u8),
    Tcp { source: u16, destination: u16, sequence: u32, flags: u8, options: Vec<u8> },
    Udp { source: u16, destination: u16 },
    Icmp { kind: u8, code: u8, rest: [u8; 4] },
}

impl Transport {
    pub(super) fn tcp(source: u16, destination: u16) -> Self {
        Self::Tcp { source, destination, sequence: 0, flags: ACK, options: Vec::new() }
    }

    pub(super) fn set_flags(&mut self, value: u8) {
        let Self::Tcp { flags, .. } = self else { panic!("flags are of TCP") };
        *flags = value;
    }

    pub(super) fn set_sequence(&mut self, value: u32) {
        let Self::Tcp { sequence, .. } = self else { panic!("sequence numbers are of TCP") };
        *sequence = value;
    }

    pub(super) fn set_tcp_options(&mut self, value: &[u8]) {
        assert!(value.len().is_multiple_of(4) && value.len() <= 40, "such options have no header");
        let Self::Tcp { options, .. } = self else { panic!("options are of TCP") };
        *options = value.to_vec();
    }

    /// The protocol number; the builder knows IPv6 from [`Network`], so ICMP means ICMPv6 there.
    pub(super) fn protocol(&self, network: &Network) -> u8 {
        match self {
            Self::Raw(protocol) => *protocol,
            Self::Tcp { .. } => IpProto::Tcp as u8,
            Self::Udp { .. } => IpProto::Udp as u8,
            Self::Icmp { .. } if network.is_v6() => IpProto::Ipv6Icmp as u8,
            Self::Icmp { .. } => IpProto::Icmp as u8,
        }
    }

    /// Header and payload, with the checksum.
    pub(super) fn bytes(&self, payload: &[u8], network: &Network) -> Vec<u8> {
        let mut segment = self.header(payload.len());
        segment.extend(payload);
        let place = match self {
            Self::Raw(_) => return segment,
            Self::Tcp { .. } => 16,
            Self::Udp { .. } => 6,
            Self::Icmp { .. } => 2,
        };
        let pseudo_header = match self {
            Self::Icmp { .. } if !network.is_v6() => Vec::new(),
            _ => network.pseudo_header(self.protocol(network), segment.len()),
        };
        let sum = checksum::of(&[&pseudo_header, &segment]);
        segment[place..place + 2].copy_from_slice(&sum);
        segment
    }

    fn header(&self, payload: usize) -> Vec<u8> {
        match self {
            Self::Raw(_) => Vec::new(),
            Self::Tcp { source, destination, sequence, flags, options } => {
                let words = ((TcpHdr::LEN + options.len()) / 4) as u8;
                let mut header = [source.to_be_bytes(), destination.to_be_bytes()].concat();
                header.extend(sequence.to_be_bytes());
                header.extend([0, 0, 0, 1, words << 4, *flags]);
                header.extend(WINDOW.to_be_bytes());
                header.extend([0; 4]);
                header.extend(options);
                header
            }
            Self::Udp { source, destination } => {
                let length = (UdpHdr::LEN + payload) as u16;
                [source.to_be_bytes(), destination.to_be_bytes(), length.to_be_bytes(), [0; 2]].concat()
            }
            Self::Icmp { kind, code, rest } => {
                let mut header = vec![*kind, *code, 0, 0];
                header.extend(rest);
                header
            }
        }
    }
}
