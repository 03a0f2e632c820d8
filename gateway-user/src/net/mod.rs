//! Network interfaces, as the kernel tells of them over netlink: which there are, and what XDP program is on one.
//!
//! * [`interface`], [`interfaces`]: route netlink, for anybody
//! * [`covered`]: whether what comes by an interface has come by another before
//! * [`addresses`]: where this host can be reached, for anybody
//! * [`listeners`]: servers that wait for TCP connections, for anybody
//! * [`segment`]: which segments TCP takes by an interface, for anybody
//! * [`detach_xdp`]: takes a program off that was attached without a BPF link; needs `CAP_NET_ADMIN`
//! * [`Connections`]: TCP sockets, which can be ended; needs `CAP_NET_ADMIN`
//! * [`features`]: what the driver says that it can do with XDP (Linux 6.3)
//! * [`tunnel_peers`]: who this host's tunnels talk to; needs `CAP_NET_ADMIN` for WireGuard's and IPsec's
//! * [`connected_ports`]: local ports of connected UDP sockets; for anybody
//! * [`vlans`], [`is_untagged`]: VLAN devices, and whether a program sees their tags; for anybody
//!
//! All of them speak of the network namespace of the calling thread, and wait for the kernel's answer, which comes at
//! once.

mod addresses;
mod error;
mod features;
mod link;
mod route;
mod socket;
mod stack;
mod tcp;
#[cfg(test)]
mod tests;
mod tunnels;
mod udp;
mod vlan;

use std::path::Path;

use netlink_packet_core::NLM_F_DUMP;
use netlink_packet_route::link::{LinkAttribute, LinkMessage, LinkXdp};
use nix::libc;

pub use addresses::addresses;
pub use error::NetError;
pub use features::{Features, features};
pub use route::segment;
pub use stack::{Covered, below_macvlan, covered};
pub use tcp::{Connection, Connections, Counts, Listener, listeners};
pub use tunnels::{TunnelPeer, ipsec_peers, tunnel_devices, tunnel_peers};
pub use udp::connected_ports;
pub use vlan::{is_untagged, keep_tags, vlans};

use socket::{Failure, Netlink, bytes};

/// Of linux/if_link.h.
const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;
const XDP_FLAGS_HW_MODE: u32 = 1 << 3;

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its number in the kernel.
    pub index: u32,
    /// The longest packet in bytes, without the Ethernet header.
    pub mtu: u32,
    /// How its packets begin.
    pub framing: Framing,
    /// Whether it is switched on.
    pub up: bool,
    /// Whether there is somebody on the other end of the wire.
    pub carrier: bool,
    /// What kind of virtual interface it is, as `veth`, `vlan` or `bond`; of hardware nothing.
    pub kind: Option<String>,
    /// The hardware's driver, as `ixgbe` or `virtio_net`; of a virtual interface its kind.
    pub driver: Option<String>,
    /// The interface below this one, for a VLAN; for a veth its peer. None where that is another namespace's.
    pub lower: Option<u32>,
    /// The bridge or bond that it is a port of.
    pub master: Option<u32>,
    /// The XDP program on it.
    pub xdp: Option<Attached>,
}

impl Interface {
    /// An Ethernet device that is up and has nothing else to tell, for tests.
    #[cfg(test)]
    pub(crate) fn plain(index: u32, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            index,
            mtu: 1_500,
            framing: Framing::Ethernet,
            up: true,
            carrier: true,
            kind: None,
            driver: None,
            lower: None,
            master: None,
            xdp: None,
        }
    }

    /// Why nothing would be judged on it, or all of it wrongly, if so, and what to protect instead.
    pub fn unjudged(&self) -> Option<(String, &'static str)> {
        let (name, kind) = (&self.name, self.kind.as_deref().unwrap_or("a kind of its own"));
        if link::RECEIVE_BY_OTHERS.contains(&kind) {
            let why = format!(
                "what is sent to {name} ({kind}) comes in by another interface, and a program on {name} would see none of it"
            );
            return Some((why, "protect the interface that it comes in by"));
        }
        match self.framing {
            Framing::Ethernet | Framing::Bare => None,
            Framing::Loopback => Some((
                format!(
                    "{name} is the host's own loopback: nobody else sends by it, and its addresses would count as forged"
                ),
                "protect the interface that packets from outside come in by",
            )),
            Framing::Unknown => Some((
                format!(
                    "packets of {name} ({kind}) begin neither with an Ethernet header nor with that of IP, and the program would judge none of them"
                ),
                "protect the interface that they come in by",
            )),
        }
    }
}

/// How the packets of a device begin, as an XDP program sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// With an Ethernet header.
    Ethernet,
    /// With that of IP: tun, WireGuard, PPP, IP tunnels.
    Bare,
    /// With an Ethernet header without meaning: what this host sends to itself.
    Loopback,
    /// In a way that the program does not know.
    Unknown,
}

/// An XDP program on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The program's number in the kernel, as `bpftool prog` shows it.
    pub program_id: u32,
    /// Where it runs.
    pub mode: Mode,
}

/// Where an XDP program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In the driver.
    Native,
    /// In the kernel's general path.
    Generic,
    /// On the network card.
    Offloaded,
    /// In several of these places, a program each.
    Multi,
}

impl Mode {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Offloaded => "offloaded",
            Self::Multi => "multi",
        }
    }

    /// The `XDP_FLAGS_*_MODE` that take everything off.
    const fn flags(self) -> &'static [u32] {
        match self {
            Self::Native => &[XDP_FLAGS_DRV_MODE],
            Self::Generic => &[XDP_FLAGS_SKB_MODE],
            Self::Offloaded => &[XDP_FLAGS_HW_MODE],
            Self::Multi => &[XDP_FLAGS_HW_MODE, XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE],
        }
    }
}

/// The interface of this name.
///
/// # Errors
/// [`NetError::Unknown`] with the names that there are; whatever keeps the kernel from answering.
pub fn interface(name: &str) -> Result<Interface, NetError> {
    // A long name does not fit IFLA_IFNAME, and the kernel would speak of a bad argument.
    if name.is_empty() || name.len() >= libc::IFNAMSIZ {
        return Err(unknown(name));
    }
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    let mut netlink = Netlink::open(libc::NETLINK_ROUTE)?;
    let answers = match netlink.ask(libc::RTM_GETLINK, 0, &bytes(&message)) {
        Err(Failure::Refused { code: libc::ENODEV, .. }) => return Err(unknown(name)),
        other => other.map_err(|failure| failure.into_error("tell of an interface"))?,
    };
    let answer = answers.first().ok_or_else(|| NetError::Answer("it is empty".into()))?;
    Ok(with_driver(link::parse(answer)?))
}

/// All interfaces, in the kernel's order.
///
/// # Errors
/// Whatever keeps the kernel from answering.
pub fn interfaces() -> Result<Vec<Interface>, NetError> {
    let mut netlink = Netlink::open(libc::NETLINK_ROUTE)?;
    let answers = netlink
        .ask(libc::RTM_GETLINK, NLM_F_DUMP, &bytes(&LinkMessage::default()))
        .map_err(|failure| failure.into_error("list the interfaces"))?;
    answers.iter().map(|answer| link::parse(answer).map(with_driver)).collect()
}

/// Takes off the XDP program that is attached in this mode, if there is one and no BPF link holds it.
///
/// # Errors
/// [`NetError::HeldByLink`], [`NetError::Denied`], or whatever else the kernel says.
pub fn detach_xdp(index: u32, mode: Mode) -> Result<(), NetError> {
    let mut netlink = Netlink::open(libc::NETLINK_ROUTE)?;
    for flags in mode.flags() {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes.push(LinkAttribute::Xdp(vec![LinkXdp::Fd(-1), LinkXdp::Flags(*flags)]));
        netlink.ask(libc::RTM_SETLINK, 0, &bytes(&message)).map_err(|failure| match failure {
            // "Can't replace active BPF XDP link", in dev_xdp_attach of net/core/dev.c.
            Failure::Refused { code: libc::EBUSY, .. } => NetError::HeldByLink { index },
            Failure::Refused { code: libc::EPERM, .. } => NetError::Denied { index },
            other => other.into_error("take the XDP program off"),
        })?;
    }
    Ok(())
}

/// With the hardware's driver by way of the bus, which unlike /sys/class/net is the same in every network namespace.
fn with_driver((mut interface, parent): (Interface, Option<link::Parent>)) -> Interface {
    let hardware = parent.and_then(|link::Parent { bus, device }| {
        let driver = Path::new("/sys/bus").join(bus).join("devices").join(device).join("driver");
        Some(std::fs::read_link(driver).ok()?.file_name()?.to_str()?.to_owned())
    });
    interface.driver = hardware.or_else(|| interface.kind.clone());
    interface
}

fn unknown(name: &str) -> NetError {
    let there = interfaces().unwrap_or_default();
    NetError::unknown(name, there.into_iter().map(|interface| interface.name).collect())
}
