//! A limit admits `rate * t + burst`, to the half percent, and never more.

use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::Scale;
use crate::lab::{
    FLOOD_V4, FLOOD_V6, Flood, Flooding, Gateway, Lab, Pace, SERVER_V4, SERVER_V6, Sources, Template,
};

/// A limit, and who comes against it.
struct Case {
    name: &'static str,
    /// The limits on sources as configuration has them.
    limits: &'static str,
    /// Packets or bytes in a second, and at once.
    quota: (f64, f64),
    bytes: bool,
    v6: bool,
    /// Senders, each on a CPU and in a receive queue of its own.
    cpus: usize,
    pace: Pace,
}

const PACKETS: &str = "packets = { rate = \"20k/s\", burst = \"40k\" }\nbytes = \"none\"\n";
const BYTES: &str = "packets = \"none\"\nbytes = { rate = \"100Mbit/s\", burst = \"4MiB\" }\n";
const CASES: [Case; 5] = [
    Case {
        name: "packets, one CPU",
        limits: PACKETS,
        quota: (20_000.0, 40_000.0),
        bytes: false,
        v6: false,
        cpus: 1,
        pace: Pace::Smooth(200_000),
    },
    Case {
        name: "packets, two CPUs",
        limits: PACKETS,
        quota: (20_000.0, 40_000.0),
        bytes: false,
        v6: false,
        cpus: 2,
        pace: Pace::Unlimited,
    },
    Case {
        name: "bytes, one CPU",
        limits: BYTES,
        quota: (12.5e6, 4_194_304.0),
        bytes: true,
        v6: false,
        cpus: 1,
        pace: Pace::Smooth(50_000),
    },
    Case {
        name: "bytes, two CPUs",
        limits: BYTES,
        quota: (12.5e6, 4_194_304.0),
        bytes: true,
        v6: false,
        cpus: 2,
        pace: Pace::Unlimited,
    },
    Case {
        name: "packets, all hosts of an IPv6 /64, two CPUs",
        limits: PACKETS,
        quota: (20_000.0, 40_000.0),
        bytes: false,
        v6: true,
        cpus: 2,
        pace: Pace::Unlimited,
    },
];

/// The share that may be missing.
const TOLERANCE: f64 = 0.005;
/// How long a frame may be under way between the generator's count and the gateway's clock.
const UNDER_WAY: Duration = Duration::from_millis(1);
/// Frames that must be yet to come when time is counted as used: a sender that is held up before its last few frames cannot
/// use what falls due meanwhile. So many use up 50 ms of every limit here.
const TAIL: u64 = 1_000;
/// Senders are at their end when nothing was sent for so long.
const SILENCE: Duration = Duration::from_millis(300);

/// Floods of one source against limits, from one CPU and from two at once.
///
/// # Errors
/// Where a promise is broken, or the lab fails.
pub fn exactness(scale: &Scale) -> Result<()> {
    CASES.iter().try_for_each(|case| one(case, scale.seconds))
}

fn one(case: &Case, seconds: u64) -> Result<()> {
    let lab = Lab::new()?;
    let config = format!(
        "mode = \"enforce\"\n[limits]\n{}syn = \"none\"\nudp = \"none\"\nicmp = \"none\"\n\
         [limits.neighbours]\npackets = \"none\"\nsyn = \"none\"\n",
        case.limits
    );
    // Each sending CPU meets the program in its own queue.
    let queues = case.cpus.to_string();
    lab.server.run("ethtool", &["-L", lab.attack_side(), "rx", &queues])?;
    let gateway = Gateway::start(&lab, &config)?;
    let admitted = || -> Result<u64> {
        let metrics = gateway.metrics()?;
        let count = if case.bytes {
            metrics.bytes(lab.attack_side(), "pass", "ok")
        } else {
            metrics.packets(lab.attack_side(), "pass", "ok")
        };
        Ok(count)
    };
    let before = admitted()?;
    let watched = watch(&lab, case, seconds)?;
    let admitted = (admitted()? - before) as f64;
    let (rate, burst) = case.quota;
    let [least, most] = [watched.least, watched.most].map(|time| rate * time.as_secs_f64() + burst);
    println!(
        "exactness: {}: admitted {admitted} of {:.0}..{:.0} in {:.4}..{:.4} s: {:+.3} %, sent {} ({:.0}/s), {} lost on the way",
        case.name,
        least,
        most,
        watched.least.as_secs_f64(),
        watched.most.as_secs_f64(),
        (admitted / ((least + most) / 2.0) - 1.0) * 100.0,
        watched.sent,
        watched.sent as f64 / watched.most.as_secs_f64(),
        watched.dropped,
    );
    ensure!(admitted <= most + 1.0, "{}: {admitted} were admitted, more than {most}", case.name);
    ensure!(admitted >= least * (1.0 - TOLERANCE), "{}: only {admitted} of {least} were admitted", case.name);
    Ok(())
}

/// Time from the first frame to the last.
struct Watched {
    least: Duration,
    most: Duration,
    sent: u64,
    /// Frames for which the queue to the gateway had no room.
    dropped: u64,
}

fn watch(lab: &Lab, case: &Case, seconds: u64) -> Result<Watched> {
    let flood = flood(case, seconds)?;
    let mut floods = Vec::new();
    let mut start = None;
    for cpu in 0..case.cpus {
        let began = Instant::now();
        let flooding = lab.flood(&Flood { cpu: Some(cpu), seed: cpu as u64, ..flood.clone() })?;
        floods.push(flooding);
        if start.is_none() {
            start = Some(change(&floods, 0, began, Duration::from_secs(5))?.context("nothing is sent")?);
        }
    }
    let (first, mut sent) = start.context("nobody sends")?;
    let mut seen = vec![(first, sent)];
    while let Some((between, now)) = change(&floods, sent, Instant::now(), SILENCE)? {
        sent = now;
        seen.push((between, now));
    }
    let last = seen.last().map_or(first, |(between, _)| *between);
    let used =
        seen.iter().rev().find(|(_, before)| sent - before >= TAIL).map_or(first, |(between, _)| *between);
    let mut dropped = 0;
    for flooding in floods {
        dropped += flooding.wait()?.dropped;
    }
    Ok(Watched { least: used.0 - first.1, most: last.1 + UNDER_WAY - first.0, sent, dropped })
}

/// The frames that senders sent.
fn sum(floods: &[Flooding]) -> Result<u64> {
    floods.iter().map(Flooding::sent).sum()
}

/// Waits until more was sent than `before`: between which times, and how much it is; nothing when it is not in time.
fn change(
    floods: &[Flooding],
    before: u64,
    since: Instant,
    patience: Duration,
) -> Result<Option<((Instant, Instant), u64)>> {
    let start = Instant::now();
    // When it was still `before`.
    let mut asked = since;
    while start.elapsed() < patience {
        let asking = Instant::now();
        let sent = sum(floods)?;
        if sent != before {
            return Ok(Some(((asked, Instant::now()), sent)));
        }
        asked = asking;
        thread::sleep(Duration::from_micros(100));
    }
    Ok(None)
}

fn flood(case: &Case, seconds: u64) -> Result<Flood> {
    let payload = if case.bytes { 1_000 } else { 18 };
    let (source, target): (IpAddr, IpAddr) =
        if case.v6 { (FLOOD_V6.into(), SERVER_V6.into()) } else { (FLOOD_V4.into(), SERVER_V4.into()) };
    let template = Template::udp(source, target, (4_000, 9), payload)?;
    let sources = if case.v6 { Sources::Ipv6Hosts { network: FLOOD_V6 } } else { Sources::Fixed };
    Ok(Flood { sources, pace: case.pace, duration: Duration::from_secs(seconds), ..Flood::new(template) })
}
