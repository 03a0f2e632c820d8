//! `cargo xtask test`: all tests, those that need root too.

use anyhow::{Context as _, Result};
use std::process::Command;

use crate::command::{cargo, find, is_root, output};
use crate::{ebpf, lab, setup};

/// With this set, a test that lacks root or a program of the lab fails instead of being skipped.
const ROOT_TESTS: &str = "GATEWAY_ROOT_TESTS";

/// Sets up and runs the tests. They are built as whoever calls, and run as root.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let toolchain = setup::toolchain()?;
    lab::setup()?;
    ebpf::build(&toolchain)?;
    let mut command = cargo();
    command.args(["test", "--workspace", "--exclude", "gateway-ebpf"]).args(arguments).env(ROOT_TESTS, "1");
    if !is_root() {
        let sudo =
            find("sudo").context("the lab's tests need root, and there is no sudo: run this as root")?;
        command.env(runner_variable()?, format!("{} --preserve-env", sudo.display()));
    }
    crate::command::run(&mut command)
}

/// The variable that names what cargo starts the host's programs with.
fn runner_variable() -> Result<String> {
    let version = output(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    Ok(format!("CARGO_TARGET_{}_RUNNER", host.replace('-', "_").to_uppercase()))
}
