//! Connections that were there before the gateway, or that it has not heard of for long, go on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::{GATED, HONEST, Scale};
use crate::builder::hello;
use crate::lab::{
    BEHIND_V4, Behind, ByHand, FLOOD_V4, Flood, Gateway, Lab, PlainListener, SERVER_V4, SERVER_V6, Sources,
    Template, Wire,
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

/// An idle connection, while SYNs and hellos of other connections fill the gate's table: it goes on. Whoever had shown half a
/// hello before the flood cannot go on with plaintext after it.
///
/// # Errors
/// Where a promise is broken, or the lab fails.
pub fn idle(scale: &Scale) -> Result<()> {
    let lab = Lab::new()?;
    let behind = Behind::new(&lab)?;
    let wire = Wire::open(&lab)?;
    let places = [("here", &lab.server, SERVER_V4), ("behind", &behind.namespace, BEHIND_V4)];
    let gateway = Gateway::start(&lab, HONEST)?;
    lab.server.run("nft", &[QUIET])?;
    let stream = hello::tls13("api.example.org");
    let length = stream.len() as i32;
    let mut played = Vec::new();
    for (number, (name, space, address)) in places.into_iter().enumerate() {
        let remote = SocketAddr::new(address.into(), GATED);
        let listener = PlainListener::start(space, remote)?;
        let honest = opened(&wire, number, remote)?;
        honest.write(0, &stream)?;
        honest.acknowledged(length)?;
        honest.write(length, b"1")?;
        honest.acknowledged(length + 1)?;
        let attacker = opened(&wire, number + 100, remote)?;
        attacker.write(0, &stream[..3])?;
        attacker.acknowledged(3)?;
        played.push((name, listener, honest, attacker));
    }
    let start = Instant::now();
    let sent = floods(&lab, scale.flood)?;
    thread::sleep(Duration::from_secs(scale.idle_seconds).saturating_sub(start.elapsed()));
    let metrics = gateway.metrics()?;
    let of = |family: &str| metrics.sum(&format!("gateway_table_{family}"), &[("table", "connections")]);
    println!(
        "idle: {:?}, {sent} frames of other connections; the table holds {} of {}, {} found no room",
        start.elapsed(),
        of("entries"),
        of("capacity"),
        of("full_total")
    );
    let mut broken = Vec::new();
    for (name, listener, honest, attacker) in &played {
        honest.write(length + 1, b"2")?;
        attacker.write(3, b"GET / HTTP/1.1\r\n\r\n")?;
        attacker.write(-3, &[&stream[..6], b"GET / HTTP/1.1\r\n\r\n"].concat())?;
        thread::sleep(Duration::from_millis(300));
        let delivered = listener.delivered();
        let of = |peer| delivered.iter().find(|one| one.peer == peer).map_or(&[][..], |one| &one.bytes);
        let (on, secret) = (of(honest.local).ends_with(b"12"), of(attacker.local).len() > 3);
        println!(
            "idle: {name}: the idle connection goes on: {on}; plaintext after the flood was read: {secret}"
        );
        if !on || secret {
            broken.push(*name);
        }
    }
    ensure!(!broken.contains(&"here"), "the idle connection was cut, or plaintext was read");
    Ok(())
}

/// SYNs, then hellos, of other connections, to both servers; gives how many.
fn floods(lab: &Lab, frames: u64) -> Result<u64> {
    let stream = hello::tls13("api.example.org");
    let source = FLOOD_V4.into();
    let mut sent = 0;
    for (seed, target) in (0..).zip([SERVER_V4, BEHIND_V4]) {
        let target = target.into();
        let ports = (4_000, GATED);
        for template in
            [Template::syn(source, target, ports)?, Template::data(source, target, ports, &stream)?]
        {
            let flood = Flood {
                sources: Sources::Ipv4 { first: FLOOD_V4, count: 1 << 17 },
                random_ports: true,
                frames: Some(frames),
                duration: Duration::from_secs(60),
                seed,
                ..Flood::new(template)
            };
            sent += lab.flood(&flood)?.wait()?.delivered;
        }
    }
    Ok(sent)
}
