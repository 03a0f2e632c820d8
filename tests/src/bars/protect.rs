//! Protection without a gap, and counters without one.

use std::io::{Read as _, Write as _};
use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::blocked::BlockedFlood;
use super::{HONEST, Scale};
use crate::lab::{
    FLOOD_V4, Flood, Gateway, Interface, Lab, Nginx, Pace, Process, SERVER_V4, Sources, Template,
};

/// How long an answer may take, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(20);

/// A blocked source floods while the daemon is killed and started again: no packet passes, and a TLS connection goes on.
///
/// # Errors
/// Where a promise is broken, or the lab fails.
pub fn kill_and_restart(_: &Scale) -> Result<()> {
    let lab = Lab::new()?;
    let nginx = lab.nginx()?;
    let config = format!("{HONEST}[lists]\nblock = [\"{FLOOD_V4}/32\"]\n");
    let mut gateway = Gateway::start(&lab, &config)?;
    lab.silence_attacker()?;
    let mut connection = Connection::open(&lab, &nginx)?;
    connection.request()?;
    let flood = BlockedFlood::start(&lab, 100_000)?;
    thread::sleep(Duration::from_millis(500));
    gateway.kill()?;
    thread::sleep(Duration::from_millis(500));
    connection.request().context("after the kill")?;
    for _ in 0..3 {
        gateway.run()?;
        connection.request().context("after a restart")?;
        gateway.kill()?;
    }
    gateway.run()?;
    let blocked = flood.stop(&gateway)?;
    connection.request().context("at the end")?;
    println!(
        "kill: {} of {} packets of the blocked source passed, {} dropped; the connection goes on",
        blocked.passed, blocked.report.delivered, blocked.counted
    );
    ensure!(gateway.log().contains("taken over"), "the tables were not taken over: {}", gateway.log());
    blocked.check(&lab, &gateway)
}

/// A TLS connection that stays open between requests.
struct Connection {
    process: Process,
    answers: Receiver<Vec<u8>>,
}

impl Connection {
    fn open(lab: &Lab, nginx: &Nginx) -> Result<Self> {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-quiet", "-connect", &format!("{SERVER_V4}:443")]);
        command.arg("-CAfile").arg(nginx.certificate());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = lab.client.spawn(&mut command)?;
        let mut output = process.child.stdout.take().context("no pipe from openssl")?;
        let (sender, answers) = mpsc::channel();
        thread::spawn(move || {
            let mut buffer = [0; 4_096];
            while let Ok(length @ 1..) = output.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Ok(Self { process, answers })
    }

    /// Asks, and waits for the whole answer.
    fn request(&mut self) -> Result<()> {
        let input = self.process.child.stdin.as_mut().context("no pipe to openssl")?;
        input.write_all(b"GET / HTTP/1.1\r\nHost: gateway.test\r\n\r\n")?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\nok\n") {
            let more = self.answers.recv_timeout(PATIENCE);
            answer.extend(more.context("the connection does not answer")?);
        }
        Ok(())
    }
}

/// Each frame of a flood is counted once, whatever its verdict, and promtool takes the page.
///
/// # Errors
/// Where a promise is broken, or the lab fails.
pub fn metrics(_: &Scale) -> Result<()> {
    const FRAMES: u64 = 500_000;
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab, &format!("{HONEST}[lists]\nblock = [\"198.18.0.0/20\"]\n"))?;
    lab.silence_attacker()?;
    let side = lab.attack_side();
    let (before, interface) = (gateway.metrics()?, Interface::read(&lab.server, side)?);
    let [source, target]: [IpAddr; 2] = [FLOOD_V4.into(), SERVER_V4.into()];
    let template = Template::syn(source, target, (4_000, 443))?;
    let length = template.bytes().len() as u64;
    let flood = Flood {
        sources: Sources::Ipv4 { first: FLOOD_V4, count: 1 << 14 },
        frames: Some(FRAMES),
        pace: Pace::Bursts(250_000),
        ..Flood::new(template)
    };
    let report = lab.flood(&flood)?.wait()?;
    let (after, received) = (gateway.metrics()?, Interface::read(&lab.server, side)?);
    let received = received.rx_packets - interface.rx_packets;
    let packets =
        |verdict, reason| after.packets(side, verdict, reason) - before.packets(side, verdict, reason);
    let bytes = after.bytes(side, "", "") - before.bytes(side, "", "");
    let all = packets("", "");
    println!(
        "metrics: {} delivered, {received} received, {all} counted: {} passed, {} block_listed, {} of other reasons",
        report.delivered,
        packets("pass", ""),
        packets("drop", "block_listed"),
        packets("drop", "") - packets("drop", "block_listed"),
    );
    ensure!(all == report.delivered, "{all} of {} frames are counted", report.delivered);
    ensure!(bytes == all * length, "{bytes} bytes for {all} frames of {length}");
    promtool(after.text())
}

/// What Prometheus says of a page.
fn promtool(page: &str) -> Result<()> {
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start promtool (`cargo xtask setup --lab` installs it)")?;
    child.stdin.take().context("no pipe to promtool")?.write_all(page.as_bytes())?;
    let ended = child.wait_with_output()?;
    let said = [ended.stdout, ended.stderr].concat();
    ensure!(ended.status.success(), "promtool: {}", String::from_utf8_lossy(&said));
    println!("metrics: promtool accepts the page");
    Ok(())
}
