//! Ethernet II, 802.1Q and 802.1ad: contract: a frame in, the EtherType and where its payload starts out. Without an
//! Ethernet header, the version of IP says the EtherType.

use network_types::eth::{EthHdr, EtherType};

use crate::{
    frame::Frame,
    verdict::{Reason, Step, drop},
};

/// IPv4, in host order.
pub const IPV4: u16 = u16::from_be(EtherType::Ipv4 as u16);
/// IPv6, in host order.
pub const IPV6: u16 = u16::from_be(EtherType::Ipv6 as u16);

/// PPPoE's session stage (RFC 2516).
pub const PPPOE: u16 = 0x8864;
/// MPLS to one host (RFC 3032), ...
pub const MPLS: u16 = 0x8847;
/// ... and to a group.
pub const MPLS_GROUPS: u16 = 0x8848;
/// No protocol's: below 1,536 it is a length.
const OTHER: u16 = 0;

/// 802.1Q customer tag.
pub const VLAN: u16 = u16::from_be(EtherType::Ieee8021q as u16);
/// 802.1ad service tag.
pub const QINQ: u16 = u16::from_be(EtherType::Ieee8021ad as u16);
/// The service tag from before 802.1ad, which switches still send.
const QINQ_OLD: u16 = 0x9100;

/// A tag and the EtherType behind it.
const TAG_LEN: u32 = 4;
/// Tags that are walked; frames with more do not come from a sane network.
const TAGS: usize = 2;

/// The EtherType behind all tags, and the offset of its payload.
#[inline(always)]
pub fn network<F: Frame>(frame: &F) -> Step<(u16, u32)> {
    if !F::HAS_ETHERNET {
        return match frame.u8(0).map(|first| first >> 4) {
            None => drop(Reason::FrameTruncated),
            Some(4) => Step::Continue((IPV4, 0)),
            Some(6) => Step::Continue((IPV6, 0)),
            Some(_) => Step::Continue((OTHER, 0)),
        };
    }
    let mut offset = EthHdr::LEN as u32;
    for _ in 0..TAGS + 1 {
        let Some(ether_type) = frame.be16(offset - 2) else {
            return drop(Reason::FrameTruncated);
        };
        // The most frequent case comes first.
        if matches!(ether_type, IPV4 | IPV6) || !matches!(ether_type, VLAN | QINQ | QINQ_OLD) {
            return Step::Continue((ether_type, offset));
        }
        offset += TAG_LEN;
    }
    drop(Reason::VlanDepth)
}
