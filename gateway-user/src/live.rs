//! Changes made live, and the state file that carries them over a restart.
//!
//! Live limits and modes hold until the next reload or restart, unless they were given a time: then until that. Bans and
//! trusted prefixes hold until their time is up or somebody takes them back.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{
        LazyLock,
        atomic::{AtomicI64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use gateway_common::{
    abi::{FOREVER, Live as LiveValue},
    limit::rate::{INSTANT_SHIFT, Instant},
};
use ipnet::IpNet;
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::{
    control::words::{Dimension, Mode, Place, Prefix},
    kernel::Prefixes,
    prefixes, state_file,
};

/// A live limit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LiveLimit {
    /// Where.
    pub place: Place,
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
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Live {
    /// The mode, and until when.
    pub mode: Option<(Mode, Option<u64>)>,
    /// Limits.
    pub limits: Vec<LiveLimit>,
    /// Banned prefixes, as earlier versions kept them; see [`crate::bans`].
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub block: BTreeMap<Prefix, Entry>,
    /// Trusted prefixes.
    pub allow: BTreeMap<Prefix, Entry>,
    /// Counter rows of services.
    pub rows: BTreeMap<String, u8>,
    /// Settings of the host that the daemon has changed, as `sysctl` names them, and what they were.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
}

/// By how many seconds the wall clock was ahead of the time since boot when that was last looked at.
static AHEAD: LazyLock<AtomicI64> = LazyLock::new(|| AtomicI64::new(ahead()));

/// The least step of the wall clock: below it, it is one that is made to go a little faster.
const STEP: i64 = 2;

/// Unix seconds, by a clock that nobody steps: what is due by a span is due when it is over, whatever becomes of the wall clock.
pub fn now() -> u64 {
    (since_boot() + AHEAD.load(Ordering::Relaxed)).try_into().unwrap_or(0)
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
    /// Where the state is kept beside the audit record.
    pub fn path(database: &Path) -> PathBuf {
        database.with_file_name("live.json")
    }

    /// Reads the state; none is an empty one. What cannot be read is put aside, and told: a host without its timed changes is better off
    /// than one without protection.
    pub fn load(path: &Path) -> (Self, Option<String>) {
        let read = || match state_file::read(path)? {
            Some(bytes) => Ok::<_, io::Error>(serde_json::from_slice(&bytes)?),
            None => Ok(Self::default()),
        };
        match read() {
            Ok(live) => (live, None),
            Err(error) => {
                let warning = format!(
                    "cannot read {}: {error}; {}, and the trusted prefixes, limits and modes that it had for a time do not hold",
                    path.display(),
                    state_file::moved(state_file::put_aside(path, &[]))
                );
                (Self::default(), Some(warning))
            }
        }
    }

    /// What is to be written: what outlives a restart.
    ///
    /// # Errors
    /// Where it cannot be said in JSON.
    pub fn lasting(&self) -> io::Result<Vec<u8>> {
        let mut lasting = self.clone();
        lasting.renew();
        Ok(serde_json::to_vec_pretty(&lasting)?)
    }

    /// Writes [`Self::lasting`], whole or not at all.
    ///
    /// # Errors
    /// When the directory cannot be made or the file not written.
    pub fn save(path: &Path, lasting: &[u8]) -> io::Result<()> {
        state_file::write(path, lasting)
    }

    /// Drops what does not outlive a reload or restart: limits and modes without a time.
    pub fn renew(&mut self) {
        self.limits.retain(|limit| limit.until_at.is_some());
        self.mode = self.mode.filter(|(_, until)| until.is_some());
    }

    /// Moves all times, as the wall clock was.
    pub fn shift(&mut self, step: i64) {
        let shift = |at: &mut u64| *at = at.saturating_add_signed(step);
        let ends = self.limits.iter_mut().filter_map(|limit| limit.until_at.as_mut());
        ends.chain(self.mode.iter_mut().filter_map(|(_, until)| until.as_mut())).for_each(shift);
        for entry in self.block.values_mut().chain(self.allow.values_mut()) {
            shift(&mut entry.added_at);
            entry.until_at.iter_mut().for_each(shift);
        }
    }

    /// Drops what is over; says whether policy and prefixes changed.
    pub fn expire(&mut self, now: u64) -> (bool, bool) {
        let over = |until: Option<u64>| until.is_some_and(|until| until <= now);
        let limits = self.limits.len();
        let prefixes = self.allow.len();
        let mode = self.mode;
        self.limits.retain(|limit| !over(limit.until_at));
        self.mode = self.mode.filter(|&(_, until)| !over(until));
        self.allow.retain(|_, entry| !over(entry.until_at));
        let policy = limits != self.limits.len() || mode != self.mode;
        (policy, prefixes != self.allow.len())
    }

    /// When the next thing is over.
    pub fn next_expiry(&self) -> Option<u64> {
        let limits = self.limits.iter().filter_map(|limit| limit.until_at);
        let entries = self.allow.values().filter_map(|entry| entry.until_at);
        limits.chain(entries).chain(self.mode.and_then(|(_, until)| until)).min()
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

/// The longest time ahead that is written into the kernel, in seconds.
pub const AHEAD_MAX: u64 = 100 * 86_400;

#[cfg(test)]
mod tests {
    use super::{Live, LiveLimit};
    use crate::control::words::{Dimension, Mode, Place};

    fn limit(until_at: Option<u64>) -> LiveLimit {
        LiveLimit { place: Place::Default, dimension: Dimension::Packets, quota: None, until_at }
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
    fn what_does_not_outlive_a_restart_is_not_written() {
        let written = |live: &Live| live.lasting().unwrap();
        let nothing = written(&Live::default());
        let mut live = Live { limits: vec![limit(None)], mode: Some((Mode::Off, None)), ..Live::default() };
        assert_eq!(written(&live), nothing);
        live.limits.push(limit(Some(7)));
        let read: Live = serde_json::from_slice(&written(&live)).unwrap();
        assert_eq!(read.limits.iter().map(|limit| limit.until_at).collect::<Vec<_>>(), [Some(7)]);
        assert_eq!(read.mode, None);
        live.mode = Some((Mode::Off, Some(7)));
        let read: Live = serde_json::from_slice(&written(&live)).unwrap();
        assert_eq!(read.mode, live.mode);
    }
}
