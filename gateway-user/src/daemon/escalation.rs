//! Neighbourhoods that escalate: who was over a limit is read from the tables, and what follows is told the kernel.

use std::collections::HashSet;

use anyhow::Result;
use gateway_common::{
    abi::{Limits, Live, SLOT_KEY, Settings},
    limit::rate::{Dimension, INSTANT_SHIFT, Instant, SECOND},
    packet::Address,
    source::KEY_V4,
    tables::Table,
    verdict::Scope,
};
use ipnet::IpNet;

use crate::{
    config::Class,
    drops::Counts,
    escalation::{Changes, Neighbourhood, is_over},
    host::Prefixes,
    kernel::tables::Slot,
    model::{Actor, Fact, What},
};

use super::{
    part::{clock::monotonic, pressure::Pressure},
    state::Gateway,
};

/// The tables in which sources have buckets.
pub(super) const TABLES: [Table; 2] = [Table::Sources, Table::ServiceSources];
/// After so long without a look, of a daemon that was held up, drops are too old to say who is over a limit now.
const TOO_LATE: Instant = 5 * SECOND;
/// Changes of one look that are put down: a flood may come from thousands of networks.
const TOLD: usize = 64;

impl Gateway {
    /// Looks who is over a limit, and has neighbourhoods begin and cease to share a bucket.
    pub(super) fn look_for_pressure(&mut self, counts: &Counts) {
        if let Err(error) = self.try_look(counts) {
            log::error!("cannot look which neighbourhoods are over their limits: {error:#}");
        }
    }

    fn try_look(&mut self, counts: &Counts) -> Result<()> {
        let now = self.clock();
        let within = now.wrapping_sub(std::mem::replace(&mut self.pressure.looked, now));
        let changes = if self.config.neighbours.escalate {
            let over = if self.has_drops(counts) { self.over(now, within) } else { HashSet::new() };
            self.pressure.watch.look(over, now)
        } else {
            self.pressure.watch.clear()
        };
        let is_due = self.pressure.watch.renew(now);
        let facts = facts(&changes);
        if !facts.is_empty() {
            drop(self.put_down(&facts, &Actor::Escalation));
        }
        if changes.left_out != 0 {
            let count = changes.left_out;
            log::warn!("{count} neighbourhoods more should share a bucket, and there are too many that do");
        }
        if is_due || !changes.is_empty() { self.apply_live() } else { Ok(()) }
    }

    /// Whether a packet was dropped for a source's limit since the last look. Where none was, the tables need not be read.
    fn has_drops(&mut self, counts: &Counts) -> bool {
        let reasons = Dimension::ALL.map(|dimension| Scope::Source.reason(dimension).name());
        let of_limits = counts.iter().filter(|(key, _)| reasons.contains(&key.reason));
        let drops = of_limits.map(|(_, count)| count.packets).sum();
        self.pressure.drops.replace(drops) != Some(drops)
    }

    /// The keys of who was over a limit since the last look: sources of no class, and shared buckets.
    fn over(&mut self, now: Instant, within: Instant) -> HashSet<u64> {
        if self.pressure.classes.0 != self.generation {
            self.pressure.classes = (self.generation, prefixes(&self.config.classes));
        }
        let Pressure { readings, classes: (_, classes), .. } = &mut self.pressure;
        let (tables, settings) = (self.kernel.tables(), self.kernel.settings());
        let mut over = HashSet::new();
        for (table, readings) in TABLES.into_iter().zip(readings) {
            let grown = readings.grown(tables.drops(table));
            let Some(settings) = settings.filter(|_| within < TOO_LATE) else { continue };
            let slots = grown.into_iter().filter_map(|(place, _)| tables.slot(table, place));
            let slots = slots.filter(|slot| {
                limits(table, slot, settings).is_some_and(|limits| is_over(&slot.words, limits, now, within))
            });
            over.extend(slots.map(|slot| slot.words[SLOT_KEY]).filter(|key| !is_in_class(*key, classes)));
        }
        over
    }

    /// The live entries of the neighbourhoods that share a bucket.
    pub(super) fn shared(&self) -> impl Iterator<Item = (IpNet, Live)> {
        self.pressure.watch.iter().map(|(neighbourhood, until)| {
            let live = Live { shared_until: until, shared_key: neighbourhood.key(), ..Live::NONE };
            (neighbourhood.network(), live)
        })
    }

    /// The kernel's time.
    pub(super) fn clock(&self) -> Instant {
        monotonic().wrapping_sub(self.kernel.identity().epoch) << INSTANT_SHIFT
    }
}

/// The limits of a slot whose source is in no class.
fn limits<'a>(table: Table, slot: &Slot, settings: &'a Settings) -> Option<&'a Limits> {
    if table == Table::Sources {
        return Some(&settings.classes[0].limits);
    }
    let service = settings.services.iter().find(|service| service.own != 0 && service.region == slot.region);
    service.map(|service| &service.limits)
}

fn prefixes(classes: &[Class]) -> Prefixes<()> {
    let mut prefixes = Prefixes::default();
    classes.iter().flat_map(|class| &class.sources).for_each(|source| prefixes.insert(*source, ()));
    prefixes
}

fn is_in_class(key: u64, classes: &Prefixes<()>) -> bool {
    if Neighbourhood::of_shared(key).is_some() {
        return false;
    }
    let is_v4 = key >> 32 == KEY_V4 >> 32;
    let address = if is_v4 { Address::v4((key as u32).to_be_bytes()) } else { Address { high: key, low: 0 } };
    classes.longest(!is_v4, address).is_some()
}

/// What a look has changed, for log and record. There may be thousands at once.
fn facts(changes: &Changes) -> Vec<Fact> {
    const OWN: &str = "own limits";
    const SHARED: &str = "shared limit";
    let fact = |neighbourhood: &Neighbourhood, from: &str, to: &str, why: String| Fact {
        reason: Some(why),
        ..Fact::new(
            What::Neighbourhood,
            neighbourhood.to_string(),
            Some(from.to_owned()),
            Some(to.to_owned()),
        )
    };
    let escalated = changes.escalated.iter().map(|(neighbourhood, offenders)| {
        fact(
            neighbourhood,
            OWN,
            SHARED,
            format!("{offenders} sources over their limits share that of one now"),
        )
    });
    let released = changes
        .released
        .iter()
        .map(|neighbourhood| fact(neighbourhood, SHARED, OWN, "no longer under pressure".to_owned()));
    let tried = changes.tried.iter().map(|neighbourhood| {
        fact(neighbourhood, SHARED, OWN, "tries whether its sources keep to their own limits now".to_owned())
    });
    let merged = changes.merged.iter().map(|neighbourhood| {
        fact(neighbourhood, SHARED, SHARED, "with the network around it now".to_owned())
    });
    escalated.chain(released).chain(tried).chain(merged).take(TOLD).collect()
}
