//! An interface out of the kernel's message about it (`RTM_NEWLINK`).

use netlink_packet_core::{NlaBuffer, NlasIterator, ParseableParametrized};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::link::{
    InfoData, InfoIpVlan, InfoMacVlan, IpVlanMode, LinkAttribute, LinkFlags, LinkHeader, LinkInfo,
    LinkLayerType, LinkXdp, MacVlanMode, XdpAttached,
};
use nix::libc;

use super::{Attached, Framing, Interface, Mode, NetError};

/// `struct ifinfomsg`, before the attributes.
const HEADER: usize = 16;

/// The device that an interface is of.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Parent {
    /// As `pci` or `virtio`.
    pub(super) bus: String,
    /// As `0000:01:00.0`.
    pub(super) device: String,
}

/// Reads what is needed and passes over the rest, that a newer kernel's message be no error.
pub(super) fn parse(payload: &[u8]) -> Result<(Interface, Option<Parent>), NetError> {
    let wrong = |error: &dyn std::fmt::Display| NetError::Answer(error.to_string());
    let header = LinkHeader::parse(payload).map_err(|error| wrong(&error))?;
    let mut interface = Interface {
        name: String::new(),
        index: header.index,
        mtu: 0,
        framing: framing(header.link_layer_type),
        up: header.flags.contains(LinkFlags::Up),
        carrier: header.flags.contains(LinkFlags::LowerUp),
        kind: None,
        driver: None,
        lower: None,
        master: None,
        xdp: None,
    };
    let (mut bus, mut device) = (None, None);
    let mut lower_is_elsewhere = false;
    for nla in NlasIterator::new(payload.get(HEADER..).unwrap_or_default()) {
        let nla = nla.map_err(|error| wrong(&error))?;
        match attribute(&nla) {
            Some(LinkAttribute::IfName(name)) => interface.name = name,
            Some(LinkAttribute::Mtu(mtu)) => interface.mtu = mtu,
            Some(LinkAttribute::Link(lower)) => interface.lower = Some(lower),
            Some(LinkAttribute::LinkNetNsId(_)) => lower_is_elsewhere = true,
            Some(LinkAttribute::Controller(master)) => interface.master = Some(master),
            Some(LinkAttribute::LinkInfo(info)) => interface.kind = kind(&info),
            Some(LinkAttribute::ParentDevBusName(name)) => bus = Some(name),
            Some(LinkAttribute::ParentDevName(name)) => device = Some(name),
            Some(LinkAttribute::Xdp(xdp)) => interface.xdp = attached(&xdp),
            _ => {}
        }
    }
    if interface.name.is_empty() {
        return Err(NetError::Answer("it names no interface".into()));
    }
    // Of another namespace's devices the number says nothing here.
    if lower_is_elsewhere {
        interface.lower = None;
    }
    Ok((interface, bus.zip(device).map(|(bus, device)| Parent { bus, device })))
}

/// Kinds whose packets are given to them behind the place where programs of generic mode run, or in a way that these pass over:
/// `netif_receive_generic_xdp` in net/core/dev.c (what was redirected), `vrf_ip_rcv` in drivers/net/vrf.c, `ipvlan_nf_input` in
/// drivers/net/ipvlan/ipvlan_l3s.c.
pub(super) const RECEIVE_BY_OTHERS: [&str; 5] = ["dummy", "ifb", "nlmon", "vrf", IPVLAN_L3S];
/// An ipvlan device of that mode.
const IPVLAN_L3S: &str = "ipvlan l3s";

/// A macvlan device that has what comes by the one below to itself.
pub(super) const MACVLAN_PASSTHRU: &str = "macvlan passthru";

/// Of linux/if_arp.h: mobile modems' packets.
const ARPHRD_RAWIP: u16 = 519;

/// How packets of a device begin, by its type (linux/if_arp.h). GRE devices show a program the outer header in some modes
/// (`__ipgre_rcv` in net/ipv4/ip_gre.c), so they are none of those that are known.
fn framing(kind: LinkLayerType) -> Framing {
    match kind {
        LinkLayerType::Ether => Framing::Ethernet,
        LinkLayerType::Loopback => Framing::Loopback,
        LinkLayerType::None
        | LinkLayerType::Ppp
        | LinkLayerType::Tunnel
        | LinkLayerType::Tunnel6
        | LinkLayerType::Sit => Framing::Bare,
        other if u16::from(other) == ARPHRD_RAWIP => Framing::Bare,
        _ => Framing::Unknown,
    }
}

/// An attribute that matters here.
fn attribute(nla: &NlaBuffer<&[u8]>) -> Option<LinkAttribute> {
    let wanted = [
        libc::IFLA_IFNAME,
        libc::IFLA_MTU,
        libc::IFLA_LINK,
        libc::IFLA_LINK_NETNSID,
        libc::IFLA_MASTER,
        libc::IFLA_LINKINFO,
        libc::IFLA_PARENT_DEV_BUS_NAME,
        libc::IFLA_PARENT_DEV_NAME,
        libc::IFLA_XDP,
    ];
    if !wanted.contains(&nla.kind()) {
        return None;
    }
    LinkAttribute::parse_with_param(nla, AddressFamily::Unspec).ok()
}

/// A device's kind, with its mode where that says by which device packets come in.
fn kind(info: &[LinkInfo]) -> Option<String> {
    let mode = info.iter().find_map(|info| match info {
        LinkInfo::Data(InfoData::IpVlan(data)) if data.contains(&InfoIpVlan::Mode(IpVlanMode::L3S)) => {
            Some(IPVLAN_L3S)
        }
        LinkInfo::Data(InfoData::MacVlan(data))
            if data.contains(&InfoMacVlan::Mode(MacVlanMode::Passthrough)) =>
        {
            Some(MACVLAN_PASSTHRU)
        }
        _ => None,
    });
    info.iter().find_map(|info| match info {
        LinkInfo::Kind(kind) => Some(mode.map_or_else(|| kind.to_string(), str::to_owned)),
        _ => None,
    })
}

/// Of several programs (one on the card, one in the kernel) the one that comes first on a packet's way.
fn attached(xdp: &[LinkXdp]) -> Option<Attached> {
    let mode = xdp.iter().find_map(|part| match part {
        LinkXdp::Attached(XdpAttached::Driver) => Some(Mode::Native),
        LinkXdp::Attached(XdpAttached::SocketBuffer) => Some(Mode::Generic),
        LinkXdp::Attached(XdpAttached::Hardware) => Some(Mode::Offloaded),
        LinkXdp::Attached(XdpAttached::Multiple) => Some(Mode::Multi),
        _ => None,
    })?;
    let place = |part: &LinkXdp| match part {
        LinkXdp::ProgId(id) => Some((0, *id)),
        LinkXdp::HwProgId(id) => Some((1, *id)),
        LinkXdp::DrvProgId(id) => Some((2, *id)),
        LinkXdp::SkbProgId(id) => Some((3, *id)),
        _ => None,
    };
    let (_, program_id) = xdp.iter().filter_map(place).min()?;
    Some(Attached { program_id, mode })
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::{DefaultNla, Emitable};
    use netlink_packet_route::link::{InfoKind, LinkMessage};

    use super::super::socket::bytes;
    use super::*;

    fn veth(xdp: Vec<LinkXdp>) -> Vec<u8> {
        let mut message = LinkMessage::default();
        message.header.index = 7;
        message.header.link_layer_type = LinkLayerType::Ether;
        message.header.flags = LinkFlags::Up;
        message.attributes = vec![
            LinkAttribute::IfName("veth0".into()),
            LinkAttribute::Mtu(1500),
            LinkAttribute::Link(6),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth)]),
            LinkAttribute::Xdp(xdp),
        ];
        bytes(&message)
    }

    #[test]
    fn a_message_becomes_an_interface() {
        let (found, parent) = parse(&veth(vec![LinkXdp::Attached(XdpAttached::None)])).unwrap();
        let expected = Interface {
            name: "veth0".into(),
            index: 7,
            mtu: 1500,
            framing: Framing::Ethernet,
            up: true,
            carrier: false,
            kind: Some("veth".into()),
            driver: None,
            lower: Some(6),
            master: None,
            xdp: None,
        };
        assert_eq!((found, parent), (expected, None));
        let mut elsewhere = veth(Vec::new());
        elsewhere.extend(bytes(&[LinkAttribute::LinkNetNsId(0)].as_slice()));
        assert_eq!(parse(&elsewhere).unwrap().0.lower, None);
    }

    #[test]
    fn the_program_and_its_mode_are_found() {
        let native = vec![LinkXdp::Attached(XdpAttached::Driver), LinkXdp::ProgId(5), LinkXdp::DrvProgId(5)];
        let multi =
            vec![LinkXdp::Attached(XdpAttached::Multiple), LinkXdp::SkbProgId(4), LinkXdp::HwProgId(9)];
        for (xdp, program_id, mode) in [(native, 5, Mode::Native), (multi, 9, Mode::Multi)] {
            let (found, _) = parse(&veth(xdp)).unwrap();
            assert_eq!(found.xdp, Some(Attached { program_id, mode }));
        }
    }

    #[test]
    fn attributes_that_are_unknown_or_make_no_sense_are_passed_over() {
        let mut message = veth(Vec::new());
        for (kind, value) in [(0x1fff, vec![1, 2, 3, 4]), (libc::IFLA_MTU, vec![1, 2, 3, 4, 5, 6, 7, 8])] {
            message.extend(bytes(&[DefaultNla::new(kind, value)].as_slice()));
        }
        let (found, _) = parse(&message).unwrap();
        assert_eq!((found.name.as_str(), found.mtu), ("veth0", 1500));
    }

    #[test]
    fn no_prefix_of_a_message_panics() {
        let whole = veth(vec![LinkXdp::Attached(XdpAttached::Driver), LinkXdp::ProgId(5)]);
        assert!([0, 8, HEADER].iter().all(|length| parse(&whole[..*length]).is_err()));
        for length in 0..whole.len() {
            let _ = parse(&whole[..length]);
        }
        assert_eq!(LinkHeader::default().buffer_len(), HEADER);
    }
}
