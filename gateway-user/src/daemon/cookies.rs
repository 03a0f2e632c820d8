//! Giving the host the settings that SYN cookies want, while they are needed.

use std::{fs, time::Duration};

use gateway_common::{
    abi::{HANDSHAKE_ANSWERED, HANDSHAKE_UNTIL, Live},
    limit::rate::{Instant, SECOND},
};

use super::{
    part::cookies::{BEST, Host, SYNCOOKIES, TIMESTAMPS, is_writable, name, read, wants},
    state::Gateway,
};
use crate::{
    config::SynCookies,
    kernel::KernelError,
    model::{Actor, Fact, What},
};

/// For how long after the last answer the settings stay: longer than a cookie is good for (`MAX_SYNCOOKIE_AGE` in include/net/tcp.h).
const STAY: Instant = 130 * SECOND;

impl Gateway {
    /// Whether a SYN flood is under way, or cookies of one may still come back.
    pub(super) fn has_surge(&mut self) -> Result<bool, KernelError> {
        let now = self.clock();
        let rows: Vec<u8> = self.rows.0.values().copied().collect();
        for row in rows {
            let words = self.kernel.handshakes(row)?;
            let (until, answered) = (words[HANDSHAKE_UNTIL], words[HANDSHAKE_ANSWERED]);
            if Live::holds(until, now) || (answered != 0 && now.saturating_sub(answered) < STAY) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Looks whether a SYN flood begins or is over, and changes the host's settings for as long as it lasts.
    pub(super) fn follow_surge(&mut self) {
        match self.has_surge() {
            Ok(surge) if surge != self.surge => {
                self.surge = surge;
                self.follow_host();
            }
            Ok(_) => {}
            Err(error) => log::error!("cannot look whether a SYN flood is under way: {error}"),
        }
    }

    /// Whether [`Self::follow_surge`] has anything to do.
    pub(super) fn follows_surges(&self) -> bool {
        self.config.attach.set_sysctls && wants(&self.config, SynCookies::Auto)
    }

    /// Gives the host the settings that cookies want while they may be needed, and takes that back when they are not; tells what they
    /// are then.
    pub(super) fn tend_host(&mut self) -> Host {
        let is_due =
            wants(&self.config, SynCookies::Always) || (wants(&self.config, SynCookies::Auto) && self.surge);
        if self.config.attach.set_sysctls && is_due {
            self.set_sysctls();
        } else {
            self.restore_sysctls();
        }
        Host::read(&self.config, &self.attached)
    }

    /// What was there before is written down first: a daemon that is killed leaves it to the next one.
    fn set_sysctls(&mut self) {
        for path in [SYNCOOKIES, TIMESTAMPS] {
            // Where they may not be written, status says what is lacking.
            let Some(old) = read(path).filter(|value| value != BEST && is_writable(path)) else { continue };
            let before = old.clone();
            self.live.sysctls.entry(name(path)).or_insert(old);
            drop(self.keep(Vec::new()));
            self.store.flush(WRITTEN_WITHIN);
            match fs::write(path, BEST) {
                Ok(()) => self.put_down_setting(path, &before, BEST, "SYN cookies are needed"),
                Err(error) => log::warn!("cannot write {path}: {error}"),
            }
        }
    }

    /// Puts down that a setting of this host was changed.
    fn put_down_setting(&mut self, path: &str, from: &str, to: &str, why: &str) {
        let fact = Fact::new(What::Host, name(path), Some(from.to_owned()), Some(to.to_owned()));
        drop(self.put_down(&[Fact { reason: Some(why.to_owned()), ..fact }], &Actor::Host));
    }

    /// Puts back what was there before, unless somebody has changed it since.
    pub(super) fn restore_sysctls(&mut self) {
        if self.live.sysctls.is_empty() {
            return;
        }
        for path in [SYNCOOKIES, TIMESTAMPS] {
            let Some(old) = self.live.sysctls.remove(&name(path)) else { continue };
            if read(path).as_deref() != Some(BEST) {
                continue;
            }
            match fs::write(path, &old) {
                Ok(()) => self.put_down_setting(path, BEST, &old, "SYN cookies are needed no longer"),
                Err(error) => log::warn!("cannot write {path}: {error}"),
            }
        }
        drop(self.keep(Vec::new()));
    }
}

/// How long it is waited until what was there before is on the disk.
const WRITTEN_WITHIN: Duration = Duration::from_millis(100);
