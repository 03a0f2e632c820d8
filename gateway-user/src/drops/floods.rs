//! When many packets are dropped for one reason.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use super::{
    Count,
    counts::{Counts, Key},
};
use crate::model::{Flood, Phase, Share};

/// Drops a second above which something may be a flood.
const RATE: u64 = 200;
/// So many at such a rate are one.
const PACKETS: u64 = 1_000;
/// Below this rate it may be over, ...
const QUIET_RATE: u64 = 50;
/// ... and is after so long; milliseconds.
const QUIET: u64 = 10_000;
/// How often one that goes on is told of; milliseconds.
const AGAIN: u64 = 300_000;
/// Sources whose samples are counted of one flood.
const SOURCES: usize = 4_096;
/// Sources that are told.
const TOP: usize = 3;
/// Below this part of the samples a source is not told, in percent.
const LEAST: u64 = 5;

/// What may be a flood, or is one.
#[derive(Clone, Debug)]
struct Running {
    since: u64,
    /// At the beginning.
    before: Count,
    now: Count,
    peak: u64,
    /// When its rate was last above [`QUIET_RATE`].
    loud: u64,
    /// When it was told of last; nothing: not yet.
    told: Option<u64>,
    samples: u64,
    sources: HashMap<IpAddr, u64>,
}

/// The floods that there are.
#[derive(Clone, Debug, Default)]
pub struct Floods {
    running: BTreeMap<Key, Running>,
    last: Option<(u64, Counts)>,
    /// How many have begun, ever.
    begun: BTreeMap<Key, u64>,
}

impl Floods {
    /// Takes the counts of now, in Unix milliseconds; gives what has begun, goes on and is over.
    pub fn look(&mut self, counts: Counts, at: u64) -> Vec<Flood> {
        let Some((before, last)) = self.last.replace((at, counts)) else { return Vec::new() };
        let Some((_, counts)) = &self.last else { return Vec::new() };
        let elapsed = at.saturating_sub(before).max(1);
        let mut told = Vec::new();
        for (key, count) in counts.iter() {
            let earlier = last.at(key);
            let rate = count.packets.saturating_sub(earlier.packets) * 1_000 / elapsed;
            if rate < RATE && !self.running.contains_key(key) {
                continue;
            }
            let running = self.running.entry(key.clone()).or_insert_with(|| Running {
                since: before,
                before: earlier,
                now: earlier,
                peak: 0,
                loud: at,
                told: None,
                samples: 0,
                sources: HashMap::new(),
            });
            running.now = count;
            running.peak = running.peak.max(rate);
            if rate >= QUIET_RATE {
                running.loud = at;
            }
            let phase = match running.told {
                None if running.packets() >= PACKETS => Phase::Begun,
                Some(told) if at >= told + AGAIN => Phase::GoesOn,
                _ => continue,
            };
            if phase == Phase::Begun {
                *self.begun.entry(key.clone()).or_default() += 1;
            }
            running.told = Some(at);
            told.push(running.flood(key, phase, at));
        }
        self.running.retain(|key, running| {
            // What is not one yet must stay loud.
            let patience = if running.told.is_some() { QUIET } else { 0 };
            let is_over = at > running.loud + patience;
            if is_over && running.told.is_some() {
                told.push(running.flood(key, Phase::Over, running.loud));
            }
            !is_over
        });
        told
    }

    /// Takes note of where a sampled packet is from.
    pub fn sampled(&mut self, key: &Key, source: IpAddr) {
        let Some(running) = self.running.get_mut(key) else { return };
        running.samples += 1;
        if running.sources.len() < SOURCES || running.sources.contains_key(&source) {
            *running.sources.entry(source).or_default() += 1;
        }
    }

    /// How many have begun by service and reason, and whether one is under way.
    pub fn counts(&self) -> impl Iterator<Item = (&Key, u64, bool)> {
        self.begun.iter().map(|(key, count)| (key, *count, self.running.contains_key(key)))
    }

    /// The floods under way.
    pub fn active(&self, at: u64) -> Vec<Flood> {
        let told = self.running.iter().filter(|(_, running)| running.told.is_some());
        told.map(|(key, running)| running.flood(key, Phase::GoesOn, at)).collect()
    }
}

impl Running {
    const fn packets(&self) -> u64 {
        self.now.packets.saturating_sub(self.before.packets)
    }

    fn flood(&self, key: &Key, phase: Phase, until: u64) -> Flood {
        let mut sources: Vec<(&IpAddr, u64)> =
            self.sources.iter().map(|(one, count)| (one, *count)).collect();
        sources.sort_unstable_by_key(|(source, count)| (u64::MAX - count, **source));
        let share = |(source, count): (&IpAddr, u64)| {
            let percent = count * 100 / self.samples.max(1);
            (percent >= LEAST).then(|| Share { source: *source, percent: percent.min(100) as u8 })
        };
        Flood {
            phase,
            verdict: key.verdict,
            reason: key.reason.to_owned(),
            service: key.service.clone(),
            since: self.since,
            seconds: until.saturating_sub(self.since).div_ceil(1_000),
            packets: self.packets(),
            bytes: self.now.bytes.saturating_sub(self.before.bytes),
            peak: self.peak,
            sources: sources.into_iter().take(TOP).filter_map(share).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use gateway_common::verdict::{Action, Reason};

    use super::*;
    use crate::model::Outcome;

    fn counts(packets: u64) -> Counts {
        Counts::of(&[("none".to_owned(), |_, _| 0)], |action, reason| match (action, reason) {
            (Action::Drop, Reason::LimitSyn) => Count { packets, bytes: packets * 60 },
            _ => Count::default(),
        })
    }

    fn key() -> Key {
        Key { service: None, verdict: Outcome::Drop, reason: "limit_syn" }
    }

    /// Looks once a second at counters that grow by these; gives what was told in which second.
    fn told(rates: &[u64]) -> Vec<(usize, Phase, u64)> {
        let (mut floods, mut sum) = (Floods::default(), 0);
        floods.look(counts(0), 0);
        let mut all = Vec::new();
        for (second, rate) in rates.iter().enumerate() {
            sum += rate;
            let told = floods.look(counts(sum), (second as u64 + 1) * 1_000);
            all.extend(told.into_iter().map(|flood| (second, flood.phase, flood.packets)));
        }
        all
    }

    #[test]
    fn a_flood_begins_goes_on_and_is_over() {
        let mut rates = vec![0, 44_250, 0];
        rates.extend([0; 12]);
        assert_eq!(told(&rates), [(1, Phase::Begun, 44_250), (12, Phase::Over, 44_250)]);
        let long: Vec<u64> = [2_000; 301].into_iter().chain([0; 11]).collect();
        let phases: Vec<Phase> = told(&long).into_iter().map(|(_, phase, _)| phase).collect();
        assert_eq!(phases, [Phase::Begun, Phase::GoesOn, Phase::Over]);
    }

    #[test]
    fn noise_is_no_flood_and_a_slow_one_is() {
        assert_eq!(told(&[199; 60]), []);
        assert_eq!(told(&[900, 0, 900, 0, 900, 0]), []);
        assert_eq!(told(&[250; 4]), [(3, Phase::Begun, 1_000)]);
    }

    #[test]
    fn its_sources_are_those_of_most_samples() {
        let mut floods = Floods::default();
        floods.look(counts(0), 0);
        floods.look(counts(5_000), 1_000);
        for number in 0..100_u8 {
            let source = if number < 90 { [192, 0, 2, 9] } else { [198, 51, 100, number] };
            floods.sampled(&key(), source.into());
        }
        let active = floods.active(2_000);
        let sources: Vec<_> =
            active[0].sources.iter().map(|one| (one.source.to_string(), one.percent)).collect();
        assert_eq!(sources, [("192.0.2.9".to_owned(), 90)]);
        assert_eq!((active[0].bytes, active[0].peak), (300_000, 5_000));
        assert_eq!(floods.counts().map(|(_, count, on)| (count, on)).collect::<Vec<_>>(), [(1, true)]);
    }
}
