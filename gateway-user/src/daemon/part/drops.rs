//! All that the daemon knows of drops.

use crate::{
    drops::{BanCounts, Floods, Told},
    escalation::Readings,
    live,
};

/// The key under which the store has how far they were told.
pub(in crate::daemon) const DROPS: &str = "drops";

/// All that the daemon knows of drops.
#[derive(Default)]
pub(in crate::daemon) struct DropState {
    pub(in crate::daemon) floods: Floods,
    /// What the record has of the counters.
    pub(in crate::daemon) told: Told,
    /// When the store was last given that.
    kept_at: u64,
    /// What it was told of by the tables of sources, ...
    pub(in crate::daemon) tables: [Readings; 2],
    /// ... and of bans.
    pub(in crate::daemon) bans: BanCounts,
}

impl DropState {
    /// Goes on where an earlier daemon ended, if the counters are those of its time.
    pub(in crate::daemon) fn resume(kept: Option<&str>, epoch: u64) -> Self {
        let told = kept.and_then(|text| Told::from_text(text, epoch));
        Self { told: told.unwrap_or_else(|| Told::new(live::now_ms())), ..Self::default() }
    }

    /// How far drops were told, as it is kept, if that has changed since this was last asked.
    pub(in crate::daemon) fn touched(&mut self, epoch: u64) -> Option<String> {
        let is_new = std::mem::replace(&mut self.kept_at, self.told.at) != self.told.at;
        is_new.then(|| self.told.to_text(epoch))
    }
}
