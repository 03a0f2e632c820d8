//! The lab's cables: pairs of veth, or network cards that the machine has for it.

use std::env;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::namespace::{Namespace, output};
use super::{ATTACKER_V4, ATTACKER_V6, CLIENT_V4, CLIENT_V6, FAR, SERVER_V4, SERVER_V6};

/// With this set to `cards`, a cable's ends are the machine's own network cards, told by their hardware addresses; as in an
/// emulated machine.
const CABLES: &str = "GATEWAY_LAB_CABLES";
/// With this set to `generic`, the gateway runs after the driver.
const DRIVER: &str = "GATEWAY_LAB_DRIVER";
/// How long cards may take to come back from the lab before.
const PATIENCE: Duration = Duration::from_secs(20);

/// How the gateway is to be attached in this run: `native`, or `generic` where the environment asks for it.
#[must_use]
pub fn driver() -> &'static str {
    if env::var_os(DRIVER).is_some_and(|driver| driver == "generic") { "generic" } else { "native" }
}

/// One cable: the server's end and the other's.
pub(super) struct Cable {
    /// The number in the addresses of its ends.
    pub(super) number: u8,
    /// Name of the server's end.
    pub(super) near: String,
    /// Addresses of the server's end with prefix lengths.
    pub(super) near_addresses: [(IpAddr, u8); 2],
    /// Addresses of the far end.
    pub(super) far_addresses: [(IpAddr, u8); 2],
}

/// The two cables. Names of interfaces are unique on the machine, because the threads that receive are named after them.
pub(super) fn cables() -> [Cable; 2] {
    static LABS: AtomicU32 = AtomicU32::new(0);
    let lab = std::process::id() << 4 | (LABS.fetch_add(1, Ordering::Relaxed) & 15);
    [
        Cable {
            number: 1,
            near: format!("client{lab:x}"),
            near_addresses: [(SERVER_V4.into(), 24), (SERVER_V6.into(), 64)],
            far_addresses: [(CLIENT_V4.into(), 24), (CLIENT_V6.into(), 64)],
        },
        Cable {
            number: 2,
            near: format!("attack{lab:x}"),
            near_addresses: [(Ipv4Addr::new(203, 0, 113, 1).into(), 30), (attack_v6(), 64)],
            far_addresses: [(ATTACKER_V4.into(), 30), (ATTACKER_V6.into(), 64)],
        },
    ]
}

/// The server's IPv6 address on the attacker's cable.
fn attack_v6() -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 1))
}

impl Cable {
    /// Hardware address of an end: locally administered, cable, end.
    fn mac(&self, end: u8) -> String {
        format!("02:00:00:00:{:02x}:{end:02x}", self.number)
    }

    /// Makes both ends, addresses them, and tells each the other's hardware address.
    pub(super) fn lay(&self, server: &Namespace, far: &Namespace) -> Result<()> {
        let Self { near, near_addresses, far_addresses, .. } = self;
        let (near_mac, far_mac) = (self.mac(1), self.mac(2));
        if env::var_os(CABLES).is_some_and(|cables| cables == "cards") {
            take_card(&near_mac, server, near)?;
            take_card(&far_mac, far, FAR)?;
        } else {
            server.ip(&[format!(
                "link add name {near} address {near_mac} type veth peer name {FAR} address {far_mac} netns {}",
                far.name()
            )])?;
        }
        for (space, device, own, peers, mac) in [
            (server, near.as_str(), near_addresses, far_addresses, &far_mac),
            (far, FAR, far_addresses, near_addresses, &near_mac),
        ] {
            let mut lines = vec![format!("link set dev {device} up")];
            for (address, length) in own {
                let nodad = if address.is_ipv6() { "nodad" } else { "" };
                lines.push(format!("address add {address}/{length} dev {device} {nodad}"));
            }
            lines.extend(peers.iter().map(|(address, _)| {
                format!("neighbour replace {address} lladdr {mac} dev {device} nud permanent")
            }));
            space.ip(&lines)?;
            // An XDP program at the other end sees the bytes as they are: the sum must be in them.
            space.run("ethtool", &["-K", device, "tx", "off"])?;
        }
        Ok(())
    }
}

/// Moves a card of the machine into a namespace. When that goes, the kernel gives the card back, a moment later.
fn take_card(mac: &str, space: &Namespace, name: &str) -> Result<()> {
    let start = Instant::now();
    let card = loop {
        match card(mac)? {
            Some(card) => break card,
            None => ensure!(start.elapsed() < PATIENCE, "this machine has no network card {mac}"),
        }
        thread::sleep(Duration::from_millis(50));
    };
    let mut command = std::process::Command::new("ip");
    command.args(["link", "set", "dev", &card, "netns", space.name(), "name", name]);
    output(&mut command).map(drop).with_context(|| format!("cannot move {card}"))
}

/// The name of the card with this address.
fn card(mac: &str) -> Result<Option<String>> {
    for entry in fs::read_dir("/sys/class/net")?.flatten() {
        if fs::read_to_string(entry.path().join("address")).is_ok_and(|address| address.trim() == mac) {
            return Ok(entry.file_name().into_string().ok());
        }
    }
    Ok(None)
}
