//! All that the daemon knows of drops.

use crate::{
    drops::{Floods, SourceCounts, Told},
    live,
};

/// All that the daemon knows of drops.
#[derive(Default)]
pub(in crate::daemon) struct DropState {
    pub(in crate::daemon) floods: Floods,
    /// What the record has of the counters.
    pub(in crate::daemon) told: Told,
    /// What it has not been told of yet, by the tables of sources, and of bans.
    pub(in crate::daemon) tables: [SourceCounts; 3],
}

impl DropState {
    /// Goes on where an earlier daemon ended, if the counters are those of its time.
    pub(in crate::daemon) fn resume(kept: Option<&str>, epoch: u64) -> Self {
        let told = kept.and_then(|text| Told::from_text(text, epoch));
        Self { told: told.unwrap_or_else(|| Told::new(live::now_ms())), ..Self::default() }
    }
}
