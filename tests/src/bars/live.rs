//! Changes under load: a limit holds at once, and a reload disturbs nobody.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail, ensure};

use super::Scale;
use super::blocked::{BlockedFlood, datagram};
use crate::lab::{FLOOD_V4, Flood, Gateway, Https, Lab, Nginx, Outcome, Pace, SENDER};

/// From when on a new limit must hold after its call.
const IN_FORCE: Duration = Duration::from_millis(100);
/// How long it is measured then, and how often at least.
const MEASURED: Duration = Duration::from_millis(500);
const READINGS: usize = 10;
/// How often a rate that seems to be off is measured again.
const ATTEMPTS: usize = 20;
/// How far off the limit a rate may be that is measured in half a second, in percent.
const TOLERATED: f64 = 5.0;

/// `limit set` while a flood runs, to a higher limit and back: the rate admitted is the new one 100 ms after the call.
///
/// # Errors
/// Where a promise is broken, or the lab fails.
pub fn limit_set(_: &Scale) -> Result<()> {
    let lab = Lab::new()?;
    let config = "mode = \"enforce\"\n[limits]\npackets = { rate = \"20k/s\", burst = \"1k\" }\nudp = \"none\"\n\
        bytes = \"none\"\n[limits.neighbours]\npackets = \"none\"\n";
    let gateway = Gateway::start(&lab, config)?;
    let flooding = lab.flood(&Flood {
        pace: Pace::Smooth(200_000),
        cpu: Some(SENDER),
        runs_first: true,
        duration: Duration::from_secs(120),
        ..Flood::new(datagram()?)
    })?;
    thread::sleep(Duration::from_millis(500));
    for (rate, burst, expected, at_once) in [
        ("50k/s", "4k", 50_000.0, 4_000.0),
        ("10k/s", "1k", 10_000.0, 1_000.0),
        ("80k/s", "8k", 80_000.0, 8_000.0),
    ] {
        let called = Instant::now();
        gateway.done(&["limit", "set", "default", "packets", rate, "--burst", burst])?;
        let took = called.elapsed();
        thread::sleep(IN_FORCE.saturating_sub(called.elapsed()));
        let mut off = f64::INFINITY;
        // A sender that is held up for longer than the burst lasts cannot use all that is his, and readings that are held up blur
        // the slope; a limit that does not hold admits more than it may, and at once.
        for _ in 0..ATTEMPTS {
            let readings = readings(&lab, &gateway, Instant::now() + MEASURED)?;
            let [first, .., last] = readings.as_slice() else { bail!("nothing was read") };
            let (admitted, most) =
                (last.packets - first.packets, expected * (last.answered - first.asked) + at_once);
            ensure!(admitted <= most + 1.0, "{admitted} were admitted at {rate}, and {most} may");
            let admitted = slope(&readings);
            off = (admitted / expected - 1.0) * 100.0;
            println!("limit-set: {rate}: call {took:?}, then {admitted:.0}/s admitted ({off:+.2} %)");
            if off.abs() <= TOLERATED {
                break;
            }
        }
        ensure!(off.abs() <= TOLERATED, "{off} % off the limit of {rate}");
    }
    flooding.stop()?;
    Ok(())
}

/// Packets that were admitted up to some time between two, in seconds.
struct Reading {
    asked: f64,
    answered: f64,
    packets: f64,
}

/// What is admitted from now on until then.
fn readings(lab: &Lab, gateway: &Gateway<'_>, until: Instant) -> Result<Vec<Reading>> {
    let start = Instant::now();
    let mut readings = Vec::new();
    while Instant::now() < until || readings.len() < READINGS {
        let asked = start.elapsed().as_secs_f64();
        let packets = gateway.metrics()?.packets(lab.attack_side(), "pass", "ok") as f64;
        readings.push(Reading { asked, answered: start.elapsed().as_secs_f64(), packets });
        thread::sleep(Duration::from_millis(10));
    }
    Ok(readings)
}

/// Packets admitted in a second: the slope of a line through many readings, so that a pause of the sender does not count double.
fn slope(readings: &[Reading]) -> f64 {
    let points: Vec<_> = readings.iter().map(|one| ((one.asked + one.answered) / 2.0, one.packets)).collect();
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (time, packets) = (mean(|point| point.0), mean(|point| point.1));
    let both: f64 = points.iter().map(|point| (point.0 - time) * (point.1 - packets)).sum();
    let square: f64 = points.iter().map(|point| (point.0 - time).powi(2)).sum();
    both / square
}

/// Reloads between two configurations while honest requests run and a blocked source floods: nobody notices, and a broken
/// file changes nothing.
///
/// # Errors
/// Where a promise is broken, or the lab fails.
pub fn reloads(scale: &Scale) -> Result<()> {
    let lab = Lab::new()?;
    let nginx = lab.nginx()?;
    lab.silence_attacker()?;
    let configs = [config(1), config(2)];
    let gateway = Gateway::start(&lab, &configs[0])?;
    let flood = BlockedFlood::start(&lab, 50_000)?;
    let start = Instant::now();
    let outcome = during(&lab, &nginx, || {
        for round in 1..=scale.reloads as usize {
            gateway.write_config(&configs[round % 2])?;
            gateway.done(&["reload"])?;
        }
        broken(&gateway, &configs[0])
    })?;
    let took = start.elapsed();
    let blocked = flood.stop(&gateway)?;
    let ok = gateway.metrics()?.sum("gateway_config_reloads_total", &[("result", "ok")]);
    println!(
        "reloads: {ok} in {took:?}; {} honest requests, {} failed; {} of {} packets of the blocked source passed",
        outcome.ok, outcome.failed, blocked.passed, blocked.report.sent
    );
    ensure!(ok == u64::from(scale.reloads), "{ok} reloads were counted");
    ensure!(outcome.failed == 0 && outcome.ok > 0, "honest requests failed: {:?}", outcome.error);
    blocked.check(&lab, &gateway)
}

/// A broken file is refused with status 2, and what held before holds.
fn broken(gateway: &Gateway<'_>, good: &str) -> Result<()> {
    let limits = gateway.done(&["limit", "list"])?;
    gateway.write_config("mode = \"enforce\"\n[limits]\npackets = { rate = \"20 parsecs\" }\n")?;
    let ended = gateway.cli(&["reload"])?;
    ensure!(
        ended.status.code() == Some(2),
        "a broken file: {}, {}",
        ended.status,
        String::from_utf8_lossy(&ended.stderr)
    );
    ensure!(gateway.done(&["limit", "list"])? == limits, "a broken file changed limits");
    gateway.write_config(good)
}

/// Honest requests, again and again until `work` is done.
pub(super) fn during(lab: &Lab, nginx: &Nginx, work: impl FnOnce() -> Result<()>) -> Result<Outcome> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let requests = scope.spawn(|| {
            let mut sum = Outcome::default();
            while !done.load(Ordering::Relaxed) {
                sum.add(Https::new(nginx).run(&lab.client, 20)?);
            }
            Ok(sum)
        });
        let worked = work();
        done.store(true, Ordering::Relaxed);
        let outcome = requests.join().map_err(|_| anyhow!("the requests panicked"))?;
        worked.and(outcome)
    })
}

/// One of two configurations, which differ in limits, services and lists, and agree in what is blocked.
fn config(kind: u32) -> String {
    let (ports, other) = if kind == 1 { ("443", "a") } else { ("443, 9000", "b") };
    format!(
        "mode = \"enforce\"\n[limits]\nsyn = {{ rate = \"{kind}0k/s\", burst = \"{kind}0k\" }}\n\
         [limits.neighbours]\nsyn = \"none\"\n\
         [[service]]\nname = \"{other}\"\nprotocol = \"tcp\"\nports = [{ports}]\nrequire = \"tls\"\n\
         total.syn = {{ rate = \"{kind}0k/s\" }}\n\
         [lists]\nblock = [\"{FLOOD_V4}/32\", \"10.{kind}.0.0/16\"]\n"
    )
}
