//! Floods from random sources: honest clients with the gateway, with other filters, and with none.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use gateway_common::verdict::Reason;

use super::{HONEST, Scale};
use crate::lab::{Flood, Gateway, Https, Lab, Pace, Program, RECEIVER};

/// Honest requests during a flood.
const REQUESTS: u32 = 100;
/// How many honest requests start in a second.
const RATE: u32 = 20;
/// Paces to try, in SYNs a second.
pub(super) const PACES: [u64; 6] = [100_000, 200_000, 400_000, 800_000, 1_200_000, 1_600_000];

/// What stands between a flood and the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filter {
    /// Nothing.
    None,
    /// A program that knows the flood's addresses and drops them: the best that can be.
    Best,
    /// nftables with a limit for each source at the interface's ingress.
    Nftables,
    /// The gateway with a limit on the service's SYNs that honest clients share with the flood.
    Total,
    /// The gateway with limits on neighbourhoods, and one on the service that those keep from being used up.
    Neighbours,
}

/// The highest pace at which the best filter serves all honest requests, and the gateway at that pace.
///
/// # Errors
/// Where the lab fails; what is served is a figure, not a failure.
pub fn random_sources(_: &Scale) -> Result<()> {
    let mut highest = None;
    for pace in PACES {
        let served = share(Filter::Best, Pace::Smooth(pace))?;
        if served < REQUESTS {
            break;
        }
        highest = Some(pace);
    }
    let Some(pace) = highest else {
        println!("flood: not even the best filter serves all at {}/s", PACES[0]);
        return Ok(());
    };
    for filter in [Filter::Total, Filter::Neighbours] {
        share(filter, Pace::Smooth(pace))?;
    }
    Ok(())
}

/// Honest requests at the generator's full rate, with each filter.
///
/// # Errors
/// Where the lab fails; what is served is a figure, not a failure.
pub fn share_at_full_rate(_: &Scale) -> Result<()> {
    for filter in [Filter::Best, Filter::Total, Filter::Neighbours, Filter::Nftables, Filter::None] {
        share(filter, Pace::Unlimited)?;
    }
    Ok(())
}

/// Honest requests that a filter lets be served while SYNs from all of 198.18.0.0/15 come at this pace.
fn share(filter: Filter, pace: Pace) -> Result<u32> {
    let lab = Lab::without_answers()?;
    let nginx = lab.nginx()?;
    // Frames that the generator makes need a program at the other end, be it one that passes all.
    let program = match filter {
        Filter::Best => Some(Program::DropFlood),
        Filter::Nftables | Filter::None => Some(Program::Pass),
        Filter::Total | Filter::Neighbours => None,
    };
    let _attached = program.map(|program| lab.attach(program)).transpose()?;
    let gateway = program.is_none().then(|| Gateway::start(&lab, &config(filter))).transpose()?;
    if filter == Filter::Nftables {
        nftables(&lab)?;
    }
    lab.receive_on(RECEIVER)?;
    let flooding = lab.flood(&Flood::forged_syns(pace, Duration::from_secs(60))?)?;
    thread::sleep(Duration::from_secs(2));
    let https = Https { timeout: Duration::from_secs(3), ..Https::new(&nginx) };
    // Over the flood's own cable: whoever is honest shares the queue.
    let outcome = https.run_steadily(&lab.attacker, RATE, REQUESTS)?;
    if let Some(error) = &outcome.error {
        println!("flood:   {error}");
    }
    let served = outcome.ok as u32;
    let report = flooding.stop()?;
    println!(
        "flood: {filter:?} at {pace:?}: {served} of {REQUESTS} honest requests; flood {:.0}/s, of which the server took {:.1} %",
        report.rate(),
        report.delivered as f64 * 100.0 / report.sent.max(1) as f64,
    );
    if let Some(gateway) = gateway {
        reasons(&lab, &gateway)?;
    }
    Ok(served)
}

/// What the gateway made of both sides' packets.
pub(super) fn reasons(lab: &Lab, gateway: &Gateway<'_>) -> Result<()> {
    let metrics = gateway.metrics()?;
    for side in lab.interfaces() {
        for reason in Reason::ALL {
            let packets = metrics.packets(side, "", reason.name());
            if packets > 0 {
                println!("  {side}: {} {packets}", reason.name());
            }
        }
    }
    Ok(())
}

/// The honest configuration with what holds floods from random sources. SYN cookies may answer, as in the README's first
/// configuration.
fn config(filter: Filter) -> String {
    let (neighbours, total) = match filter {
        Filter::Neighbours => ("{ rate = \"20/s\", burst = \"40\" }", "50k/s"),
        _ => ("\"none\"", "5k/s"),
    };
    let limits = HONEST.replace(
        "[limits.neighbours]\nsyn = \"none\"\n",
        &format!("[attach]\nset_sysctls = true\n[limits.neighbours]\nsyn = {neighbours}\n"),
    );
    format!("{limits}total.syn = {{ rate = \"{total}\" }}\n")
}

/// A limit on SYNs for each source, in a dynamic set.
fn nftables(lab: &Lab) -> Result<()> {
    let rules = format!(
        "table netdev gateway {{\nset sources {{ type ipv4_addr; size 262144; flags dynamic, timeout; timeout 10s; }}\n\
         chain ingress {{ type filter hook ingress device \"{}\" priority 0; policy accept;\n\
         tcp flags & (syn|ack) == syn add @sources {{ ip saddr limit rate over 10/second burst 20 packets }} drop\n}}\n}}",
        lab.attack_side()
    );
    lab.server.run("nft", &[&rules]).map(drop)
}
