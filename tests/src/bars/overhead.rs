//! What a flood costs the daemon, which watches it, tells of it and records it: its share of a CPU, and its memory.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::unistd::Pid;

use super::Scale;
use crate::lab::{Flood, Gateway, Lab, Pace, RECEIVER};

/// The daemon's own memory, in KiB, and its share of one CPU.
const MEMORY: u64 = 64 << 10;
const SHARE: f64 = 0.1;
/// Ticks of a CPU in a second: what `sysconf(_SC_CLK_TCK)` says on Linux.
const TICKS: f64 = 100.0;
/// So long it is watched.
const WATCHED: Duration = Duration::from_secs(20);

const CONFIG: &str = "mode = \"enforce\"\n[[service]]\nname = \"api\"\nprotocol = \"tcp\"\nports = [443]\nrequire = \"tls\"\n\
                      total.syn = { rate = \"20k/s\" }\n";

/// The daemon stays small while SYNs come as fast as they are made, from all of 198.18.0.0/15.
///
/// # Errors
/// Where it takes more than is promised, or the lab fails.
pub fn overhead(scale: &Scale) -> Result<()> {
    let lab = Lab::without_answers()?;
    let gateway = Gateway::start(&lab, CONFIG)?;
    lab.receive_on(RECEIVER)?;
    let watched = if *scale == Scale::FULL { WATCHED } else { WATCHED / 10 };
    let flooding = lab.flood(&Flood::forged_syns(Pace::Unlimited, watched + Duration::from_secs(10))?)?;
    thread::sleep(Duration::from_secs(3));
    let (began, before, drops) = (Instant::now(), ticks(gateway.pid()?)?, dropped(&gateway)?);
    thread::sleep(watched);
    let (took, after) = (began.elapsed().as_secs_f64(), ticks(gateway.pid()?)?);
    let rate = (dropped(&gateway)? - drops) as f64 / took;
    let share = (after - before) as f64 / TICKS / took;
    let memory = own_memory(gateway.pid()?)?;
    drop(flooding);
    let events = gateway.rows(&["events", "--json", "--kind", "drop", "--limit", "10000"])?.len();
    println!(
        "overhead: {rate:.0} drops/s; the daemon takes {:.1} % of a CPU and {} MiB of its own; {events} samples are at hand",
        share * 100.0,
        memory >> 10
    );
    ensure!(rate > 10_000.0, "this was no flood: {rate:.0} drops/s");
    ensure!(share <= SHARE, "the daemon takes {:.1} % of a CPU", share * 100.0);
    ensure!(memory <= MEMORY, "the daemon takes {memory} KiB");
    Ok(())
}

fn dropped(gateway: &Gateway<'_>) -> Result<u64> {
    let status = gateway.document(&["status", "--json"])?;
    let rows = status["traffic"].as_array().into_iter().flatten();
    Ok(rows.filter(|row| row["verdict"] == "drop").filter_map(|row| row["packets"].as_u64()).sum())
}

/// User and system time of a process, in ticks: the 14th and 15th field (proc_pid_stat(5)).
fn ticks(process: Pid) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("no name")?;
    let mut times = fields.split_ascii_whitespace().skip(11).map(str::parse::<u64>);
    Ok(times.next().context("no user time")?? + times.next().context("no system time")??)
}

/// Memory that is the process's alone, in KiB: the tables that it shares with the kernel are not in it.
fn own_memory(process: Pid) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).context("no memory")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
