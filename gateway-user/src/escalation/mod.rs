//! Neighbourhoods that escalate: where many sources of one are over their limits, all of it shares one source's limits.
//!
//! Who has a whole network sends from each of its addresses just what one source may. So about once a second the daemon looks at
//! who was over a limit since the last look ([`Readings`], [`is_over`]), and [`Watch`] says which neighbourhoods begin and
//! cease to share a bucket. The kernel does the rest, by a live entry that names the bucket's key.
//!
//! Pure: time comes as an argument.

mod neighbourhood;
mod readings;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use gateway_common::limit::rate::{Instant, SECOND};

pub use neighbourhood::Neighbourhood;
pub use readings::{Readings, is_over, more};

/// How often is looked.
pub const LOOK: Duration = Duration::from_secs(1);
/// Sources of a /24 or a /56 that must be over their limits. Fewer can take fifteen times what one may, which is of the
/// order of what [limits.neighbours] allows by default (ten times); and one household or server with several addresses has fewer.
pub const OFFENDERS: u32 = 16;
/// How many times as many must be in a /48, where no more than [`OFFENDERS`] of one /56 count: so that four /56 that escalate,
/// or more of them with fewer offenders each, make it one.
pub const NARROW: u32 = 4;
/// A bucket that has refused nothing for so long is under no pressure: several times what the longest default burst takes
/// to come back (two seconds), and what a client that tries again waits at first.
pub const QUIET: Instant = 30 * SECOND;
/// The longest time without a trial. A neighbourhood whose honest sources need more than one source may would never be
/// quiet; so all are released after this time, and escalate again at the next look if there are as many offenders as before.
pub const TRIAL: Instant = 300 * SECOND;
/// How long the kernel holds an escalation without the daemon, and what must be left of that before it is written anew.
pub const HOLD: Instant = 60 * SECOND;
/// See [`HOLD`].
pub const RENEW: Instant = 30 * SECOND;
/// How many there may be at once: as many as forged sources could bring about, each costs a little memory, and a write
/// now and then. The others' sources are held to their own limits.
pub const MOST: usize = 4_096;

/// One escalation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Escalation {
    /// When it began.
    since: Instant,
    /// When its bucket last refused something, by the look that saw it.
    pressed: Instant,
    /// Until when the kernel holds it.
    until: Instant,
}

/// What a look has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// These begin to share a bucket, with how many offenders counted.
    pub escalated: Vec<(Neighbourhood, u32)>,
    /// These cease to: their buckets have been quiet.
    pub released: Vec<Neighbourhood>,
    /// These cease to for a trial.
    pub tried: Vec<Neighbourhood>,
    /// /56 whose /48 shares one now.
    pub merged: Vec<Neighbourhood>,
    /// How many should have escalated, and there was no room.
    pub left_out: usize,
}

impl Changes {
    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.escalated.is_empty()
            && self.released.is_empty()
            && self.tried.is_empty()
            && self.merged.is_empty()
    }
}

/// The neighbourhoods that share a bucket.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    escalated: BTreeMap<Neighbourhood, Escalation>,
}

impl Watch {
    /// Takes the keys, each once, of sources and of shared buckets that were over a limit since the last look. Sources of a
    /// class are the caller's to leave out.
    pub fn look(&mut self, over: impl IntoIterator<Item = u64>, now: Instant) -> Changes {
        let mut offenders: HashMap<Neighbourhood, u32> = HashMap::new();
        for key in over {
            if let Some(shared) = Neighbourhood::of_shared(key) {
                if let Some(escalation) = self.escalated.get_mut(&shared) {
                    escalation.pressed = now;
                }
            } else if let Some(neighbourhood) = Neighbourhood::of_source(key).filter(|own| !self.holds(*own))
            {
                *offenders.entry(neighbourhood).or_default() += 1;
            }
        }
        let mut changes = Changes::default();
        for (neighbourhood, count) in wide(&self.escalated, &offenders) {
            self.begin(neighbourhood, count, now, &mut changes);
        }
        for (&neighbourhood, &count) in offenders.iter().filter(|(_, count)| **count >= OFFENDERS) {
            self.begin(neighbourhood, count, now, &mut changes);
        }
        self.end(now, &mut changes);
        changes.escalated.sort_unstable();
        changes
    }

    /// Whether a neighbourhood shares a bucket, its own or a wider one's.
    fn holds(&self, neighbourhood: Neighbourhood) -> bool {
        let has = |one: &Neighbourhood| self.escalated.contains_key(one);
        has(&neighbourhood) || neighbourhood.wide().is_some_and(|wide| has(&wide))
    }

    fn begin(&mut self, neighbourhood: Neighbourhood, count: u32, now: Instant, changes: &mut Changes) {
        if self.holds(neighbourhood) {
            return;
        }
        let inside = if neighbourhood.is_wide() { self.inside(neighbourhood) } else { Vec::new() };
        if self.escalated.len() - inside.len() >= MOST {
            changes.left_out += 1;
            return;
        }
        for inner in inside {
            self.escalated.remove(&inner);
            changes.merged.push(inner);
        }
        self.escalated.insert(neighbourhood, Escalation { since: now, pressed: now, until: now });
        changes.escalated.push((neighbourhood, count));
    }

    /// The /56 of a /48 that share a bucket each.
    fn inside(&self, wide: Neighbourhood) -> Vec<Neighbourhood> {
        self.escalated.keys().copied().filter(|inner| inner.wide() == Some(wide)).collect()
    }

    fn end(&mut self, now: Instant, changes: &mut Changes) {
        self.escalated.retain(|&neighbourhood, escalation| {
            let ended = if now.wrapping_sub(escalation.pressed) >= QUIET {
                &mut changes.released
            } else if now.wrapping_sub(escalation.since) >= TRIAL {
                &mut changes.tried
            } else {
                return true;
            };
            ended.push(neighbourhood);
            false
        });
    }

    /// Ends all.
    pub fn clear(&mut self) -> Changes {
        let released = std::mem::take(&mut self.escalated).into_keys().collect();
        Changes { released, ..Changes::default() }
    }

    /// Lets the kernel hold on to those that it would soon let go; whether there were any.
    pub fn renew(&mut self, now: Instant) -> bool {
        let mut any = false;
        for escalation in self.escalated.values_mut() {
            // One that is new has nothing left, and one of a daemon that was held up is overdue.
            let left = escalation.until.wrapping_sub(now).cast_signed();
            if left < RENEW.cast_signed() {
                escalation.until = now.wrapping_add(HOLD);
                any = true;
            }
        }
        any
    }

    /// All, each with the instant until which the kernel holds it.
    pub fn iter(&self) -> impl Iterator<Item = (Neighbourhood, Instant)> {
        self.escalated.iter().map(|(neighbourhood, escalation)| (*neighbourhood, escalation.until))
    }

    /// How many there are of IPv4 and of IPv6.
    pub fn counts(&self) -> [u64; 2] {
        let v4 = self.escalated.keys().filter(|neighbourhood| neighbourhood.is_v4()).count();
        [v4 as u64, (self.escalated.len() - v4) as u64]
    }
}

/// The /48 with enough offenders: those who share a bucket already count as what they escalated for.
fn wide(
    escalated: &BTreeMap<Neighbourhood, Escalation>,
    offenders: &HashMap<Neighbourhood, u32>,
) -> Vec<(Neighbourhood, u32)> {
    let before = escalated.keys().map(|neighbourhood| (*neighbourhood, OFFENDERS));
    let new = offenders.iter().map(|(neighbourhood, count)| (*neighbourhood, (*count).min(OFFENDERS)));
    let mut sums: HashMap<Neighbourhood, u32> = HashMap::new();
    for (neighbourhood, count) in before.chain(new) {
        if let Some(wide) = neighbourhood.wide() {
            *sums.entry(wide).or_default() += count;
        }
    }
    sums.into_iter().filter(|(_, sum)| *sum >= NARROW * OFFENDERS).collect()
}
