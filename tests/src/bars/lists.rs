//! Lists of a million prefixes that change under load.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use ipnet::Ipv4Net;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::blocked::BlockedFlood;
use super::live::during;
use super::{HONEST, Scale};
use crate::lab::{CLIENT_V4, FLOOD_V4, Gateway, Lab, Nginx, Outcome, PrefixMemory, SERVER_V4};

/// Prefixes of a list.
const MILLION: usize = 1_000_000;
/// Reloads that are timed.
const RELOADS: usize = 20;
/// Changes of a limit that are timed.
const CHANGES: usize = 21;
/// Time between two of them.
const APART: Duration = Duration::from_millis(50);
/// The time in which half of them are to be done.
const RELOAD: Duration = Duration::from_secs(1);
/// The most that all prefix sets together may take meanwhile, in MiB.
const MEMORY: f64 = 64.0;
/// Files that a process may have open where nobody says otherwise.
const OPEN_FILES: u64 = 1_024;
/// How long it is looked what honest clients get without a reload.
const QUIET: Duration = Duration::from_secs(5);
/// A port that no service is on.
const BEATEN: u16 = 9_100;
/// Time between two beats.
const BEAT: Duration = Duration::from_millis(1);

/// Reloads between two lists of a million prefixes while honest requests run and a source that both block floods: each is done in
/// time and in little memory, nobody notices, and nothing of the source passes.
///
/// # Errors
/// Where a promise is broken, or the lab fails.
pub fn reload_million(_: &Scale) -> Result<()> {
    let lab = Lab::new()?;
    let nginx = lab.nginx()?;
    lab.silence_attacker()?;
    let lists = [text(0, 32), text(1 << 30, 15)];
    let gateway = with_few_files(|| Gateway::start(&lab, HONEST))?;
    let file = gateway.state("block.txt");
    let reload = |list: &str| {
        fs::write(&file, list)?;
        let start = Instant::now();
        gateway.done(&["reload"])?;
        Ok(start.elapsed())
    };
    gateway.write_config(&format!("{HONEST}[lists]\nblock = [\"file:{}\"]\n", file.display()))?;
    let empty = reload("")?;
    let limit_empty = limit_set(&gateway)?;
    let mut memory = PrefixMemory::default();
    let others = memory.read()?;
    let first = reload(&lists[0])?;
    let flood = BlockedFlood::start(&lab, 50_000)?;
    let quiet = watched(&lab, &nginx, || {
        thread::sleep(QUIET);
        Ok(())
    })?;
    let (mut times, mut peak) = (Vec::new(), 0);
    let busy = watched(&lab, &nginx, || {
        (times, peak) =
            memory.peak(|| (1..=RELOADS).map(|round| reload(&lists[round % 2])).collect::<Result<_>>())?;
        Ok(())
    })?;
    let blocked = flood.stop(&gateway)?;
    times.sort_unstable();
    let (median, most) = (times[RELOADS / 2], times[RELOADS - 1]);
    let memory = peak.saturating_sub(others) as f64 / f64::from(1 << 20);
    println!(
        "reload-million: {:.0?} min, {median:.0?} median, {most:.0?} max of {RELOADS} reloads; {empty:.0?} of nothing, {first:.0?} from \
         nothing; prefix sets took {memory:.1} MiB at most",
        times[0]
    );
    for (when, Watched { outcome, gap }) in [("without reloads", &quiet), ("while reloading", &busy)] {
        println!(
            "reload-million: {when}: {} honest requests, {} failed, median {:.1?}, slowest {:.1?}; longest gap between packets \
             {gap:.1?}",
            outcome.ok,
            outcome.failed,
            outcome.quantile(0.5).unwrap_or_default(),
            outcome.quantile(1.0).unwrap_or_default(),
        );
        ensure!(outcome.failed == 0 && outcome.ok > 0, "honest requests failed: {:?}", outcome.error);
    }
    let (passed, sent) = (blocked.passed, blocked.report.sent);
    println!("reload-million: {passed} of {sent} packets of the blocked source passed");
    let limit = limit_set(&gateway)?;
    println!(
        "reload-million: `limit set` took {limit:.1?} in the median, {limit_empty:.1?} with an empty list"
    );
    blocked.check(&lab, &gateway)?;
    ensure!(memory < MEMORY, "prefix sets took {memory:.1} MiB");
    ensure!(median < RELOAD, "reloads took {median:?}");
    Ok(())
}

/// How long a change of a limit takes, in the median; each once the one before is all over.
fn limit_set(gateway: &Gateway<'_>) -> Result<Duration> {
    let mut times = (1..=CHANGES)
        .map(|kind| {
            thread::sleep(APART);
            let start = Instant::now();
            gateway.done(&["limit", "set", "default", "packets", &format!("{kind}0k/s")])?;
            Ok(start.elapsed())
        })
        .collect::<Result<Vec<_>>>()?;
    times.sort_unstable();
    Ok(times[CHANGES / 2])
}

/// A list of a million prefixes all over IPv4, most of them addresses; where the first is, and how much of the flood's network is
/// among them. It holds no honest address.
fn text(first: u32, flood_length: u8) -> String {
    let flood = Ipv4Net::new_assert(FLOOD_V4, flood_length);
    let mut prefixes = BTreeSet::from([flood]);
    let mut index = first;
    while prefixes.len() < MILLION {
        // A multiplier without common factors goes through all addresses (Knuth, The Art of Computer Programming, 6.4).
        let address = Ipv4Addr::from(index.wrapping_mul(2_654_435_769));
        let length = [24, 22, 20].get(index as usize % 10).copied().unwrap_or(32);
        let prefix = Ipv4Net::new_assert(address, length).trunc();
        if ![CLIENT_V4, SERVER_V4].iter().any(|honest| prefix.contains(honest)) {
            prefixes.insert(prefix);
        }
        index += 1;
    }
    prefixes.iter().map(|prefix| format!("{prefix}\n")).collect()
}

/// Does what starts a process that begins with the usual limit of open files, be this one's higher.
fn with_few_files<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, soft.min(OPEN_FILES), hard)?;
    let worked = work();
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?;
    worked
}

/// What honest clients got.
struct Watched {
    outcome: Outcome,
    /// The longest time between two packets of a client that sends one each millisecond.
    gap: Duration,
}

/// Does some work while honest clients have requests and beats.
fn watched(lab: &Lab, nginx: &Nginx, work: impl FnOnce() -> Result<()>) -> Result<Watched> {
    let listener = lab.server.enter(|| TcpListener::bind((SERVER_V4, BEATEN)))??;
    let mut client = lab.client.enter(|| TcpStream::connect((SERVER_V4, BEATEN)))??;
    client.set_nodelay(true)?;
    let (mut server, _) = listener.accept().context("no client")?;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let done = &done;
        let sending = scope.spawn(move || {
            while !done.load(Ordering::Relaxed) {
                client.write_all(&[0])?;
                thread::sleep(BEAT);
            }
            anyhow::Ok(())
        });
        let receiving = scope.spawn(move || {
            let (mut gap, mut last) = (Duration::ZERO, Instant::now());
            while server.read(&mut [0; 64])? > 0 {
                gap = gap.max(last.elapsed());
                last = Instant::now();
            }
            anyhow::Ok(gap)
        });
        let outcome = during(lab, nginx, work);
        done.store(true, Ordering::Relaxed);
        let panicked = |_| anyhow!("the beats panicked");
        sending.join().map_err(panicked)??;
        let gap = receiving.join().map_err(panicked)??;
        Ok(Watched { outcome: outcome?, gap })
    })
}
