//! Interfaces that go, come back, and change their name under a running gateway.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use gateway_tests::lab::{self, Gateway, Lab, PlainListener, alone, await_that, require_lab};
use serde_json::Value;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longer than a handshake takes.
const A_WHILE: Duration = Duration::from_millis(300);
/// The interface, with a dot as a VLAN's has, and its other end.
const NAME: &str = "gwmade.7";
const FAR: &str = "gwfar.7";
const NEAR: Ipv4Addr = Ipv4Addr::new(10, 77, 7, 1);
const BLOCKED: Ipv4Addr = Ipv4Addr::new(10, 77, 7, 2);
const WELCOME: Ipv4Addr = Ipv4Addr::new(10, 77, 7, 3);
const PORT: u16 = 9_100;
const CONFIG: &str = "mode = \"enforce\"\n[lists]\nblock = [\"10.77.7.2\"]\n";

struct Scene<'a> {
    lab: &'a Lab,
    gateway: Gateway<'a>,
}

impl Scene<'_> {
    /// Makes the interface.
    fn make(&self) -> Result<()> {
        make(self.lab)
    }

    /// How the program was attached at last, and why it is not now; nothing if it is.
    fn lost(&self) -> Result<Option<String>> {
        let status: Value = serde_json::from_str(&self.gateway.done(&["status", "--json"])?)?;
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
        println!("{}: told after {:.1} s", word.unwrap_or("protected"), start.elapsed().as_secs_f64());
        Ok(())
    }

    /// The blocked source gets no connection, and another one does.
    fn is_protected(&self) -> Result<()> {
        let server = SocketAddr::new(NEAR.into(), PORT);
        let listener = PlainListener::start(&self.lab.server, server)?;
        let _streams = self
            .lab
            .attacker
            .enter(|| [BLOCKED, WELCOME].map(|source| lab::begin(IpAddr::from(source), server)))?;
        await_that("a stranger is served", PATIENCE, || {
            Ok(lab::established(&self.lab.server, PORT, Some("10.77.7.3"))? == 1)
        })?;
        thread::sleep(A_WHILE);
        let blocked = lab::established(&self.lab.server, PORT, Some("10.77.7.2"))?;
        ensure!(blocked == 0, "who is blocked has {blocked} connections");
        drop(listener);
        Ok(())
    }
}

fn make(lab: &Lab) -> Result<()> {
    lab.server.ip(&[
        format!("link add {NAME} type veth peer name {FAR} netns {}", lab.attacker.name()),
        format!("address add {NEAR}/24 dev {NAME}"),
        format!("link set dev {NAME} up"),
    ])?;
    lab.attacker.ip(&[
        format!("address add {BLOCKED}/24 dev {FAR}"),
        format!("address add {WELCOME}/24 dev {FAR}"),
        format!("link set dev {FAR} up"),
    ])
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn what_becomes_of_an_interface_is_told_and_mended() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    make(&lab)?;
    let mut gateway = Gateway::prepare(&lab, CONFIG, &["--interface", NAME])?;
    gateway.run()?;
    let scene = Scene { lab: &lab, gateway };
    scene.await_state(None)?;
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

/// What has no Ethernet header is refused, and named.
#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn what_cannot_be_judged_is_not_protected() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    lab.server.ip(&["tuntap add gwtun0 mode tun".to_owned()])?;
    let mut gateway = Gateway::prepare(&lab, CONFIG, &["--interface", "gwtun0"])?;
    let Err(error) = gateway.run() else { anyhow::bail!("it starts") };
    let told = error.to_string();
    ensure!(told.contains("gwtun0") && told.contains("no Ethernet header"), "{told}");
    let doctor = lab.server.enter(|| gateway.cli(&["doctor", "gwtun0"]))??;
    let found = String::from_utf8_lossy(&doctor.stdout).into_owned();
    ensure!(found.contains("no Ethernet header"), "{found}");
    Ok(())
}
