//! Random and mutated frames to host and kernel: the same verdicts, counters and tables.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, bail, ensure};
use gateway_common::abi::{FOREVER, listing, mode};
use gateway_common::hash::Key;
use gateway_common::rate::Dimension;
use gateway_common::stage::budgets::{KEY_SHARED_V4, shared_56};
use gateway_user::host::{HostEnv, Sets, Stand};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng as _};

use super::counts::{Counts, compare_tables};
use super::{FRAME_LENGTHS, Judge};
use crate::builder::ip;
use crate::cases::{Draft as _, Offer, SERVER, START, limit};
use crate::laws::{frames, mutate, rich_stand};

/// Frames under one policy, from empty tables on.
const ROUND: u64 = 50_000;
/// Tables in which nearly every newcomer pushes somebody out.
const TINY: Sets =
    Sets { sources: 1, service_sources: 1, neighbours: 1, connections: 1, hellos: 1, tuples: 1, clients: 1 };

/// Shows `count` frames to both sides; gives back what both counted.
///
/// # Errors
/// Names the first frame that they judge differently, with the seed that makes it again.
pub fn run(count: u64, seed: u64) -> Result<Counts> {
    let mut random = StdRng::seed_from_u64(seed);
    let seeds = frames();
    let mut sides = [Sets::default(), TINY].map(|sets| Side::new(sets, Key(random.random())));
    let mut left = count;
    for round in 0.. {
        if left == 0 {
            break;
        }
        let frames = left.min(ROUND);
        let side = sides[round % 2].as_mut().map_err(|error| anyhow::anyhow!("{error:#}"))?;
        side.round(stand(round / 2), frames, &seeds, &mut random)
            .with_context(|| format!("seed {seed}, round {round}"))?;
        left -= frames;
    }
    let mut sum = Counts::default();
    for side in sides {
        sum.add(&side?.finish()?);
    }
    Ok(sum)
}

/// Shows frames from where something changes in lists of nested prefixes to both sides: lists of all lengths, on both
/// sides of /24, near each other and anywhere, and a /19 of which every address is listed.
///
/// # Errors
/// Names the first frame that they judge differently, with the seed that makes its list again.
pub fn run_lists(lists: u64, seed: u64) -> Result<()> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut side = Side::new(Sets::default(), Key(random.random()))?;
    for list in 0..lists {
        let (stand, sources) = listed(&mut random, list % 8 == 7);
        let host = HostEnv::new(Stand { sets: side.sets, key: side.key, ..stand });
        side.judge.lay(host.stand())?;
        for source in sources {
            let frame = ip(&Ipv4Addr::from(source).to_string(), SERVER).udp(1, 53).build();
            let (ours, theirs) = (host.judge(&frame, START), side.judge.judge(&frame, START)?);
            ensure!(
                ours == theirs,
                "seed {seed}, list {list}, source {}: host {ours:?}, kernel {theirs:?}",
                Ipv4Addr::from(source)
            );
        }
        compare_tables(&host, side.judge.kernel())?;
    }
    Ok(())
}

/// A list, and sources at its prefixes' ends and beside them. Each class has another rate, so that the tables tell them apart.
fn listed(random: &mut StdRng, dense: bool) -> (Stand, Vec<u32>) {
    const WORDS: [u32; 4] = [0, listing::BLOCK, listing::ALLOW, listing::BLOCK | listing::NEVER];
    let mut stand = Stand::new();
    for class in 1..4 {
        stand = stand.class(class, Dimension::Udp, limit(Dimension::Udp, u64::from(class), 100));
    }
    // Three neighbourhoods, and now and then anywhere.
    let bases: [u32; 3] = random.random();
    let mut prefixes: Vec<(u32, u8)> = (0..random.random_range(0..200))
        .map(|_| {
            let near = bases[random.random_range(0..bases.len())] ^ random.random_range(0..0x4000);
            let address = if random.random_ratio(1, 8) { random.random() } else { near };
            let shortest = if random.random() { 0 } else { 20 };
            (address, random.random_range(shortest..=32))
        })
        .collect();
    if dense {
        prefixes.extend((0..8_192).map(|index| (bases[0] & !0x1fff | index, 32)));
    }
    let mut sources = vec![0, u32::MAX];
    for (address, length) in prefixes {
        let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
        let (first, last) = (address & mask, address | !mask);
        let flags = WORDS[random.random_range(0..WORDS.len())];
        let prefix = format!("{}/{length}", Ipv4Addr::from(first));
        stand = stand.list(&prefix, flags, random.random_range(0..4));
        sources.extend([first.wrapping_sub(1), first, last, last.wrapping_add(1), random.random()]);
    }
    (stand, sources)
}

/// The policies in turn: every limit there is, the same in monitor mode, gates that no limit hides, and limits and lists
/// that no other hides.
fn stand(turn: usize) -> Stand {
    let small = |dimension| limit(dimension, 100, if dimension == Dimension::Bytes { 5_000 } else { 10 });
    let total = |offer: Offer, dimension| offer.total(dimension, small(dimension));
    let neighbours = |stand: Stand, dimension| stand.neighbours(dimension, small(dimension));
    let gates = Stand::new().serve(Offer::tls(443)).serve(Offer::udp(53));
    match turn % 7 {
        0 => rich_stand(),
        1 => rich_stand().mode(mode::MONITOR),
        2 => gates,
        3 => gates.list("192.0.2.0/24", listing::ALLOW, 0).live("2001:db8::/32", 0, FOREVER),
        4 => [Dimension::Syn, Dimension::Icmp]
            .into_iter()
            .fold(gates, |stand, dimension| stand.each(dimension, small(dimension)))
            .share("192.0.0.0/16", KEY_SHARED_V4, FOREVER)
            .share("2001:db8::/40", shared_56(0), FOREVER),
        5 => [Dimension::Bytes, Dimension::Syn, Dimension::Udp, Dimension::Icmp]
            .into_iter()
            .fold(gates, neighbours),
        _ => Stand::new()
            .serve(total(total(Offer::tls(443), Dimension::Syn), Dimension::Bytes))
            .serve(total(Offer::udp(53), Dimension::Udp))
            .serve(total(Offer::tcp(22), Dimension::Packets)),
    }
}

/// The kernel under one shape of tables, and what the host counted beside it.
struct Side {
    judge: Judge,
    sets: Sets,
    key: Key,
    counted: Counts,
}

impl Side {
    fn new(sets: Sets, key: Key) -> Result<Self> {
        Ok(Self { judge: Judge::new(sets, key)?, sets, key, counted: Counts::default() })
    }

    fn round(&mut self, stand: Stand, count: u64, seeds: &[Vec<u8>], random: &mut StdRng) -> Result<()> {
        let host = HostEnv::new(Stand { sets: self.sets, key: self.key, ..stand });
        self.judge.lay(host.stand())?;
        let pace = random.random_range(18..32);
        let mut now = START;
        for place in 0..count {
            let frame = frame(seeds, random);
            now = later(now, pace, random);
            let ours = host.judge(&frame, now);
            let theirs =
                self.judge.judge(&frame, now).with_context(|| format!("frame {place}: {frame:02x?}"))?;
            if ours != theirs {
                bail!("frame {place} at {now}: host {ours:?}, kernel {theirs:?} for {frame:02x?}");
            }
        }
        compare_tables(&host, self.judge.kernel())?;
        self.counted.add(&Counts::of_host(host.counters()));
        Ok(())
    }

    fn finish(mut self) -> Result<Counts> {
        let differences = self.counted.differences(&Counts::of_kernel(self.judge.kernel())?);
        ensure!(differences.is_empty(), "counters of host and kernel:\n{}", differences.join("\n"));
        Ok(self.counted)
    }
}

/// The time of the next frame: mostly later, now and then a little before the last, as on another CPU.
fn later(now: u64, pace: u32, random: &mut impl Rng) -> u64 {
    let step = random.random_range(0..1 << pace);
    if random.random_ratio(1, 16) { now - step } else { now + step }
}

/// A frame of the table as it is, or changed, or random bytes; of a length that test runs take.
fn frame(seeds: &[Vec<u8>], random: &mut impl Rng) -> Vec<u8> {
    let [one, other] = [(); 2].map(|()| &seeds[random.random_range(0..seeds.len())]);
    let mut frame = one.clone();
    match random.random_range(0..8) {
        0 => {}
        1 => frame = noise(random),
        _ => mutate(random, &mut frame, other),
    }
    frame.truncate(*FRAME_LENGTHS.end());
    while frame.len() < *FRAME_LENGTHS.start() {
        frame.push(random.random());
    }
    frame
}

/// Any bytes, often with an EtherType that is looked into.
fn noise(random: &mut impl Rng) -> Vec<u8> {
    let mut bytes = vec![0; random.random_range(*FRAME_LENGTHS.start()..200)];
    random.fill_bytes(&mut bytes);
    let kind: u16 = [0x0800, 0x86dd, 0x8100, random.random()][random.random_range(0..4)];
    bytes[12..14].copy_from_slice(&kind.to_be_bytes());
    bytes
}
