//! All that the daemon knows of bans.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    bans::{Bans, Claim, ClaimKey, strikes::Tracker},
    live,
    model::{Actor, Fact, Origin, Prefix},
};

/// All that the daemon knows of bans.
pub(in crate::daemon) struct BanState {
    pub(in crate::daemon) all: Bans,
    /// Those that the kernel matches as prefixes, with their ends.
    pub(in crate::daemon) wide: BTreeMap<Prefix, Option<u64>>,
    /// What the kernel is still to be told of, since it refused.
    pub(in crate::daemon) unenforced: BTreeSet<Prefix>,
    /// Claims that were changed since they were last given to the store.
    touched: BTreeSet<ClaimKey>,
    pub(in crate::daemon) tracker: Tracker,
    pub(in crate::daemon) refreshed_at: u64,
    /// Claims of feeds within an hour: the hour since 1970, and how many.
    pub(in crate::daemon) lately: BTreeMap<Origin, (u64, usize)>,
    /// What became of bans, by origin.
    changes: BTreeMap<(String, &'static str), u64>,
}

/// What can become of a ban.
const BECOMES: [&str; 4] = ["made", "lengthened", "ended", "taken_back"];

impl BanState {
    /// From what was kept.
    pub(in crate::daemon) fn new(kept: Vec<(ClaimKey, Claim)>) -> Self {
        let now = live::now();
        let keys: Vec<ClaimKey> = kept.iter().map(|(key, _)| key.clone()).collect();
        let all = Bans::restore(kept, now);
        // What is forgotten by now goes from the file too.
        let touched = keys.into_iter().filter(|key| all.get(key).is_none()).collect();
        Self {
            all,
            wide: BTreeMap::new(),
            unenforced: BTreeSet::new(),
            touched,
            tracker: Tracker::default(),
            refreshed_at: now,
            lately: BTreeMap::new(),
            changes: BTreeMap::new(),
        }
    }

    /// Counts what a change has made of a ban.
    pub(in crate::daemon) fn count(&mut self, fact: &Fact, actor: &Actor) {
        let was = |state: &Option<String>| state.as_deref().is_some_and(|state| state.starts_with("banned"));
        let becomes = match (was(&fact.from), was(&fact.to)) {
            (false, true) => BECOMES[0],
            (true, true) => BECOMES[1],
            (true, false) if *actor == Actor::Timer => BECOMES[2],
            (true, false) => BECOMES[3],
            (false, false) => return,
        };
        let origin = fact.origin.clone().unwrap_or_default();
        *self.changes.entry((origin, becomes)).or_default() += 1;
    }

    /// What became of bans, by origin and what.
    pub(in crate::daemon) fn changes(&self) -> Vec<(String, &'static str, u64)> {
        let mut all = self.changes.clone();
        for (origin, _) in self.all.counts() {
            for becomes in BECOMES {
                all.entry((origin.to_string(), becomes)).or_default();
            }
        }
        all.into_iter().map(|((origin, becomes), count)| (origin, becomes, count)).collect()
    }

    /// Claims have changed.
    pub(in crate::daemon) fn touch(&mut self, keys: impl IntoIterator<Item = ClaimKey>) {
        self.touched.extend(keys);
    }

    /// The claims that have changed since this was last asked, as they are now.
    pub(in crate::daemon) fn touched(&mut self) -> BTreeMap<ClaimKey, Option<Claim>> {
        let touched = std::mem::take(&mut self.touched).into_iter();
        touched.map(|key| (key.clone(), self.all.get(&key).cloned())).collect()
    }
}
