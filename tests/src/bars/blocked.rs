//! A flood from a source that is blocked all the time, so that nothing of it may pass.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::datagrams;
use super::flood::reasons;
use crate::lab::{FLOOD_V4, Flood, FloodReport, Flooding, Gateway, Lab, Pace, SERVER_V4, Template};

/// The flood while it lasts.
pub(super) struct BlockedFlood<'a> {
    lab: &'a Lab,
    flooding: Flooding,
    before: u64,
}

/// What became of it.
pub(super) struct Blocked {
    /// What was sent.
    pub(super) report: FloodReport,
    /// Packets that reached the server's UDP.
    pub(super) passed: u64,
    /// Packets that the gateway counted as `block_listed`.
    pub(super) counted: u64,
}

impl<'a> BlockedFlood<'a> {
    /// Starts it, with so many datagrams a second.
    pub(super) fn start(lab: &'a Lab, rate: u64) -> Result<Self> {
        let before = datagrams(lab)?;
        let flooding = lab.flood(&Flood {
            pace: Pace::Bursts(rate),
            duration: Duration::from_secs(300),
            ..Flood::new(datagram()?)
        })?;
        Ok(Self { lab, flooding, before })
    }

    /// Ends it.
    pub(super) fn stop(self, gateway: &Gateway<'_>) -> Result<Blocked> {
        let report = self.flooding.stop()?;
        let passed = datagrams(self.lab)? - self.before;
        let counted = gateway.metrics()?.packets(self.lab.attack_side(), "drop", "block_listed");
        Ok(Blocked { report, passed, counted })
    }
}

impl Blocked {
    /// Fails where a packet passed, or one that arrived was not counted.
    pub(super) fn check(&self, lab: &Lab, gateway: &Gateway<'_>) -> Result<()> {
        let Self { report, passed, counted } = self;
        ensure!(*passed == 0, "{passed} packets of the blocked source passed");
        if *counted != report.delivered {
            reasons(lab, gateway)?;
        }
        ensure!(
            *counted == report.delivered,
            "{counted} of {} were dropped as block_listed",
            report.delivered
        );
        Ok(())
    }
}

/// A datagram of that source, which no service wants.
pub(super) fn datagram() -> Result<Template> {
    let [source, target]: [IpAddr; 2] = [FLOOD_V4.into(), SERVER_V4.into()];
    Template::udp(source, target, (4_000, 9), 18)
}
