//! Link layers of captures and samples, as the Ethernet frames that a network card would have shown: the stages know no other.

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

/// Bytes of an Ethernet header, of a VLAN tag, and of IPv6's header.
const HEADER: usize = 14;
const TAG: usize = 4;
const IPV6: usize = 40;
/// Its number as an IP protocol.
const TCP: u8 = 6;
/// The longest frame with two tags, jumbo frames aside.
const WIRE_MAX: usize = 1_522;
/// The largest packet that is made whole; IP packets are no longer, and damaged files claim to have longer ones.
const LENGTH_MAX: usize = 1 << 17;

/// A packet as an Ethernet frame of its full length: bytes that were not captured are zeros. Nothing for link layers that are
/// not known.
pub(crate) fn ethernet(link: i32, bytes: &[u8], length: u32) -> Option<Cow<'_, [u8]>> {
    framed(link, bytes, length).map(with_length)
}

fn framed(link: i32, bytes: &[u8], length: u32) -> Option<Cow<'_, [u8]>> {
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

/// A TCP segment for which the sender's card was to fill in the length of each part of it: with its own length. Only a frame that is too long
/// for the wire is one; of others 0 is what came.
fn with_length(frame: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    if frame.len() <= WIRE_MAX {
        return frame;
    }
    let mut network = HEADER;
    while matches!(be16(&frame, network - 2), Some(eth::VLAN | eth::QINQ)) {
        network += TAG;
    }
    let at = |offset: usize| frame.get(network + offset).copied();
    let (field, header) = match (be16(&frame, network - 2), at(6), at(9)) {
        (Some(eth::IPV4), _, Some(protocol)) if protocol == TCP => (network + 2, network),
        (Some(eth::IPV6), Some(protocol), _) if protocol == TCP => (network + 4, network + IPV6),
        _ => return frame,
    };
    let said = u16::try_from(frame.len() - header);
    match said {
        Ok(said) if be16(&frame, field) == Some(0) => {
            let mut frame = frame.into_owned();
            frame[field..field + 2].copy_from_slice(&said.to_be_bytes());
            Cow::Owned(frame)
        }
        _ => frame,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of this length whose IP packet says another, 0.
    fn frame(ether_type: u16, protocol_at: usize, protocol: u8, length: usize) -> Vec<u8> {
        let mut frame = vec![0; length];
        frame[12..14].copy_from_slice(&ether_type.to_be_bytes());
        frame[HEADER + protocol_at] = protocol;
        frame
    }

    #[test]
    fn a_segment_that_the_card_was_to_cut_has_its_length() {
        for (ether_type, protocol_at, field, header) in [(eth::IPV4, 9, 2, 0), (eth::IPV6, 6, 4, IPV6)] {
            let said = |protocol, length| {
                let frame = frame(ether_type, protocol_at, protocol, length);
                let whole = ethernet(number::ETHERNET, &frame, length as u32).unwrap();
                usize::from(be16(&whole, HEADER + field).unwrap())
            };
            assert_eq!(said(6, 9_014), 9_000 - header);
            assert_eq!((said(6, WIRE_MAX), said(17, 9_014)), (0, 0), "on the wire, and UDP");
            // Beyond what the field can say, the packet path reads to the end by itself.
            assert_eq!(said(6, 70_000), 0);
        }
    }
}
