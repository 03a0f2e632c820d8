//! A host without a drop cache, beside one that has one.

use super::super::tables::of_frames;
use anyhow::{Result, ensure};
use gateway_common::{
    abi::{SLOT_COUNTS, SLOT_WORDS},
    tables::Table,
    verdict::{Action, Stage, Verdict},
};
use gateway_user::host::{Cpu, HostEnv, Stand};

/// The host, and what its CPU knows else.
#[derive(Default)]
pub(super) struct Forgetful {
    host: Option<HostEnv>,
    cpu: Cpu,
    /// A frame was dropped for another reason, and so counted elsewhere or nowhere.
    counts_differ: bool,
}

impl Forgetful {
    /// Begins a round with empty tables.
    pub(super) fn lay(&mut self, stand: &Stand) {
        self.host = Some(HostEnv::new(stand.clone()));
        self.counts_differ = false;
    }

    /// Judges a frame, and compares what comes of it with another's verdict.
    pub(super) fn compare(&mut self, frame: &[u8], (now, late): (u64, u64), theirs: Verdict) -> Result<()> {
        let Some(host) = &self.host else { return Ok(()) };
        host.set_now(now);
        host.set_late(late);
        let ours = host.judge_on(frame, &mut self.cpu);
        let is_same = if is_drop(ours) && is_drop(theirs) {
            // Which of its limits a source is over may be another meanwhile, and what is cached is not asked for what else is wrong with it.
            ours.action == theirs.action
                && (ours.reason.stage() == theirs.reason.stage()
                    || matches!(theirs.reason.stage(), Stage::Budgets | Stage::Lists))
        } else {
            ours == theirs
        };
        self.counts_differ |= ours.reason != theirs.reason;
        ensure!(is_same, "without the cache {ours:?}, with it {theirs:?}");
        Ok(())
    }

    /// Compares the tables; counts of drops only where each was for the same reason.
    pub(super) fn compare_tables(&self, other: &HostEnv) -> Result<()> {
        let Some(host) = &self.host else { return Ok(()) };
        for table in of_frames() {
            let [mut ours, mut theirs] = [host, other].map(|host| host.tables().words(table));
            if self.counts_differ && matches!(table, Table::Sources | Table::ServiceSources) {
                for words in [&mut ours, &mut theirs] {
                    words.iter_mut().skip(SLOT_COUNTS).step_by(SLOT_WORDS).for_each(|counts| *counts >>= 32);
                }
            }
            let differing = ours.iter().zip(&theirs).position(|(ours, theirs)| ours != theirs);
            ensure!(
                differing.is_none(),
                "table {}, without the cache another word {differing:?}",
                table.name()
            );
        }
        let differing = host.bans().zip(other.bans()).find(|(ours, theirs)| ours != theirs);
        ensure!(
            self.counts_differ || differing.is_none(),
            "bans, without the cache and with it: {differing:x?}"
        );
        Ok(())
    }
}

fn is_drop(verdict: Verdict) -> bool {
    matches!(verdict.action, Action::Drop | Action::WouldDrop)
}
