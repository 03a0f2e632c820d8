//! Connections that the gate has not heard of for long, while others fill its table.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::lasting::{AFTER, BEFORE, opened};
use super::{GATED, HONEST, Scale};
use crate::builder::{between, flags, hello};
use crate::lab::{
    BEHIND_V4, Behind, ByHand, FLOOD_V4, Flood, Gateway, Lab, Namespace, PlainListener, SERVER_V4, Sources,
    Template, Wire,
};

/// How long a flood may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long segments may be under way, and how long they are on a busy machine.
const UNDER_WAY: Duration = Duration::from_millis(300);
const LATE: Duration = Duration::from_secs(10);
/// Pause of the connection that goes on all the time.
const PAUSE: Duration = Duration::from_secs(1);
/// What floods send is dropped behind the gate: the server's answers are not what is measured.
const QUIET: &str = "add table inet lab; add chain inet lab quiet { type filter hook prerouting priority raw; }; \
    add rule inet lab quiet ip saddr 198.18.0.0/15 drop";
/// Others' SYNs are followed by their hellos so many at a time: fewer than the table has entries.
const AT_ONCE: u64 = 65_536;
/// The sequence number of others' SYNs.
const ISN: u32 = 7_000;
/// A table that is full but for this part is full: places are drawn.
const ALMOST: u64 = 1_000;
/// How long after connections that showed their hello a new one to another host may find no room (docs/architecture.md).
const NO_ROOM: Duration = Duration::from_secs(33);
/// How long a connection to another host is kept that has shown its hello, from when on a segment keeps it longer, and how long
/// (docs/architecture.md).
const BRIEF: Duration = Duration::from_secs(30);
const AFTER_HELLO: Duration = Duration::from_secs(17);
const LONG: Duration = Duration::from_secs(240);

/// What others send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A hello without its SYN.
    Hellos,
    Syns,
    /// SYNs, and the hello behind each.
    Pairs,
}

/// Connections to one server.
struct Place<'a> {
    name: &'static str,
    wire: &'a Wire,
    listener: PlainListener,
    /// Honest, and says nothing but when it is asked.
    idle: Talk<'a>,
    /// Honest, and goes on all the time.
    active: Talk<'a>,
    /// Has shown three bytes of a hello.
    attacker: ByHand<'a>,
    /// Connections that were made.
    made: usize,
}

/// A connection, and where its stream goes on.
struct Talk<'a> {
    connection: ByHand<'a>,
    position: i32,
    /// Its hello was sent after the first and before the second.
    hello: [Instant; 2],
    /// When it last said something that keeps it longer.
    heard: Option<Instant>,
}

impl<'a> Talk<'a> {
    /// Shakes hands and sends a hello.
    fn open(wire: &'a Wire, number: usize, remote: SocketAddr) -> Result<Self> {
        let stream = hello::tls13("api.example.org");
        let connection = opened(wire, number, remote)?;
        let before = Instant::now();
        connection.write(0, &stream)?;
        let position = stream.len() as i32;
        connection.acknowledged(position)?;
        Ok(Self { connection, position, hello: [before, Instant::now()], heard: None })
    }

    /// Whether it is promised a place now, whatever others send.
    fn is_kept(&self) -> bool {
        self.hello[0].elapsed() < BRIEF || self.heard.is_some_and(|heard| heard.elapsed() < LONG)
    }

    fn go_on(&mut self) -> Result<()> {
        let (is_kept, now) = (self.is_kept(), Instant::now());
        self.connection.write(self.position, AFTER)?;
        self.position += AFTER.len() as i32;
        if is_kept {
            self.was_heard(now);
        }
        Ok(())
    }

    /// What it said then found its place.
    fn was_heard(&mut self, when: Instant) {
        if when.saturating_duration_since(self.hello[1]) > AFTER_HELLO {
            self.heard = Some(when);
        }
    }
}

/// What became of a server's connections.
#[derive(Debug)]
struct Fate {
    idle: bool,
    active: bool,
    /// A new connection came to be, and its hello was read.
    newcomer: bool,
    plaintext: bool,
}

impl<'a> Place<'a> {
    fn open(wire: &'a Wire, name: &'static str, space: &Namespace, address: Ipv4Addr) -> Result<Self> {
        let remote = SocketAddr::new(address.into(), GATED);
        let listener = PlainListener::start(space, remote)?;
        let [idle, active] = [Talk::open(wire, 0, remote)?, Talk::open(wire, 1, remote)?];
        let attacker = opened(wire, 2, remote)?;
        attacker.write(0, &hello::tls13("api.example.org")[..3])?;
        attacker.acknowledged(3)?;
        Ok(Self { name, wire, listener, idle, active, attacker, made: 3 })
    }

    /// Whether a new connection comes to be.
    fn newcomer(&mut self) -> bool {
        self.made += 1;
        Talk::open(self.wire, self.made - 1, self.attacker.remote).is_ok()
    }

    /// What a connection has delivered.
    fn total(&self, one: &ByHand<'_>) -> u64 {
        let delivered = self.listener.delivered();
        delivered.iter().find(|other| other.peer == one.local).map_or(0, |other| other.total)
    }

    fn is_whole(&self, talk: &Talk<'_>) -> bool {
        self.total(&talk.connection) == talk.position as u64
    }

    /// All say something.
    fn go_on(&mut self) -> Result<Fate> {
        let hello = hello::tls13("api.example.org");
        let now = Instant::now();
        self.idle.go_on()?;
        self.active.go_on()?;
        for start in [3, -3, -8] {
            let lead = if start < 0 { &hello[..(3 - start) as usize] } else { &[] };
            self.attacker.write(start, &[lead, BEFORE].concat())?;
        }
        while !(self.is_whole(&self.idle) && self.is_whole(&self.active)) && now.elapsed() < LATE {
            thread::sleep(UNDER_WAY);
        }
        thread::sleep(UNDER_WAY);
        let (idle, active) = (self.is_whole(&self.idle), self.is_whole(&self.active));
        for (talk, is_whole) in [(&mut self.idle, idle), (&mut self.active, active)] {
            if is_whole {
                talk.was_heard(now);
            }
        }
        Ok(Fate { idle, active, plaintext: self.total(&self.attacker) > 3, newcomer: self.newcomer() })
    }
}

/// Idle connections, while others fill the gate's table, to this host and through it: they go on, and so do new ones, once it
/// is over. Whoever had shown half a hello before cannot go on with plaintext after.
///
/// Of connections to another host the gate has only its table. Others that show a hello fill it; then it promises that a connection
/// is kept for half a minute, and for minutes more that said something later than a few seconds after its hello, and that new ones
/// find room half a minute after the last.
///
/// # Errors
/// Where a promise is broken, or the lab fails.
pub fn idle(scale: &Scale) -> Result<()> {
    let lab = Lab::new()?;
    let behind = Behind::new(&lab)?;
    let wire = Wire::open(&lab)?;
    let gateway = Gateway::start(&lab, HONEST)?;
    lab.server.run("nft", &[QUIET])?;
    let mut places = [
        Place::open(&wire, "here", &lab.server, SERVER_V4)?,
        Place::open(&wire, "behind", &behind.namespace, BEHIND_V4)?,
    ];
    let table = |what: &str| -> Result<u64> {
        Ok(gateway.metrics()?.sum(&format!("gateway_table_{what}"), &[("table", "connections")]))
    };
    let mut broken = Vec::new();
    for kind in [Kind::Hellos, Kind::Syns, Kind::Pairs] {
        let start = Instant::now();
        let sent = flood(&lab, kind, scale.flood, &mut places)?;
        let ended = Instant::now();
        let took = ended - start;
        let [entries, capacity, full] = [table("entries")?, table("capacity")?, table("full_total")?];
        println!(
            "idle: {sent} {kind:?} of others in {took:.1?}; {entries} of {capacity} entries, {full} pushed out or refused"
        );
        if kind == Kind::Pairs && scale.flood > 2 * capacity {
            ensure!(entries > capacity - capacity / ALMOST, "the table is not full: this shows nothing");
            println!("idle: behind, at once: newcomer: {}", places[1].newcomer());
        }
        while start.elapsed() < Duration::from_secs(scale.idle_seconds) {
            thread::sleep(PAUSE);
            places.iter_mut().try_for_each(|place| place.active.go_on())?;
        }
        for place in &mut places {
            let is_sure = place.name == "here" || kind != Kind::Pairs;
            let kept = [&place.idle, &place.active].map(|talk| is_sure || talk.is_kept());
            let has_room = is_sure || ended.elapsed() > NO_ROOM;
            let fate = place.go_on()?;
            println!("idle: {} after {kind:?}: {fate:?}", place.name);
            let is_broken = [(kept[0], fate.idle), (kept[1], fate.active), (has_room, fate.newcomer)]
                .iter()
                .any(|(is_promised, is_so)| *is_promised && !is_so);
            if fate.plaintext || is_broken {
                broken.push(format!("{} after {kind:?}: {fate:?}", place.name));
            }
        }
    }
    ensure!(broken.is_empty(), "cut, or plaintext was read: {}", broken.join(", "));
    Ok(())
}

/// So many frames of each sort to each server; gives how many arrived.
fn flood(lab: &Lab, kind: Kind, frames: u64, places: &mut [Place<'_>]) -> Result<u64> {
    let stream = hello::tls13("api.example.org");
    let mut sent = 0;
    for target in [SERVER_V4, BEHIND_V4] {
        let segment = between(FLOOD_V4.into(), target.into()).tcp(4_000, GATED);
        let syn = segment.clone().flags(flags::SYN).seq(ISN).tcp_options(&[2, 4, 5, 180]);
        let hello = segment.flags(flags::ACK | flags::PSH).seq(ISN + 1).payload(&stream);
        let sorts = match kind {
            Kind::Hellos => vec![hello],
            Kind::Syns => vec![syn],
            Kind::Pairs => vec![syn, hello],
        };
        let step = if kind == Kind::Pairs { AT_ONCE } else { frames };
        for seed in (0..frames).step_by(step as usize) {
            for frame in &sorts {
                let flood = Flood {
                    sources: Sources::Ipv4 { first: FLOOD_V4, count: 1 << 17 },
                    random_ports: true,
                    frames: Some(step.min(frames - seed)),
                    duration: PATIENCE,
                    seed,
                    ..Flood::new(Template::from_frame(&frame.build())?)
                };
                sent += lab.flood(&flood)?.wait()?.delivered;
            }
            places.iter_mut().try_for_each(|place| place.active.go_on())?;
        }
    }
    Ok(sent)
}
