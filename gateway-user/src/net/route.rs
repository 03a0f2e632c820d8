//! Which segments this host's TCP takes by an interface.

use std::net::{Ipv4Addr, Ipv6Addr};

use gateway_common::packet::Family;
use netlink_packet_core::NlasIterator;
use netlink_packet_route::{
    AddressFamily,
    route::{RouteAddress, RouteAttribute, RouteMessage},
};
use nix::libc;

use super::{
    Interface, NetError,
    socket::{Failure, Netlink, bytes},
};

/// Before the attributes of a route (`struct rtmsg`), the attribute with its metrics, and two of these (linux/rtnetlink.h).
const ROUTE_HEADER: usize = 12;
const RTA_METRICS: u16 = 8;
const RTAX_MTU: u16 = 2;
const RTAX_ADVMSS: u16 = 8;
/// Bytes of TCP's header without options.
const TCP_HEADER: u32 = 20;
/// The smallest that Linux says over IPv4 (`net.ipv4.route.min_adv_mss`), and what every host takes over IPv6 (RFC 9293 section 3.7.1).
const LEAST_V4: u32 = 256;
const LEAST_V6: u32 = 1_220;

/// Bytes of the IP header.
const fn ip_header(family: Family) -> u32 {
    match family {
        Family::V4 => 20,
        Family::V6 => 40,
    }
}

/// An address for documentation, to which no route leads but the default one (RFC 5737, RFC 3849).
fn far_away(family: Family) -> (AddressFamily, u8, RouteAddress) {
    match family {
        Family::V4 => (AddressFamily::Inet, 32, RouteAddress::Inet(Ipv4Addr::new(192, 0, 2, 250))),
        Family::V6 => {
            let far = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 0xfa);
            (AddressFamily::Inet6, 128, RouteAddress::Inet6(far))
        }
    }
}

/// The maximum segment size that this host's TCP says in its SYNs by an interface (`ipv4_default_advmss` in net/ipv4/route.c): by its MTU, and
/// by what the default route that leads there says of its own.
///
/// # Errors
/// Whatever keeps the kernel from answering; that there is no route is none.
pub fn segment(interface: &Interface, family: Family) -> Result<u16, NetError> {
    let (mtu, advertised) = metrics(interface.index, family)?;
    let mtu = mtu.map_or(interface.mtu, |mtu| mtu.min(interface.mtu));
    let least = if family == Family::V4 { LEAST_V4 } else { LEAST_V6 };
    let by_mtu = mtu.saturating_sub(ip_header(family) + TCP_HEADER).max(least);
    Ok(u16::try_from(advertised.map_or(by_mtu, |advertised| advertised.min(by_mtu))).unwrap_or(u16::MAX))
}

/// MTU and segment size of the route that leads far away by an interface.
fn metrics(index: u32, family: Family) -> Result<(Option<u32>, Option<u32>), NetError> {
    let mut question = RouteMessage::default();
    let (address_family, length, address) = far_away(family);
    (question.header.address_family, question.header.destination_prefix_length) = (address_family, length);
    question.attributes = vec![RouteAttribute::Destination(address), RouteAttribute::Oif(index)];
    let mut netlink = Netlink::open(libc::NETLINK_ROUTE)?;
    let answers = match netlink.ask(libc::RTM_GETROUTE, 0, &bytes(&question)) {
        // Nothing leads there, or no further.
        Err(Failure::Refused { .. }) => return Ok((None, None)),
        other => other.map_err(|failure| failure.into_error("tell of a route"))?,
    };
    let mut metrics = (None, None);
    for answer in &answers {
        let attributes = NlasIterator::new(answer.get(ROUTE_HEADER..).unwrap_or_default());
        let Some(all) = attributes.filter_map(Result::ok).find(|attribute| attribute.kind() == RTA_METRICS)
        else {
            continue;
        };
        for metric in NlasIterator::new(all.value()).filter_map(Result::ok) {
            let value = metric.value().first_chunk().map(|value| u32::from_ne_bytes(*value));
            match metric.kind() {
                RTAX_MTU => metrics.0 = value,
                RTAX_ADVMSS => metrics.1 = value,
                _ => {}
            }
        }
    }
    Ok(metrics)
}
