//! The kernel's clock.

use nix::time::{ClockId, clock_gettime};

/// The kernel's monotonic clock, as the program reads it.
pub(in crate::daemon) fn monotonic() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |now| now.tv_sec().unsigned_abs() * 1_000_000_000 + now.tv_nsec().unsigned_abs())
}
