//! `cargo xtask test --arch aarch64`: the host's tests for another architecture, with its CPU emulated.
//!
//! They are built by Debian's compiler, which the XDP program is built by too: the standard library for the other architecture is
//! taken from the same packages of Debian's, and unpacked below `target`. What needs root is ignored, as by plain `cargo test`.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::command::{cargo, clean, output, run, workspace};
use crate::debian::Source;
use crate::{lab, setup};

/// The target, as Rust and as Debian call it.
const TARGET: &str = "aarch64-unknown-linux-gnu";
const ARCHITECTURE: &str = "arm64";
/// Programs that are needed here, and the Debian packages that they come in.
const PROGRAMS: [(&str, &str); 2] = [
    ("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu libc6-dev-arm64-cross"),
    ("qemu-aarch64-static", "qemu-user-static"),
];
/// Tests that start the gateway's own program: the emulator runs one program, and the kernel starts none of another architecture.
const STARTING: [&str; 5] = [
    "made::the_command_tells_it",
    "a_reader_that_stops_reading_is_no_error",
    "a_change_prints_one_line_or_one_document",
    "each_outcome_has_its_exit_status",
    "the_manual_is_written_for_each_verb",
];
/// Where the other architecture's C library lies.
const LIBRARY: &str = "/usr/aarch64-linux-gnu";

/// Builds and runs them.
///
/// # Errors
/// When something cannot be had, or a test fails.
pub(crate) fn test(arguments: &[String]) -> Result<()> {
    let compiler = setup::toolchain()?.compiler;
    lab::install("The other architecture", &PROGRAMS)?;
    let release = output(Command::new("sh").args(["-c", ". /etc/os-release && echo $VERSION_CODENAME"]))?;
    let source = Source::of(&format!("{release}-security"), ARCHITECTURE)?;
    let version = output(Command::new(&compiler.rustc).arg("--version"))?;
    let version = version.split_whitespace().nth(1).and_then(|version| version.rsplit_once('.'));
    let (version, _) = version.context("the compiler tells no version")?;
    let root = workspace().join("target/lane/std-arm64");
    let packages = ["libstd-rust-web-dev".to_owned(), format!("libstd-rust-web-{version}")];
    source.unpack(&packages.each_ref().map(String::as_str), &root, |_| Ok(()))?;
    let std = root.join("usr/lib/rustlib").join(TARGET).join("lib");
    let variable = |what: &str| format!("CARGO_TARGET_{}_{what}", TARGET.replace('-', "_").to_uppercase());
    let mut command = cargo();
    clean(&mut command).env("RUSTC", &compiler.rustc);
    command
        .env(variable("RUSTFLAGS"), format!("-L {}", std.display()))
        .env(variable("LINKER"), "aarch64-linux-gnu-gcc")
        .env(format!("CC_{}", TARGET.replace('-', "_")), "aarch64-linux-gnu-gcc")
        .env(variable("RUNNER"), format!("qemu-aarch64-static -L {LIBRARY}"))
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("CARGO_PROFILE_TEST_DEBUG", "0");
    command.args(["test", "--target", TARGET, "--target-dir", "target/aarch64"]);
    command.args(["--workspace", "--exclude", "gateway-ebpf", "--exclude", "xtask", "--no-fail-fast"]);
    println!("Left out, because they start the gateway's own program: {}", STARTING.join(" "));
    command.args(arguments).arg("--");
    run(command.args(STARTING.iter().flat_map(|test| ["--skip", test])))
}
