//! Arguments of `events`.

use std::path::PathBuf;

use clap::Args;

use super::{Output, audit::moment};
use crate::model::{EventFilter, EventKind, Prefix};

/// Arguments of `events`.
#[derive(Clone, Debug, Args)]
pub struct EventsArgs {
    /// Go on with what happens, until you end it
    #[arg(long, short = 'f')]
    pub follow: bool,
    /// From then on: a time ago (90s, 10m, 36h), or a time such as 2026-11-30T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub since: Option<u64>,
    /// Of this kind
    #[arg(long, value_name = "KIND")]
    pub kind: Option<EventKind>,
    /// With this reason
    #[arg(long, value_name = "REASON")]
    pub reason: Option<String>,
    /// About a source in this prefix
    #[arg(long, value_name = "PREFIX")]
    pub source: Option<Prefix>,
    /// About this service
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
    /// At most so many, the newest ones; all that follow
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub limit: usize,
    /// Write dropped packets to a capture file (pcapng) instead: their first bytes, each with its verdict in a comment
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    pub pcap: Option<PathBuf>,
    /// Output.
    #[command(flatten)]
    pub output: Output,
}

impl EventsArgs {
    /// Which events are asked for.
    pub fn filter(&self) -> EventFilter {
        EventFilter {
            since: self.since,
            kind: self.pcap.as_ref().map(|_| EventKind::Drop).or(self.kind),
            reason: self.reason.clone(),
            service: self.service.clone(),
            source: self.source,
        }
    }
}
