//! Live changes: many at once, of one service alone, and of a program without a daemon.

use std::{
    fmt::Write as _,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream, UdpSocket},
    process::Output,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use gateway_tests::lab::{CLIENT_V4, Gateway, Lab, PlainListener, SERVER_V4, alone, await_that, require_lab};
use serde_json::Value;

const CONFIG: &str = r#"
mode = "enforce"
[[service]]
name = "api"
protocol = "tcp"
ports = [443]
require = "tls"
[[service]]
name = "shop"
protocol = "tcp"
ports = [8443]
require = "tls"
"#;
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";
const PATIENCE: Duration = Duration::from_secs(60);

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat()
}

/// Addresses, and networks, that are nobody's.
fn addresses(count: u32) -> String {
    (0..count).fold(String::new(), |mut text, number| {
        let _ = writeln!(text, "10.{}.{}.{}", number >> 16, number >> 8 & 255, number & 255);
        text
    })
}

fn networks(count: u32) -> String {
    (0..count).fold("# of one feed\n".to_owned(), |mut text, number| {
        let _ = writeln!(
            text,
            "{}.{}.{}.{}/28",
            20 + (number >> 20),
            number >> 12 & 255,
            number >> 4 & 255,
            (number & 15) << 4
        );
        text
    })
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn many_come_and_go_as_one_change() -> Result<()> {
    const COUNT: u32 = 20_000;
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab, CONFIG)?;
    for (what, list) in [("addresses", addresses(COUNT)), ("networks", networks(COUNT))] {
        let began = Instant::now();
        let output = gateway.cli_with(&["block", "add", "-", "--reason", "a feed"], &list)?;
        println!("{COUNT} {what} blocked in {:.1?}", began.elapsed());
        ensure!(
            output.status.success() && said(&output).contains("20000 prefixes blocked"),
            "{}",
            said(&output)
        );
        let blocked = gateway.blocked()?;
        ensure!(blocked.len() == COUNT as usize, "{} of {COUNT} {what}", blocked.len());
        ensure!(blocked[0]["reason"] == "a feed", "{}", blocked[0]);
        let output = gateway.cli_with(&["block", "del", "-"], &format!("{list}192.0.2.77\n"))?;
        ensure!(said(&output).contains("20000 prefixes no longer blocked; 1 were not"), "{}", said(&output));
        ensure!(gateway.blocked()?.is_empty(), "{what} are left");
    }
    let output = gateway.cli_with(&["block", "add", "-"], "192.0.2.1\n192.0.2.1/24\n")?;
    ensure!(output.status.code() == Some(2) && said(&output).contains("line 2"), "{}", said(&output));
    ensure!(gateway.blocked()?.is_empty(), "a list that is wrong changes something");
    // Each of them is on record.
    await_that("all claims are on record", PATIENCE, || {
        let status: Value = gateway.document(&["audit", "status", "--json"])?;
        Ok(status["rows"].as_u64() >= Some(4 * u64::from(COUNT)))
    })?;
    let of_one = gateway.done(&["audit", "query", "--source", "10.0.7.7", "--kind", "ban"])?;
    ensure!(of_one.contains("not banned → banned") && of_one.contains("a feed"), "{of_one}");
    Ok(())
}

/// Whether HTTP without TLS comes through to a port.
fn comes_through(lab: &Lab, listener: &PlainListener, port: u16) -> Result<bool> {
    let server = SocketAddr::from((SERVER_V4, port));
    let mut stream = lab.client.enter(|| TcpStream::connect_timeout(&server, Duration::from_secs(5)))??;
    stream.write_all(REQUEST)?;
    let peer = stream.local_addr()?;
    let end = Instant::now() + Duration::from_secs(1);
    while Instant::now() < end {
        if listener.has(peer, REQUEST) {
            return Ok(true);
        }
        thread::sleep(Duration::from_millis(20));
    }
    stream.set_read_timeout(Some(Duration::from_millis(1)))?;
    let _ = stream.read(&mut [0; 1]);
    Ok(false)
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn one_service_is_tried_while_the_others_enforce() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab, CONFIG)?;
    let listen = |port| PlainListener::start(&lab.server, SocketAddr::from((SERVER_V4, port)));
    let (api, shop) = (listen(443)?, listen(8_443)?);
    gateway.done(&["mode", "monitor", "service/shop", "--for", "5"])?;
    ensure!(gateway.done(&["status"])?.contains("service shop: monitor, reverts in"));
    ensure!(comes_through(&lab, &shop, 8_443)?, "the service that is tried drops");
    ensure!(!comes_through(&lab, &api, 443)?, "the other one does not");
    await_that("the mode reverts", PATIENCE, || Ok(!gateway.done(&["status"])?.contains("service shop")))?;
    ensure!(!comes_through(&lab, &shop, 8_443)?, "it does not drop again");
    let output = gateway.cli(&["mode", "off", "service/nobody"])?;
    ensure!(
        output.status.code() == Some(2) && said(&output).contains("service/api, service/shop"),
        "{}",
        said(&output)
    );
    gateway.done(&["mode", "monitor"])?;
    let output = gateway.cli(&["mode", "enforce", "service/shop"])?;
    ensure!(said(&output).contains("the gateway's mode is monitor"), "{}", said(&output));
    Ok(())
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn a_program_without_its_daemon_is_told_of_and_taken_off() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    let mut gateway = Gateway::start(&lab, CONFIG)?;
    let nowhere = gateway.state("nowhere.sock");
    let nowhere = nowhere.to_str().context("a name")?.to_owned();
    gateway.kill()?;
    let cli = |arguments: &[&str]| lab.server.enter(|| gateway.cli(arguments))?;
    let output = cli(&["status"])?;
    let text = said(&output);
    ensure!(output.status.code() == Some(3), "{text}");
    for interface in lab.interfaces() {
        ensure!(text.contains(&format!("{interface} is still protected: enforce, ")), "{text}");
    }
    let output = cli(&["status", "--json"])?;
    let status: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(
        status["running"] == false && status["protected"].as_array().is_some_and(|all| all.len() == 2),
        "{status}"
    );
    let output = cli(&["stop"])?;
    ensure!(
        output.status.code() == Some(3) && said(&output).contains("gateway stop --detach"),
        "{}",
        said(&output)
    );
    let output = cli(&["stop", "--detach"])?;
    ensure!(output.status.success() && said(&output).contains("was taken off"), "{}", said(&output));
    let output = cli(&["--socket", &nowhere, "status"])?;
    ensure!(
        output.status.code() == Some(3) && !said(&output).contains("still protected"),
        "{}",
        said(&output)
    );
    gateway.run()?;
    gateway.done(&["status"]).map(drop)
}

/// A feed has claims of its own, within its guard, and nobody lifts another's.
#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn a_feed_claims_within_its_guard_and_no_more() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    let guard = "[guard.scanners]\nwidest_ipv4 = 20\nmost = 100\nlongest = \"1d\"\n";
    let gateway = Gateway::start(&lab, &format!("{CONFIG}{guard}"))?;
    let add = |list: &str, time: &str| {
        gateway.cli_with(&["block", "add", "-", "--origin", "scanners", "--for", time], list)
    };
    let output = add("198.51.100.7\n198.51.100.0/24\n", "1h")?;
    ensure!(output.status.success() && said(&output).contains("2 prefixes blocked"), "{}", said(&output));
    for (list, time, key) in [
        ("10.0.0.0/16\n", "1h", "widest_ipv4"),
        (addresses(99).as_str(), "1h", "most"),
        ("192.0.2.9\n", "2d", "longest"),
    ] {
        let output = add(list, time)?;
        ensure!(output.status.code() == Some(1) && said(&output).contains(key), "{key}: {}", said(&output));
    }
    ensure!(gateway.blocked()?.len() == 2, "what was refused is there");
    let claims =
        |origin| Ok::<_, anyhow::Error>(gateway.metrics()?.sum("gateway_claims", &[("origin", origin)]));
    ensure!((claims("scanners")?, claims("operator")?) == (2, 0), "claims of the feed are not counted");
    // By hand as well: each takes back its own.
    gateway.done(&["block", "add", "198.51.100.7"])?;
    let output = gateway.cli(&["block", "del", "198.51.100.7"])?;
    ensure!(said(&output).contains("still blocked: scanners claims it"), "{}", said(&output));
    gateway.done(&["block", "del", "198.51.100.7", "--origin", "scanners"])?;
    let left = gateway.blocked()?;
    ensure!(left.len() == 1 && left[0]["origin"] == "scanners", "{left:#?}");
    // Most of what passes comes from there: a feed that says so is wrong, or somebody else's.
    lab.client.enter(|| -> Result<()> {
        let socket = UdpSocket::bind((CLIENT_V4, 0))?;
        for _ in 0..2_000 {
            socket.send_to(&[7; 10], (SERVER_V4, 9)).ok();
        }
        Ok(())
    })??;
    let output = add(&format!("{CLIENT_V4}\n"), "1h")?;
    ensure!(output.status.code() == Some(1) && said(&output).contains("share"), "{}", said(&output));
    Ok(())
}
