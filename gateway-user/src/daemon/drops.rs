//! What is dropped, told: samples as events, floods, and each minute's sums for the record.

use anyhow::Result;
use gateway_common::{
    abi::SLOT_KEY,
    limit::rate::INSTANT_SHIFT,
    verdict::{Action, Reason},
};
use serde_json::{Value, json};

use crate::{
    bans::table::source_by_limits,
    drops::{Count, Counts, Key, Top, dropped, key},
    live,
    model::{Happened, Outcome, Prefix},
    record::Kind,
    store::Outgoing,
};

use super::{escalation::TABLES, state::Gateway};

/// Samples that are read at once: requests come in between.
const SAMPLES: usize = 4_096;
/// Milliseconds that the record has one sum of, ...
const MINUTE: u64 = 60_000;
/// ... and where it has grown too large.
const HOUR: u64 = 3_600_000;
/// Sources, and networks of others, that a sum names.
const NAMED: usize = 10;
/// With fewer drops none is named.
const NAMED_FROM: u64 = 20;

impl Gateway {
    /// Reads the samples that wait.
    pub(super) fn take_samples(&mut self) {
        let (clock, now) = (self.clock(), live::now_ms());
        let samples: Vec<_> = self.kernel.samples().take(SAMPLES).collect();
        for sample in samples {
            let interface = self.attached.get(usize::from(sample.interface));
            let interface = interface.map_or("?", |attached| attached.name.as_str());
            let is_of = |row: &u8| *row != 0 && u16::from(*row) == sample.service;
            let service = self.rows().0.iter().find(|(_, row)| is_of(row)).map(|(name, _)| name.as_str());
            let Some(dropped) = dropped(&sample, interface, service) else { continue };
            if let (Some(source), Some(key)) = (dropped.source, key(&sample, service)) {
                self.drops.floods.sampled(&key, source);
            }
            let age = clock.wrapping_sub(sample.at) >> INSTANT_SHIFT;
            // One from another CPU may be a little ahead.
            let age = if age > 1 << 60 { 0 } else { age };
            let frame = sample.head.get(..sample.captured as usize).map(Box::from);
            self.tell_at(now.saturating_sub(age / 1_000_000), Happened::Drop(dropped), frame);
        }
    }

    /// Looks which neighbourhoods are under pressure, and for floods, and puts the sums down that are due.
    pub(super) fn look_at_drops(&mut self) {
        let looked = self.drop_counts().and_then(|counts| {
            self.look_for_pressure(&counts);
            self.follow_drops(counts)
        });
        if let Err(error) = looked {
            log::error!("cannot read what was dropped: {error:#}");
        }
    }

    fn follow_drops(&mut self, counts: Counts) -> Result<()> {
        let now = live::now_ms();
        let lost = self.kernel.samples_lost()?;
        let more = lost.saturating_sub(std::mem::replace(&mut self.hub.lost, lost));
        if more != 0 {
            self.tell_at(now, Happened::Lost { samples: more }, None);
        }
        let every = if self.store.is_large() { HOUR } else { MINUTE };
        let is_due = now / every != self.drops.told.at / every;
        let mut rows = if is_due { self.sum_up(&counts, now) } else { Vec::new() };
        for flood in self.drops.floods.look(counts, now) {
            let flood = Happened::Flood(flood);
            log::info!("{flood}");
            rows.push(self.tell(flood));
        }
        if !rows.is_empty() {
            drop(self.keep(rows));
        }
        Ok(())
    }

    /// Puts down what was dropped and not told yet: at the end.
    pub(super) fn sum_up_rest(&mut self) {
        match self.drop_counts() {
            Ok(counts) => {
                let rows = self.sum_up(&counts, live::now_ms());
                drop(self.keep(rows));
            }
            Err(error) => log::error!("cannot read what was dropped: {error:#}"),
        }
    }

    /// Rows of what has been dropped since the last.
    fn sum_up(&mut self, counts: &Counts, now: u64) -> Vec<Outgoing> {
        let from = self.drops.told.at;
        let new = self.drops.told.take(counts, now);
        let mut rows: Vec<Outgoing> = new.iter().map(|(key, count)| sum(key, *count, from)).collect();
        let all = new.iter().map(|(_, count)| count.packets).sum::<u64>();
        let named = self.top(&new);
        if self.store.is_large() || all < NAMED_FROM {
            return rows;
        }
        let is_worth_it = |(_, packets): &&(Prefix, u64)| *packets >= NAMED_FROM;
        let mut told = 0;
        for (of, list) in [("source", &named.sources), ("network", &named.networks)] {
            for (prefix, packets) in list.iter().take_while(is_worth_it) {
                told += packets;
                let body = json!({ "packets": packets, "from": from, "of": of });
                rows.push(Outgoing { source: Some(*prefix), ..drops(body) });
            }
        }
        if told != 0 && all > told {
            rows.push(drops(json!({ "packets": all - told, "from": from, "of": "others" })));
        }
        rows
    }

    /// The sources that were dropped most, as far as tables tell. They are read only if something was dropped.
    fn top(&mut self, new: &[(Key, Count)]) -> Top {
        if new.is_empty() {
            return Top::default();
        }
        let has_bans = new.iter().any(|(key, _)| key.reason == Reason::Banned.name());
        Top::of(self.grown(has_bans), NAMED)
    }

    /// Sources that were dropped since this was last asked, those of bans too if need be. What an earlier daemon saw says nothing.
    pub(super) fn grown(&mut self, has_bans: bool) -> Vec<(Prefix, u64)> {
        let tables = self.kernel.tables();
        let limits = &self.config.limits;
        let mut grown = Vec::new();
        for (table, readings) in TABLES.into_iter().zip(&mut self.drops.tables) {
            let places = readings.grown(tables.drops(table)).into_iter();
            grown.extend(
                places.filter_map(|(place, packets)| {
                    Some((tables.slot(table, place)?.words[SLOT_KEY], packets))
                }),
            );
        }
        if has_bans {
            grown.extend(self.drops.bans.grown(self.kernel.dropped_by_bans()));
        }
        let source = |(key, packets)| Some((source_by_limits(key, limits)?, packets));
        grown.into_iter().filter_map(source).collect()
    }

    /// Drops by service and reason, over all interfaces.
    fn drop_counts(&self) -> Result<Counts> {
        let mut services = Vec::new();
        for (name, row) in &self.rows().0 {
            services.push((name.clone(), self.kernel.service_packets(usize::from(*row))?));
        }
        let mut interfaces = Vec::new();
        for place in 0..self.attached.len() {
            interfaces.push(self.kernel.tallies(place)?);
        }
        Ok(Counts::of(&services, |action: Action, reason: Reason| {
            interfaces.iter().fold(Count::default(), |sum, tallies| {
                let tally = tallies(action, reason);
                Count { packets: sum.packets + tally.packets, bytes: sum.bytes + tally.bytes }
            })
        }))
    }
}

/// The row of a sum.
fn sum(key: &Key, count: Count, from: u64) -> Outgoing {
    let Key { service, verdict, reason } = key;
    let mut body = json!({ "packets": count.packets, "bytes": count.bytes, "from": from });
    if *verdict == Outcome::WouldDrop {
        body["verdict"] = Value::from(verdict.name());
    }
    Outgoing { reason: Some((*reason).to_owned()), service: service.clone(), ..drops(body) }
}

fn drops(body: Value) -> Outgoing {
    let body = if let Value::Object(members) = body { members } else { serde_json::Map::new() };
    Outgoing { kind: Kind::Drops.name().to_owned(), body, ..Outgoing::default() }
}
