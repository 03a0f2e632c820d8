//! A limit admits `rate * t + burst`, to the half percent, and never more.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use super::Scale;
use crate::lab::{
    FLOOD_V4, FLOOD_V6, Flood, Flooding, Gateway, Lab, Meter, Pace, SERVER_V4, SERVER_V6, Sources, Template,
    run_first,
};

/// A limit, and who comes against it.
struct Case {
    name: &'static str,
    /// The limits as configuration has them.
    limits: &'static str,
    /// Packets or bytes in a second, and at once.
    quota: (f64, f64),
    bytes: bool,
    from: From,
    /// Senders, each on a CPU and in a receive queue of its own.
    cpus: usize,
    pace: Pace,
}

/// Who shares a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    /// One IPv4 source.
    One,
    /// All hosts of an IPv6 /64, which are one source.
    Hosts,
    /// So many sources of one IPv6 /48.
    Networks(u32),
}

const PACKETS: &str = "packets = { rate = \"20k/s\", burst = \"40k\" }\nbytes = \"none\"\n\
    neighbours.packets = \"none\"\n";
const BYTES: &str = "packets = \"none\"\nbytes = { rate = \"100Mbit/s\", burst = \"4MiB\" }\n\
    neighbours.packets = \"none\"\n";
const NEIGHBOURS: &str = "packets = { rate = \"20k/s\", burst = \"40k\" }\nbytes = \"none\"\n\
    neighbours.packets = { rate = \"20k/s\", burst = \"40k\" }\n";
const CASES: [Case; 6] = [
    Case {
        name: "packets, one CPU",
        limits: PACKETS,
        quota: (20_000.0, 40_000.0),
        bytes: false,
        from: From::One,
        cpus: 1,
        pace: Pace::Smooth(200_000),
    },
    Case {
        name: "packets, two CPUs",
        limits: PACKETS,
        quota: (20_000.0, 40_000.0),
        bytes: false,
        from: From::One,
        cpus: 2,
        pace: Pace::Unlimited,
    },
    Case {
        name: "bytes, one CPU",
        limits: BYTES,
        quota: (12.5e6, 4_194_304.0),
        bytes: true,
        from: From::One,
        cpus: 1,
        pace: Pace::Smooth(50_000),
    },
    Case {
        name: "bytes, two CPUs",
        limits: BYTES,
        quota: (12.5e6, 4_194_304.0),
        bytes: true,
        from: From::One,
        cpus: 2,
        pace: Pace::Unlimited,
    },
    Case {
        name: "packets, all hosts of an IPv6 /64, two CPUs",
        limits: PACKETS,
        quota: (20_000.0, 40_000.0),
        bytes: false,
        from: From::Hosts,
        cpus: 2,
        pace: Pace::Unlimited,
    },
    Case {
        name: "packets, 10,000 sources of an IPv6 /48 below their own limits, two CPUs",
        limits: NEIGHBOURS,
        quota: (20_000.0, 40_000.0),
        bytes: false,
        from: From::Networks(10_000),
        cpus: 2,
        pace: Pace::Unlimited,
    },
];

/// The share that may be missing.
const TOLERANCE: f64 = 0.005;
/// How far apart the bounds may be, as a share, before it is measured again: a sender that was held up cannot use all that is
/// his.
const BLUR: f64 = 0.02;
/// How often it is measured at most.
const ATTEMPTS: usize = 3;
/// How long the first frame may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often it is read how far a flood is.
const PAUSE: Duration = Duration::from_millis(1);

/// Floods of one source against limits, from one CPU and from two at once.
///
/// # Errors
/// Where a promise is broken, or the lab fails.
pub fn exactness(scale: &Scale) -> Result<()> {
    for case in &CASES {
        for _ in 0..ATTEMPTS {
            if one(case, scale.seconds)? <= BLUR {
                break;
            }
        }
    }
    Ok(())
}

/// Gives how far apart the bounds were, as a share.
fn one(case: &Case, seconds: u64) -> Result<f64> {
    let lab = Lab::new()?;
    lab.silence_attacker()?;
    let config = format!(
        "mode = \"enforce\"\n[limits]\nneighbours.syn = \"none\"\n{}syn = \"none\"\nudp = \"none\"\nicmp = \"none\"\n",
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
    let Watched { least, most, time, sent, dropped } = watch(&lab, case, seconds)?;
    let admitted = (admitted()? - before) as f64;
    println!(
        "exactness: {}: admitted {admitted} of {least:.0}..{most:.0} in {:.4} s: {:+.3} %, sent {sent} ({:.0}/s), {dropped} lost on the way",
        case.name,
        time.as_secs_f64(),
        (admitted / ((least + most) / 2.0) - 1.0) * 100.0,
        sent as f64 / time.as_secs_f64(),
    );
    ensure!(admitted <= most + 1.0, "{}: {admitted} were admitted, more than {most}", case.name);
    ensure!(admitted >= least * (1.0 - TOLERANCE), "{}: only {admitted} of {least} were admitted", case.name);
    Ok(1.0 - least / most)
}

/// What a limit must have admitted of a flood.
struct Watched {
    least: f64,
    most: f64,
    /// From the first frame to the last, at most.
    time: Duration,
    sent: u64,
    /// Frames for which the queue to the gateway had no room.
    dropped: u64,
}

/// How far a flood was between two moments.
#[derive(Clone, Copy)]
struct Reading {
    asked: Instant,
    answered: Instant,
    /// Frames that senders have sent, those that are known to have started.
    sent: u64,
    /// Frames that the gateway was done with, on the interface.
    judged: u64,
}

fn watch(lab: &Lab, case: &Case, seconds: u64) -> Result<Watched> {
    let flood = flood(case, seconds)?;
    let length = if case.bytes { flood.template.bytes().len() } else { 1 };
    let meter = Meter::open(&lab.server, lab.attack_side())?;
    let mut readings = vec![read(&meter, &[])?];
    let (floods, are_all) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    thread::scope(|scope| {
        let watcher = scope.spawn(|| follow(&meter, &floods, &are_all, &mut readings));
        let started = start(lab, &flood, case.cpus, &floods);
        are_all.store(true, Ordering::Relaxed);
        started.and(watcher.join().map_err(|_| anyhow!("the watcher panicked"))?)
    })?;
    let mut dropped = 0;
    for flooding in floods.into_inner().unwrap_or_else(PoisonError::into_inner) {
        dropped += flooding.wait()?.dropped;
    }
    bounds(case.quota, length as f64, &readings, dropped)
}

/// Starts one flood after the other, each when the one before sends.
fn start(lab: &Lab, flood: &Flood, cpus: usize, floods: &Mutex<Vec<Flooding>>) -> Result<()> {
    let on = |cpu| lab.flood(&Flood { cpu: Some(cpu), seed: cpu as u64, ..flood.clone() });
    // Nobody reads while it starts, so that its first frame is seen.
    let mut first = locked(floods);
    first.push(on(0)?);
    drop(first);
    let start = Instant::now();
    while locked(floods).first().map_or(Ok(0), Flooding::sent)? == 0 {
        ensure!(start.elapsed() < PATIENCE, "nothing is sent");
        thread::sleep(PAUSE);
    }
    for cpu in 1..cpus {
        let flooding = on(cpu)?;
        locked(floods).push(flooding);
    }
    Ok(())
}

/// Reads until all floods are over; before others have the CPU, or they would blur what is read.
fn follow(
    meter: &Meter,
    floods: &Mutex<Vec<Flooding>>,
    are_all: &AtomicBool,
    readings: &mut Vec<Reading>,
) -> Result<()> {
    run_first()?;
    loop {
        let is_over = are_all.load(Ordering::Relaxed) && locked(floods).iter().all(Flooding::is_over);
        readings.push(read(meter, &locked(floods))?);
        if is_over {
            return Ok(());
        }
        thread::sleep(PAUSE);
    }
}

fn locked(floods: &Mutex<Vec<Flooding>>) -> MutexGuard<'_, Vec<Flooding>> {
    floods.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(meter: &Meter, floods: &[Flooding]) -> Result<Reading> {
    let asked = Instant::now();
    let sent = floods.iter().map(Flooding::sent).sum::<Result<u64>>()?;
    let judged = meter.read()?.rx_packets;
    Ok(Reading { asked, answered: Instant::now(), sent, judged })
}

/// The limit admits what falls due from the first frame to the last, and the burst. It need not have admitted what fell due while
/// the burst was whole, nor what is saved at the end: how much that is at most follows from how many frames came when.
fn bounds((rate, burst): (f64, f64), length: f64, readings: &[Reading], dropped: u64) -> Result<Watched> {
    let first = readings.iter().rposition(|one| one.sent == 0).context("the first frame was not seen")?;
    let all = readings.last().map_or(0, |last| last.judged);
    let end = readings.iter().position(|one| one.judged == all).context("the last frame was not seen")?;
    let readings = changes(readings.get(first..=end).context("nothing is sent")?);
    let [start, second, .., last] = readings.as_slice() else { bail!("the flood was over at once") };
    let due = |from: &Reading, to: &Reading| rate * (to.answered - from.asked).as_secs_f64();
    let (mut saved, mut lost) = (burst, 0.0);
    for pair in readings.windows(2) {
        let (came, due) = ((pair[1].judged - pair[0].judged) as f64 * length, due(&pair[0], &pair[1]));
        if pair[0].asked != start.asked {
            lost += (saved + due - burst).max(0.0);
        }
        // Less than a frame may always be left.
        saved = ((saved - came).max(length) + due).min(burst);
    }
    let (time, sure) = (last.answered - start.asked, last.asked.saturating_duration_since(second.answered));
    Ok(Watched {
        least: burst + rate * sure.as_secs_f64() - lost - saved,
        most: burst + rate * time.as_secs_f64(),
        time,
        sent: last.sent,
        dropped,
    })
}

/// Of readings between which nothing came the first and the last: the time that one takes counts for the times on both its sides.
fn changes(readings: &[Reading]) -> Vec<Reading> {
    let mut kept: Vec<Reading> = Vec::new();
    for one in readings {
        if let [.., before, last] = kept.as_slice()
            && [before, last].iter().all(|other| (other.sent, other.judged) == (one.sent, one.judged))
        {
            kept.pop();
        }
        kept.push(*one);
    }
    kept
}

fn flood(case: &Case, seconds: u64) -> Result<Flood> {
    let payload = if case.bytes { 1_000 } else { 18 };
    let (source, target): (IpAddr, IpAddr) = if case.from == From::One {
        (FLOOD_V4.into(), SERVER_V4.into())
    } else {
        (FLOOD_V6.into(), SERVER_V6.into())
    };
    let template = Template::udp(source, target, (4_000, 9), payload)?;
    let sources = match case.from {
        From::One => Sources::Fixed,
        From::Hosts => Sources::Ipv6Hosts { network: FLOOD_V6 },
        From::Networks(count) => Sources::Ipv6Networks { first: FLOOD_V6, count },
    };
    Ok(Flood { sources, pace: case.pace, duration: Duration::from_secs(seconds), ..Flood::new(template) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames of a sender that is paused for some milliseconds from one on, and what a bucket admits of them: ten frames a
    /// millisecond, where one may come.
    fn bounded(pauses: &[(u64, u64)]) -> (f64, Watched) {
        const BURST: f64 = 500.0;
        let base = Instant::now();
        let (mut tokens, mut admitted, mut sent) = (BURST, 0.0, 0);
        let mut readings = Vec::new();
        for millisecond in 0..=3_000 {
            let asked = base + Duration::from_millis(millisecond);
            let answered = asked + Duration::from_micros(50);
            readings.push(Reading { asked, answered, sent, judged: sent });
            tokens = f64::min(tokens + 1.0, BURST);
            if millisecond % 3_000 == 0
                || pauses.iter().any(|(from, long)| (*from..from + long).contains(&millisecond))
            {
                continue;
            }
            sent += 10;
            let taken = tokens.min(10.0).floor();
            (tokens, admitted) = (tokens - taken, admitted + taken);
        }
        (admitted, bounds((1_000.0, BURST), 1.0, &readings, 0).unwrap())
    }

    #[test]
    fn a_paused_sender_is_not_blamed_on_the_limit() {
        for pauses in [
            &[][..],
            &[(1_000, 300)],
            &[(1_000, 800)],
            &[(30, 900)],
            &[(2_700, 299)],
            &[(5, 400), (600, 700), (2_000, 990)],
        ] {
            let (admitted, Watched { least, most, .. }) = bounded(pauses);
            assert!(least <= admitted && admitted <= most + 1.0, "{pauses:?}: {admitted} of {least}..{most}");
            assert!(least > admitted * 0.98, "{pauses:?}: {admitted} of {least}..{most}");
        }
        let (_, Watched { least, most, .. }) = bounded(&[]);
        assert!(1.0 - least / most < BLUR / 2.0, "{least}..{most}");
    }
}
