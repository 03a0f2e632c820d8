//! The configuration file, read again.

use crate::{
    config::{Config, FromOutside, differences},
    lockout::logind,
    model::{Actor, Fact, Session},
    policy,
};

use super::{
    commit::{By, Change, CommitError, live_facts},
    lifecycle::store_options,
    state::Gateway,
};

impl Gateway {
    /// Reads the file again and applies it as one change: what is other, and what the operator should know. On any error
    /// everything stays as it is.
    pub(super) fn reload(&mut self, spared: &[Session]) -> Result<(Vec<Fact>, Vec<String>), CommitError> {
        let outcome = self.try_reload(spared);
        match &outcome {
            Ok(_) => self.reloads_ok += 1,
            Err(_) => self.reloads_failed += 1,
        }
        outcome
    }

    fn try_reload(&mut self, spared: &[Session]) -> Result<(Vec<Fact>, Vec<String>), CommitError> {
        if self.options.lack_file() && !self.has_defaults {
            return Err(CommitError::Gone(self.config_path()));
        }
        let config = self.options.load(FromOutside::Needed).map_err(CommitError::Configuration)?;
        let warnings = self.unchangeable(&config);
        let prefixes = std::mem::replace(&mut self.prefixes, policy::prefixes(&config));
        let old = (std::mem::replace(&mut self.config, config), prefixes, self.live.clone());
        self.live.renew();
        self.segments = self.segments_now();
        let applied = self.spare(spared).and_then(|()| self.apply().map_err(CommitError::Policy));
        if let Err(error) = applied {
            let sysctls = std::mem::take(&mut self.live.sysctls);
            (self.config, self.prefixes, self.live) = old;
            self.live.sysctls = sysctls;
            return Err(error);
        }
        self.has_defaults = self.options.lack_file();
        self.store.set_options(store_options(&self.config));
        self.follow_refusals();
        let mut facts = differences(&old.0, &self.config);
        facts.extend(live_facts((&old.0, &old.2), (&self.config, &self.live)));
        match self.lift_never() {
            Ok(lifted) => facts.extend(lifted),
            Err(error) => log::error!("cannot take bans back: {error:#}"),
        }
        Ok((facts, warnings))
    }

    /// What a reload cannot change, and what to do about it.
    fn unchangeable(&self, new: &Config) -> Vec<String> {
        let old = &self.config;
        [
            ("attach.interfaces", old.attach.interfaces != new.attach.interfaces),
            ("attach.driver", old.attach.driver != new.attach.driver),
            ("attach.btf", old.attach.btf != new.attach.btf),
            ("metrics.listen", old.metrics != new.metrics),
            ("control", old.control != new.control),
            ("audit.database", old.audit.database != new.audit.database),
        ]
        .into_iter()
        .filter(|&(_, changed)| changed)
        .map(|(key, _)| format!("{key} changed, which takes effect when the gateway is restarted"))
        .collect()
    }

    /// SIGHUP.
    pub(super) fn reload_on_signal(&mut self) {
        let actor = Actor::Signal { name: "SIGHUP".to_owned() };
        let spared = logind::sessions();
        match self.commit(Change::Reload, By { actor: &actor, spared: &spared }) {
            Ok(committed) => {
                committed.warnings.iter().for_each(|warning| log::warn!("{warning}"));
                log::info!("reloaded, generation {}", self.generation);
            }
            Err(error @ CommitError::Cut(..)) => {
                log::error!(
                    "not reloaded, the old policy holds: {error}; `gateway reload --force` does it all the same"
                );
            }
            Err(error) => log::error!("not reloaded, the old policy holds: {error}"),
        }
    }
}
