//! What ends by itself, taken back in time.

use anyhow::Result;

use super::{
    commit::{By, Change},
    state::Gateway,
};
use crate::{live, model::Actor};

/// After how many seconds it is tried again to take back what is over.
const EXPIRE_AGAIN: u64 = 5;

impl Gateway {
    /// When the next live change is over.
    pub(super) fn next_expiry(&self) -> Option<u64> {
        let next = self.live.next_expiry().into_iter().chain(self.next_ban_expiry()).min();
        // Not at once what has just failed.
        match self.expire_again {
            Some(again) => next.map(|next| next.max(again)),
            None => next,
        }
    }

    /// Takes back what is over. What the kernel refuses is tried again, until it is done.
    pub(super) fn expire(&mut self) {
        self.expire_again = None;
        if let Err(error) = self.try_expire() {
            log::error!("cannot take back what is over: {error:#}; it is tried again");
            self.expire_again = Some(live::now() + EXPIRE_AGAIN);
        }
    }

    fn try_expire(&mut self) -> Result<()> {
        let now = live::now();
        if self.live.ends_by(now) {
            self.commit(Change::Ends, By::itself(&Actor::Timer))?;
        }
        let over: Vec<_> = self.live.trust_over(now).map(|prefix| (prefix, None)).collect();
        if !over.is_empty() {
            self.commit(Change::Trust(over), By::itself(&Actor::Timer))?;
        }
        self.expire_bans()
    }
}
