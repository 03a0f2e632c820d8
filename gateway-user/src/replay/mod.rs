//! `gateway replay`: what the gateway would have done with a capture.
//!
//! Every packet towards a server goes through the same stages as in the kernel ([`HostEnv`]), in enforce mode and with the
//! capture's own clock. No privilege, interface or running gateway is needed.
//!
//! * [`capture`]: packets out of pcap and pcapng files
//! * `flow`: who is the server, and what became of each connection
//! * `policy`: what is asked for on the command line

pub mod capture;
mod flow;
mod policy;

use std::borrow::Cow;

use gateway_common::{
    limit::rate::{INSTANT_SHIFT, Instant, SECOND},
    stage::parse,
    verdict::{Reason, Verdict},
};
use ipnet::IpNet;

use self::{capture::Captured, flow::Side};
pub use self::{
    flow::{Connection, Flows},
    policy::{AllPorts, PolicyChoice, stand},
};
use crate::{
    host::{Cpu, HostEnv, Stand},
    link_layer,
};

/// A pause in a capture that counts as no longer: all budgets are full again long before, and the clock does not wrap.
const PAUSE_MAX: Instant = 30 * 86_400 * SECOND;
/// When the first packet comes: buckets and tables know nothing of before.
const START: Instant = SECOND;

/// One capture on its way through the gateway.
pub struct Replay {
    env: HostEnv,
    services: Vec<String>,
    flows: Flows,
    clock: Clock,
    cpu: Cpu,
    totals: Totals,
}

/// The fate of one packet.
#[derive(Clone, Debug)]
pub struct Judged<'a> {
    /// Its number in the capture, from 1.
    pub frame: u64,
    /// What becomes of it.
    pub verdict: Verdict,
    /// The service that it is for.
    pub service: Option<String>,
    /// The capture holds only its first bytes; the rest was taken as zeros.
    pub truncated: bool,
    /// What was judged: the packet as an Ethernet frame.
    pub ethernet: Cow<'a, [u8]>,
    /// When, by the packet path's clock.
    pub now: Instant,
}

/// Packets of a capture, by what was done with them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// All.
    pub packets: u64,
    /// Those that a server sent, which an ingress filter does not see.
    pub from_server: u64,
    /// Those of a link layer that the gateway does not know.
    pub unknown_link: u64,
    /// Those that were passed.
    pub passed: u64,
    /// Those that were dropped.
    pub dropped: u64,
    /// Those of which the capture holds only the first bytes.
    pub truncated: u64,
}

impl Replay {
    /// A gateway with empty tables. `services` are the names of the policy's services by their index; `server`: the protected
    /// side, where it is not to be guessed.
    #[must_use]
    pub fn new(stand: Stand, services: Vec<String>, server: Option<IpNet>) -> Self {
        let ports = flow::service_ports(&stand.settings);
        Self {
            env: HostEnv::new(stand),
            services,
            flows: Flows::new(ports, server),
            clock: Clock::default(),
            cpu: Cpu::default(),
            totals: Totals::default(),
        }
    }

    /// Shows the next packet to the gateway. Nothing where it is not on its way to a server.
    pub fn judge<'a>(&mut self, captured: &Captured<'a>) -> Option<Judged<'a>> {
        self.totals.packets += 1;
        let Some(ethernet) = link_layer::ethernet(captured.link, captured.bytes, captured.length) else {
            self.totals.unknown_link += 1;
            return None;
        };
        let truncated = captured.bytes.len() < captured.length as usize;
        self.totals.truncated += u64::from(truncated);
        let now = self.clock.tell(captured.nanos);
        let packet = parse::packet(&&*ethernet);
        let side = self.flows.side(packet.as_ref(), captured.number);
        if matches!(side, Side::FromServer) {
            self.totals.from_server += 1;
            return None;
        }
        self.env.set_now(now);
        let verdict = self.env.judge_on(&ethernet, &mut self.cpu);
        let passed = verdict.action == gateway_common::verdict::Action::Pass;
        *(if passed { &mut self.totals.passed } else { &mut self.totals.dropped }) += 1;
        if let (Side::ToServer(Some(flow)), Some(packet)) = (side, &packet) {
            self.flows.count(flow, verdict, packet);
        }
        let service = match self.cpu.state.role.service {
            0 => None,
            index => self.services.get(index as usize).filter(|name| !name.is_empty()).cloned(),
        };
        Some(Judged { frame: captured.number, verdict, service, truncated, ethernet, now })
    }

    /// The policy and the tables.
    #[must_use]
    pub const fn env(&self) -> &HostEnv {
        &self.env
    }

    /// The connections and flows that started in the capture, in its order.
    pub fn connections(&self) -> impl Iterator<Item = &Connection> {
        self.flows.started()
    }

    /// What was done so far.
    #[must_use]
    pub const fn totals(&self) -> Totals {
        self.totals
    }

    /// How many packets got a verdict for a reason.
    #[must_use]
    pub fn reason(&self, reason: Reason) -> u64 {
        self.env.counters().tally(reason.action(), reason).packets
    }
}

/// The capture's clock: starts with its first packet and never goes back.
#[derive(Debug, Default)]
struct Clock {
    last: Option<u64>,
    now: Instant,
}

impl Clock {
    fn tell(&mut self, nanos: u64) -> Instant {
        match self.last {
            None => self.now = START,
            Some(last) => {
                let pause = nanos.saturating_sub(last).min(PAUSE_MAX >> INSTANT_SHIFT);
                self.now = self.now.wrapping_add(pause << INSTANT_SHIFT);
            }
        }
        self.last = Some(self.last.map_or(nanos, |last| last.max(nanos)));
        self.now
    }
}
