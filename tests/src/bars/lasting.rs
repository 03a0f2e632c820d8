//! Connections that were there before the gateway go on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::{GATED, HONEST, Scale};
use crate::lab::{ByHand, Gateway, Lab, PlainListener, SERVER_V4, SERVER_V6, Wire};

/// What connections say before the gateway is there, and after.
pub(super) const BEFORE: &[u8] = b"before the gateway";
pub(super) const AFTER: &[u8] = b", and after";
/// How long segments may be under way, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(60);
/// Sequence number of the first SYN, away from where it wraps.
const ISN: u32 = 1_000_000;
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
pub(super) fn opened(wire: &Wire, number: usize, remote: SocketAddr) -> Result<ByHand<'_>> {
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
