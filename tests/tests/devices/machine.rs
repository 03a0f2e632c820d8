//! Kinds of devices for which it takes a distribution's kernel.

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use gateway_tests::lab::device::{BLOCKED, GATED, NEAR, POLICY, WELCOME, address, pair};
use gateway_tests::lab::{Gateway, Lab, PlainListener, Process, alone, await_that, require_lab};

use super::{Kind, Make, OUTER, judges, outer, tunnel};

const PATIENCE: Duration = Duration::from_secs(60);
/// The port that WireGuard's peers have.
const WIREGUARD: u16 = 51_820;

const KINDS: [Kind; 8] = [
    Kind { name: "VLAN", protected: "gwlow.7", make: vlan },
    Kind { name: "below a VLAN", protected: "gwlow", make: vlan },
    Kind { name: "bond", protected: "gwbond", make: bond },
    Kind { name: "WireGuard", protected: "gwdev", make: wireguard },
    Kind { name: "ppp", protected: "ppp0", make: ppp },
    Kind { name: "ipip", protected: "gwdev", make: |lab| tunnel(lab, "ipip local LOCAL remote REMOTE") },
    Kind { name: "gretap", protected: "gwdev", make: |lab| tunnel(lab, "gretap local LOCAL remote REMOTE") },
    Kind { name: "ipvlan", protected: "gwdev", make: |lab| ipvlan(lab, "l2") },
];

fn vlan(lab: &Lab) -> Result<Option<Process>> {
    pair(lab, "gwlow", "gwfar")?;
    lab.server.ip(&["link add link gwlow name gwlow.7 type vlan id 7".into()])?;
    lab.attacker.ip(&["link add link gwfar name gwfar.7 type vlan id 7".into()])?;
    address(lab, "gwlow.7", "gwfar.7")?;
    Ok(None)
}

fn bond(lab: &Lab) -> Result<Option<Process>> {
    pair(lab, "gwlow", "gwfar")?;
    lab.server.ip(&[
        "link add gwbond type bond mode active-backup miimon 100".into(),
        "link set dev gwlow down".into(),
        "link set dev gwlow master gwbond".into(),
    ])?;
    address(lab, "gwbond", "gwfar")?;
    Ok(None)
}

fn ipvlan(lab: &Lab, mode: &str) -> Result<Option<Process>> {
    pair(lab, "gwlow", "gwfar")?;
    lab.server.ip(&[format!("link add link gwlow name gwdev type ipvlan mode {mode}")])?;
    address(lab, "gwdev", "gwfar")?;
    Ok(None)
}

fn made(lab: &Lab, kind: &str) -> Result<Option<Process>> {
    lab.server.ip(&[format!("link add gwdev type {kind}"), "link set dev gwdev up".to_owned()])?;
    Ok(None)
}

/// Keys by the tool, as an administrator would make them.
fn wireguard(lab: &Lab) -> Result<Option<Process>> {
    outer(lab)?;
    let key = |name: &str| -> Result<(String, String)> {
        let file = format!("/run/gateway-lab-{name}.key");
        let made =
            lab.server.run("sh", &["-c", &format!("umask 077; wg genkey | tee {file} | wg pubkey")])?;
        Ok((file, made.trim().to_owned()))
    };
    let (near, far) = (key("near")?, key("far")?);
    let ends = [
        (&lab.server, &near.0, &far.1, OUTER[1], format!("{BLOCKED}/32,{WELCOME}/32")),
        (&lab.attacker, &far.0, &near.1, OUTER[0], format!("{NEAR}/32")),
    ];
    let port = WIREGUARD.to_string();
    for (namespace, own, peer, address, networks) in ends {
        namespace.ip(&["link add gwdev type wireguard".to_owned()])?;
        let endpoint = format!("{address}:{port}");
        let device = ["set", "gwdev", "listen-port", &port, "private-key", own];
        let peer = ["peer", peer, "allowed-ips", &networks, "endpoint", &endpoint];
        namespace.run("wg", &[&device[..], &peer[..]].concat())?;
        fs::remove_file(own)?;
    }
    address(lab, "gwdev", "gwdev")?;
    Ok(None)
}

/// Two daemons that talk through a pseudoterminal, each in its namespace.
fn ppp(lab: &Lab) -> Result<Option<Process>> {
    const OWN: [&str; 4] = ["local", "noauth", "nodetach", "nocrtscts"];
    let far = format!("ip netns exec {} pppd notty {}", lab.attacker.name(), OWN.join(" "));
    let mut command = Command::new("pppd");
    command.args(OWN).arg(format!("{NEAR}:{BLOCKED}")).args(["pty", &far]);
    let process = lab.server.spawn(&mut command)?;
    await_that("the daemons agree", PATIENCE, || {
        Ok(lab.server.run("ip", &["-brief", "address"])?.contains(&format!("{NEAR} peer {BLOCKED}")))
    })?;
    lab.server.ip(&[format!("route add {WELCOME} dev ppp0")])?;
    lab.attacker.ip(&[format!("address add {WELCOME}/32 dev ppp0")])?;
    Ok(Some(process))
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn devices_of_a_distributions_kernel_are_protected() -> Result<()> {
    require_lab();
    let _alone = alone();
    let mut failed = Vec::new();
    for kind in &KINDS {
        if let Err(error) = judges(kind) {
            failed.push(format!("{}: {error:#}", kind.name));
        }
    }
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

/// What comes in WireGuard's packets is no flood of a peer that the kernel knows.
#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn a_peer_of_wireguard_is_not_held_to_a_sources_limit() -> Result<()> {
    const LENGTH: usize = 1 << 20;
    const LIMIT: &str = "mode = \"enforce\"\n[limits]\npackets = { rate = \"100/s\" }\n";
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    wireguard(&lab)?;
    let mut gateway = Gateway::prepare(&lab, LIMIT, &["--interface", "gwout0"])?;
    gateway.run()?;
    let server = SocketAddr::new(NEAR.into(), GATED);
    let listener = PlainListener::start(&lab.server, server)?;
    let mut stream = lab.attacker.enter(|| TcpStream::connect_timeout(&server, PATIENCE))??;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(&vec![7; LENGTH])?;
    let arrived = || listener.delivered().first().map_or(0, |one| one.total);
    await_that("all of it arrives", PATIENCE, || Ok(arrived() == LENGTH as u64))?;
    let packets = |verdict, reason| anyhow::Ok(gateway.metrics()?.packets("gwout0", verdict, reason));
    let (own, dropped) = (packets("pass", "own_traffic")?, packets("drop", "limit_packets")?);
    println!("devices: below WireGuard: {own} packets above the limit, {dropped} dropped");
    ensure!(own > 100 && dropped == 0, "{own} packets above the limit, {dropped} dropped");
    Ok(())
}

/// Of a GRE device some modes show a program the outer header, and others never get a packet by themselves: they are refused.
#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn what_a_program_would_not_see_is_refused() -> Result<()> {
    require_lab();
    let _alone = alone();
    let refused: [(&str, Make); 4] = [
        ("begin neither", |lab| tunnel(lab, "gre local LOCAL remote REMOTE")),
        ("comes in by another", |lab| made(lab, "dummy")),
        ("comes in by another", |lab| made(lab, "vrf table 7")),
        ("comes in by another", |lab| ipvlan(lab, "l3s")),
    ];
    for (why, make) in refused {
        let lab = Lab::new()?;
        make(&lab)?;
        let mut gateway = Gateway::prepare(&lab, POLICY, &["--interface", "gwdev", "--driver", "auto"])?;
        let Err(error) = gateway.run() else { anyhow::bail!("it starts") };
        let told = error.to_string();
        ensure!(told.contains(why) && told.contains("gwdev"), "{told}");
        println!("devices: {told}");
    }
    Ok(())
}
