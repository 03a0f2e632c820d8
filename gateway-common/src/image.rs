//! What of a frame's headers a verdict goes by: words from the EtherType on, and which of their bits count.
//!
//! To compare them costs less than to parse them.

use network_types::{
    eth::EthHdr,
    ip::{Ipv4Hdr, Ipv6Hdr},
};

use crate::{
    frame::Frame,
    packet::{Fragment, Packet},
    wire::Network,
};

/// Where the EtherType is.
const START: usize = EthHdr::LEN - 2;
/// Where the transport header is, behind an IPv4 header without options or an IPv6 header without extensions.
const TRANSPORT_V4: usize = EthHdr::LEN + Ipv4Hdr::LEN;
const TRANSPORT_V6: usize = EthHdr::LEN + Ipv6Hdr::LEN;
/// Words up to the flags of TCP, which are the last that count.
const WORDS_V4: usize = (TRANSPORT_V4 + 14 - START).div_ceil(8);
const WORDS: usize = (TRANSPORT_V6 + 14 - START).div_ceil(8);

type Words = [u64; WORDS];

/// How much of a frame a verdict went by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Extent {
    /// Where it comes from.
    #[default]
    Source,
    /// That, where it goes, and of what kind it is ([`crate::rate::Dimension::of_kind`]).
    Kind,
}

/// What a frame must have to be like another.
#[derive(Clone, Copy, Debug, Default)]
pub struct Image {
    words: Words,
    mask: Words,
    length: u32,
}

impl Image {
    /// The image of a frame. Of the others that are like it, the stages that read headers say the same.
    ///
    /// None of one with VLAN tags, IPv4 options or IPv6 extension headers, or too short to have all words.
    #[inline(always)]
    pub fn of<F: Frame>(frame: &F, network: &Network, packet: &Packet, extent: Extent) -> Option<Self> {
        let transport = if packet.ipv6 { TRANSPORT_V6 } else { TRANSPORT_V4 };
        if network.transport != transport as u32 {
            return None;
        }
        let mask = match (packet.ipv6, extent) {
            (false, Extent::Source) => SOURCE_V4,
            (true, Extent::Source) => SOURCE_V6,
            _ if !matches!(packet.fragment, Fragment::Whole) => return None,
            (false, Extent::Kind) => either(KIND_V4, packet),
            (true, Extent::Kind) => either(KIND_V6, packet),
        };
        let mut words = [0; WORDS];
        words[..WORDS_V4].copy_from_slice(&head(frame)?);
        if packet.ipv6 {
            words[WORDS_V4..].copy_from_slice(&tail(frame)?);
        }
        Some(Self { words, mask, length: packet.length })
    }

    /// 0 where a frame of a length is like it. One number, for the verifier.
    #[inline(always)]
    pub fn difference<F: Frame>(&self, frame: &F, length: u32) -> u64 {
        let mut difference = u64::from(self.length ^ length);
        let Some(words) = head(frame) else { return 1 };
        for (word, read) in words.into_iter().enumerate() {
            difference |= (read ^ self.words[word]) & self.mask[word];
        }
        if self.mask[WORDS_V4] != 0 {
            let Some(words) = tail(frame) else { return 1 };
            for (word, read) in (WORDS_V4..).zip(words) {
                difference |= (read ^ self.words[word]) & self.mask[word];
            }
        }
        difference
    }
}

#[inline(always)]
fn head<F: Frame>(frame: &F) -> Option<[u64; WORDS_V4]> {
    frame.bytes::<{ WORDS_V4 * 8 }>(START as u32).map(in_words)
}

#[inline(always)]
fn tail<F: Frame>(frame: &F) -> Option<[u64; WORDS - WORDS_V4]> {
    frame.bytes::<{ (WORDS - WORDS_V4) * 8 }>((START + WORDS_V4 * 8) as u32).map(in_words)
}

#[inline(always)]
fn in_words<const BYTES: usize, const N: usize>(bytes: [u8; BYTES]) -> [u64; N] {
    let mut words = [0; N];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    words
}

/// EtherType, version and lengths, fragmentation, protocol, source.
const SOURCE_V4: Words = mask([0; WORDS], &[(12, 3), (16, 2), (20, 2), (23, 1), (26, 4)]);
/// EtherType, version, length, next header, source.
const SOURCE_V6: Words = mask([0; WORDS], &[(12, 3), (18, 3), (22, 16)]);
const KIND_V4: OfKinds = kinds(mask(SOURCE_V4, &[(30, 4)]), TRANSPORT_V4);
const KIND_V6: OfKinds = kinds(mask(SOURCE_V6, &[(38, 16)]), TRANSPORT_V6);

/// The masks of one family: for TCP, for UDP, for ICMP.
type OfKinds = [Words; 3];

/// Adds destination port, length of the header and flags for TCP, destination port and length for UDP, type for ICMP. The code of an
/// ICMP message matters only where it may have to come through, and such a message is never kept in mind.
const fn kinds(network: Words, transport: usize) -> OfKinds {
    [
        mask(network, &[(transport + 2, 2), (transport + 12, 2)]),
        mask(network, &[(transport + 2, 4)]),
        mask(network, &[(transport, 1)]),
    ]
}

/// Adds fields to a mask, by their offset in the frame and their length.
const fn mask(mut mask: Words, mut fields: &[(usize, usize)]) -> Words {
    while let [(offset, length), rest @ ..] = fields {
        let mut byte = *offset - START;
        while byte < *offset - START + *length {
            mask[byte / 8] |= 0xff << (byte % 8 * 8);
            byte += 1;
        }
        fields = rest;
    }
    mask
}

#[inline(always)]
const fn either([tcp, udp, icmp]: OfKinds, packet: &Packet) -> Words {
    if packet.is_tcp() {
        tcp
    } else if packet.is_udp() {
        udp
    } else {
        icmp
    }
}
