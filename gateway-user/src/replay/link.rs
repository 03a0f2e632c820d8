//! Link layers of captures, as the Ethernet frames that a network card would have shown.

use std::borrow::Cow;

use gateway_common::wire::eth;

/// Numbers of the registry of link types (draft-ietf-opsawg-pcaplinktype).
mod number {
    pub(super) const NULL: i32 = 0;
    pub(super) const ETHERNET: i32 = 1;
    /// Raw IP, as BSDs, OpenBSD and everybody else number it.
    pub(super) const RAW: [i32; 3] = [12, 14, 101];
    pub(super) const LOOP: i32 = 108;
    pub(super) const LINUX_SLL: i32 = 113;
    pub(super) const IPV4: i32 = 228;
    pub(super) const IPV6: i32 = 229;
    pub(super) const LINUX_SLL2: i32 = 276;
}

/// Bytes of an Ethernet header.
const HEADER: usize = 14;
/// The largest packet that is made whole; IP packets are no longer, and damaged files claim to have longer ones.
const LENGTH_MAX: usize = 1 << 17;

/// A packet as an Ethernet frame of its full length: bytes that were not captured are zeros. Nothing for link layers that are
/// not known.
pub(super) fn ethernet(link: i32, bytes: &[u8], length: u32) -> Option<Cow<'_, [u8]>> {
    let length = (length as usize).clamp(bytes.len(), LENGTH_MAX.max(bytes.len()));
    let missing = length - bytes.len();
    if link == number::ETHERNET {
        return Some(if missing == 0 {
            Cow::Borrowed(bytes)
        } else {
            let mut frame = bytes.to_vec();
            frame.resize(length, 0);
            Cow::Owned(frame)
        });
    }
    let (ether_type, payload) = payload(link, bytes)?;
    let mut frame = vec![0; HEADER - 2];
    frame.extend(ether_type.to_be_bytes());
    frame.extend(payload);
    frame.resize(frame.len() + missing, 0);
    Some(Cow::Owned(frame))
}

/// The EtherType and what follows the link layer's header.
fn payload(link: i32, bytes: &[u8]) -> Option<(u16, &[u8])> {
    match link {
        number::IPV4 => Some((eth::IPV4, bytes)),
        number::IPV6 => Some((eth::IPV6, bytes)),
        // Protocol at the end of 16 bytes, or at the start of 20.
        number::LINUX_SLL => Some((be16(bytes, 14)?, bytes.get(16..)?)),
        number::LINUX_SLL2 => Some((be16(bytes, 0)?, bytes.get(20..)?)),
        // An address family of the capturing system's own numbering: the IP version says it as well.
        number::NULL | number::LOOP => ip(bytes.get(4..)?),
        link if number::RAW.contains(&link) => ip(bytes),
        _ => None,
    }
}

fn ip(bytes: &[u8]) -> Option<(u16, &[u8])> {
    match bytes.first()? >> 4 {
        4 => Some((eth::IPV4, bytes)),
        6 => Some((eth::IPV6, bytes)),
        _ => None,
    }
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}
