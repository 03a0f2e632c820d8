//! `cargo xtask run`: from a fresh clone to a running gateway.

use anyhow::Result;

use crate::command::{as_root, become_it, cargo, run, workspace};
use crate::{ebpf, setup};

/// Sets up, builds, and becomes `gateway run`.
pub(crate) fn gateway(arguments: &[String]) -> Result<()> {
    ebpf::build(&setup::toolchain()?)?;
    run(cargo().args(["build", "--release", "--package", "gateway-user", "--bin", "gateway"]))?;
    let gateway = workspace().join("target/release/gateway");
    Err(become_it(as_root(gateway, &[])?.arg("run").args(arguments)))
}
