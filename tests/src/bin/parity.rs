//! Shows random and mutated frames to the packet path on the host and in the kernel; both must say the same. Needs root.
//!
//! ```text
//! parity [--frames N] [--seed N]
//! ```
//!
//! The seed is printed, and gives the same frames again.

use std::time::Instant;

use anyhow::Result;
use gateway_common::verdict::{Action, Reason};
use gateway_tests::kernel::parity;
use gateway_tests::options::numbers;

fn main() -> Result<()> {
    let [frames, seed] = numbers([("--frames", 10_000_000), ("--seed", rand::random())])?;
    println!("seed {seed}");
    let began = Instant::now();
    let counts = parity::run(frames, seed)?;
    let seconds = began.elapsed().as_secs_f64();
    for &reason in Reason::ALL {
        let packets: u64 = Action::ALL.iter().map(|&action| counts.packets(action, reason)).sum();
        println!("{packets:>10} {}", reason.name());
    }
    println!("{frames} frames in {seconds:.1} s: host and kernel agree in verdicts, counters and tables");
    Ok(())
}
