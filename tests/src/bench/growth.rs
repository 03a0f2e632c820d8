//! What a packet costs as things grow: sources and connections that are known, services and classes that are configured. Bans
//! have a part of their own.
//!
//! What is looked up for every packet in a table of many entries is met by floods of live frames, which find little in a
//! cache; what grows with the policy alone, by one frame again and again.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Result, ensure};
use aya::sys::{Stats, enable_stats};
use gateway_common::{
    limit::rate::{Dimension, Limit, Rate},
    tables::TableSizes,
};
use gateway_tests::builder::{Frame, between, flags, hello, ip};
use gateway_tests::cases::{Draft as _, Offer, SERVER, limit};
use gateway_tests::kernel::apply;
use gateway_tests::lab::{Flood, Lab, Program, ProgramClock, RECEIVER, SENDER, SERVER_V4, Sources, Template};
use gateway_user::host::Stand;
use serde_json::{Value, json};

use crate::{
    filters::{Standing, drop_passed, passed},
    spread::Spread,
    subject::{Baseline, gateway, gateway_run, test_run},
};

/// Frames of a run of one frame.
const FRAMES: u32 = 200_000;
/// How long floods last that are measured.
const DURATION: Duration = Duration::from_millis(1_200);
/// Frames sent for each of those that are to be known: of so many every one gets some, though the interface has no room for all.
const DRAWS: u64 = 16;
/// Ports that the generator draws from.
const PORTS: u32 = 1 << 15;
/// The first of the sources, in a /8 that is nobody's here.
const FIRST: Ipv4Addr = Ipv4Addr::new(16, 0, 0, 0);
/// A gated service, and one of UDP.
const GATED: u16 = 443;
const PLAIN: u16 = 9;
/// Tables in which a million find room, with four times as many places: of those for connections SYNs alone take at most half.
const ROOM: TableSizes = TableSizes {
    sources: 1 << 22,
    service_sources: 8_192,
    neighbours: 16_384,
    connections: 1 << 22,
    hellos: 32_768,
    tuples: 262_144,
    clients: 65_536,
    drops: 131_072,
};
/// The share of a flood that comes to what is known.
const KNOWN: f64 = 0.95;

/// What grows in a table, to how much.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Table {
    /// Sources that are over their limit.
    Sources(u32),
    /// Connections that pass through, and have shown a hello.
    Connections(u32),
}

impl Table {
    const ALL: [Self; 6] = [
        Self::Sources(1),
        Self::Sources(1 << 16),
        Self::Sources(1 << 20),
        Self::Connections(1),
        Self::Connections(1 << 16),
        Self::Connections(1 << 20),
    ];

    const fn name(self) -> (&'static str, u32) {
        match self {
            Self::Sources(count) => ("dropped: sources over their limit", count),
            Self::Connections(count) => ("passed: data of gated connections", count),
        }
    }

    fn policy(self) -> Stand {
        match self {
            // One packet, and then none for minutes.
            Self::Sources(_) => {
                let rate = Rate { amount: 10, per: 3_600_000_000_000 };
                let one = Limit::new(Dimension::Udp, rate, 1).unwrap_or(Limit::NONE);
                Stand::new().each(Dimension::Udp, one)
            }
            Self::Connections(_) => Stand::new().serve(Offer::tls(GATED)),
        }
    }

    /// The flood of a frame from all that there are.
    fn flood(self, frame: &Frame, seed: u64) -> Result<Flood> {
        let many = |count| Sources::Ipv4 { first: FIRST, count };
        let (sources, random_ports) = match self {
            Self::Sources(1) | Self::Connections(1) => (Sources::Fixed, false),
            Self::Sources(count) => (many(count), false),
            // Few sources, so that it is connections that grow.
            Self::Connections(count) => (many(count / PORTS), true),
        };
        let (cpu, duration) = (Some(SENDER), DURATION);
        Ok(Flood {
            sources,
            random_ports,
            duration,
            cpu,
            seed,
            ..Flood::new(Template::from_frame(&frame.build())?)
        })
    }

    /// Frames that come before, each to be shown by everybody, and the frame that is measured.
    fn frames(self) -> (Vec<Frame>, Frame) {
        let [source, target]: [IpAddr; 2] = [FIRST.into(), SERVER_V4.into()];
        if let Self::Sources(_) = self {
            let datagram = between(source, target).udp(4_000, PLAIN).payload(&[0; 18]);
            return (vec![datagram.clone()], datagram);
        }
        let hello = hello::tls13("api.example.org");
        let segment = between(source, target).tcp(4_000, GATED);
        let pushed = segment.clone().flags(flags::ACK | flags::PSH);
        let opening = segment.flags(flags::SYN).seq(1_000).tcp_options(&[2, 4, 5, 180]);
        let data = pushed.clone().seq(1_001 + hello.len() as u32).payload(&[23; 64]);
        (vec![opening, pushed.seq(1_001).payload(&hello)], data)
    }

    /// Nanoseconds a packet in the gateway and in a bare drop.
    fn sample(self, seed: u64) -> Result<[f64; 2]> {
        Ok([self.meet(true, seed)?, self.meet(false, seed)?])
    }

    fn meet(self, is_gateway: bool, seed: u64) -> Result<f64> {
        let lab = Lab::new()?;
        let _standing = if is_gateway {
            Standing::sized(&lab, &self.policy(), ROOM, false)?
        } else {
            Standing::Lab(lab.attach(Program::Drop)?)
        };
        drop_passed(&lab)?;
        lab.receive_on(RECEIVER)?;
        let ((name, count), (before, frame)) = (self.name(), self.frames());
        for (number, frame) in before.iter().enumerate().filter(|_| is_gateway) {
            let (frames, duration) = (Some(u64::from(count) * DRAWS), Duration::from_secs(60));
            let seed = seed + ((number as u64 + 1) << 28);
            lab.flood(&Flood { frames, duration, ..self.flood(frame, seed)? })?.wait()?;
        }
        let (clock, passed_before) = (ProgramClock::of(&lab)?, passed(&lab)?);
        let report = lab.flood(&self.flood(&frame, seed)?)?.wait()?;
        let passed = (passed(&lab)? - passed_before) as f64 / report.delivered.max(1) as f64;
        let known = if matches!(self, Self::Sources(_)) { 1.0 - passed } else { passed };
        ensure!(!is_gateway || known >= KNOWN, "{name}: only {known:.3} of the packets are of {count} known");
        clock.ns_a_packet()
    }
}

/// Measures in so many rounds, prints, and gives the figures for the file.
pub(crate) fn measure(rounds: usize) -> Result<Value> {
    println!("What a packet costs as things grow, {rounds} rounds, ns net of a bare XDP_DROP");
    println!("{:48}{:>12}{:>24}", "", "", "net ns");
    let mut rows = tables(rounds.div_ceil(3))?;
    rows.extend(policies(rounds)?);
    println!();
    Ok(Value::Array(rows))
}

fn row(name: &str, count: u32, net: Vec<f64>) -> Value {
    let net = Spread::of(net);
    println!("{name:48}{count:>12}{:>24}", net.text(0));
    json!({ "packet": name, "count": count.to_string(), "net_ns": net.json() })
}

/// What tables hold, in floods of live frames.
fn tables(rounds: usize) -> Result<Vec<Value>> {
    let _statistics = enable_stats(Stats::RunTime)?;
    let mut measured = [const { Vec::new() }; Table::ALL.len()];
    for round in 0..rounds {
        for (table, measured) in Table::ALL.into_iter().zip(&mut measured) {
            let [own, bare] = table.sample((round as u64) << 32)?;
            measured.push(own - bare);
        }
    }
    let rows = Table::ALL.into_iter().zip(measured);
    Ok(rows.map(|(table, net)| row(table.name().0, table.name().1, net)).collect())
}

/// What the policy holds, by one frame again and again.
fn policies(rounds: usize) -> Result<Vec<Value>> {
    let services = |count: u16| {
        let offers = (0..count).map(|index| Offer::udp(1_000 + index));
        let stand = offers.fold(limited(), Stand::serve);
        (
            "admitted: UDP to the last of the services",
            u32::from(count),
            stand,
            datagram(0, 1_000 + count.max(1) - 1),
        )
    };
    let classes = |count: u8| {
        let stand = (1..=count).fold(limited(), |stand, class| {
            let limited = stand.class(u32::from(class), Dimension::Packets, ample());
            limited.list(&format!("10.{class}.0.0/16"), 0, u32::from(class))
        });
        ("admitted: UDP of the last of the classes", u32::from(count), stand, datagram(count, PLAIN))
    };
    let all: Vec<_> = [0, 1, 8, 63].map(services).into_iter().chain([0, 1, 63].map(classes)).collect();
    let mut kernel = gateway(vec![1])?;
    let mut bare = Baseline::load("drop")?;
    let mut measured: Vec<Vec<f64>> = all.iter().map(|_| Vec::new()).collect();
    // Round by round, so that what the machine does meanwhile falls on all alike; the first is the warm-up.
    for round in 0..=rounds {
        for ((.., stand, frame), measured) in all.iter().zip(&mut measured) {
            apply(&mut kernel, stand)?;
            let (gross, _) = gateway_run(&mut kernel, frame, FRAMES)?;
            let (empty, _) = test_run(bare.program()?, frame, FRAMES)?;
            measured.extend((round != 0).then_some(gross - empty));
        }
    }
    Ok(all.iter().zip(measured).map(|((name, count, ..), net)| row(name, *count, net)).collect())
}

/// More packets than a test run can use up.
fn ample() -> Limit {
    limit(Dimension::Packets, 100_000_000, 100_000_000)
}

/// A policy with a limit for each source.
fn limited() -> Stand {
    Stand::new().each(Dimension::Packets, ample())
}

/// A datagram of a source of the class.
fn datagram(class: u8, port: u16) -> Vec<u8> {
    ip(&format!("10.{class}.0.9"), SERVER).udp(40_000, port).payload(b"a question of 18 b").build()
}
