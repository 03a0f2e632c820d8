//! The clock: the kernel's, read so often that it costs little, or a test's.

use aya_ebpf::helpers::{bpf_jiffies64, bpf_ktime_get_ns};
use gateway_common::limit::rate::{INSTANT_SHIFT, Instant, Reading};

use crate::{
    barrier::barrier_var,
    constants,
    maps::{self, CpuClock},
};

/// How often the clock is read in a tick, before a CPU makes do with the last reading: an interface with up to 16,000 packets
/// a second and CPU (at 250 Hz) has one for each.
const READINGS: u64 = 64;

/// What a test says.
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

/// A reading of which the verifier knows nothing: it would go through all that follows once for each way to take one.
#[inline(always)]
fn reading(latest: Instant, late: Instant) -> Reading {
    let nothing = barrier_var(0);
    Reading { latest: latest.wrapping_add(nothing), late: late.wrapping_add(nothing) }
}

/// The one reading of time for a packet.
#[inline(always)]
pub(crate) fn read(clock: &mut CpuClock, may_be_late: bool) -> Reading {
    if !may_be_late {
        return now().into();
    }
    if constants::TESTING.load() != 0 {
        let late = test_hook(1);
        return Reading { latest: now().wrapping_add(late), late };
    }
    // SAFETY: the helper takes no argument.
    let tick = unsafe { bpf_jiffies64() };
    if clock.tick == tick {
        if clock.readings >= READINGS {
            let late = constants::TICK.load();
            return reading(clock.now.wrapping_add(late), late);
        }
        clock.readings += 1;
    } else {
        (clock.tick, clock.readings) = (tick, 1);
    }
    clock.now = now();
    reading(clock.now, 0)
}

/// The last reading, if one that may be late would be late now.
#[inline(always)]
pub(crate) fn late_now(clock: &CpuClock) -> Option<Instant> {
    if constants::TESTING.load() != 0 {
        return (test_hook(1) != 0).then(|| test_hook(0));
    }
    // SAFETY: the helper takes no argument.
    let tick = unsafe { bpf_jiffies64() };
    (clock.tick == tick && clock.readings >= READINGS).then_some(clock.now)
}
