//! A network whose sources are over their limits shares one budget, until the pressure is gone.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::Scale;
use crate::lab::{Flood, Flooding, Gateway, Lab, Pace, SERVER_V4, SERVER_V6, Sources, Template};

/// Datagrams that a source may send in a second, and at once.
const RATE: f64 = 100.0;
const BURST: f64 = 200.0;
/// Sources of the network that floods, and what each sends in a second.
const SOURCES: u32 = 64;
const EACH: u64 = 300;
/// The network that floods, a source of it, and one of the network beside it.
const NETWORK: &str = "198.18.7.0/24";
const FIRST: Ipv4Addr = Ipv4Addr::new(198, 18, 7, 64);
const OTHER: Ipv4Addr = Ipv4Addr::new(198, 18, 8, 7);
/// The same of IPv6, where each /64 is a source.
const NETWORK_V6: &str = "2001:2:0:700::/56";
const FIRST_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 2, 0, 0x740, 0, 0, 0, 1);
/// How long a network may take to escalate: a look a second, after each source has used up its burst.
const ESCALATES: Duration = Duration::from_secs(15);
/// And to be released, after the flood.
const RELEASES: Duration = Duration::from_secs(60);
/// The metric that counts networks that have escalated.
const ESCALATED: &str = "gateway_escalated_neighbourhoods";
/// How long a sender may take to use up what its limit admits at once.
const SETTLES: Duration = Duration::from_secs(1);
/// How long is measured.
const MEASURED: Duration = Duration::from_secs(4);
/// How often is measured at most.
const TRIES: u32 = 3;
/// The share by which rates may be off.
const TOLERANCE: f64 = 0.1;

/// 64 sources of one /24 flood, each above its limit: at first each has its own, then all share one. A source of the network
/// beside it is held to its own limit all the time. After the flood the network is released.
///
/// # Errors
/// Where a promise is broken, or the lab fails.
pub fn escalation(_: &Scale) -> Result<()> {
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab, &config(true))?;
    // The first look says nothing.
    thread::sleep(Duration::from_secs(2));
    let began = Instant::now();
    let flooding = flood(&lab, FIRST, SOURCES, EACH * u64::from(SOURCES), 0)?;
    let apart = await_count(&gateway, "ipv4", 1, ESCALATES)?;
    let took = began.elapsed();
    let own = f64::from(SOURCES) * BURST;
    ensure!(
        apart as f64 >= own,
        "{apart} datagrams were admitted before, and each source's burst makes {own}"
    );
    let shared = settled(&lab, &gateway, RATE)?;
    println!("escalation: {apart} datagrams admitted until it escalated after {took:.2?}, then {shared}/s");
    ensure!(shared.is_about(RATE), "{shared}/s of the network were admitted, and one source may {RATE}");
    let row = row_of(&gateway, NETWORK)?.context("`gateway sources` does not show the network")?;
    ensure!(row["drops"].as_u64() > Some(0) && row["class"] == "default", "{row}");
    let both = flood(&lab, OTHER, 1, EACH, 1)?;
    // Its burst.
    thread::sleep(Duration::from_secs(3));
    let rates = settled(&lab, &gateway, 2.0 * RATE)?;
    println!("escalation: with a source of the network beside it {rates}/s");
    ensure!(rates.is_about(2.0 * RATE), "{rates}/s were admitted, and both together may {}", 2.0 * RATE);
    for flooding in [flooding, both] {
        flooding.stop()?;
    }
    let ended = Instant::now();
    ipv6(&lab, &gateway)?;
    await_count(&gateway, "ipv4", 0, RELEASES)?;
    println!("escalation: released {:.1?} after the flood", ended.elapsed());
    await_count(&gateway, "ipv6", 0, RELEASES)?;
    for words in ["own limits → shared limit", "shared limit → own limits"] {
        ensure!(gateway.log().contains(&format!("{NETWORK}: ")) && gateway.log().contains(words), "{words}");
    }
    again(&lab, &gateway)
}

/// The same of 64 sources of one /56.
fn ipv6(lab: &Lab, gateway: &Gateway<'_>) -> Result<()> {
    let [source, target]: [IpAddr; 2] = [FIRST_V6.into(), SERVER_V6.into()];
    let flooding = lab.flood(&Flood {
        sources: Sources::Ipv6Networks { first: FIRST_V6, count: SOURCES },
        pace: Pace::Bursts(EACH * u64::from(SOURCES)),
        duration: Duration::from_secs(120),
        ..Flood::new(Template::udp(source, target, (4_000, 9), 18)?)
    })?;
    await_count(gateway, "ipv6", 1, ESCALATES)?;
    let shared = settled(lab, gateway, RATE)?;
    println!("escalation: of 64 sources of a /56 {shared}/s");
    ensure!(shared.is_about(RATE), "{shared}/s of the network were admitted, and one source may {RATE}");
    ensure!(row_of(gateway, NETWORK_V6)?.is_some(), "`gateway sources` does not show {NETWORK_V6}");
    flooding.stop()?;
    Ok(())
}

/// The switch: while it is off each source has its own limits, whatever it sends.
fn again(lab: &Lab, gateway: &Gateway<'_>) -> Result<()> {
    gateway.write_config(&config(false))?;
    gateway.done(&["reload"])?;
    let flooding = flood(lab, FIRST, SOURCES, EACH * u64::from(SOURCES), 0)?;
    thread::sleep(Duration::from_secs(4));
    let (began, before) = (Instant::now(), flooding.sent()?);
    let rates = rate(lab, gateway)?;
    // On a busy machine the sources come to less than they may send.
    let sent = (flooding.sent()? - before) as f64 / began.elapsed().as_secs_f64();
    let all = (f64::from(SOURCES) * RATE).min(sent);
    println!("escalation: without it {rates}/s of {all:.0}/s");
    ensure!(rates.is_about(all), "{rates}/s were admitted, and all sources together may {all:.0}");
    flooding.stop()?;
    ensure!(count(gateway, "ipv4")? == 0, "it escalated all the same");
    Ok(())
}

fn config(escalate: bool) -> String {
    format!(
        "mode = \"enforce\"\n[limits]\nudp = {{ rate = \"{RATE}/s\", burst = \"{BURST}\" }}\n\
         [limits.neighbours]\nescalate = {escalate}\n"
    )
}

fn flood(lab: &Lab, first: Ipv4Addr, count: u32, pace: u64, seed: u64) -> Result<Flooding> {
    let [source, target]: [IpAddr; 2] = [first.into(), SERVER_V4.into()];
    lab.flood(&Flood {
        sources: Sources::Ipv4 { first, count },
        pace: Pace::Bursts(pace),
        duration: Duration::from_secs(120),
        seed,
        ..Flood::new(Template::udp(source, target, (4_000, 9), 18)?)
    })
}

/// Waits until so many networks of a family have escalated; what was admitted until then, by the same page.
fn await_count(gateway: &Gateway<'_>, family: &str, expected: u64, patience: Duration) -> Result<u64> {
    let start = Instant::now();
    loop {
        let metrics = gateway.metrics()?;
        if metrics.sum(ESCALATED, &[("family", family)]) == expected {
            let admitted = metrics.sum("gateway_packets_total", &[("verdict", "pass"), ("reason", "ok")]);
            let status: Value = serde_json::from_str(&gateway.done(&["status", "--json"])?)?;
            ensure!(status["escalated"][family] == expected, "status says {}", status["escalated"]);
            return Ok(admitted);
        }
        if start.elapsed() > patience {
            bail!("not {expected} networks after {patience:?}; the log: {}", gateway.log());
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn count(gateway: &Gateway<'_>, family: &str) -> Result<u64> {
    Ok(gateway.metrics()?.sum(ESCALATED, &[("family", family)]))
}

/// Datagrams in a second: each count was taken at some time while the daemon was asked for it.
struct Rate {
    least: f64,
    most: f64,
}

impl Rate {
    fn is_about(&self, expected: f64) -> bool {
        self.least <= expected * (1.0 + TOLERANCE) && self.most >= expected * (1.0 - TOLERANCE)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:.1} to {:.1}", self.least, self.most)
    }
}

/// The same, measured again if the machine stood still for longer than a burst: what was not sent then was not admitted
/// either.
fn settled(lab: &Lab, gateway: &Gateway<'_>, expected: f64) -> Result<Rate> {
    for _ in 1..TRIES {
        let rate = rate(lab, gateway)?;
        if rate.is_about(expected) || rate.least > expected {
            return Ok(rate);
        }
        println!("escalation: {rate}/s, measured again");
    }
    rate(lab, gateway)
}

/// Datagrams admitted in a second, once the burst is used up.
fn rate(lab: &Lab, gateway: &Gateway<'_>) -> Result<Rate> {
    let read = || -> Result<(Instant, u64, Instant)> {
        let asked = Instant::now();
        let admitted = gateway.metrics()?.packets(lab.attack_side(), "pass", "ok");
        Ok((asked, admitted, Instant::now()))
    };
    thread::sleep(SETTLES);
    let first = read()?;
    thread::sleep(MEASURED);
    let last = read()?;
    let admitted = (last.1 - first.1) as f64;
    let [longest, shortest] = [last.2 - first.0, last.0 - first.2].map(|time| time.as_secs_f64());
    Ok(Rate { least: admitted / longest, most: admitted / shortest })
}

/// The row of a source in `gateway sources`.
fn row_of(gateway: &Gateway<'_>, name: &str) -> Result<Option<Value>> {
    let document: Value = serde_json::from_str(&gateway.done(&["sources", "--by", "drops", "--json"])?)?;
    let rows = document["sources"].as_array().context("no sources")?;
    Ok(rows.iter().find(|row| row["source"] == name).cloned())
}
