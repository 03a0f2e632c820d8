//! Arguments of `events`.

use std::path::PathBuf;

use clap::Args;

use super::{About, Output};
use crate::model::{EventFilter, EventKind};

/// Arguments of `events`.
#[derive(Clone, Debug, Args)]
pub struct EventsArgs {
    /// Go on with what happens, until you end it
    #[arg(long, short = 'f')]
    pub follow: bool,
    /// What they are about.
    #[command(flatten)]
    pub about: About,
    /// Of this kind
    #[arg(long, value_name = "KIND")]
    pub kind: Option<EventKind>,
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
        let About { since, source, reason, service } = self.about.clone();
        let kind = self.pcap.as_ref().map(|_| EventKind::Drop).or(self.kind);
        EventFilter { since, kind, reason, service, source }
    }
}
