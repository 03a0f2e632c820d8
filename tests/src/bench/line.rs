//! One measurement on live frames: the generator on one CPU, the filter on another.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context as _, Result};
use gateway_tests::lab::{
    FLOOD_V4, Flood, Lab, ProgramClock, RECEIVER, SENDER, SERVER_V4, Sources, Template,
};

use crate::filters::{Filter, PORT};

/// Whom the flood comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// One address.
    One,
    /// So many, at random.
    Random(u32),
}

impl From {
    /// In words.
    pub(crate) fn name(self) -> String {
        match self {
            Self::One => "1 source".to_owned(),
            Self::Random(count) if count >= 1 << 20 => format!("{} M sources", count >> 20),
            Self::Random(count) => format!("{count} sources"),
        }
    }

    fn sources(self) -> Sources {
        match self {
            Self::One => Sources::Fixed,
            // A /8 that is nobody's on this network.
            Self::Random(count) => Sources::Ipv4 { first: Ipv4Addr::new(16, 0, 0, 0), count },
        }
    }
}

/// What one flood came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Millions of frames a second that were sent.
    pub(crate) offered: f64,
    /// Millions a second that the filter dealt with; for the others the interface had no room.
    pub(crate) handled: f64,
    /// The share of them that it let through, in percent.
    pub(crate) passed: f64,
    /// CPU time of the receiving thread for each of them.
    pub(crate) cpu_ns: f64,
    /// Time in the XDP program itself for each of them, where the kernel was told to measure it.
    pub(crate) program_ns: f64,
}

/// Sends for some time from one source or many, through a filter in a network of its own.
pub(crate) fn sample(filter: Filter, from: From, seed: u64, duration: Duration) -> Result<Sample> {
    let lab = Lab::new()?;
    let standing = filter.stand(&lab).with_context(|| format!("cannot set up: {}", filter.name()))?;
    lab.receive_on(RECEIVER)?;
    let source: IpAddr = FLOOD_V4.into();
    let template = Template::udp(source, SERVER_V4.into(), (4_000, PORT), 18)?;
    let flood = Flood { sources: from.sources(), duration, cpu: Some(SENDER), seed, ..Flood::new(template) };
    let clock = ProgramClock::of(&lab)?;
    let cpu_before = cpu_time(&lab)?;
    let report = lab.flood(&flood)?.wait()?;
    let cpu_after = cpu_time(&lab)?;
    let program_ns = clock.ns_a_packet()?;
    let passed = filter.passed(&lab)?;
    drop(standing);
    let seconds = report.elapsed.as_secs_f64();
    Ok(Sample {
        offered: report.sent as f64 / seconds / 1e6,
        handled: report.delivered as f64 / seconds / 1e6,
        passed: passed as f64 * 100.0 / report.delivered.max(1) as f64,
        cpu_ns: (cpu_after - cpu_before) as f64 / report.delivered.max(1) as f64,
        program_ns,
    })
}

/// CPU time of the thread that receives, in nanoseconds; waiting for the CPU is no part of it.
fn cpu_time(lab: &Lab) -> Result<u64> {
    let wanted = format!("napi/{}-", lab.attack_side());
    for entry in fs::read_dir("/proc").context("cannot read /proc")? {
        let path = entry?.path();
        if fs::read_to_string(path.join("comm")).is_ok_and(|name| name.starts_with(&wanted)) {
            let text = fs::read_to_string(path.join("schedstat")).context("the kernel keeps no schedstat")?;
            let first = text.split_whitespace().next().and_then(|word| word.parse().ok());
            return first.context("schedstat has another form");
        }
    }
    anyhow::bail!("there is no receiving thread")
}
