//! Do sources stay limited while forged ones want their slots?
//!
//! A flood from 2^24 forged addresses meets the table of sources alone: in the packet's way neighbourhoods and totals stop
//! most of it before. Meanwhile fifty sources stay over their limit (at twice of it, if nothing is said), ten in each dimension. What each of them gets
//! beyond `rate * t + burst`, and how many slots are taken over while in use, is printed. All is deterministic.
//!
//! ```text
//! eviction <forged packets/s> <sets> <seconds> <syn|udp|icmp|mixed> [sources over their limit] [percent of it]
//! ```

use std::time::Instant as Clock;

use anyhow::{Context as _, Result, bail};
use gateway_common::{
    abi::{Limits, WAYS},
    limit::{
        bucket::Cost,
        rate::{Dimension, Instant, SECOND, bit},
    },
    source::KEY_V4,
    tables::{BucketTable, Note, Table},
};
use gateway_tests::cases::{START, limit};
use gateway_user::host::{HostEnv, Sets, Stand};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

/// Forged addresses.
const FORGED: u64 = 1 << 24;
/// Frames of offenders in bytes: aggregates, so that a Gbit/s is not millions of packets.
const FRAME: u32 = 50_000;
/// What a source may do in a second, and at once, by default.
const LIMITS: [(Dimension, u64, u64); 5] = [
    (Dimension::Packets, 20_000, 40_000),
    (Dimension::Bytes, 125_000_000, 64 << 20),
    (Dimension::Syn, 200, 400),
    (Dimension::Udp, 5_000, 10_000),
    (Dimension::Icmp, 20, 40),
];

/// A source that stays over its limit in one dimension.
struct Offender {
    key: u64,
    cost: Cost,
    dimension: Dimension,
    interval: Instant,
    next: Instant,
    admitted: u64,
}

impl Offender {
    /// At so many percent of its limit.
    fn new(index: u64, percent: u64) -> Self {
        let (dimension, rate, _) = LIMITS[index as usize % LIMITS.len()];
        let mask = bit(Dimension::Packets) | bit(Dimension::Bytes) | bit(dimension);
        let bytes = if dimension == Dimension::Bytes { FRAME } else { 60 };
        let packets = if dimension == Dimension::Bytes { rate / u64::from(FRAME) } else { rate };
        let interval = SECOND * 100 / (percent * packets);
        // Not all in step.
        let next = START + interval * index / 64;
        let cost = Cost { bytes, mask };
        Self { key: KEY_V4 | (0x0a00_0000 + index * 7_919), cost, dimension, interval, next, admitted: 0 }
    }

    /// How much more than its limit it got, in percent.
    fn excess(&self, seconds: u64) -> f64 {
        let (_, rate, burst) = LIMITS[self.dimension as usize];
        let unit = if self.dimension == Dimension::Bytes { u64::from(FRAME) } else { 1 };
        (self.admitted * unit) as f64 / (rate * seconds + burst) as f64 * 100.0 - 100.0
    }
}

/// One packet on the budget of its source.
fn admits(env: &HostEnv, limits: &Limits, key: u64, cost: Cost, now: Instant) -> bool {
    let Some(bucket) = gateway_tests::bucket(env, BucketTable::Sources, key, now) else { return false };
    bucket.over(cost, limits, now.into()) == 0 && bucket.charge(cost, limits, now.into()) == 0
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [forged, sets, seconds, kind, rest @ ..] = &arguments[..] else {
        bail!("wants: forged packets/s, sets, seconds, syn|udp|icmp|mixed, [offenders], [percent]");
    };
    let number = |text: &String| text.parse::<u64>().with_context(|| format!("{text} is no number"));
    let kinds: &[Option<Dimension>] = match kind.as_str() {
        "syn" => &[Some(Dimension::Syn)],
        "udp" => &[Some(Dimension::Udp)],
        "icmp" => &[Some(Dimension::Icmp)],
        "mixed" => &[Some(Dimension::Syn), Some(Dimension::Udp), Some(Dimension::Icmp), None],
        other => bail!("{other} is no kind of flood"),
    };
    let count = rest.first().map_or(Ok(50), number)?;
    let percent = rest.get(1).map_or(Ok(200), number)?;
    let offenders = (0..count).map(|index| Offender::new(index, percent)).collect();
    simulate(number(forged)?, u32::try_from(number(sets)?)?, number(seconds)?, kinds, offenders);
    Ok(())
}

fn simulate(forged: u64, sets: u32, seconds: u64, kinds: &[Option<Dimension>], mut offenders: Vec<Offender>) {
    let mut stand = Stand::new();
    stand.key = gateway_common::hash::Key([0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210]);
    stand.sets = Sets { sources: sets, ..Sets::default() };
    let env = HostEnv::new(stand);
    let mut limits = Limits::default();
    for (dimension, rate, burst) in LIMITS {
        limits.each[dimension as usize] = limit(dimension, rate, burst);
    }
    let mut random = SmallRng::seed_from_u64(1);
    let began = Clock::now();
    let mut due = START;
    for packet in 0..forged * seconds {
        let now = START + (u128::from(packet) * u128::from(SECOND) / u128::from(forged)) as Instant;
        if now >= due {
            due = send_due(&env, &limits, &mut offenders, now);
        }
        let key = KEY_V4 | 0xc000_0000 | random.random_range(0..FORGED);
        let kind = kinds[(packet % kinds.len() as u64) as usize].map_or(0, bit);
        let mask = bit(Dimension::Packets) | bit(Dimension::Bytes) | kind;
        let cost = Cost { bytes: 60, mask };
        admits(&env, &limits, key, cost, now);
    }
    report(&env, &offenders, forged, sets, seconds);
    let packets = (forged * seconds) as f64;
    println!("  {:.0} ns a packet on this machine", began.elapsed().as_nanos() as f64 / packets);
}

/// Lets offenders send whose time has come; says when the next one's comes.
fn send_due(env: &HostEnv, limits: &Limits, offenders: &mut [Offender], now: Instant) -> Instant {
    let mut due = Instant::MAX;
    for offender in offenders {
        while offender.next <= now {
            offender.admitted += u64::from(admits(env, limits, offender.key, offender.cost, now));
            offender.next += offender.interval;
        }
        due = due.min(offender.next);
    }
    due
}

fn report(env: &HostEnv, offenders: &[Offender], forged: u64, sets: u32, seconds: u64) {
    let inserted = env.counters().noted(Table::Sources, Note::Inserted);
    let evicted = env.counters().noted(Table::Sources, Note::Evicted);
    println!(
        "{forged} forged/s, {sets} sets of {WAYS}, {seconds} s: {:.2} % of {inserted} insertions took a slot in use",
        evicted as f64 * 100.0 / inserted.max(1) as f64,
    );
    for dimension in Dimension::OF_SOURCES {
        let of = offenders.iter().filter(|offender| offender.dimension == dimension);
        let excesses: Vec<f64> = of.map(|offender| offender.excess(seconds)).collect();
        let worst = excesses.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mean = excesses.iter().sum::<f64>() / excesses.len() as f64;
        println!("  {:8} worst {worst:+8.3} %, mean {mean:+8.3} % of rate * t + burst", dimension.name());
    }
}
