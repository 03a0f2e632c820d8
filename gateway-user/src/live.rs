//! Changes made live, and what of them outlives a restart.
//!
//! Live limits and modes hold until the next reload or restart, unless they were given a time: then until that. Bans and
//! trusted prefixes hold until their time is up or somebody takes them back.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        LazyLock,
        atomic::{AtomicI64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use gateway_common::{
    abi::{FOREVER, Live as LiveValue, SERVICES},
    limit::rate::{INSTANT_SHIFT, Instant},
};
use ipnet::IpNet;
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::{
    model::{Dimension, LimitScope, Mode, Prefix, Quota},
    policy::Overrides,
    prefixes::{self, Prefixes},
};

/// A live limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveLimit {
    /// Where.
    pub place: LimitScope,
    /// What it counts.
    pub dimension: Dimension,
    /// Rate and burst as text; nothing: lifted.
    pub quota: Option<(String, String)>,
    /// Unix seconds at which it reverts.
    pub until_at: Option<u64>,
}

/// A prefix trusted by hand.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Why.
    pub reason: Option<String>,
    /// Unix seconds since when.
    pub added_at: u64,
    /// Unix seconds until when; nothing: until taken back.
    pub until_at: Option<u64>,
}

/// All that was changed live.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// The mode, and until when.
    pub mode: Option<(Mode, Option<u64>)>,
    /// The modes of services and classes, and until when.
    pub modes: BTreeMap<LimitScope, (Mode, Option<u64>)>,
    /// Limits.
    pub limits: Vec<LiveLimit>,
    /// Trusted prefixes.
    allow: BTreeMap<Prefix, Entry>,
    /// Those that were changed since they were last written.
    touched: BTreeSet<Prefix>,
    /// Counter rows of services.
    pub rows: BTreeMap<String, u8>,
    /// Settings of the host that the daemon has changed, as `sysctl` names them, and what they were.
    pub sysctls: BTreeMap<String, String>,
}

/// Keys of what is kept: these words, then a space and the rest.
const MODE: &str = "mode";
const LIMIT: &str = "limit";
const ALLOW: &str = "allow";
const ROW: &str = "row";
const SYSCTL: &str = "sysctl";

/// By how many seconds the wall clock was ahead of the time since boot when that was last looked at.
static AHEAD: LazyLock<AtomicI64> = LazyLock::new(|| AtomicI64::new(ahead()));

/// The least step of the wall clock: below it, it is one that is made to go a little faster.
const STEP: i64 = 2;

/// Unix seconds, by a clock that nobody steps: what is due by a span is due when it is over, whatever becomes of the wall clock.
pub fn now() -> u64 {
    (since_boot() + AHEAD.load(Ordering::Relaxed)).try_into().unwrap_or(0)
}

/// Unix milliseconds, by the wall clock.
pub fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// By how many seconds the wall clock was stepped since this was last asked; from now on [`now`] goes with it. What has an end in Unix
/// seconds is to be [shifted](Live::shift) by it.
pub fn stepped() -> i64 {
    let ahead = ahead();
    let step = ahead - AHEAD.load(Ordering::Relaxed);
    if step.abs() < STEP {
        return 0;
    }
    AHEAD.store(ahead, Ordering::Relaxed);
    step
}

fn ahead() -> i64 {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed());
    wall - since_boot()
}

fn since_boot() -> i64 {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(0, |time| time.tv_sec())
}

impl Live {
    /// From what was kept. What makes no sense is left out, and counted.
    pub fn from_facts(facts: &BTreeMap<String, String>) -> (Self, usize) {
        let mut live = Self::default();
        let read = facts.iter().filter(|(key, value)| live.take_fact(key, value).is_some()).count();
        (live, facts.len() - read)
    }

    fn take_fact(&mut self, key: &str, value: &str) -> Option<()> {
        let (kind, rest) = key.split_once(' ').unwrap_or((key, ""));
        match kind {
            MODE if rest.is_empty() => self.mode = Some(serde_json::from_str(value).ok()?),
            MODE => drop(self.modes.insert(rest.parse().ok()?, serde_json::from_str(value).ok()?)),
            LIMIT => {
                let limit: LiveLimit = serde_json::from_str(value).ok()?;
                if let Some((rate, burst)) = &limit.quota {
                    Quota::parse(limit.dimension, rate, Some(burst)).ok()?;
                }
                self.limits.push(limit);
            }
            ALLOW => drop(self.allow.insert(rest.parse().ok()?, serde_json::from_str(value).ok()?)),
            ROW => {
                let row = value.parse().ok().filter(|row| (1..SERVICES).contains(&usize::from(*row)))?;
                self.rows.insert(rest.to_owned(), row);
            }
            SYSCTL => drop(self.sysctls.insert(rest.to_owned(), value.to_owned())),
            _ => return None,
        }
        Some(())
    }

    /// What outlives a restart, by its keys, but for trusted prefixes.
    pub fn facts(&self) -> BTreeMap<String, String> {
        let mut lasting = Self { allow: BTreeMap::new(), touched: BTreeSet::new(), ..self.clone() };
        lasting.renew();
        let mode = lasting.mode.iter().map(|mode| (MODE.to_owned(), json(mode)));
        let modes = lasting.modes.iter().map(|(scope, mode)| (format!("{MODE} {scope}"), json(mode)));
        let limits = lasting.limits.iter();
        let limits =
            limits.map(|limit| (format!("{LIMIT} {} {}", limit.place, limit.dimension), json(limit)));
        let rows = lasting.rows.iter().map(|(name, row)| (format!("{ROW} {name}"), row.to_string()));
        let sysctls = lasting.sysctls.iter().map(|(name, value)| (format!("{SYSCTL} {name}"), value.clone()));
        mode.chain(modes).chain(limits).chain(rows).chain(sysctls).collect()
    }

    /// The trusted prefixes that were changed since this was last asked, as [`Self::facts`]; nothing: no longer trusted.
    pub fn touched(&mut self) -> BTreeMap<String, Option<String>> {
        let touched = std::mem::take(&mut self.touched).into_iter();
        touched.map(|prefix| (format!("{ALLOW} {prefix}"), self.allow.get(&prefix).map(json))).collect()
    }

    /// Limits as the policy takes them.
    pub fn overrides(&self) -> Overrides {
        let quota = |limit: &LiveLimit| {
            let quota =
                limit.quota.as_ref().map(|(rate, burst)| Quota::parse(limit.dimension, rate, Some(burst)));
            // Each was checked when it was set, or read.
            quota.transpose().ok().map(|quota| ((limit.place.clone(), limit.dimension), quota))
        };
        self.limits.iter().filter_map(quota).collect()
    }

    /// Trusted prefixes.
    pub const fn allow(&self) -> &BTreeMap<Prefix, Entry> {
        &self.allow
    }

    /// Trusts a prefix, or no longer; gives what was said of it before.
    pub fn trust(&mut self, prefix: Prefix, entry: Option<Entry>) -> Option<Entry> {
        self.touched.insert(prefix);
        match entry {
            Some(entry) => self.allow.insert(prefix, entry),
            None => self.allow.remove(&prefix),
        }
    }

    /// Drops what does not outlive a reload or restart: limits and modes without a time.
    pub fn renew(&mut self) {
        self.limits.retain(|limit| limit.until_at.is_some());
        self.mode = self.mode.filter(|(_, until)| until.is_some());
        self.modes.retain(|_, (_, until)| until.is_some());
    }

    /// Moves all times, as the wall clock was.
    pub fn shift(&mut self, step: i64) {
        let shift = |at: &mut u64| *at = at.saturating_add_signed(step);
        let ends = self.limits.iter_mut().filter_map(|limit| limit.until_at.as_mut());
        let modes = self.mode.iter_mut().chain(self.modes.values_mut());
        ends.chain(modes.filter_map(|(_, until)| until.as_mut())).for_each(shift);
        self.touched.extend(self.allow.keys());
        for entry in self.allow.values_mut() {
            shift(&mut entry.added_at);
            entry.until_at.iter_mut().for_each(shift);
        }
    }

    /// The same without the limits and the mode that are over.
    #[must_use]
    pub fn without_over(&self, now: u64) -> Self {
        let holds = |until: Option<u64>| until.is_none_or(|until| until > now);
        let mut live = self.clone();
        live.limits.retain(|limit| holds(limit.until_at));
        live.mode = live.mode.filter(|(_, until)| holds(*until));
        live.modes.retain(|_, (_, until)| holds(*until));
        live
    }

    /// Whether the time of a limit or of the mode is over.
    pub fn ends_by(&self, now: u64) -> bool {
        let limits = self.limits.iter().map(|limit| limit.until_at);
        let modes = self.mode.iter().chain(self.modes.values()).map(|(_, until)| *until);
        limits.chain(modes).flatten().any(|until| until <= now)
    }

    /// Trusted prefixes whose time is over.
    pub fn trust_over(&self, now: u64) -> impl Iterator<Item = Prefix> {
        let is_over = move |entry: &Entry| entry.until_at.is_some_and(|until| until <= now);
        self.allow.iter().filter(move |(_, entry)| is_over(entry)).map(|(prefix, _)| *prefix)
    }

    /// When the next thing is over.
    pub fn next_expiry(&self) -> Option<u64> {
        let limits = self.limits.iter().filter_map(|limit| limit.until_at);
        let entries = self.allow.values().filter_map(|entry| entry.until_at);
        let modes = self.mode.iter().chain(self.modes.values()).filter_map(|(_, until)| *until);
        limits.chain(entries).chain(modes).min()
    }

    /// What the kernel takes: bans of `wide` prefixes, trust, and `shared` buckets of neighbourhoods.
    pub fn compile(
        &self,
        clock: &Clock,
        wide: &BTreeMap<Prefix, Option<u64>>,
        shared: impl IntoIterator<Item = (IpNet, LiveValue)>,
    ) -> Prefixes<LiveValue> {
        let none = LiveValue::NONE;
        let block =
            wide.iter().map(|(p, until)| (p.network(), LiveValue { ban_until: clock.until(*until), ..none }));
        let allow = self
            .allow
            .iter()
            .map(|(p, entry)| (p.network(), LiveValue { allow_until: clock.until(entry.until_at), ..none }));
        prefixes::compile(block.chain(allow).chain(shared), |outer, own| {
            // The wider neighbourhood's bucket is the one.
            let share = if outer.shared_key == 0 { own } else { outer };
            LiveValue {
                allow_until: outer.allow_until.max(own.allow_until),
                ban_until: outer.ban_until.max(own.ban_until),
                shared_until: share.shared_until,
                shared_key: share.shared_key,
                drops: 0,
            }
        })
    }
}

/// An instant of the kernel's clock and its Unix second: what turns the seconds of people into the kernel's time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    instant: Instant,
    unix: u64,
}

impl Clock {
    /// Now, by the monotonic clock and what it said at instant 0.
    pub fn new(monotonic: u64, epoch: u64) -> Self {
        Self { instant: monotonic.wrapping_sub(epoch) << INSTANT_SHIFT, unix: now() }
    }

    /// The instant of a Unix second; nothing: never. At most 100 days ahead, where the kernel's clock is still unambiguous;
    /// the daemon writes it anew before.
    pub fn until(&self, at: Option<u64>) -> Instant {
        let Some(at) = at else { return FOREVER };
        let ahead = at.saturating_sub(self.unix).min(AHEAD_MAX);
        self.instant.wrapping_add((ahead * 1_000_000_000) << INSTANT_SHIFT)
    }
}

/// Whether it is the key of a trusted prefix.
pub fn is_of_trust(key: &str) -> bool {
    key.split_once(' ').is_some_and(|(kind, _)| kind == ALLOW)
}

/// A value that has a text in JSON.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// The longest time ahead that is written into the kernel, in seconds.
pub const AHEAD_MAX: u64 = 100 * 86_400;

#[cfg(test)]
mod tests {
    use super::{Entry, Live, LiveLimit};
    use crate::model::{Dimension, LimitScope, Mode};

    fn limit(until_at: Option<u64>) -> LiveLimit {
        LiveLimit { place: LimitScope::Default, dimension: Dimension::Packets, quota: None, until_at }
    }

    #[test]
    fn times_go_with_the_wall_clock() {
        let mut live = Live {
            limits: vec![limit(None), limit(Some(100))],
            mode: Some((Mode::Off, Some(7))),
            ..Live::default()
        };
        live.shift(-40);
        assert_eq!(
            (live.limits[0].until_at, live.limits[1].until_at, live.mode),
            (None, Some(60), Some((Mode::Off, Some(0))))
        );
        // Nobody steps the clock of a test.
        assert_eq!(super::stepped(), 0);
    }

    #[test]
    fn what_does_not_outlive_a_restart_is_not_kept() {
        let mut live = Live { limits: vec![limit(None)], mode: Some((Mode::Off, None)), ..Live::default() };
        assert!(live.facts().is_empty());
        live.limits.push(limit(Some(7)));
        live.mode = Some((Mode::Off, Some(7)));
        let scope = LimitScope::Service("api".to_owned());
        live.modes.insert(scope.clone(), (Mode::Monitor, Some(9)));
        live.modes.insert(LimitScope::Class("partners".to_owned()), (Mode::Monitor, None));
        live.rows.insert("api".to_owned(), 3);
        let prefix = "192.0.2.0/24".parse().unwrap();
        live.trust(prefix, Some(Entry { reason: None, added_at: 1, until_at: None }));
        let touched = live.touched();
        assert!(live.touched().is_empty(), "said once");
        let mut facts = live.facts();
        facts.extend(touched.into_iter().map(|(key, value)| (key, value.unwrap())));
        let (read, left_out) = Live::from_facts(&facts);
        assert_eq!((read.mode, left_out, read.rows), (live.mode, 0, live.rows.clone()));
        assert_eq!(read.modes, [(scope, (Mode::Monitor, Some(9)))].into());
        assert_eq!(live.next_expiry(), Some(7));
        assert_eq!(read.limits.iter().map(|limit| limit.until_at).collect::<Vec<_>>(), [Some(7)]);
        assert_eq!(read.allow.keys().collect::<Vec<_>>(), [&prefix]);
        live.trust(prefix, None);
        assert_eq!(live.touched(), [("allow 192.0.2.0/24".to_owned(), None)].into());
    }

    #[test]
    fn what_makes_no_sense_is_left_out() {
        let facts = [
            ("row api", "200"),
            ("row api", "0"),
            ("mode", "7"),
            ("allow 192.0.2.300", "{}"),
            (
                "limit default syn",
                "{\"place\":\"default\",\"dimension\":\"syn\",\"quota\":[\"fast\",\"1\"],\"until_at\":7}",
            ),
            ("else", ""),
        ];
        for (key, value) in facts {
            let (live, left_out) = Live::from_facts(&[(key.to_owned(), value.to_owned())].into());
            assert_eq!((left_out, live.facts().len()), (1, 0), "{key} {value}");
        }
    }
}
