//! `cargo xtask demo`, `bench` and `soak`: programs of the tests crate that run the gateway in a lab.

use std::process::Command;

use anyhow::Result;

use crate::command::{as_root, become_it, cargo, workspace};
use crate::{aarch64, ebpf, lab, lane, setup};

/// The long runs, with what each is given: ten million frames in kernel and host, ten minutes of fuzzing, a flood of forged
/// sources simulated, and every promise in the lab at full length.
const SOAK: [(&str, &[&str]); 4] = [
    ("parity", &["--frames", "10000000"]),
    ("fuzz", &["--seconds", "600"]),
    ("eviction", &["2000000", "32768", "60", "mixed"]),
    ("soak", &["--all"]),
];

/// Sets up, builds gateway and program, and becomes the program.
pub(crate) fn run(name: &str, arguments: &[String]) -> Result<()> {
    prepare(&[name])?;
    Err(become_it(program(name)?.args(arguments)))
}

/// Without arguments every long run, one after the other, then the tests of the other architecture and all of the lane; with arguments
/// the lab's alone, as they say.
pub(crate) fn soak(arguments: &[String]) -> Result<()> {
    lab::setup_soak()?;
    if !arguments.is_empty() {
        return run("soak", arguments);
    }
    prepare(&SOAK.map(|(name, _)| name))?;
    for (name, arguments) in SOAK {
        crate::command::run(program(name)?.args(arguments))?;
    }
    aarch64::test(&[])?;
    lane::run(lane::Choice::All, lane::Length::Full, &[])
}

fn prepare(programs: &[&str]) -> Result<()> {
    let toolchain = setup::toolchain()?;
    lab::setup()?;
    ebpf::build(&toolchain)?;
    run_cargo(&["gateway-user", "--bin", "gateway"])?;
    programs.iter().try_for_each(|name| run_cargo(&["gateway-tests", "--bin", name]))
}

fn program(name: &str) -> Result<Command> {
    let mut command = as_root(workspace().join("target/release").join(name), &[])?;
    command.current_dir(workspace());
    Ok(command)
}

fn run_cargo(package: &[&str]) -> Result<()> {
    crate::command::run(cargo().args(["build", "--release", "--package"]).args(package))
}
