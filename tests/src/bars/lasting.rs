//! Connections that were there before the gateway, or that it has not heard of for long, go on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::{GATED, HONEST, Scale};
use crate::builder::hello;
use crate::lab::{
    BEHIND_V4, Behind, ByHand, FLOOD_V4, Flood, Gateway, Lab, Namespace, PlainListener, SERVER_V4, SERVER_V6,
    Sources, Template, Wire,
};

/// What connections say before the gateway is there, and after.
const BEFORE: &[u8] = b"before the gateway";
const AFTER: &[u8] = b", and after";
/// How long segments may be under way.
const PATIENCE: Duration = Duration::from_secs(20);
/// Sequence number of the first SYN, away from where it wraps.
const ISN: u32 = 1_000_000;
/// What floods send is dropped behind the gate: the server's answers are not what is measured.
const QUIET: &str = "add table inet lab; add chain inet lab quiet { type filter hook prerouting priority raw; }; \
    add rule inet lab quiet ip saddr 198.18.0.0/15 drop";

/// A crowd of plaintext connections, more than a process has files, that were there before the gateway: all go on. One
/// that had said nothing yet must speak TLS.
///
/// # Errors
/// Where a promise is broken, or the lab fails.
pub fn crowd(scale: &Scale) -> Result<()> {
    let lab = Lab::new()?;
    let wire = Wire::open(&lab)?;
    let remotes = [SERVER_V4.into(), SERVER_V6.into()].map(|ip| SocketAddr::new(ip, GATED));
    let mut listeners = Vec::new();
    let mut crowd = Vec::new();
    for (family, remote) in remotes.into_iter().enumerate() {
        listeners.push(PlainListener::start(&lab.server, remote)?);
        for number in 0..scale.crowd / remotes.len() {
            crowd.push(opened(&wire, number + family * scale.crowd, remote)?);
        }
    }
    let silent = opened(&wire, 2 * scale.crowd, remotes[0])?;
    silent.forget()?;
    crowd.iter().try_for_each(|one| one.write(0, BEFORE))?;
    settle(&listeners, crowd.len(), BEFORE.len())?;
    let _gateway = Gateway::start(&lab, HONEST)?;
    let behind = BEFORE.len() as i32;
    crowd.iter().try_for_each(|one| one.write(behind, AFTER))?;
    silent.write(0, BEFORE)?;
    let start = Instant::now();
    let all = BEFORE.len() + AFTER.len();
    let settled = settle(&listeners, crowd.len(), all);
    let delivered: Vec<_> = listeners.iter().flat_map(PlainListener::delivered).collect();
    let whole = delivered.iter().filter(|one| one.bytes == [BEFORE, AFTER].concat() && !one.closed).count();
    println!("crowd: {whole} of {} connections went on in {:?}", crowd.len(), start.elapsed());
    settled?;
    ensure!(whole == crowd.len(), "{} connections were cut", crowd.len() - whole);
    let heard = delivered.iter().find(|one| one.peer == silent.local).context("no silent connection")?;
    ensure!(heard.total == 0, "{} bytes of plaintext came of who had said nothing before", heard.total);
    Ok(())
}

/// A connection by hand from an address of its own.
fn opened(wire: &Wire, number: usize, remote: SocketAddr) -> Result<ByHand<'_>> {
    let [a, b, high, low] = (number as u32).to_be_bytes();
    let ip = if remote.is_ipv4() {
        IpAddr::V4(Ipv4Addr::new(10, 78 + b, high, low))
    } else {
        let [upper, lower] = [u16::from_be_bytes([a, b]), u16::from_be_bytes([high, low])];
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x78, upper, lower, 0, 0, 9))
    };
    let mut one = ByHand::new(wire, SocketAddr::new(ip, 40_000), remote, ISN);
    one.connect()?;
    Ok(one)
}

/// Waits until so many connections have delivered so many bytes.
fn settle(listeners: &[PlainListener], connections: usize, bytes: usize) -> Result<()> {
    let start = Instant::now();
    loop {
        let delivered = listeners.iter().flat_map(PlainListener::delivered);
        let there = delivered.filter(|one| one.total >= bytes as u64).count();
        if there >= connections {
            return Ok(());
        }
        ensure!(
            start.elapsed() < PATIENCE,
            "only {there} of {connections} connections delivered {bytes} bytes"
        );
        thread::sleep(Duration::from_millis(100));
    }
}

/// Two connections to one server: an honest one that is idle, and one of an attacker who has shown half a hello.
struct Pair<'a> {
    place: &'static str,
    listener: PlainListener,
    honest: ByHand<'a>,
    /// Where the honest stream goes on.
    position: i32,
    attacker: ByHand<'a>,
}

impl<'a> Pair<'a> {
    fn open(wire: &'a Wire, place: &'static str, space: &Namespace, address: Ipv4Addr) -> Result<Self> {
        let remote = SocketAddr::new(address.into(), GATED);
        let listener = PlainListener::start(space, remote)?;
        let stream = hello::tls13("api.example.org");
        let honest = opened(wire, 0, remote)?;
        honest.write(0, &stream)?;
        let position = stream.len() as i32;
        honest.acknowledged(position)?;
        let attacker = opened(wire, 1, remote)?;
        attacker.write(0, &stream[..3])?;
        attacker.acknowledged(3)?;
        Ok(Self { place, listener, honest, position, attacker })
    }

    /// Sends on both; says whether the honest one was heard, and whether the attacker was.
    fn go_on(&mut self) -> Result<(bool, bool)> {
        let hello = hello::tls13("api.example.org");
        self.honest.write(self.position, AFTER)?;
        self.position += AFTER.len() as i32;
        for start in [3, -3, -8] {
            let lead = if start < 0 { &hello[..(3 - start) as usize] } else { &[] };
            self.attacker.write(start, &[lead, BEFORE].concat())?;
        }
        thread::sleep(Duration::from_millis(300));
        let delivered = self.listener.delivered();
        let total = |one: &ByHand<'_>| {
            delivered.iter().find(|other| other.peer == one.local).map_or(0, |other| other.total)
        };
        let went_on = total(&self.honest) == self.position as u64;
        Ok((went_on, total(&self.attacker) > 3))
    }
}

/// Idle connections, while SYNs and then hellos of others fill the gate's table: they go on. Whoever had shown half a hello
/// before cannot go on with plaintext after.
///
/// Connections to another host have no socket here to ask, so spoofed hellos that pass for connections may push them out.
///
/// # Errors
/// Where a promise is broken, or the lab fails.
pub fn idle(scale: &Scale) -> Result<()> {
    let lab = Lab::new()?;
    let behind = Behind::new(&lab)?;
    let wire = Wire::open(&lab)?;
    let gateway = Gateway::start(&lab, HONEST)?;
    lab.server.run("nft", &[QUIET])?;
    let mut pairs = [
        Pair::open(&wire, "here", &lab.server, SERVER_V4)?,
        Pair::open(&wire, "behind", &behind.namespace, BEHIND_V4)?,
    ];
    let mut broken = Vec::new();
    for kind in ["SYNs", "hellos"] {
        let start = Instant::now();
        let sent = floods(&lab, kind, scale.flood)?;
        thread::sleep(Duration::from_secs(scale.idle_seconds).saturating_sub(start.elapsed()));
        let metrics = gateway.metrics()?;
        let of = |what: &str| metrics.sum(&format!("gateway_table_{what}"), &[("table", "connections")]);
        let (entries, capacity, full) = (of("entries"), of("capacity"), of("full_total"));
        println!(
            "idle: {:.0} s and {sent} {kind} of others; the table holds {entries} of {capacity}, {full} found no room",
            start.elapsed().as_secs_f64()
        );
        for pair in &mut pairs {
            let (went_on, heard) = pair.go_on()?;
            println!(
                "idle: {}: goes on: {went_on}; half a hello, then plaintext was read: {heard}",
                pair.place
            );
            if heard || !went_on && (pair.place, kind) != ("behind", "hellos") {
                broken.push(format!("{} after {kind}", pair.place));
            }
        }
    }
    ensure!(broken.is_empty(), "cut, or plaintext was read: {}", broken.join(", "));
    Ok(())
}

/// SYNs or hellos of other connections to both servers; gives how many.
fn floods(lab: &Lab, kind: &str, frames: u64) -> Result<u64> {
    let stream = hello::tls13("api.example.org");
    let (source, ports) = (FLOOD_V4.into(), (4_000, GATED));
    let mut sent = 0;
    for (seed, target) in (0..).zip([SERVER_V4.into(), BEHIND_V4.into()]) {
        let template = match kind {
            "SYNs" => Template::syn(source, target, ports)?,
            _ => Template::data(source, target, ports, &stream)?,
        };
        let flood = Flood {
            sources: Sources::Ipv4 { first: FLOOD_V4, count: 1 << 17 },
            random_ports: true,
            frames: Some(frames),
            duration: PATIENCE * 3,
            seed,
            ..Flood::new(template)
        };
        sent += lab.flood(&flood)?.wait()?.delivered;
    }
    Ok(sent)
}
