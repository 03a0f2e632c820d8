//! TCP, UDP, ICMP and ICMPv6 headers.

use gateway_common::packet::flags::ACK;
use network_types::ip::IpProto;
use network_types::tcp::TcpHdr;
use network_types::udp::UdpHdr;

use super::checksum;
use super::network::Network;

/// The acknowledgment number and the window, if nothing is said.
const ACK_NUMBER: u32 = 1;
const WINDOW: u16 = 0xffff;

/// The transport layer of a frame.
#[derive(Clone, Debug)]
pub(super) enum Transport {
    Raw(u8),
    Tcp(Tcp),
    Udp { source: u16, destination: u16 },
    Icmp { kind: u8, code: u8, rest: [u8; 4] },
}

/// A TCP header.
#[derive(Clone, Debug)]
pub(super) struct Tcp {
    source: u16,
    destination: u16,
    sequence: u32,
    ack: u32,
    flags: u8,
    window: u16,
    urgent: u16,
    options: Vec<u8>,
}

impl Transport {
    pub(super) fn tcp(source: u16, destination: u16) -> Self {
        Self::Tcp(Tcp {
            source,
            destination,
            sequence: 0,
            ack: ACK_NUMBER,
            flags: ACK,
            window: WINDOW,
            urgent: 0,
            options: Vec::new(),
        })
    }

    fn header_of_tcp(&mut self) -> &mut Tcp {
        let Self::Tcp(tcp) = self else { panic!("this is a field of TCP") };
        tcp
    }

    pub(super) fn set_flags(&mut self, value: u8) {
        self.header_of_tcp().flags = value;
    }

    pub(super) fn set_sequence(&mut self, value: u32) {
        self.header_of_tcp().sequence = value;
    }

    pub(super) fn set_ack(&mut self, value: u32) {
        self.header_of_tcp().ack = value;
    }

    pub(super) fn set_window(&mut self, value: u16) {
        self.header_of_tcp().window = value;
    }

    pub(super) fn set_urgent(&mut self, value: u16) {
        self.header_of_tcp().urgent = value;
    }

    pub(super) fn set_tcp_options(&mut self, value: &[u8]) {
        assert!(value.len().is_multiple_of(4) && value.len() <= 40, "such options have no header");
        self.header_of_tcp().options = value.to_vec();
    }

    /// The protocol number; the builder knows IPv6 from [`Network`], so ICMP means ICMPv6 there.
    pub(super) fn protocol(&self, network: &Network) -> u8 {
        match self {
            Self::Raw(protocol) => *protocol,
            Self::Tcp(_) => IpProto::Tcp as u8,
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
            Self::Tcp(_) => 16,
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
            Self::Tcp(tcp) => {
                let words = ((TcpHdr::LEN + tcp.options.len()) / 4) as u8;
                let mut header = [tcp.source.to_be_bytes(), tcp.destination.to_be_bytes()].concat();
                header.extend(tcp.sequence.to_be_bytes());
                header.extend(tcp.ack.to_be_bytes());
                header.extend([words << 4, tcp.flags]);
                header.extend(tcp.window.to_be_bytes());
                // The checksum comes last.
                header.extend([0; 2]);
                header.extend(tcp.urgent.to_be_bytes());
                header.extend(&tcp.options);
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
