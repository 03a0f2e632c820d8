//! Slow limits under a flood of forged sources.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Result, ensure};

use super::Scale;
use crate::lab::{FLOOD_V4, Flood, Gateway, Lab, Pace, SERVER_V4, Sources, Template};

/// Sources that stay over their limit of SYNs.
const OFFENDERS: u32 = 50;
/// SYNs a second that each of them sends, and may.
const SENT: u64 = 2_000;
const RATE: u64 = 200;
const BURST: u64 = 400;
/// Forged packets a second: what the receiving CPU takes, or the queue would drop the offenders' packets before us.
const PACE: u64 = 800_000;
/// Forged sources, each with a debt of 50 ms from one ICMP packet.
const FORGED: Sources = Sources::Ipv4 { first: Ipv4Addr::new(10, 0, 0, 0), count: 1 << 24 };

/// 16 million forged sources want slots in the table while fifty others stay over a slow limit: those are held to it.
///
/// # Errors
/// Where a promise is broken, or the lab fails.
pub fn forged(scale: &Scale) -> Result<()> {
    let lab = Lab::new()?;
    let config = format!(
        "mode = \"enforce\"\n[limits]\npackets = \"none\"\nbytes = \"none\"\nsyn = {{ rate = \"{RATE}/s\", burst = \"{BURST}\" }}\n\
         [limits.neighbours]\npackets = \"none\"\nsyn = \"none\"\nescalate = false\n\
         [limits.rest]\nicmp = \"none\"\n\
         [[service]]\nname = \"probe\"\nprotocol = \"tcp\"\nports = [9]\n"
    );
    let gateway = Gateway::start(&lab, &config)?;
    // The server's answers to forged echo requests are not what is measured.
    let quiet = "add table inet lab; add chain inet lab quiet { type filter hook prerouting priority raw; }; \
        add rule inet lab quiet ip saddr { 10.0.0.0/8, 198.18.0.0/15 } drop";
    lab.server.run("nft", &[quiet])?;
    let duration = Duration::from_secs(6 * scale.seconds);
    let [offender, forged, target]: [IpAddr; 3] =
        [FLOOD_V4.into(), Ipv4Addr::new(10, 0, 0, 1).into(), SERVER_V4.into()];
    let flooding = lab.flood(&Flood {
        sources: FORGED,
        pace: Pace::Bursts(PACE),
        cpu: Some(0),
        duration: duration + Duration::from_secs(1),
        ..Flood::new(Template::echo(forged, target, 18)?)
    })?;
    let offenders = lab.flood(&Flood {
        sources: Sources::Ipv4 { first: FLOOD_V4, count: OFFENDERS },
        pace: Pace::Smooth(SENT * u64::from(OFFENDERS)),
        cpu: Some(1),
        duration,
        seed: 7,
        ..Flood::new(Template::syn(offender, target, (4_000, 9))?)
    })?;
    let sent = offenders.wait()?;
    let flood = flooding.wait()?;
    let metrics = gateway.metrics()?;
    let admitted = metrics.sum("gateway_service_packets_total", &[("service", "probe"), ("verdict", "pass")]);
    let full = metrics.sum("gateway_table_full_total", &[("table", "sources")]);
    let expected = u64::from(OFFENDERS) * (RATE * sent.elapsed.as_millis() as u64 / 1_000 + BURST);
    let off = (admitted as f64 / expected as f64 - 1.0) * 100.0;
    println!(
        "forged: {} forged packets ({:.0}/s), {full} slots taken over in use; {OFFENDERS} sources sent {} SYNs, {admitted} \
         admitted of {expected} ({off:+.2} %)",
        flood.sent,
        flood.rate(),
        sent.sent
    );
    ensure!(off.abs() <= 2.0, "{admitted} SYNs were admitted, {expected} were due");
    Ok(())
}
