//! Every kind of device: what comes by it is judged, or the device is refused. Kinds that this kernel may lack are in [`machine`].

mod machine;

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use gateway_tests::builder::ethernet;
use gateway_tests::lab::device::{POLICY, address, is_judged, pair};
use gateway_tests::lab::{Gateway, Lab, Process, Wire, alone, await_that, require_lab};

/// A kind of device.
struct Kind {
    name: &'static str,
    /// The device that is named to the gateway.
    protected: &'static str,
    /// Makes it, with addresses across it. What it gives is kept while it is looked at.
    make: Make,
}

type Make = fn(&Lab) -> Result<Option<Process>>;

const PATIENCE: Duration = Duration::from_secs(30);
/// The outer addresses of tunnels.
const OUTER: [&str; 2] = ["10.77.8.1", "10.77.8.2"];

/// A pair of veth devices, for a tunnel to go through.
fn outer(lab: &Lab) -> Result<()> {
    pair(lab, "gwout0", "gwout1")?;
    lab.server.ip(&[format!("address add {}/24 dev gwout0", OUTER[0])])?;
    lab.attacker.ip(&[format!("address add {}/24 dev gwout1", OUTER[1])])
}

/// The same tunnel at both ends: `kind` with the addresses that it has put in.
fn tunnel(lab: &Lab, kind: &str) -> Result<Option<Process>> {
    outer(lab)?;
    let [near, far] = OUTER;
    for (namespace, local, remote) in [(&lab.server, near, far), (&lab.attacker, far, near)] {
        let kind = kind.replace("LOCAL", local).replace("REMOTE", remote);
        namespace.ip(&[format!("link add gwdev type {kind}")])?;
    }
    address(lab, "gwdev", "gwdev")?;
    Ok(None)
}

fn bridge(lab: &Lab) -> Result<Option<Process>> {
    pair(lab, "gwport", "gwfar")?;
    lab.server.ip(&["link add gwbr type bridge".into(), "link set dev gwport master gwbr".into()])?;
    address(lab, "gwbr", "gwfar")?;
    Ok(None)
}

fn macvlan(lab: &Lab) -> Result<Option<Process>> {
    pair(lab, "gwlow", "gwfar")?;
    // Otherwise the device below answers ARP, too, and what asks takes the answer that is first.
    lab.server.enter(|| fs::write("/proc/sys/net/ipv4/conf/gwlow/arp_ignore", "1"))??;
    lab.server.ip(&["link add link gwlow name gwmac type macvlan mode bridge".into()])?;
    address(lab, "gwmac", "gwfar")?;
    Ok(None)
}

fn vxlan(lab: &Lab) -> Result<Option<Process>> {
    tunnel(lab, "vxlan id 7 dstport 4789 local LOCAL remote REMOTE")
}

const KINDS: [Kind; 5] = [
    Kind {
        name: "veth",
        protected: "gwdev",
        make: |lab| {
            pair(lab, "gwdev", "gwfar")?;
            address(lab, "gwdev", "gwfar")?;
            Ok(None)
        },
    },
    Kind { name: "bridge", protected: "gwbr", make: bridge },
    Kind { name: "a bridge's port", protected: "gwport", make: bridge },
    Kind { name: "macvlan", protected: "gwmac", make: macvlan },
    Kind { name: "vxlan", protected: "gwdev", make: vxlan },
];

/// Makes a device, protects it, and looks whether it is.
fn judges(kind: &Kind) -> Result<()> {
    let lab = Lab::new()?;
    let _kept = (kind.make)(&lab)?;
    let mut gateway = Gateway::prepare(&lab, POLICY, &["--interface", kind.protected, "--driver", "auto"])?;
    gateway.run()?;
    is_judged(&lab, &gateway, kind.protected)?;
    println!("devices: {}: {}", kind.name, gateway.driver(kind.protected)?);
    Ok(())
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn devices_are_protected() -> Result<()> {
    require_lab();
    let _alone = alone();
    for kind in &KINDS {
        judges(kind).with_context(|| kind.name.to_owned())?;
    }
    Ok(())
}

/// What comes in beside the program is told, with what to do: what comes out of a tunnel, and what comes by the device below a macvlan.
#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn what_comes_in_past_the_gate_is_told() -> Result<()> {
    require_lab();
    let _alone = alone();
    const TUNNEL: [&str; 2] =
        ["what comes out of the tunnel gwdev (vxlan) is not judged", "add gwdev to attach.interfaces"];
    const BELOW: [&str; 2] = [
        "what comes by gwlow, the device below gwmac (macvlan), is not judged",
        "name gwlow in attach.interfaces",
    ];
    for (make, protected, told) in [(vxlan as Make, "gwout0", TUNNEL), (macvlan, "gwmac", BELOW)] {
        let lab = Lab::new()?;
        make(&lab)?;
        let mut gateway = Gateway::prepare(&lab, POLICY, &["--interface", protected, "--driver", "auto"])?;
        gateway.run()?;
        let status = gateway.done(&["status"])?;
        ensure!(told.iter().all(|told| status.contains(told)), "{status}");
        let doctor = lab.server.enter(|| gateway.cli(&["doctor", protected]))??;
        let doctor = String::from_utf8_lossy(&doctor.stdout).into_owned();
        ensure!(doctor.contains(told[0]), "{doctor}");
    }
    Ok(())
}

/// What comes in PPPoE or MPLS is not looked into: that is told once some has come.
#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn what_is_encapsulated_is_told() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab, POLICY)?;
    let told = || anyhow::Ok(gateway.done(&["status"])?.contains("packets in PPPoE or MPLS come by"));
    ensure!(!told()?, "it is told before some has come");
    Wire::open(&lab)?.send(&ethernet(0x8864, &[0x11; 46]))?;
    await_that("it is told", PATIENCE, told)
}
