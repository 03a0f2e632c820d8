//! Tests that need root: skipped by name where they cannot run, failing where they must.

use std::env;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::object::object_path;

/// Programs that a lab starts.
const PROGRAMS: [&str; 6] =
    ["ip", "ethtool", "nginx", "curl", "openssl", "chrt"];

/// Waits until no other test of this process has a lab: floods take the machine's CPUs.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a lab lacks on this machine, in words; nothing when it can come up.
#[must_use]
pub fn missing() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("root (`cargo xtask test` asks for it)".to_owned());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let lacks = |program: &&&str| !env::split_paths(&path).any(|directory| directory.join(program).is_file());
    if let Some(program) = PROGRAMS.iter().find(lacks) {
        return Some(format!("the program `{program}` (`cargo xtask setup --lab` installs it)"));
    }
    let object = object_path();
    if !Path::new(&object).is_file() {
        return Some(format!("{} (`cargo xtask ebpf` builds it)", object.display()));
    }
    None
}

/// Whether the test may go on; says why when it may not.
///
/// # Panics
/// Where `GATEWAY_ROOT_TESTS` or `CI` is set and something is missing: nothing may be skipped there.
#[must_use]
pub fn is_privileged(test: &str) -> bool {
    let Some(what) = missing() else { return true };
    let must = ["GATEWAY_ROOT_TESTS", "CI"].iter().any(|name| env::var_os(name).is_some());
    assert!(!must, "{test} must run here, and needs {what}");
    eprintln!("skipped {test}: it needs {what}");
    false
}
