//! The key of a frame in the drop cache: read from words of its headers, before it is parsed.

use network_types::{eth::EthHdr, ip::IpProto};

use crate::{abi::Active, env::Env, frame::Frame, hash::Key, packet::flags, verdict::Step, wire::eth};

/// The key of a frame.
#[derive(Clone, Copy)]
pub(super) struct Probe {
    /// The source's set. An attacker who aims at one evicts only sources that hits do not keep warm.
    pub(super) set: u32,
    /// The tag of an entry for packets of the same kind; [`Self::any`] if nothing of the kind is cached.
    pub(super) tag: u64,
    /// The tag of an entry for all that the source sends.
    pub(super) any: u64,
    /// The upper half of an IPv6 source, which is compared too.
    pub(super) high: Option<u64>,
}

/// Bytes of IPv4 and IPv6 headers that are read, with 14 of those behind.
pub(super) const V4: usize = 20 + 14;
const V6: usize = 40 + 14;
/// In an IPv4 header, as a word: version and length, and whether the packet is a fragment.
const PLAIN_V4: u64 = 0x45;
const PLAIN_V4_MASK: u64 = 0xff3f_0000_0000_00ff;
const TCP: u64 = IpProto::Tcp as u64;
const UDP: u64 = IpProto::Udp as u64;
const ICMP: u64 = IpProto::Icmp as u64;
const ICMP_V6: u64 = IpProto::Ipv6Icmp as u64;
/// SYN and ACK in the two bytes of a TCP header that end with its flags, and their value in a SYN.
const SYN_MASK: u16 = ((flags::SYN | flags::ACK) as u16) << 8;
const SYN: u16 = (flags::SYN as u16) << 8;

impl Probe {
    /// Reads it from a frame. Nothing for IP options, fragments, short frames and frames that are not IP. No tag of a
    /// kind for extension headers, and for all but UDP, SYNs and ICMP.
    #[inline(always)]
    pub(super) fn of<F: Frame, E: Env>(frame: &F, env: &E, active: Active) -> Option<Self> {
        let Step::Continue((ether_type, offset)) = eth::network(frame) else { return None };
        match ether_type {
            eth::IPV4 => Self::v4(header::<V4, F, E>(frame, offset)?, env, active),
            eth::IPV6 => Self::v6(header::<V6, F, E>(frame, offset)?, env, active),
            _ => None,
        }
    }

    /// An IPv4 tag is the whole source and, in 31 bits, a hash of the kind: no source hits an entry of another.
    ///
    /// A kind is, from the lowest bit up, as it is on the wire: the destination (32), then the protocol (16) and the
    /// destination port (16) of UDP and of a SYN, or the type and the protocol of ICMP (8 each).
    #[inline(always)]
    fn v4<E: Env>(header: [u8; V4], env: &E, active: Active) -> Option<Self> {
        if word(&header, 0) & PLAIN_V4_MASK != PLAIN_V4 {
            return None;
        }
        let ends = word(&header, 16);
        let kind = match word(&header, 8) >> 8 & 0xff {
            UDP => ends & 0xffff_0000_ffff_ffff | UDP << 32,
            TCP if is_syn([header[32], header[33]]) => ends & 0xffff_0000_ffff_ffff | TCP << 32,
            ICMP => ends & 0xff_ffff_ffff | ICMP << 40,
            _ => 0,
        };
        let source = word(&header, 8) >> 32;
        let Key([k0, k1]) = env.key();
        let epoch = spread(active.0 ^ k1);
        let of_source = source << 32;
        let any = of_source | epoch >> 33;
        Some(Self {
            set: set::<E>(env, source.wrapping_mul(k0 | 1)),
            tag: if kind == 0 { any } else { of_source | spread(kind ^ epoch) >> 33 },
            any,
            high: None,
        })
    }

    /// An IPv6 tag is the source's lower half under hashes of its upper half and of the kind. The upper half is
    /// compared by itself: no source hits an entry of another /64, and within its own /64 only by a hash that nobody
    /// outside can aim at.
    #[inline(always)]
    fn v6<E: Env>(header: [u8; V6], env: &E, active: Active) -> Option<Self> {
        let first = word(&header, 0);
        if first & 0xf0 != 0x60 {
            return None;
        }
        let ends = word(&header, 40);
        let kind = match first >> 48 & 0xff {
            UDP => ends & 0xffff_0000 | UDP,
            TCP if is_syn([header[52], header[53]]) => ends & 0xffff_0000 | TCP,
            ICMP_V6 => (ends & 0xff) << 8 | ICMP_V6,
            _ => 0,
        };
        let Key([k0, k1]) = env.key();
        let epoch = spread(active.0 ^ k1);
        let (high, low) = (word(&header, 8), word(&header, 16));
        let source = low ^ high.wrapping_mul(k1 | 1);
        let any = source ^ epoch;
        // A source that forges the destination only makes another kind of its own.
        let destination = word(&header, 24).wrapping_mul(k1 | 1) ^ word(&header, 32);
        Some(Self {
            set: set::<E>(env, source.wrapping_mul(k0 | 1)),
            tag: if kind == 0 { any } else { source ^ spread(kind ^ epoch ^ destination) },
            any,
            high: Some(high),
        })
    }
}

/// The header at an offset.
#[inline(always)]
fn header<const N: usize, F: Frame, E: Env>(frame: &F, offset: u32) -> Option<[u8; N]> {
    // For most frames the verifier and LLVM know the offset, and there is nothing to bound. All other offsets are one
    // path, whatever the number of tags.
    let first = if F::HAS_ETHERNET { EthHdr::LEN as u32 } else { 0 };
    if offset == first { frame.bytes(first) } else { frame.bytes(E::barrier_var(offset.into()) as u32) }
}

/// The set by the upper bits of a product with a secret, odd number: only these depend on all bits of the source
/// (Dietzfelbinger et al., A reliable randomized algorithm for the closest-pair problem, 1997).
#[inline(always)]
fn set<E: Env>(env: &E, product: u64) -> u32 {
    (product >> (env.drop_shift() & 63)) as u32
}

/// A multiplication, whose upper bits are the good ones (the constant is that of splitmix64).
#[inline(always)]
const fn spread(word: u64) -> u64 {
    word.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Whether a TCP header begins a connection, by its bytes 12 and 13.
#[inline(always)]
const fn is_syn(bytes: [u8; 2]) -> bool {
    u16::from_le_bytes(bytes) & SYN_MASK == SYN
}

/// Eight bytes of a header, the first the lowest.
#[inline(always)]
fn word<const N: usize>(header: &[u8; N], at: usize) -> u64 {
    header[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
