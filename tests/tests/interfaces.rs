//! Interfaces that go, come back, and change their name under a running gateway.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use gateway_tests::builder::{flags, ip};
use gateway_tests::lab::device::{self, BLOCKED, GATED, NEAR, POLICY, WELCOME};
use gateway_tests::lab::{
    Attached, Gateway, Lab, PlainListener, Program, Tun, alone, await_that, require_lab,
};
use gateway_user::{kernel::bpf, net};
use serde_json::Value;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// The interface, with a dot as a VLAN's has, and its other end.
const NAME: &str = "gwmade.7";
const FAR: &str = "gwfar.7";
/// A device without an Ethernet header.
const TUN: &str = "gwtun0";

struct Scene<'a> {
    lab: &'a Lab,
    gateway: Gateway<'a>,
}

impl<'a> Scene<'a> {
    /// Makes the interface, and protects it.
    fn begin(lab: &'a Lab) -> Result<Self> {
        make(lab)?;
        let mut gateway = Gateway::prepare(lab, POLICY, &["--interface", NAME])?;
        gateway.run()?;
        let scene = Self { lab, gateway };
        scene.await_state(None)?;
        Ok(scene)
    }

    /// Makes the interface.
    fn make(&self) -> Result<()> {
        make(self.lab)
    }

    /// How the program was attached at last, and why it is not now; nothing if it is.
    fn lost(&self) -> Result<Option<String>> {
        let status: Value = self.gateway.document(&["status", "--json"])?;
        let rows = status["interfaces"].as_array().context("no interfaces")?;
        let row = rows.iter().find(|row| row["name"] == NAME).context("it is not in status")?;
        let why = row["lost"].as_str().map(str::to_owned);
        ensure!(row["attached"] == why.is_none(), "{row}");
        Ok(why)
    }

    /// Waits until all agree that it is protected, or is not for a reason with this word.
    fn await_state(&self, word: Option<&str>) -> Result<()> {
        let start = Instant::now();
        await_that(&format!("protected, but for {word:?}"), PATIENCE, || {
            let lost = self.lost()?;
            let is_told = match word {
                None => lost.is_none(),
                Some(word) => lost.is_some_and(|why| why.contains(word)),
            };
            let gauge = self.gateway.metrics()?.sum("gateway_attached", &[("interface", NAME)]);
            Ok(is_told && gauge == u64::from(word.is_none()) && self.gateway.is_ready()? == word.is_none())
        })
        .with_context(|| self.gateway.log())?;
        if let Some(word) = word {
            let log = self.gateway.log();
            let told = log
                .lines()
                .any(|line| line.contains(&format!("{NAME} is not protected")) && line.contains(word));
            ensure!(told, "the log does not tell of {word:?}: {log}");
        }
        println!("{}: told after {:.1} s", word.unwrap_or("protected"), start.elapsed().as_secs_f64());
        Ok(())
    }

    fn is_protected(&self) -> Result<()> {
        device::is_judged(self.lab, &self.gateway, NAME)
    }
}

fn make(lab: &Lab) -> Result<()> {
    device::pair(lab, NAME, FAR)?;
    device::address(lab, NAME, FAR)
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn what_becomes_of_an_interface_is_told_and_mended() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    let scene = Scene::begin(&lab)?;
    scene.is_protected()?;

    lab.server.ip(&[format!("link delete {NAME}")])?;
    scene.await_state(Some("there is no interface"))?;
    scene.make()?;
    scene.await_state(None)?;
    scene.is_protected()?;

    lab.server.ip(&[format!("link set dev {NAME} down"), format!("link set dev {NAME} name gwother.7")])?;
    scene.await_state(Some("called gwother.7 now"))?;
    lab.server.ip(&[format!("link set dev gwother.7 name {NAME}"), format!("link set dev {NAME} up")])?;
    scene.await_state(None)?;
    scene.is_protected()?;

    lab.server.ip(&[format!("link set dev {NAME} netns {}", lab.client.name())])?;
    scene.await_state(Some("there is no interface"))?;
    lab.client.ip(&[format!("link set dev {NAME} netns {}", lab.server.name())])?;
    lab.server.ip(&[format!("address add {NEAR}/24 dev {NAME}"), format!("link set dev {NAME} up")])?;
    scene.await_state(None)?;
    scene.is_protected()
}

/// Takes the gateway's program off an interface, as a tool with `bpftool link detach` does.
fn take_off(lab: &Lab) -> Result<()> {
    let interface = lab.server.enter(|| net::interface(NAME))??;
    let program = interface.xdp.context("there is no program")?.program_id;
    let link = bpf::find_link(program, interface.index).context("there is no link")?;
    Ok(bpf::detach_link(link.as_fd())?)
}

/// A program that another tool takes off comes back, and what is put in its place is told until it goes.
#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn a_program_that_is_taken_off_comes_back() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    let scene = Scene::begin(&lab)?;

    let start = Instant::now();
    take_off(&lab)?;
    await_that("it is on again", PATIENCE, || Ok(lab.server.enter(|| net::interface(NAME))??.xdp.is_some()))?;
    println!("taken off: on again after {:.1} s", start.elapsed().as_secs_f64());
    scene.await_state(None)?;
    scene.is_protected()?;
    let log = scene.gateway.log();
    ensure!(log.contains(&format!("{NAME} had lost the program")), "{log}");

    // Between the two the gateway may have put its own on again.
    let mut others = None;
    await_that("another program is on it, in another mode", PATIENCE, || {
        take_off(&lab)?;
        others = Attached::generic(&lab.server, Program::Pass, &[NAME]).ok();
        Ok(others.is_some())
    })?;
    scene.await_state(Some("of somebody else is on it"))?;
    drop(others);
    scene.await_state(None)?;
    ensure!(scene.gateway.driver(NAME)? == "native", "it is not in native mode again");
    scene.is_protected()
}

/// Packets without an Ethernet header are judged from the IP header on: who is blocked gets no answer, who shows no hello is not read, and
/// all others are served.
#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn packets_without_an_ethernet_header_are_judged() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    let mut tun = Tun::new(&lab.server, TUN)?;
    lab.server.ip(&[format!("address add {NEAR}/24 dev {TUN}"), format!("link set dev {TUN} up")])?;
    let mut gateway = Gateway::prepare(&lab, POLICY, &["--interface", TUN, "--driver", "auto"])?;
    gateway.run()?;
    let listener = PlainListener::start(&lab.server, SocketAddr::new(NEAR.into(), GATED))?;
    let near = NEAR.to_string();
    let from = |source: Ipv4Addr| ip(&source.to_string(), &near).tcp(40_000, GATED);

    for source in [BLOCKED, WELCOME] {
        tun.send(&from(source).flags(flags::SYN).seq(1_000).packet())?;
    }
    let mut answers = Vec::new();
    await_that("who is not blocked has an answer", PATIENCE, || {
        answers.extend(tun.received()?.into_iter().filter(|packet| packet.get(33) == Some(&0x12)));
        Ok(!answers.is_empty())
    })?;
    ensure!(answers.iter().all(|answer| answer[16..20] == WELCOME.octets()), "{answers:?}");
    let sequence = u32::from_be_bytes(*answers[0][24..].first_chunk().context("a sequence number")?);
    let ack = from(WELCOME).seq(1_001).ack(sequence.wrapping_add(1));
    tun.send(&ack.clone().flags(flags::ACK).packet())?;
    tun.send(&ack.flags(flags::ACK | flags::PSH).payload(b"GET / HTTP/1.1\r\n\r\n").packet())?;
    let dropped = |reason| anyhow::Ok(gateway.metrics()?.packets(TUN, "drop", reason));
    await_that("plaintext is dropped", PATIENCE, || Ok(dropped("plaintext_http")? == 1))?;
    ensure!(dropped("block_listed")? == 1);
    let read: usize = listener.delivered().iter().map(|one| one.bytes.len()).sum();
    ensure!(read == 0, "{read} bytes are read");
    let doctor = lab.server.enter(|| gateway.cli(&["doctor", TUN]))??;
    let found = String::from_utf8_lossy(&doctor.stdout).into_owned();
    ensure!(found.contains("gateway_bare"), "{found}");
    Ok(())
}

/// What cannot be judged is refused, and named.
#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn what_cannot_be_judged_is_not_protected() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    let mut gateway = Gateway::prepare(&lab, POLICY, &["--interface", "lo"])?;
    let Err(error) = gateway.run() else { anyhow::bail!("it starts") };
    let told = error.to_string();
    ensure!(told.contains("lo is the host's own loopback"), "{told}");
    let doctor = lab.server.enter(|| gateway.cli(&["doctor", "lo"]))??;
    let found = String::from_utf8_lossy(&doctor.stdout).into_owned();
    ensure!(found.contains("lo is the host's own loopback"), "{found}");
    Ok(())
}

/// Of a bridge and its only port, the port is protected, and each packet is charged once; of one with another port that is not named, neither is.
#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn a_bridge_and_its_port_judge_a_packet_once() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    make(&lab)?;
    lab.server.ip(&[
        format!("address delete {NEAR}/24 dev {NAME}"),
        "link add gwbr0 type bridge".to_owned(),
        format!("link set dev {NAME} master gwbr0"),
        format!("address add {NEAR}/24 dev gwbr0"),
        "link set dev gwbr0 up".to_owned(),
    ])?;
    // The bridge's port forwards at once without the spanning tree.
    let mut gateway = Gateway::prepare(&lab, POLICY, &["--interface", "gwbr0", "--interface", NAME])?;
    gateway.run()?;
    let status: Value = gateway.document(&["status", "--json"])?;
    let rows = status["interfaces"].as_array().context("no interfaces")?;
    let has = |name| rows.iter().any(|row| row["name"] == name);
    ensure!(has(NAME) && !has("gwbr0"), "gwbr0 or {NAME}");
    ensure!(
        status["warnings"].to_string().contains("gwbr0: the program is not put on it"),
        "{}",
        status["warnings"]
    );
    let scene = Scene { lab: &lab, gateway };
    scene.is_protected()?;
    drop(scene);

    lab.server.ip(&[
        "link add gwdum0 type veth peer name gwdum1".to_owned(),
        "link set dev gwdum0 master gwbr0".to_owned(),
    ])?;
    let mut gateway = Gateway::prepare(&lab, POLICY, &["--interface", NAME, "--interface", "gwbr0"])?;
    let Err(error) = gateway.run() else { anyhow::bail!("it starts") };
    ensure!(error.to_string().contains("name all of its ports instead"), "{error:#}");
    Ok(())
}
