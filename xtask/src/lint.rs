//! `cargo xtask lint`: format and lints, any warning an error.

use std::panic::resume_unwind;
use std::thread;

use anyhow::Result;

use crate::command::{cargo, run as run_command};
use crate::{ebpf, setup};

/// Checks the host's crates with clippy, and the kernel's with its own compiler, which has no clippy: both at once, since the one often waits
/// for a single CPU.
pub(crate) fn run() -> Result<()> {
    run_command(cargo().args(["fmt", "--all", "--check"]))?;
    thread::scope(|scope| {
        let object = scope.spawn(|| ebpf::build_without_warnings(&setup::toolchain()?));
        let mut clippy = cargo();
        clippy.args(["clippy", "--quiet", "--workspace", "--exclude", "gateway-ebpf", "--all-targets"]);
        let clippy = run_command(clippy.args(["--", "--deny", "warnings"]));
        object.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        clippy
    })
}
