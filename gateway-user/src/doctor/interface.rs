//! An interface: what it and its driver allow.

use std::fs;
use std::path::Path;

use super::host::{online_cpus, read};
use super::{Finding, Own};
use crate::config::Driver;
use crate::kernel::{hidden, pins::Pins};
use crate::net::{self, Features, Interface, Mode};

/// The longest MTU at which a driver takes a program for frames of one buffer: a page of 4096 bytes less headroom,
/// Ethernet header and the kernel's description of the packet. Drivers differ by some bytes.
const MTU: u32 = 3498;
/// The same for veth, measured on Linux 6.18: 3506 attaches, 3520 does not.
const MTU_VETH: u32 = 3506;
/// Bits of virtio's network device (VIRTIO 1.2, 5.1.3): the host may be told to stop merging ...
const CTRL_GUEST_OFFLOADS: usize = 2;
/// ... and what it may hand over unfinished: checksums, TSO4, TSO6, ECN, UFO, USO4, USO6.
const GUEST_OFFLOADS: [usize; 7] = [1, 7, 8, 9, 10, 54, 55];

/// All checks of an interface.
pub(super) fn examine(name: &str, own: &Own<'_>, choice: Driver) -> Vec<Finding> {
    let findings = match net::interface(name) {
        Err(error) => {
            let finding = Finding::problem("interface", error.to_string());
            vec![Finding { remedy: error.help(), ..finding }]
        }
        Ok(interface) => checks(&interface, own, choice),
    };
    findings.into_iter().map(|finding| Finding { interface: Some(name.to_owned()), ..finding }).collect()
}

fn checks(interface: &Interface, own: &Own<'_>, choice: Driver) -> Vec<Finding> {
    let name = &interface.name;
    // Names of interfaces hold no slash.
    let system = Path::new("/sys/class/net").join(name);
    let features = net::features(interface.index).ok().flatten();
    let virtio = match interface.driver.as_deref() {
        Some("virtio_net") => read(system.join("device/features")),
        _ => None,
    };
    let pinned = Pins::link_in(own.pins, name).try_exists().ok().map(|exists| match interface.xdp {
        _ if exists => Pinned::Here,
        Some(xdp) if hidden::is_ours(xdp.program_id) => Pinned::Hidden,
        _ => Pinned::No,
    });
    let mut findings = vec![
        kind(interface),
        state(interface),
        driver(interface, features, virtio.as_deref()),
        mtu(interface, features),
        attachment(interface, takes_native(interface, features, virtio.as_deref()), choice),
        program(interface, pinned),
    ];
    findings.extend(receive_queues(&system).map(|count| queues(name, count, online_cpus())));
    let all = net::interfaces().unwrap_or_default();
    findings.extend(vlans(interface, &net::vlans(interface, &all), net::is_untagged(interface).ok()));
    findings
}

/// Whether anything would be judged on it.
fn kind(interface: &Interface) -> Finding {
    const CHECK: &str = "kind";
    match interface.unjudged() {
        Some((why, remedy)) => Finding::problem(CHECK, why).remedy(remedy),
        None => Finding::ok(CHECK, interface.kind.as_deref().unwrap_or("Ethernet").to_owned()),
    }
}

pub(super) fn state(interface: &Interface) -> Finding {
    const CHECK: &str = "state";
    let Interface { name, index, up, carrier, .. } = interface;
    match (up, carrier) {
        (false, _) => {
            Finding::warning(CHECK, "down: no packet comes in").remedy(format!("`ip link set dev {name} up`"))
        }
        (true, false) => Finding::warning(CHECK, "up, but without a carrier: nobody is at the other end")
            .remedy("look at the cable, the switch's port or the peer"),
        (true, true) => Finding::ok(CHECK, format!("up, index {index}")),
    }
}

pub(super) fn driver(interface: &Interface, features: Option<Features>, virtio: Option<&str>) -> Finding {
    const CHECK: &str = "driver";
    const GENERIC: &str =
        "set attach.driver = \"generic\", which is slower and sees packets that were merged";
    let driver = interface.driver.as_deref().unwrap_or("its driver");
    if virtio.is_some_and(merges_for_good) {
        let found = format!(
            "{driver} refuses native XDP: the host merges packets and leaves checksums out, and cannot be told to stop"
        );
        return Finding::warning(CHECK, found).remedy(format!(
            "turn them off on the host (QEMU: guest_csum=off,guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off), \
             or {GENERIC}"
        ));
    }
    match features {
        Some(Features { native: true, frags }) => {
            let frags = if frags { ", frames of several buffers too" } else { "" };
            Finding::ok(CHECK, format!("{driver}: native XDP{frags}"))
        }
        Some(Features { native: false, .. }) => {
            let below = interface.lower.filter(|_| interface.kind.as_deref() == Some("vlan"));
            let below = below.map(|index| format!("attach to the interface below it (index {index}), or "));
            Finding::warning(CHECK, format!("{driver} has no native XDP"))
                .remedy(below.unwrap_or_default() + GENERIC)
        }
        None => Finding::ok(
            CHECK,
            format!("{driver}; whether it has native XDP this kernel (before 6.3) cannot tell"),
        ),
    }
}

/// Whether virtio's features, a digit a bit from the lowest on, rule native XDP out (`virtnet_xdp_set` in the driver).
fn merges_for_good(features: &str) -> bool {
    let has = |bit: &usize| features.as_bytes().get(*bit) == Some(&b'1');
    !has(&CTRL_GUEST_OFFLOADS) && GUEST_OFFLOADS.iter().any(has)
}

fn mtu_limit(interface: &Interface) -> u32 {
    if interface.kind.as_deref() == Some("veth") { MTU_VETH } else { MTU }
}

pub(super) fn mtu(interface: &Interface, features: Option<Features>) -> Finding {
    const CHECK: &str = "mtu";
    let Interface { name, mtu, .. } = interface;
    let limit = mtu_limit(interface);
    match features {
        _ if *mtu <= limit => Finding::ok(CHECK, mtu.to_string()),
        Some(Features { frags: true, .. }) => {
            Finding::ok(CHECK, format!("{mtu}: a frame takes several buffers, which the driver can"))
        }
        Some(Features { native: false, .. }) => Finding::ok(CHECK, format!("{mtu}: generic mode takes any")),
        _ => Finding::warning(
            CHECK,
            format!(
                "{mtu}: above {limit} a frame takes several buffers, and the driver may refuse native XDP"
            ),
        )
        .remedy(format!("`ip link set dev {name} mtu {limit}`, or attach.driver = \"generic\"")),
    }
}

/// Whether its driver takes a native program as the interface stands, by what it says of itself; nothing where it does not.
pub(super) fn takes_native(
    interface: &Interface,
    features: Option<Features>,
    virtio: Option<&str>,
) -> Option<bool> {
    match features {
        Some(Features { native: false, .. }) => Some(false),
        _ if virtio.is_some_and(merges_for_good) => Some(false),
        Some(Features { frags, .. }) if frags || interface.mtu <= mtu_limit(interface) => Some(true),
        _ => None,
    }
}

/// How the program would be attached.
pub(super) fn attachment(interface: &Interface, takes_native: Option<bool>, choice: Driver) -> Finding {
    const CHECK: &str = "attach";
    const LOOKED: &str = "looked at, not tried: for a trial no program is put on an interface";
    let how = match (choice, takes_native) {
        (Driver::Generic, _) => "generic, as attach.driver says",
        (_, Some(true)) => "native",
        (Driver::Auto, Some(false)) => "generic, since the driver takes no native program",
        (Driver::Auto, None) => "native if the driver takes the program, else generic",
        (Driver::Native, None) => "native, as attach.driver says, if the driver takes the program",
        (Driver::Native, Some(false)) => {
            let found =
                format!("attach.driver is \"native\", and the driver takes no native program; {LOOKED}");
            return Finding::warning(CHECK, found)
                .remedy(format!("attach.driver = \"auto\", or see `driver` of {} above", interface.name));
        }
    };
    Finding::ok(CHECK, format!("{how}; {LOOKED}"))
}

/// Whether the gateway has a link for an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pinned {
    Here,
    /// Its program is there, and the pin cannot be seen.
    Hidden,
    No,
}

/// `pinned`: nothing where that cannot be seen.
pub(super) fn program(interface: &Interface, pinned: Option<Pinned>) -> Finding {
    const CHECK: &str = "xdp";
    let name = &interface.name;
    let Some(attached) = interface.xdp else {
        let stale = if pinned == Some(Pinned::Here) {
            "; a pin of the gateway is left over, which the next start replaces"
        } else {
            ""
        };
        return Finding::ok(CHECK, format!("no program attached{stale}"));
    };
    let (id, mode) = (attached.program_id, attached.mode.name());
    match pinned {
        Some(Pinned::Here) => Finding::ok(CHECK, format!("the gateway is attached: program {id}, {mode}")),
        Some(Pinned::Hidden) => Finding::warning(
            CHECK,
            format!("the gateway is attached: program {id}, {mode}; its pin is hidden, as by another bpffs mounted above it"),
        )
        .remedy("nothing has to be done: the next start makes it again"),
        None => Finding::warning(
            CHECK,
            format!("program {id} is attached, {mode}; whose it is only root can see"),
        )
        .remedy("`sudo gateway doctor`"),
        Some(Pinned::No) => {
            // "xdp off" alone takes off what is in the driver, where that can have a program.
            let word = match attached.mode {
                Mode::Native => "xdpdrv",
                Mode::Generic => "xdpgeneric",
                Mode::Offloaded => "xdpoffload",
                Mode::Multi => "xdp",
            };
            Finding::problem(CHECK, format!("another's program {id} is attached, {mode}")).remedy(format!(
                "see what it is (`bpftool prog show id {id}`); `ip link set dev {name} {word} off` takes it off, \
                 `gateway run --replace` takes its place"
            ))
        }
    }
}

/// How many queues of an interface receive.
fn receive_queues(system: &Path) -> Option<usize> {
    let queues = fs::read_dir(system.join("queues")).ok()?.flatten();
    Some(queues.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"rx-")).count())
}

pub(super) fn queues(name: &str, queues: usize, cpus: usize) -> Finding {
    let found = format!("{queues} receive queue(s) for {cpus} CPU(s)");
    if queues >= cpus {
        return Finding::ok("queues", found);
    }
    Finding::warning("queues", format!("{found}: some CPUs take no part in a flood")).remedy(format!(
        "`ethtool -l {name}` tells how many there can be, `ethtool -L {name} combined {cpus}` sets them; \
         a virtual machine gets them from its host"
    ))
}

/// VLAN devices on it; nothing where there are none. `is_untagged`: whether a program in the driver sees frames without tags, if that is
/// known.
pub(super) fn vlans(interface: &Interface, vlans: &[&str], is_untagged: Option<bool>) -> Option<Finding> {
    const CHECK: &str = "vlan";
    if vlans.is_empty() {
        return None;
    }
    let on_top = format!("{} on top of it: judged here too", vlans.join(", "));
    Some(match is_untagged {
        Some(false) => Finding::ok(CHECK, on_top),
        _ => Finding::warning(
            CHECK,
            format!("{on_top}; tags are taken off before, so in native mode no SYN is answered by a cookie"),
        )
        .remedy(net::keep_tags(&interface.name)),
    })
}
