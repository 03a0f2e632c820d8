//! What tests that need root, or programs of the lab, need.

use std::env;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::object::object_path;

/// Programs that a lab starts.
const PROGRAMS: [&str; 6] = ["ip", "ethtool", "nginx", "curl", "openssl", "chrt"];

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

/// Has a test fail where its lab cannot come up. Such a test says `#[ignore]`, so only who asks for it comes here.
///
/// # Panics
/// Where something is missing.
pub fn require_lab() {
    if let Some(what) = missing() {
        panic!("this test needs {what}");
    }
}
