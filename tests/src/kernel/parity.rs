//! Random and mutated frames to host and kernel: the same verdicts, counters and tables.
//!
//! Frames come as they do in a flood: the same one several times, some of them changed a little, by a clock whose readings
//! are late. So each side makes use of what its CPU knows from the frames before. A third judge, on the host, does not: it
//! keeps no dropped frame in mind, and must drop the same.

mod forgetful;
mod lists;
mod policies;
mod traffic;

use anyhow::{Context as _, Result, bail, ensure};
use gateway_common::hash::Key;
use gateway_user::host::{Cpu, HostEnv, Sets, Stand};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng as _};

use super::Judge;
use super::counts::Counts;
use super::tables::{compare_tables, compare_unused};
use crate::lab::{THIS_THREAD, pin};
use forgetful::Forgetful;
use traffic::{Seeds, Traffic};

pub use lists::run as run_lists;

/// Frames under one policy, from empty tables on.
const ROUND: u64 = 25_000;
/// Tables in which nearly every newcomer pushes somebody out.
const TINY: Sets = Sets {
    sources: 1,
    service_sources: 1,
    neighbours: 1,
    connections: 1,
    hellos: 1,
    tuples: 1,
    clients: 1,
    drops: 256,
};

/// Tables with room for all sources of a round: who loses a slot while he is over his limit is judged otherwise by who keeps no
/// frame in mind.
fn roomy() -> Sets {
    Sets { sources: 1 << 14, service_sources: 1 << 10, neighbours: 1 << 13, ..Sets::default() }
}

/// Shows `count` frames to both sides; gives back what both counted.
///
/// # Errors
/// Names the first frame that they judge differently, with the seed that makes it again.
pub fn run(count: u64, seed: u64) -> Result<Counts> {
    // Each CPU has a record of its own, and there is one on the host.
    pin(THIS_THREAD, 0)?;
    let mut random = StdRng::seed_from_u64(seed);
    let seeds = Seeds::new();
    let mut sides = Vec::new();
    for (sets, forgets) in [(roomy(), true), (TINY, false)] {
        sides.push(Side::new(sets, Key(random.random()), forgets)?);
    }
    let mut left = count;
    for round in 0.. {
        if left == 0 {
            break;
        }
        let frames = left.min(ROUND);
        let side = &mut sides[usize::from(round % 4 == 3)];
        side.round(frames, Traffic::new(&seeds, &mut random))
            .with_context(|| format!("seed {seed}, round {round}"))?;
        left -= frames;
    }
    let mut sum = Counts::default();
    for side in sides {
        sum.add(&side.finish()?);
    }
    Ok(sum)
}

/// The kernel under one shape of tables, a CPU of the host beside it, and what the host counted.
struct Side {
    judge: Judge,
    cpu: Cpu,
    forgetful: Option<Forgetful>,
    sets: Sets,
    key: Key,
    generation: u64,
    counted: Counts,
}

impl Side {
    fn new(sets: Sets, key: Key, forgets: bool) -> Result<Self> {
        let forgetful = forgets.then(Forgetful::default);
        let (judge, cpu, counted) = (Judge::new(sets, key)?, Cpu::default(), Counts::default());
        Ok(Self { judge, cpu, forgetful, sets, key, generation: 0, counted })
    }

    fn round(&mut self, count: u64, mut traffic: Traffic<'_, impl Rng>) -> Result<()> {
        let mut stand = Stand { sets: self.sets, key: self.key, ..policies::stand(self.generation) };
        self.generation += 1;
        stand.settings.generation = self.generation;
        if let Some(forgetful) = &mut self.forgetful {
            forgetful.lay(&stand);
        }
        let host = HostEnv::new(stand);
        self.cpu = Cpu::with_drop_cache(&host);
        self.judge.lay(host.stand())?;
        for place in 0..count {
            let (frame, now, late) = traffic.next();
            self.show(&host, frame, (now, late))
                .with_context(|| format!("frame {place} at {now}, late by {late}: {frame:02x?}"))?;
        }
        compare_tables(&host, self.judge.kernel())?;
        compare_unused(&host, self.judge.kernel())?;
        if let Some(forgetful) = &self.forgetful {
            self.cpu.settle(&host);
            forgetful.compare_tables(&host)?;
        }
        self.counted.add(&Counts::of_host(host.counters()));
        Ok(())
    }

    fn show(&mut self, host: &HostEnv, frame: &[u8], (now, late): (u64, u64)) -> Result<()> {
        host.set_now(now);
        host.set_late(late);
        let ours = host.judge_on(frame, &mut self.cpu);
        let theirs = self.judge.judge(frame, now, late)?;
        if ours != theirs {
            bail!("host {ours:?}, kernel {theirs:?}");
        }
        if let Some(forgetful) = &mut self.forgetful {
            forgetful.compare(frame, (now, late), ours)?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Counts> {
        let differences = self.counted.differences(&Counts::of_kernel(self.judge.kernel())?);
        ensure!(differences.is_empty(), "counters of host and kernel:\n{}", differences.join("\n"));
        Ok(self.counted)
    }
}
