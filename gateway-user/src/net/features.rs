//! What an interface's driver says that it can do with XDP: the generic netlink family `netdev`.

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
/// `struct genlmsghdr`, before the attributes.
const HEADER: usize = 4;

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
    let name = DefaultNla::new(FAMILY_NAME, b"netdev\0".to_vec());
    let family = match netlink.ask(CONTROLLER, 0, &question(GET_FAMILY, name)) {
        Err(Failure::Refused { code: libc::ENOENT, .. }) => return Ok(None),
        other => other.map_err(|failure| failure.into_error("look for the family netdev"))?,
    };
    let Some(family) = value(&family, FAMILY_ID).map(u16::from_ne_bytes) else { return Ok(None) };
    let device = DefaultNla::new(DEV_IFINDEX, index.to_ne_bytes().to_vec());
    let answers = netlink
        .ask(family, 0, &question(DEV_GET, device))
        .map_err(|failure| failure.into_error("tell what the driver can do"))?;
    Ok(value(&answers, DEV_XDP_FEATURES).map(u64::from_ne_bytes).map(decode))
}

fn decode(bits: u64) -> Features {
    Features { native: bits & ACT_BASIC != 0, frags: bits & ACT_RX_SG != 0 }
}

/// A message of generic netlink with one attribute; both families are in their first version.
fn question(command: u8, attribute: DefaultNla) -> Vec<u8> {
    [[command, 1, 0, 0].as_slice(), &bytes(&[attribute].as_slice())].concat()
}

/// The value of an attribute of the first answer, if it has this size.
fn value<const N: usize>(answers: &[Vec<u8>], kind: u16) -> Option<[u8; N]> {
    let attributes = answers.first()?.get(HEADER..)?;
    let found = NlasIterator::new(attributes).filter_map(Result::ok).find(|nla| nla.kind() == kind)?;
    found.value().try_into().ok()
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
