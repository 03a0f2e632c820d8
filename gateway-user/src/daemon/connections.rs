//! Holding connections to the rules of now.

use super::{part::connections::Watcher, state::Gateway};
use crate::connections::Rules;

impl Gateway {
    /// Holds connections to the rules of now.
    pub(super) fn follow_connections(&mut self) {
        let trusted = self.live.allow().keys().map(|prefix| prefix.network()).collect();
        let rules = Rules::of(&self.config, self.rows(), self.mode(), &self.prefixes, trusted);
        if self.watcher.is_none() && rules.is_some() {
            match Watcher::start(&mut self.kernel) {
                Ok(watcher) => {
                    self.watcher = Some(watcher);
                    self.alarm("connections", None);
                }
                Err(error) => self.alarm("connections", Some(format!(
                    "connections are not counted, and none is ended for its time: {error:#}; `connections`, `hello_timeout` and \
                     `idle_timeout` do nothing"
                ))),
            }
        }
        if let Some(watcher) = &self.watcher {
            watcher.follow(rules);
        }
    }
}
