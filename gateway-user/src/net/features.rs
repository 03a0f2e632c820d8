//! What an interface's driver says that it can do with XDP, and does with VLAN tags: the generic netlink families `netdev` and `ethtool`.

use netlink_packet_core::{DefaultNla, NlasIterator};
use nix::libc;

use super::NetError;
use super::socket::{Failure, Netlink, bytes};

/// The controller of families: `GENL_ID_CTRL` and, of linux/genetlink.h, command and attributes.
const CONTROLLER: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
/// Of linux/netdev.h.
const DEV_GET: u8 = 1;
const DEV_IFINDEX: u16 = 1;
const DEV_XDP_FEATURES: u16 = 3;
/// `enum netdev_xdp_act`.
const ACT_BASIC: u64 = 1 << 0;
const ACT_RX_SG: u64 = 1 << 5;
/// Of linux/ethtool_netlink.h: the command, its attributes, and those of a set of bits.
const FEATURES_GET: u8 = 11;
const FEATURES_HEADER: u16 = 1;
const HEADER_DEV_INDEX: u16 = 1;
const FEATURES_ACTIVE: u16 = 4;
const BITSET_BITS: u16 = 3;
const BIT_NAME: u16 = 2;
const NESTED: u16 = 1 << 15;
/// The card takes VLAN tags off (`NETIF_F_HW_VLAN_CTAG_RX`).
const TAKES_TAGS_OFF: &[u8] = b"rx-vlan-hw-parse\0";
/// `struct genlmsghdr`, before the attributes.
pub(super) const HEADER: usize = 4;

/// What a driver can do with XDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// Runs a program in native mode.
    pub native: bool,
    /// Hands it packets of several buffers, so that a large MTU does no harm.
    pub frags: bool,
}

/// Asks the driver of the interface; `None` before Linux 6.3, which cannot tell.
///
/// # Errors
/// Whatever keeps the kernel from answering.
pub fn features(index: u32) -> Result<Option<Features>, NetError> {
    let mut netlink = Netlink::open(libc::NETLINK_GENERIC)?;
    let Some(family) = family(&mut netlink, b"netdev\0")? else { return Ok(None) };
    let device = DefaultNla::new(DEV_IFINDEX, index.to_ne_bytes().to_vec());
    let answers = netlink
        .ask(family, 0, &question(DEV_GET, device))
        .map_err(|failure| failure.into_error("tell what the driver can do"))?;
    Ok(value(&answers, DEV_XDP_FEATURES).map(u64::from_ne_bytes).map(decode))
}

/// Whether the card takes VLAN tags off what it receives; `None` before Linux 5.7, which cannot tell.
///
/// # Errors
/// Whatever keeps the kernel from answering.
pub(super) fn takes_tags_off(index: u32) -> Result<Option<bool>, NetError> {
    let mut netlink = Netlink::open(libc::NETLINK_GENERIC)?;
    let Some(family) = family(&mut netlink, b"ethtool\0")? else { return Ok(None) };
    let device = DefaultNla::new(HEADER_DEV_INDEX, index.to_ne_bytes().to_vec());
    let header = DefaultNla::new(FEATURES_HEADER | NESTED, bytes(&[device].as_slice()));
    let answers = match netlink.ask(family, 0, &question(FEATURES_GET, header)) {
        Err(Failure::Refused { code: libc::EOPNOTSUPP, .. }) => return Ok(None),
        other => other.map_err(|failure| failure.into_error("tell what the card does"))?,
    };
    let active = answers.first().and_then(|answer| nested(answer.get(HEADER..)?, FEATURES_ACTIVE));
    let bits = active.and_then(|set| nested(&set, BITSET_BITS)).unwrap_or_default();
    let name = |bit: &[u8]| nested(bit, BIT_NAME);
    let mut all = NlasIterator::new(&bits).filter_map(Result::ok);
    Ok(Some(all.any(|bit| name(bit.value()).as_deref() == Some(TAKES_TAGS_OFF))))
}

/// The value of the first attribute of a kind.
pub(super) fn nested(attributes: &[u8], kind: u16) -> Option<Vec<u8>> {
    let found = NlasIterator::new(attributes).filter_map(Result::ok).find(|nla| nla.kind() == kind)?;
    Some(found.value().to_vec())
}

/// The number of a family by its name, which ends with a zero; nothing where this kernel has none.
pub(super) fn family(netlink: &mut Netlink, name: &[u8]) -> Result<Option<u16>, NetError> {
    match netlink.ask(CONTROLLER, 0, &question(GET_FAMILY, DefaultNla::new(FAMILY_NAME, name.to_vec()))) {
        Err(Failure::Refused { code: libc::ENOENT, .. }) => Ok(None),
        Err(failure) => Err(failure.into_error("look for a family of generic netlink")),
        Ok(answers) => Ok(value(&answers, FAMILY_ID).map(u16::from_ne_bytes)),
    }
}

fn decode(bits: u64) -> Features {
    Features { native: bits & ACT_BASIC != 0, frags: bits & ACT_RX_SG != 0 }
}

/// A message of generic netlink with one attribute; both families are in their first version.
pub(super) fn question(command: u8, attribute: DefaultNla) -> Vec<u8> {
    [[command, 1, 0, 0].as_slice(), &bytes(&[attribute].as_slice())].concat()
}

/// The value of an attribute of the first answer, if it has this size.
fn value<const N: usize>(answers: &[Vec<u8>], kind: u16) -> Option<[u8; N]> {
    nested(answers.first()?.get(HEADER..)?, kind)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_and_answers_are_laid_out_as_the_kernel_has_them() {
        let asked = question(DEV_GET, DefaultNla::new(DEV_IFINDEX, 2u32.to_ne_bytes().to_vec()));
        assert_eq!(asked.len(), 12);
        assert_eq!(value(std::slice::from_ref(&asked), DEV_IFINDEX), Some(2u32.to_ne_bytes()));
        assert_eq!(value::<8>(&[asked], DEV_IFINDEX), None);
        assert_eq!(value::<8>(&[vec![1]], 1), None);
    }

    #[test]
    fn bits_mean_what_the_kernel_says() {
        assert_eq!(decode(0), Features { native: false, frags: false });
        // veth: basic, redirect, transmit, receive and transmit of several buffers.
        assert_eq!(decode(0x67), Features { native: true, frags: true });
    }
}
