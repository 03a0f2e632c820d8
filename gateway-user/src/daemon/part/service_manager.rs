//! What the service manager is told, where there is one: sd_notify(3).

use sd_notify::NotifyState;

/// The gateway protects.
pub(in crate::daemon) fn ready(greeting: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(greeting)]);
}

/// The task that owns the state goes on: without it for as long as the unit's `WatchdogSec=`, the service is started again.
pub(in crate::daemon) fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// The end has begun.
pub(in crate::daemon) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Without a service manager it is nobody's.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(false, states) {
        log::debug!("the service manager cannot be told: {error}");
    }
}
