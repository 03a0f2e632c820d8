//! The clock: the kernel's, read only as often as is cheap, or a test's.

use aya_ebpf::helpers::{bpf_jiffies64, bpf_ktime_get_ns};
use gateway_common::env::Clock;
use gateway_common::limit::rate::{INSTANT_SHIFT, Instant, Reading};

use crate::{
    barrier::barrier_var,
    constants,
    maps::{self, CpuClock},
};

/// How often a CPU reads the clock in a tick, before it uses the last reading again: up to 16,000 packets a second and
/// CPU (at 250 Hz) have a reading each.
const READINGS: u64 = 64;

/// A word of the test hook.
#[inline(always)]
fn test_hook(word: usize) -> u64 {
    maps::TEST_HOOK.get(0).map_or(0, |test_hook| test_hook[word])
}

/// The time.
#[inline(always)]
fn now() -> Instant {
    if constants::TESTING.load() != 0 {
        return test_hook(0);
    }
    // SAFETY: the helper takes no argument.
    unsafe { bpf_ktime_get_ns() }.wrapping_sub(constants::EPOCH.load()) << INSTANT_SHIFT
}

/// A reading of which the verifier knows nothing: it would follow all later code once for each path to a reading.
#[inline(always)]
fn reading(latest: Instant, late: Instant) -> Reading {
    let nothing = barrier_var(0);
    Reading { latest: latest.wrapping_add(nothing), late: late.wrapping_add(nothing) }
}

impl Clock for CpuClock {
    #[inline(always)]
    fn read(&mut self, may_be_late: bool) -> Reading {
        if !may_be_late {
            return reading(now(), 0);
        }
        if constants::TESTING.load() != 0 {
            let late = test_hook(1);
            return Reading { latest: now().wrapping_add(late), late };
        }
        // SAFETY: the helper takes no argument.
        let tick = unsafe { bpf_jiffies64() };
        if self.tick == tick {
            if self.readings >= READINGS {
                let late = constants::TICK.load();
                return reading(self.now.wrapping_add(late), late);
            }
            self.readings += 1;
        } else {
            (self.tick, self.readings) = (tick, 1);
        }
        self.now = now();
        reading(self.now, 0)
    }

    #[inline(always)]
    fn late(&self) -> Option<Instant> {
        if constants::TESTING.load() != 0 {
            return (test_hook(1) != 0).then(|| test_hook(0));
        }
        // SAFETY: the helper takes no argument.
        let tick = unsafe { bpf_jiffies64() };
        (self.tick == tick && self.readings >= READINGS).then_some(self.now)
    }
}
