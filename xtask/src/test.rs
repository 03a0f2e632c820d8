//! `cargo xtask test`: all tests, those that need root too.

use std::env;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::command::{cargo, find, is_root, output};
use crate::{ebpf, lab, setup};

/// Names the folder of captures that are no part of the project.
const CAPTURES: &str = "GATEWAY_CAPTURES";
/// What the names of tests that want that folder start with.
const OF_CAPTURES: &str = "outside::";
/// What the names of tests start with that change the machine: the lane runs them in an emulated one.
const OF_MACHINES: &str = "machine::";

/// Sets up and runs the tests, those too that plain `cargo test` ignores. They are built as whoever calls, and run as root.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let toolchain = setup::toolchain()?;
    lab::setup()?;
    ebpf::build(&toolchain)?;
    let mut command = cargo();
    command.args(["test", "--workspace", "--exclude", "gateway-ebpf"]).args(all_of(arguments));
    if !is_root() {
        let sudo =
            find("sudo").context("the lab's tests need root, and there is no sudo: run this as root")?;
        command.env(runner_variable()?, format!("{} --preserve-env", sudo.display()));
    }
    crate::command::run(&mut command)
}

/// The arguments of `cargo test` by which nothing is ignored; behind a `--` are those of the test programs.
fn all_of(arguments: &[String]) -> Vec<String> {
    let (of_cargo, of_tests) = match arguments.iter().position(|argument| argument == "--") {
        Some(place) => (&arguments[..place], &arguments[place + 1..]),
        None => (arguments, &[][..]),
    };
    let mut all = [of_cargo, &["--".into(), "--include-ignored".into()], of_tests].concat();
    all.extend(["--skip".into(), OF_MACHINES.into()]);
    if env::var_os(CAPTURES).is_none() {
        println!("{CAPTURES} is not set: the tests with captures of others are left out");
        all.extend(["--skip".into(), OF_CAPTURES.into()]);
    }
    all
}

/// The variable that names what cargo starts the host's programs with.
fn runner_variable() -> Result<String> {
    let version = output(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    Ok(format!("CARGO_TARGET_{}_RUNNER", host.replace('-', "_").to_uppercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_for_the_tests_stays_behind_the_dashes() {
        let of = |arguments: &[&str]| {
            let arguments: Vec<String> = arguments.iter().map(|&argument| argument.into()).collect();
            all_of(&arguments).join(" ").replace(" --skip machine::", "").replace(" --skip outside::", "")
        };
        assert_eq!(of(&[]), "-- --include-ignored");
        assert_eq!(of(&["--test", "lab"]), "--test lab -- --include-ignored");
        assert_eq!(of(&["-p", "xtask", "--", "a_name"]), "-p xtask -- --include-ignored a_name");
    }
}
