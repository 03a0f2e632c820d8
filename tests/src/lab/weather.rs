//! A bad line: a client whose frames to the server, and the server's to it, get lost or out of order on the way.
//!
//! ```text
//! far client  192.0.2.3, 2001:db8:1::3  ──veth── relay in the client's namespace ──veth──  server
//! ```
//!
//! The relay is a thread for each direction that carries frames from one packet socket to another: this kernel has no netem.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use super::namespace::Namespace;
use super::port::Port;
use super::{FAR, Lab, SERVER_V4, SERVER_V6};

/// The far client's addresses.
const AWAY: [(IpAddr, u8); 2] = [
    (IpAddr::V4(Ipv4Addr::new(192, 0, 2, 3)), 24),
    (IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 3)), 64),
];
/// Its hardware address, and the server's end's towards clients.
const AWAY_MAC: &str = "02:00:00:00:04:02";
const SERVER_MAC: &str = "02:00:00:00:01:01";
/// The relay's end towards the far client.
const INNER: &str = "inner";
/// A frame that is held back is sent after so many others at most, or after this time.
const OVERTAKEN: u32 = 3;
const HELD: Duration = Duration::from_millis(5);

/// How bad a line is, in frames of a thousand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// Lost.
    pub lost: u32,
    /// Overtaken by up to three others.
    pub late: u32,
}

/// What happened to frames in both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Carried, the late ones too.
    pub frames: u64,
    /// Lost.
    pub lost: u64,
    /// Overtaken.
    pub late: u64,
}

/// A client behind a bad line; the line goes with the handle.
pub struct BadLine {
    /// Where the client is.
    pub away: Namespace,
    stop: Arc<AtomicBool>,
    counts: Arc<[AtomicU64; 3]>,
    relays: Vec<JoinHandle<Result<()>>>,
}

impl BadLine {
    /// Lays the line through the lab's client.
    ///
    /// # Errors
    /// Where the network cannot be set up.
    pub fn new(lab: &Lab, weather: Weather) -> Result<Self> {
        let away = Namespace::new("away")?;
        lay(lab, &away).context("cannot lay the bad line")?;
        let stop = Arc::new(AtomicBool::new(false));
        let counts: Arc<[AtomicU64; 3]> = Arc::default();
        let near = Arc::new(Port::open(&lab.client, INNER)?);
        let far = Arc::new(Port::open(&lab.client, FAR)?);
        let mut relays = Vec::new();
        for (seed, from, to) in [(1, &near, &far), (2, &far, &near)] {
            let relay = Relay {
                from: Arc::clone(from),
                to: Arc::clone(to),
                weather,
                random: SmallRng::seed_from_u64(seed),
                counts: Arc::clone(&counts),
                held: None,
            };
            let stop = Arc::clone(&stop);
            relays.push(thread::spawn(move || relay.run(&stop)));
        }
        Ok(Self { away, stop, counts, relays })
    }

    /// What it has done so far.
    #[must_use]
    pub fn carried(&self) -> Carried {
        let [frames, lost, late] = [0, 1, 2].map(|index: usize| self.counts[index].load(Ordering::Relaxed));
        Carried { frames, lost, late }
    }
}

impl Drop for BadLine {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for relay in self.relays.drain(..) {
            let _ = relay.join();
        }
    }
}

/// Interfaces and neighbours; no offload makes frames that are longer than the line takes.
fn lay(lab: &Lab, away: &Namespace) -> Result<()> {
    lab.client.ip(&[
        format!("link add name {INNER} type veth peer name {FAR} address {AWAY_MAC} netns {}", away.name()),
        format!("link set dev {INNER} up"),
    ])?;
    let mut lines = vec![format!("link set dev {FAR} up")];
    for (address, length) in AWAY {
        let nodad = if address.is_ipv6() { "nodad" } else { "" };
        lines.push(format!("address add {address}/{length} dev {FAR} {nodad}"));
        let back =
            format!("neighbour replace {address} lladdr {AWAY_MAC} dev {} nud permanent", lab.client_side());
        lab.server.ip(&[back])?;
    }
    for server in [IpAddr::V4(SERVER_V4), IpAddr::V6(SERVER_V6)] {
        lines.push(format!("neighbour replace {server} lladdr {SERVER_MAC} dev {FAR} nud permanent"));
    }
    away.ip(&lines)?;
    for (space, device) in
        [(away, FAR), (&lab.client, INNER), (&lab.client, FAR), (&lab.server, lab.client_side())]
    {
        space.run("ethtool", &["-K", device, "tx", "off", "tso", "off", "gso", "off", "gro", "off"])?;
    }
    Ok(())
}

/// One direction.
struct Relay {
    from: Arc<Port>,
    to: Arc<Port>,
    weather: Weather,
    random: SmallRng,
    counts: Arc<[AtomicU64; 3]>,
    /// A frame that is held back, how many may still overtake it, and until when it waits.
    held: Option<(Vec<u8>, u32, Instant)>,
}

impl Relay {
    fn run(mut self, stop: &AtomicBool) -> Result<()> {
        while !stop.load(Ordering::Relaxed) {
            let patience = Instant::now() + HELD;
            let until = self.held.as_ref().map_or(patience, |(_, _, until)| *until);
            match self.from.next(until)? {
                Some(frame) => self.carry(frame)?,
                None => self.release()?,
            }
        }
        Ok(())
    }

    fn carry(&mut self, frame: Vec<u8>) -> Result<()> {
        let draw = self.random.random_range(0..1_000);
        if draw < self.weather.lost {
            self.count(1);
            return Ok(());
        }
        self.count(0);
        if self.held.is_none() && draw < self.weather.lost + self.weather.late {
            self.count(2);
            let others = self.random.random_range(1..=OVERTAKEN);
            self.held = Some((frame, others, Instant::now() + HELD));
            return Ok(());
        }
        self.to.send(&frame)?;
        if let Some((_, others, until)) = &mut self.held {
            *others -= 1;
            if *others == 0 || *until <= Instant::now() {
                self.release()?;
            }
        }
        Ok(())
    }

    fn release(&mut self) -> Result<()> {
        self.held.take().map_or(Ok(()), |(frame, _, _)| self.to.send(&frame))
    }

    fn count(&self, index: usize) {
        self.counts[index].fetch_add(1, Ordering::Relaxed);
    }
}
