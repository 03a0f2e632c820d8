//! The configuration file, read again.

use crate::{
    config::{Config, FromOutside, differences},
    model::{Actor, Fact},
    policy,
};

use super::{
    commit::{Change, CommitError, live_facts},
    lifecycle::store_options,
    state::Gateway,
};

impl Gateway {
    /// Reads the file again and applies it as one change: what is other, and what the operator should know. On any error
    /// everything stays as it is.
    pub(super) fn reload(&mut self) -> Result<(Vec<Fact>, Vec<String>), CommitError> {
        let outcome = self.try_reload();
        match &outcome {
            Ok(_) => self.reloads_ok += 1,
            Err(_) => self.reloads_failed += 1,
        }
        outcome
    }

    fn try_reload(&mut self) -> Result<(Vec<Fact>, Vec<String>), CommitError> {
        if self.options.lack_file() && !self.has_defaults {
            return Err(CommitError::Gone(self.config_path()));
        }
        let config = self.options.load(FromOutside::Needed).map_err(CommitError::Configuration)?;
        let warnings = self.unchangeable(&config);
        let prefixes = std::mem::replace(&mut self.prefixes, policy::prefixes(&config));
        let old = (std::mem::replace(&mut self.config, config), prefixes, self.live.clone());
        self.live.renew();
        self.segments = self.segments_now();
        if let Err(error) = self.apply() {
            let sysctls = std::mem::take(&mut self.live.sysctls);
            (self.config, self.prefixes, self.live) = old;
            self.live.sysctls = sysctls;
            return Err(CommitError::Policy(error));
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
        match self.commit(Change::Reload, &Actor::Signal { name: "SIGHUP".to_owned() }) {
            Ok(committed) => {
                committed.warnings.iter().for_each(|warning| log::warn!("{warning}"));
                log::info!("reloaded, generation {}", self.generation);
            }
            Err(error) => log::error!("not reloaded, the old policy holds: {error}"),
        }
    }
}
