//! Waiting for what a busy machine brings about late.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

/// How often it is looked.
const PAUSE: Duration = Duration::from_millis(20);

/// Waits until something is so.
///
/// # Errors
/// Where it is not so in time, or cannot be looked at.
pub fn await_that(what: &str, patience: Duration, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !is_so()? {
        ensure!(start.elapsed() < patience, "waited in vain: {what}");
        thread::sleep(PAUSE);
    }
    Ok(())
}
