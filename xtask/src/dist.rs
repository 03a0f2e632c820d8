//! `cargo xtask dist`: what is given to others, into target/packages: a static binary with the eBPF object inside, its debug information apart,
//! a Debian package, and checksums.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::command::{cargo, cargo_home, clean, find, output, run, workspace};
use crate::{ebpf, lab, setup};

/// Static, so that it runs on any distribution.
const TARGET: &str = "x86_64-unknown-linux-musl";
/// The C compiler for it, and the program that takes debug information out.
const PROGRAMS: [(&str, &str); 2] = [("musl-gcc", "musl-tools"), ("objcopy", "binutils")];
/// What makes the Debian package, and its version.
const CARGO_DEB: (&str, &str) = ("cargo-deb", "3.8.0");
/// The most bytes of the binary.
const LARGEST: u64 = 12_000_000;
const SHELLS: [(&str, &str); 3] = [("bash", "gateway.bash"), ("zsh", "_gateway"), ("fish", "gateway.fish")];

/// Makes all of it.
///
/// # Errors
/// When something cannot be had or built, or the binary is too large.
pub(crate) fn make() -> Result<()> {
    let toolchain = setup::toolchain()?;
    ebpf::build(&toolchain)?;
    lab::install("The distribution", &PROGRAMS)?;
    add_target()?;
    let built = build()?;
    let dist = workspace().join("target/packages");
    let stage = dist.join("stage");
    if stage.exists() {
        fs::remove_dir_all(&stage)?;
    }
    fs::create_dir_all(&stage)?;
    let binary = strip(&built, &stage)?;
    let size = fs::metadata(&binary)?.len();
    ensure!(size <= LARGEST, "{} has {size} bytes, more than {LARGEST}", binary.display());
    describe(&binary, &stage)?;
    let package = package(&dist)?;
    let names = [stage.join("gateway"), stage.join("gateway.debug"), package];
    checksums(&dist, &names)?;
    println!("{} bytes in {}; all is in {}", size, binary.display(), dist.display());
    Ok(())
}

/// The standard library of the target, by rustup where that is.
fn add_target() -> Result<()> {
    let Some(rustup) = find("rustup") else { return Ok(()) };
    run(Command::new(rustup).args(["target", "add", TARGET]).current_dir(workspace()))
}

/// Builds it, with no path of this machine inside.
fn build() -> Result<PathBuf> {
    let home = cargo_home();
    let home = home.display();
    let here = workspace().display();
    let flags = format!("--remap-path-prefix={here}=gateway --remap-path-prefix={home}=cargo");
    let prefixes = format!("-ffile-prefix-map={here}=gateway -ffile-prefix-map={home}=cargo");
    let mut command = cargo();
    clean(&mut command)
        .env(variable("RUSTFLAGS"), flags)
        .env(format!("CC_{}", TARGET.replace('-', "_")), "musl-gcc")
        .env(format!("CFLAGS_{}", TARGET.replace('-', "_")), prefixes)
        .env("SOURCE_DATE_EPOCH", commit_time()?);
    command.args(["build", "--profile", "dist", "--locked", "--target", TARGET, "--package", "gateway-user"]);
    run(&mut command)?;
    Ok(workspace().join("target").join(TARGET).join("dist/gateway"))
}

fn variable(what: &str) -> String {
    format!("CARGO_TARGET_{}_{what}", TARGET.replace('-', "_").to_uppercase())
}

/// When the last commit was made; of an export without a repository: 0.
fn commit_time() -> Result<String> {
    let time = output(Command::new("git").args(["log", "-1", "--format=%ct"]).current_dir(workspace()));
    Ok(time.map_or_else(|_| "0".to_owned(), |time| time.trim().to_owned()))
}

/// Takes the debug information out, into a file that a debugger finds by the link in the binary.
fn strip(built: &Path, stage: &Path) -> Result<PathBuf> {
    let (binary, debug) = (stage.join("gateway"), stage.join("gateway.debug"));
    let objcopy = || Command::new("objcopy");
    run(objcopy().arg("--only-keep-debug").arg(built).arg(&debug))?;
    run(objcopy()
        .arg("--strip-all")
        .arg(format!("--add-gnu-debuglink={}", debug.display()))
        .arg(built)
        .arg(&binary))?;
    Ok(binary)
}

/// Manual pages and completions, as the binary itself writes them.
fn describe(binary: &Path, stage: &Path) -> Result<()> {
    let man = stage.join("man");
    fs::create_dir_all(&man)?;
    run(Command::new(binary).args(["man", "--directory"]).arg(&man))?;
    // Without a name and a time, so that they are the same each time.
    let mut gzip = Command::new("gzip");
    gzip.args(["-9", "-n"]);
    for page in fs::read_dir(&man)? {
        gzip.arg(page?.path());
    }
    run(&mut gzip)?;
    for (shell, name) in SHELLS {
        fs::write(stage.join(name), output(Command::new(binary).args(["completions", shell]))?)?;
    }
    Ok(())
}

/// Makes the Debian package.
fn package(dist: &Path) -> Result<PathBuf> {
    let tools = workspace().join("target/tools");
    let (name, version) = CARGO_DEB;
    let program = tools.join("bin").join(name);
    if !program.exists() {
        println!("Installing {name} {version} into {}.", tools.display());
        let mut install = cargo();
        clean(&mut install).args(["install", name, "--locked", "--version", version, "--root"]).arg(&tools);
        run(&mut install)?;
    }
    let mut command = Command::new(program);
    clean(&mut command).current_dir(workspace()).env("SOURCE_DATE_EPOCH", commit_time()?);
    command.args([
        "--no-build",
        "--no-strip",
        "--package",
        "gateway-user",
        "--target",
        TARGET,
        "--profile",
        "dist",
    ]);
    let said = output(command.arg("--output").arg(dist))?;
    let package = said.lines().last().map(|line| PathBuf::from(line.trim()));
    package.filter(|package| package.exists()).context("the package is not there")
}

fn checksums(dist: &Path, files: &[PathBuf]) -> Result<()> {
    let mut command = Command::new("sha256sum");
    command.current_dir(dist);
    for file in files {
        command.arg(file.strip_prefix(dist).unwrap_or(file));
    }
    fs::write(dist.join("SHA256SUMS"), output(&mut command)?).context("cannot write the checksums")
}
