//! The frame that a flood is made of.

use std::net::IpAddr;

use anyhow::{Result, bail};

use super::ATTACK_MACS;
use super::config;
use super::flood::Flood;

const ETHERNET: usize = 14;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP_V6: u8 = 58;
/// TCP flags.
const SYN: u8 = 0x02;
const PSH_ACK: u8 = 0x18;

/// A whole Ethernet frame without VLAN tag; its checksums need not be right, the generator computes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    frame: Vec<u8>,
}

/// Where things are in a frame.
struct Layout {
    v6: bool,
    protocol: u8,
    /// Offset of the transport header, where the frame has one.
    l4: Option<usize>,
}

impl Template {
    /// Takes a frame as it is, but for the hardware addresses, which become those of the attacker's cable.
    ///
    /// # Errors
    /// Where it holds no whole IPv4 or IPv6 header.
    pub fn from_frame(frame: &[u8]) -> Result<Self> {
        let mut frame = frame.to_vec();
        if layout(&frame).is_none() || frame.len() > 3_000 {
            bail!("the template is no frame of at most 3,000 bytes with a whole IPv4 or IPv6 header");
        }
        frame[..12].copy_from_slice(&ATTACK_MACS);
        Ok(Self { frame })
    }

    /// A UDP datagram with a payload of zeros.
    ///
    /// # Errors
    /// Where the addresses are of two families.
    pub fn udp(source: IpAddr, target: IpAddr, ports: (u16, u16), payload: usize) -> Result<Self> {
        let mut l4 = vec![0; 8 + payload];
        put16(&mut l4, 0, ports.0);
        put16(&mut l4, 2, ports.1);
        put16(&mut l4, 4, u16::try_from(8 + payload)?);
        // Any number but zero, which would mean that no checksum is wanted.
        put16(&mut l4, 6, 0xffff);
        Self::packet(source, target, UDP, &l4)
    }

    /// A TCP segment that asks for a connection, with an MSS option.
    ///
    /// # Errors
    /// Where the addresses are of two families.
    pub fn syn(source: IpAddr, target: IpAddr, ports: (u16, u16)) -> Result<Self> {
        Self::packet(source, target, TCP, &tcp(ports, SYN, &[2, 4, 5, 180], &[]))
    }

    /// A TCP segment with data of no connection.
    ///
    /// # Errors
    /// Where the addresses are of two families.
    pub fn data(source: IpAddr, target: IpAddr, ports: (u16, u16), payload: &[u8]) -> Result<Self> {
        Self::packet(source, target, TCP, &tcp(ports, PSH_ACK, &[], payload))
    }

    /// An ICMP or ICMPv6 echo request.
    ///
    /// # Errors
    /// Where the addresses are of two families.
    pub fn echo(source: IpAddr, target: IpAddr, payload: usize) -> Result<Self> {
        let mut l4 = vec![0; 8 + payload];
        let (protocol, kind) = if target.is_ipv4() { (ICMP, 8) } else { (ICMP_V6, 128) };
        l4[0] = kind;
        Self::packet(source, target, protocol, &l4)
    }

    /// The frame's bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.frame
    }

    fn packet(source: IpAddr, target: IpAddr, protocol: u8, l4: &[u8]) -> Result<Self> {
        let mut frame = ATTACK_MACS.to_vec();
        let length = u16::try_from(l4.len())?;
        match (source, target) {
            (IpAddr::V4(source), IpAddr::V4(target)) => {
                frame.extend(IPV4.to_be_bytes());
                frame.extend([0x45, 0]);
                frame.extend((20 + length).to_be_bytes());
                frame.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
                frame.extend(source.octets());
                frame.extend(target.octets());
            }
            (IpAddr::V6(source), IpAddr::V6(target)) => {
                frame.extend(IPV6.to_be_bytes());
                frame.extend([0x60, 0, 0, 0]);
                frame.extend(length.to_be_bytes());
                frame.extend([protocol, 64]);
                frame.extend(source.octets());
                frame.extend(target.octets());
            }
            _ => bail!("{source} and {target} are of two families"),
        }
        frame.extend(l4);
        Self::from_frame(&frame)
    }

    /// What the generator needs to know.
    pub(crate) fn config(&self, flood: &Flood) -> Result<config::Flood> {
        let Some(layout) = layout(&self.frame) else { bail!("the template has no IP header") };
        let mut frame = self.frame.clone();
        let source_at = ETHERNET + if layout.v6 { 8 } else { 12 };
        let (source, count, base) = flood.sources.config(&frame[source_at..], layout.v6)?;
        let mut config = config::Flood {
            header: [0; config::HEADER_WORDS],
            words: 0,
            source_at: offset(source_at),
            ip_checksum_at: if layout.v6 { 0 } else { offset(ETHERNET + 10) },
            ip_sum: 0,
            checksum_at: 0,
            sum: 0,
            pseudo: u32::from(layout.protocol != ICMP),
            port_at: 0,
            source,
            count,
            base,
            limit: flood.limit(),
            gap: flood.gap(),
            seed: flood.seed,
        };
        write_base(&mut frame[source_at..], base, layout.v6);
        fill_sums(&frame, &layout, flood.random_ports, &mut config);
        for (word, bytes) in config.header.iter_mut().zip(frame.as_chunks::<8>().0) {
            *word = u64::from_ne_bytes(*bytes);
            config.words += 1;
        }
        Ok(config)
    }
}

/// Puts the first source into the frame, so that what is drawn of it is all that the generator must change.
fn write_base(source: &mut [u8], base: [u32; 4], v6: bool) {
    for (bytes, word) in source.as_chunks_mut::<4>().0.iter_mut().zip(base).take(if v6 { 4 } else { 1 }) {
        *bytes = word.to_be_bytes();
    }
}

/// Sums up what checksums cover, without the source, the drawn port and the checksums themselves.
fn fill_sums(frame: &[u8], layout: &Layout, random_ports: bool, config: &mut config::Flood) {
    let address = if layout.v6 { 16 } else { 4 };
    if !layout.v6 {
        let header = usize::from(frame[ETHERNET] & 15) * 4;
        config.ip_sum = sum(&frame[ETHERNET..ETHERNET + header], &[10, 12, 14]);
    }
    let Some(l4) = layout.l4 else { return };
    let (checksum, smallest) = match layout.protocol {
        TCP => (16, 20),
        UDP => (6, 8),
        _ => (2, 4),
    };
    let has_none = layout.protocol == UDP && frame[l4 + 6..l4 + 8] == [0, 0];
    if frame.len() < l4 + smallest || l4 + smallest > config::HEADER_WORDS * 8 || has_none {
        return;
    }
    config.checksum_at = offset(l4 + checksum);
    let mut left_out = vec![checksum];
    if random_ports && matches!(layout.protocol, TCP | UDP) {
        config.port_at = offset(l4);
        left_out.push(0);
    }
    config.sum = sum(&frame[l4..], &left_out);
    if config.pseudo != 0 {
        // RFC 9293 section 3.1, RFC 8200 section 8.1: both addresses, length and protocol; the source comes later.
        let target = config.source_at as usize + address;
        config.sum += sum(&frame[target..target + address], &[]);
        config.sum += sum(&offset(frame.len() - l4).to_be_bytes(), &[]) + u32::from(layout.protocol);
    }
    config.sum = (config.sum >> 16) + (config.sum & 0xffff);
}

/// The sum of the 16-bit words in network order, but for those at these offsets, folded once.
fn sum(bytes: &[u8], left_out: &[usize]) -> u32 {
    let words = bytes.chunks(2).enumerate().filter(|(index, _)| !left_out.contains(&(index * 2)));
    let sum: u32 =
        words.map(|(_, word)| u32::from(word[0]) << 8 | word.get(1).copied().map_or(0, u32::from)).sum();
    (sum >> 16) + (sum & 0xffff)
}

fn layout(frame: &[u8]) -> Option<Layout> {
    let ether_type = u16::from_be_bytes(*frame.get(12..14)?.as_array()?);
    match ether_type {
        IPV4 => {
            let header = usize::from(frame.get(ETHERNET)? & 15) * 4;
            let whole = header >= 20 && frame.len() >= ETHERNET + header;
            let fragment = u16::from_be_bytes(*frame.get(20..22)?.as_array()?) & 0x3fff != 0;
            whole.then(|| Layout {
                v6: false,
                protocol: frame[23],
                l4: (!fragment && matches!(frame[23], ICMP | TCP | UDP)).then_some(ETHERNET + header),
            })
        }
        IPV6 => (frame.len() >= ETHERNET + 40).then(|| Layout {
            v6: true,
            protocol: frame[20],
            l4: matches!(frame[20], ICMP_V6 | TCP | UDP).then_some(ETHERNET + 40),
        }),
        _ => None,
    }
}

fn tcp(ports: (u16, u16), flags: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 20];
    put16(&mut header, 0, ports.0);
    put16(&mut header, 2, ports.1);
    header[4..8].copy_from_slice(&0x1234_5678_u32.to_be_bytes());
    header[8..12].copy_from_slice(&if flags == SYN { 0_u32 } else { 1 }.to_be_bytes());
    // The header's length in words of four bytes; options are whole words.
    header[12] = u8::try_from(5 + options.len() / 4).unwrap_or(15) << 4;
    header[13] = flags;
    put16(&mut header, 14, 64_240);
    [&header, options, payload].concat()
}

fn put16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// Offsets in a frame of at most 3,000 bytes.
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or_default()
}
