//! The control plane: how soon the real daemon protects, what it takes of the machine, and how fast it answers beside a full
//! table of sources.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use gateway_tests::lab::{Flood, Gateway, Lab, RECEIVER, SENDER, SERVER_V4, Sources, Template};
use gateway_user::kernel::Program;
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::filters::drop_passed;
use crate::spread::Spread;
use crate::subject::gateway;

/// Sources that the large table has room for, and that are tracked.
const MILLION: u32 = 1 << 20;
/// Sources that floods come from to fill it: so many that hardly a set of the table is left with room.
const FORGED: u32 = 1 << 24;
/// How long each flood lasts, how many there are at most, and how many sources are enough.
const FILLING: Duration = Duration::from_secs(4);
const FLOODS: u64 = 15;
const FILLED: u64 = 1_000_000;
/// The port of probes, whose service takes nothing that they say.
const PORT: u16 = 4_433;
/// From one probe to the next.
const PROBES: Duration = Duration::from_micros(200);
/// How long probes go on once the daemon says that it is ready.
const AFTERWARDS: Duration = Duration::from_millis(50);
/// A policy that drops probes.
const ENFORCING: &str = "mode = \"enforce\"\n[[service]]\nname = \"probes\"\nprotocol = \"udp\"\nports = [4433]\nrequire = \"quic\"\n";
/// A policy by which a source owes its packet for an hour, so that the whole table is in use.
const OWING: &str = "mode = \"enforce\"\n[limits]\npackets = \"none\"\nbytes = \"none\"\n\
    udp = { rate = \"10/h\", burst = \"10\" }\n[limits.neighbours]\npackets = \"none\"\n";

/// One figure, and what it is to be below.
struct Figure {
    name: &'static str,
    unit: &'static str,
    spread: Spread,
    bar: Option<f64>,
}

impl Figure {
    fn new(name: &'static str, unit: &'static str, rounds: Vec<f64>) -> Self {
        Self { name, unit, spread: Spread::of(rounds), bar: None }
    }

    const fn below(mut self, bar: f64) -> Self {
        self.bar = Some(bar);
        self
    }

    /// Prints it, and gives it for the file.
    fn row(&self) -> Value {
        let Self { name, unit, spread, bar } = self;
        let decimals = if spread.median < 10.0 { 3 } else { 1 };
        let told = bar.map_or_else(String::new, |bar| {
            format!("below {bar}: {}", if spread.median < bar { "holds" } else { "MISSED" })
        });
        println!("{name:64}{:>32} {unit:4} {told}", spread.text(decimals));
        json!({ "figure": name, "unit": unit, "value": spread.json(), "bar": bar })
    }
}

/// Measures, prints, and gives the figures for the file.
pub(crate) fn measure(quick: bool) -> Result<Value> {
    let (rounds, idle) = if quick { (5, Duration::from_secs(10)) } else { (15, Duration::from_secs(30)) };
    println!("The control plane of the daemon, {rounds} rounds, idle for {} s", idle.as_secs());
    let mut rows = Vec::new();
    for part in [start, at_rest, full] {
        rows.extend(part(rounds, idle)?.iter().map(Figure::row));
    }
    println!();
    Ok(Value::Array(rows))
}

/// From the process's start to the first packet that is dropped, and what of it is the kernel's.
fn start(rounds: usize, _: Duration) -> Result<Vec<Figure>> {
    let [mut enforcing, mut ready, mut maps, mut verifier] = [const { Vec::new() }; 4];
    // The first is the warm-up.
    for round in 0..=rounds {
        let (dropped, answered) = started()?;
        let begun = Instant::now();
        let mut kernel = gateway(vec![1])?;
        let loaded = begun.elapsed();
        kernel.program(Program::Plain)?;
        let verified = begun.elapsed() - loaded;
        if round != 0 {
            enforcing.push(milliseconds(dropped));
            ready.push(milliseconds(answered));
            maps.push(milliseconds(loaded));
            verifier.push(milliseconds(verified));
        }
    }
    Ok(vec![
        Figure::new("start of the process to the first packet dropped", "ms", enforcing).below(150.0),
        Figure::new("start of the process to `GET /readyz` answered", "ms", ready),
        Figure::new("of it, object and maps", "ms", maps),
        Figure::new("of it, the program: the kernel's verifier and compiler", "ms", verifier),
    ])
}

/// Starts a daemon while probes come: when the first was dropped, and when it said that it is ready.
fn started() -> Result<(Duration, Duration)> {
    let lab = Lab::new()?;
    let server = SocketAddr::new(SERVER_V4.into(), PORT);
    let receiver = lab.server.enter(|| UdpSocket::bind(server))?.context("no socket for probes")?;
    receiver.set_nonblocking(true)?;
    let sender = lab.client.enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))?.context("no socket")?;
    sender.connect(server)?;
    let mut gateway = Gateway::prepare(&lab, ENFORCING, &[])?;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let probes = scope.spawn(|| probe(&sender, &receiver, &done));
        let start = Instant::now();
        let begun = gateway.begin().and_then(|()| gateway.wait_ready());
        let answered = start.elapsed();
        thread::sleep(AFTERWARDS);
        done.store(true, Ordering::Relaxed);
        let dropped = probes.join().map_err(|_| anyhow!("the probes panicked"))??;
        begun?;
        let counted = gateway.metrics()?.packets(lab.client_side(), "drop", "");
        ensure!(counted > 0, "the gateway has dropped nothing");
        Ok((dropped.duration_since(start), answered))
    })
}

/// Sends a probe again and again until it is done; when the first was sent of those behind the last that came through.
fn probe(sender: &UdpSocket, receiver: &UdpSocket, done: &AtomicBool) -> Result<Instant> {
    let mut sent = Vec::new();
    let mut missing = 0;
    while !done.load(Ordering::Relaxed) {
        let number = u32::try_from(sent.len())?;
        sent.push(Instant::now());
        // What nobody listens to is answered by ICMP, which the next send tells.
        let _ = sender.send(&number.to_be_bytes());
        thread::sleep(PROBES);
        let mut probe = [0; 4];
        while receiver.recv(&mut probe).is_ok() {
            missing = u32::from_be_bytes(probe) as usize + 1;
        }
    }
    sent.get(missing).copied().context("the last probe still came through")
}

/// What a daemon with an empty policy takes while nothing happens.
fn at_rest(_: usize, idle: Duration) -> Result<Vec<Figure>> {
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab, "")?;
    let cpu = idle_cpu(gateway.pid()?, idle)?;
    let memory = Memory::of(gateway.pid()?)?;
    Ok(vec![
        Figure::new("empty policy: CPU time while idle", "%", cpu).below(0.2),
        Figure::new("empty policy: memory of the process's own", "MiB", vec![memory.own]).below(40.0),
        Figure::new("empty policy: of it, anonymous", "MiB", vec![memory.anonymous]),
        Figure::new("empty policy: tables of the kernel that it has mapped", "MiB", vec![memory.mapped]),
        Figure::new("empty policy: all maps in the kernel", "MiB", vec![memory.maps]),
    ])
}

/// How fast it answers with a million sources in its table, and what that takes.
fn full(rounds: usize, idle: Duration) -> Result<Vec<Figure>> {
    let lab = Lab::new()?;
    let mut gateway = Gateway::prepare(&lab, OWING, &["--sources", &MILLION.to_string()])?;
    gateway.run()?;
    fill(&lab, &gateway)?;
    let scrapes = gateway.scrapes(rounds * 4)?.into_iter().map(milliseconds).collect();
    let mut sources = Vec::new();
    for _ in 0..rounds {
        let start = Instant::now();
        gateway.done(&["sources", "--top", "20"])?;
        sources.push(milliseconds(start.elapsed()));
    }
    let cpu = idle_cpu(gateway.pid()?, idle)?;
    let memory = Memory::of(gateway.pid()?)?;
    Ok(vec![
        Figure::new("a million sources: `GET /metrics`", "ms", scrapes).below(5.0),
        Figure::new("a million sources: `gateway sources --top 20`", "ms", sources).below(50.0),
        Figure::new("a million sources: CPU time while idle", "%", cpu).below(0.2),
        Figure::new("a million sources: memory of the process's own", "MiB", vec![memory.own]),
        Figure::new("a million sources: all maps in the kernel", "MiB", vec![memory.maps]),
    ])
}

/// Floods until the table of sources is full.
fn fill(lab: &Lab, gateway: &Gateway<'_>) -> Result<()> {
    drop_passed(lab)?;
    lab.receive_on(RECEIVER)?;
    let first = Ipv4Addr::new(16, 0, 0, 0);
    let [source, target]: [IpAddr; 2] = [first.into(), SERVER_V4.into()];
    let template = Template::udp(source, target, (4_000, 9), 18)?;
    let mut entries = 0;
    for number in 0..FLOODS {
        let flood = Flood {
            sources: Sources::Ipv4 { first, count: FORGED },
            duration: FILLING,
            cpu: Some(SENDER),
            seed: number << 32,
            ..Flood::new(template.clone())
        };
        lab.flood(&flood)?.wait()?;
        entries = gateway.metrics()?.sum("gateway_table_entries", &[("table", "sources")]);
        if entries >= FILLED {
            return Ok(());
        }
    }
    bail!("only {entries} sources are tracked")
}

/// CPU time of a process that has nothing to do, in percent of the time: of each second.
fn idle_cpu(pid: Pid, idle: Duration) -> Result<Vec<f64>> {
    // What it was asked last is over.
    thread::sleep(Duration::from_secs(2));
    let mut shares = Vec::new();
    let (parts, part) = (5, idle / 5);
    for _ in 0..parts {
        let (before, start) = (cpu_time(pid)?, Instant::now());
        thread::sleep(part);
        let used = cpu_time(pid)?.saturating_sub(before);
        shares.push(used.as_secs_f64() / start.elapsed().as_secs_f64() * 100.0);
    }
    Ok(shares)
}

/// CPU time of all threads of a process.
fn cpu_time(pid: Pid) -> Result<Duration> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).context("the process is gone")? {
        let text = fs::read_to_string(thread?.path().join("schedstat"))?;
        sum += text.split_whitespace().next().and_then(|word| word.parse::<u64>().ok()).unwrap_or_default();
    }
    Ok(Duration::from_nanos(sum))
}

/// Memory of a daemon, in MiB.
struct Memory {
    /// Resident, without the kernel's maps.
    own: f64,
    /// Of it, what is in no file.
    anonymous: f64,
    /// Maps of the kernel that are in its address space.
    mapped: f64,
    /// All of its maps, by the kernel's own account.
    maps: f64,
}

impl Memory {
    fn of(pid: Pid) -> Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps")).context("the process is gone")?;
        let (mut resident, mut anonymous, mut mapped, mut is_map) = (0, 0, 0, false);
        for line in text.lines() {
            match (line.split_once(':'), kilobytes(line)) {
                (Some(("Rss", _)), Some(size)) => {
                    resident += size;
                    mapped += if is_map { size } else { 0 };
                }
                (Some(("Anonymous", _)), Some(size)) => anonymous += size,
                // The head of a mapping ends with its name; all else does with a unit or flags.
                _ if line.contains(" anon_inode:") => is_map = line.ends_with("bpf-map"),
                _ if line.split(' ').next().is_some_and(|range| range.contains('-')) => is_map = false,
                _ => {}
            }
        }
        let mib = |kilobytes: u64| kilobytes as f64 / 1_024.0;
        Ok(Self {
            own: mib(resident - mapped),
            anonymous: mib(anonymous),
            mapped: mib(mapped),
            maps: mib(maps(pid)? / 1_024),
        })
    }
}

/// The number of a line such as `Rss:  12 kB`.
fn kilobytes(line: &str) -> Option<u64> {
    line.strip_suffix(" kB")?.split_whitespace().nth(1)?.parse().ok()
}

/// Bytes of the maps that a process has open, each once.
fn maps(pid: Pid) -> Result<u64> {
    let mut maps = std::collections::BTreeMap::new();
    for file in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // One that was closed meanwhile is none.
        let text = fs::read_to_string(file?.path()).unwrap_or_default();
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|value| value.trim().parse::<u64>().ok())
        };
        if let (Some(id), Some(bytes)) = (field("map_id:"), field("memlock:")) {
            maps.insert(id, bytes);
        }
    }
    Ok(maps.values().sum())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
