//! All that the daemon knows of neighbourhoods.

use gateway_common::limit::rate::Instant;

use crate::{
    escalation::{Readings, Watch},
    host::Prefixes,
};

/// All that the daemon knows of neighbourhoods.
#[derive(Default)]
pub(in crate::daemon) struct Pressure {
    pub(in crate::daemon) watch: Watch,
    /// For each table of sources.
    pub(in crate::daemon) readings: [Readings; 2],
    /// Packets dropped for a source's limit, at the last look.
    pub(in crate::daemon) drops: Option<u64>,
    pub(in crate::daemon) looked: Instant,
    /// The policy's classes, with the number of the policy.
    pub(in crate::daemon) classes: (u64, Prefixes<()>),
}
