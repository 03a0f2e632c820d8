//! Time in an XDP program, by the kernel's own statistics.

use std::time::Duration;

use anyhow::{Context as _, Result};
use aya::programs::loaded_programs;
use serde_json::Value;

use super::Lab;

/// The time in the XDP program that is measured, from now on. Someone must have asked for statistics.
pub struct ProgramClock {
    id: u32,
    before: (Duration, u64),
}

impl ProgramClock {
    /// Of the program on the server's interface for attackers.
    ///
    /// # Errors
    /// Where there is none.
    pub fn of(lab: &Lab) -> Result<Self> {
        let id = program_id(lab)?;
        Ok(Self { id, before: run_time(id)? })
    }

    /// Nanoseconds a packet since then; 0 where none came.
    ///
    /// # Errors
    /// Where the program is gone.
    pub fn ns_a_packet(&self) -> Result<f64> {
        let (time, runs) = run_time(self.id)?;
        let runs = runs - self.before.1;
        Ok((time - self.before.0).as_nanos() as f64 / runs.max(1) as f64)
    }
}

/// The XDP program on the server's interface for attackers.
fn program_id(lab: &Lab) -> Result<u32> {
    let text = lab.server.run("ip", &["-json", "link", "show", "dev", lab.attack_side()])?;
    let links: Value = serde_json::from_str(&text).context("`ip` printed no JSON")?;
    let id = links[0]["xdp"]["prog"]["id"].as_u64().context("there is no XDP program")?;
    Ok(u32::try_from(id)?)
}

/// Time in a program, and how often it ran, since statistics were asked for.
fn run_time(id: u32) -> Result<(Duration, u64)> {
    let found = loaded_programs().flatten().find(|program| program.id() == id);
    let program = found.context("the XDP program is gone")?;
    Ok((program.run_time(), program.run_count()))
}
