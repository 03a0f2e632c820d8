//! What a packet costs: the gateway beside a bare drop and other filters. Writes `target/bench.json`.
//!
//! ```text
//! bench [--quick] [--compare FILE] [PART]...
//! ```

#[path = "../bench/bans.rs"]
mod bans;
#[path = "../bench/botnet.rs"]
mod botnet;
#[path = "../bench/compare.rs"]
mod compare;
#[path = "../bench/control.rs"]
mod control;
#[path = "../bench/cookies.rs"]
mod cookies;
#[path = "../bench/cpus.rs"]
mod cpus;
#[path = "../bench/filters.rs"]
mod filters;
#[path = "../bench/gate.rs"]
mod gate;
#[path = "../bench/growth.rs"]
mod growth;
#[path = "../bench/line.rs"]
mod line;
#[path = "../bench/live.rs"]
mod live;
#[path = "../bench/paths.rs"]
mod paths;
#[path = "../bench/prefixes.rs"]
mod prefixes;
#[path = "../bench/record.rs"]
mod record;
#[path = "../bench/runs.rs"]
mod runs;
#[path = "../bench/spread.rs"]
mod spread;
#[path = "../bench/subject.rs"]
mod subject;

use std::fs;
use std::path::Path;
use std::time::{Instant, SystemTime};

use anyhow::{Context as _, Result, bail};
use gateway_tests::lab::missing;
use serde_json::{Map, Value, json};

/// The parts, in their order.
const PARTS: [&str; 12] = [
    "paths", "bans", "prefixes", "gate", "cookies", "growth", "cpus", "programs", "botnet", "filters",
    "control", "record",
];
/// Where the figures go.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bench.json");

fn main() -> Result<()> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    // Before this run's figures take the place of the earlier ones.
    let mut earlier = None;
    if let Some(place) = arguments.iter().position(|argument| argument == "--compare") {
        let file = arguments.drain(place..(place + 2).min(arguments.len())).nth(1);
        earlier = Some(compare::read(Path::new(&file.context("--compare wants a file of figures")?))?);
    }
    let (flags, mut parts): (Vec<&str>, Vec<&str>) =
        arguments.iter().map(String::as_str).partition(|argument| argument.starts_with('-'));
    if let Some(unknown) = flags.iter().find(|flag| **flag != "--quick") {
        bail!("{unknown} is unknown; usage: bench [--quick] [--compare FILE] [{}]...", PARTS.join("|"));
    }
    if let Some(unknown) = parts.iter().find(|part| !PARTS.contains(part)) {
        bail!("there is no part {unknown}; there are {}", PARTS.join(", "));
    }
    if let Some(what) = missing() {
        bail!("the benchmark needs {what}");
    }
    if parts.is_empty() {
        parts = PARTS.to_vec();
    }
    let figures = measure(&parts, !flags.is_empty())?;
    earlier.map_or(Ok(()), |earlier| compare::print(&earlier, &figures))
}

fn measure(parts: &[&str], quick: bool) -> Result<Map<String, Value>> {
    let began = Instant::now();
    let mut document = Map::new();
    document.insert("host".to_owned(), host()?);
    for part in parts {
        let figures = match *part {
            "paths" => runs::measure(if quick { 5 } else { 15 })?,
            "bans" => bans::measure(if quick { 5 } else { 15 })?,
            "prefixes" => prefixes::measure(if quick { 1 } else { 5 })?,
            "gate" => gate::measure(if quick { 5 } else { 15 })?,
            "cookies" => cookies::measure(if quick { 1 } else { 5 })?,
            "programs" => live::programs(if quick { 1 } else { 5 })?,
            "botnet" => botnet::measure(if quick { 3 } else { 15 })?,
            "growth" => growth::measure(if quick { 3 } else { 9 })?,
            "cpus" => cpus::measure(if quick { 5 } else { 15 })?,
            "control" => control::measure(quick)?,
            "record" => record::measure(quick)?,
            _ => live::filters(if quick { 1 } else { 3 })?,
        };
        document.insert((*part).to_owned(), figures);
    }
    let text = serde_json::to_string_pretty(&document)?;
    fs::write(FILE, text + "\n").with_context(|| format!("cannot write {FILE}"))?;
    println!("{:.0} s; all figures are in target/bench.json", began.elapsed().as_secs_f64());
    Ok(document)
}

/// What the figures were measured on: they mean nothing elsewhere.
fn host() -> Result<Value> {
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let load = fs::read_to_string("/proc/loadavg")?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let count = std::thread::available_parallelism()?.get();
    println!("{} x {}, Linux {}, load {}\n", count, model.unwrap_or("?"), kernel.trim(), load.trim());
    Ok(json!({ "cpus": count, "model": model, "kernel": kernel.trim(), "load": load.trim(), "time": now }))
}
