//! How many packets were dropped, by service and reason; and what of that was told already.

use std::collections::BTreeMap;

use gateway_common::verdict::{Action, Reason};
use serde::{Deserialize, Serialize};

use crate::model::Outcome;

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes of frames.
    pub bytes: u64,
}

/// Where drops are counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The service; nothing: none, or the reason is one of before services are known.
    pub service: Option<String>,
    /// `drop`, or `would_drop` in monitor mode.
    pub verdict: Outcome,
    /// The reason's word.
    pub reason: &'static str,
}

/// Drops since the counters were made; without those that are 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<Key, Count>);

/// What is counted: drops, and what would be drops.
fn columns() -> impl Iterator<Item = (Action, Reason)> {
    let drops = Reason::ALL.iter().copied().filter(|reason| reason.action() == Action::Drop);
    drops.flat_map(|reason| [Action::Drop, Action::WouldDrop].map(|action| (action, reason)))
}

impl Counts {
    /// From the counters: packets of each service, read first, and then packets and bytes of all. So no packet is of a service and
    /// not among all. Bytes are shared out by packets: the kernel counts them by reason alone.
    pub fn of(
        services: &[(String, impl Fn(Action, Reason) -> u64)],
        all: impl Fn(Action, Reason) -> Count,
    ) -> Self {
        let mut counts = BTreeMap::new();
        for (action, reason) in columns() {
            let whole = all(action, reason);
            let mut rest = whole.packets;
            let share = |packets: u64| {
                let bytes = u128::from(whole.bytes) * u128::from(packets) / u128::from(whole.packets.max(1));
                Count { packets, bytes: bytes as u64 }
            };
            let key = |service| Key { service, verdict: action, reason: reason.name() };
            for (name, packets) in services.iter().filter(|_| reason.is_of_service() && whole.packets != 0) {
                let packets = packets(action, reason);
                rest = rest.saturating_sub(packets);
                if packets != 0 {
                    counts.insert(key(Some(name.clone())), share(packets));
                }
            }
            if rest != 0 {
                counts.insert(key(None), share(rest));
            }
        }
        Self(counts)
    }

    /// Each with its count.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, Count)> {
        self.0.iter().map(|(key, count)| (key, *count))
    }

    /// What was counted at a key.
    pub fn at(&self, key: &Key) -> Count {
        self.0.get(key).copied().unwrap_or_default()
    }
}

/// What was told of counters: kept over a restart, so that each packet is told once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Unix milliseconds of the last time.
    pub at: u64,
    told: BTreeMap<Key, Count>,
}

/// The same as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    epoch: u64,
    at: u64,
    told: Vec<(Option<String>, Outcome, String, u64, u64)>,
}

impl Told {
    /// Nothing yet.
    pub fn new(at: u64) -> Self {
        Self { at, told: BTreeMap::new() }
    }

    /// From what was kept, if that is of the same counters: those that were made at this time of the kernel's clock.
    pub fn from_text(text: &str, epoch: u64) -> Option<Self> {
        let kept: Kept = serde_json::from_str(text).ok()?;
        let key = |(service, verdict, reason, packets, bytes): (_, _, String, _, _)| {
            let reason = Reason::ALL.iter().find(|one| one.name() == reason)?.name();
            Some((Key { service, verdict, reason }, Count { packets, bytes }))
        };
        (kept.epoch == epoch)
            .then(|| Self { at: kept.at, told: kept.told.into_iter().filter_map(key).collect() })
    }

    /// As it is kept.
    pub fn to_text(&self, epoch: u64) -> String {
        let row = |(key, count): (&Key, &Count)| {
            (key.service.clone(), key.verdict, key.reason.to_owned(), count.packets, count.bytes)
        };
        let kept = Kept { epoch, at: self.at, told: self.told.iter().map(row).collect() };
        serde_json::to_string(&kept).unwrap_or_default()
    }

    /// What has come since, and is told with this. What was counted in between for a service and not yet among all comes with
    /// the next.
    pub fn take(&mut self, counts: &Counts, at: u64) -> Vec<(Key, Count)> {
        self.at = at;
        let mut new = Vec::new();
        for (key, count) in counts.iter() {
            let told = self.told.entry(key.clone()).or_default();
            let packets = count.packets.saturating_sub(told.packets);
            if packets != 0 {
                let bytes = count.bytes.saturating_sub(told.bytes);
                *told = Count { packets: count.packets, bytes: told.bytes.max(count.bytes) };
                new.push((key.clone(), Count { packets, bytes }));
            }
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(api: u64, all: u64) -> Counts {
        let of = |wanted: Reason, number: u64| {
            move |action, reason| if (action, reason) == (Action::Drop, wanted) { number } else { 0 }
        };
        let all = of(Reason::NotTls, all);
        Counts::of(&[("api".to_owned(), of(Reason::NotTls, api))], |action, reason| {
            let packets = all(action, reason);
            Count { packets, bytes: packets * 100 }
        })
    }

    fn key(service: Option<&str>) -> Key {
        Key { service: service.map(str::to_owned), verdict: Outcome::Drop, reason: "not_tls" }
    }

    #[test]
    fn what_is_of_no_service_is_the_rest() {
        let counts = counts(30, 40);
        assert_eq!(counts.at(&key(Some("api"))), Count { packets: 30, bytes: 3_000 });
        assert_eq!(counts.at(&key(None)), Count { packets: 10, bytes: 1_000 });
        assert_eq!(counts.iter().count(), 2);
    }

    #[test]
    fn each_packet_is_told_once_over_restarts_and_late_counters() {
        let mut told = Told::new(0);
        let mut sum = 0;
        // The counters of a service may be behind those of all, and the rest so goes back.
        for (at, (api, all)) in [(10, 12), (10, 20), (20, 20), (25, 31)].into_iter().enumerate() {
            sum +=
                told.take(&counts(api, all), at as u64).iter().map(|(_, count)| count.packets).sum::<u64>();
            told = Told::from_text(&told.to_text(7), 7).unwrap();
        }
        // 25 of the service; of the rest at least the 6 that there are, and those 8 that were taken for some of it.
        assert_eq!((sum, told.at), (25 + 10, 3));
        assert_eq!(Told::from_text(&told.to_text(7), 8), None, "other counters");
    }
}
