//! `cargo xtask lint`: format and lints, any warning an error.

use anyhow::Result;

use crate::command::cargo;
use crate::{ebpf, setup};

/// Checks the host's crates with clippy, and the kernel's with its own compiler, which has no clippy.
pub(crate) fn run() -> Result<()> {
    crate::command::run(cargo().args(["fmt", "--all", "--check"]))?;
    let mut clippy = cargo();
    clippy.args(["clippy", "--quiet", "--workspace", "--exclude", "gateway-ebpf", "--all-targets"]);
    crate::command::run(clippy.args(["--", "--deny", "warnings"]))?;
    ebpf::build_without_warnings(&setup::toolchain()?)
}
