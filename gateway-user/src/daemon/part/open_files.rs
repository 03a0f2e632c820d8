//! How many files the daemon may have open.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limit, often 1024, to the hard one: while a long list of prefixes comes into force, the map of each of its chunks
/// is open, several hundred together. Where that fails, a list may be refused that is too long for what there is.
pub(in crate::daemon) fn raise_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        log::debug!("no more open files than before: {error}");
    }
}
