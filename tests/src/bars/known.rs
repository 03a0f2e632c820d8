//! Who completed a handshake before an attack on a service gets through first.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{HONEST, Scale};
use crate::lab::{Flood, Gateway, Https, Lab, Pace};

/// A total that a flood uses up, and nothing else that would hold the flood.
const TOTAL: &str = "syn_cookies = \"off\"\ntotal.syn = { rate = \"500/s\" }\n";
/// SYNs of the flood in a second.
const PACE: u64 = 50_000;
/// Requests of a round, and the part of the flood's SYNs that may pass meanwhile, or the round shows nothing.
const REQUESTS: u32 = 20;
const PART: u64 = 10;
/// How long all rounds may take.
const PATIENCE: Duration = Duration::from_secs(100);

/// Honest requests while forged SYNs use up the service's total: of a source that came before no packet is dropped.
///
/// # Errors
/// Where a promise is broken, or the lab fails.
pub fn known(scale: &Scale) -> Result<()> {
    let lab = Lab::new()?;
    let nginx = lab.nginx()?;
    let gateway = Gateway::start(&lab, &format!("{HONEST}{TOTAL}"))?;
    let before = Https::new(&nginx).run(&lab.client, 1)?;
    ensure!(before.failed == 0, "without a flood: {:?}", before.error);
    let clients = gateway.metrics()?.sum("gateway_table_entries", &[("table", "clients")]);
    ensure!(clients == 1, "{clients} clients are known, not one");
    let flooding = lab.flood(&Flood::forged_syns(Pace::Smooth(PACE), Duration::from_secs(120))?)?;
    let syns = || -> Result<[u64; 3]> {
        let metrics = gateway.metrics()?;
        let held = |side| metrics.packets(side, "drop", "total_syn");
        let passed = metrics.packets(lab.attack_side(), "pass", "ok");
        Ok([held(lab.client_side()), held(lab.attack_side()), passed])
    };
    let (start, mut rounds) = (Instant::now(), 0);
    while rounds < scale.requests / REQUESTS {
        ensure!(start.elapsed() < PATIENCE, "the total is not used up: this shows nothing");
        let before = syns()?;
        let outcome = Https::new(&nginx).run(&lab.client, REQUESTS)?;
        let after = syns()?;
        let [own, held, passed] = std::array::from_fn(|which| after[which] - before[which]);
        ensure!(
            own == 0 && outcome.failed == 0,
            "{own} SYNs of a known client dropped, {} requests failed: {:?}",
            outcome.failed,
            outcome.error
        );
        rounds += u32::from(held > passed * PART);
    }
    let [_, held, passed] = syns()?;
    println!(
        "known: {} requests, no SYN dropped; of forged SYNs {held} dropped, {passed} passed",
        rounds * REQUESTS
    );
    flooding.stop()?;
    Ok(())
}
