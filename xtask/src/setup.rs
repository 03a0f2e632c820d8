//! `cargo xtask setup`: finds what building for the kernel needs, and installs what is missing.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, anyhow, bail};

use crate::command::{as_root, cargo, clean, find, find_all, is_root, output, run};
use crate::toolchain::{Compiler, Core, LINKER_VERSION, Toolchain, tools};

/// Debian's compiler with `core` for BPF; both sit beside rustup's toolchain and replace nothing.
const COMPILER_PACKAGES: [&str; 2] = ["rustc-web", "libstd-rust-web-dev-bpf"];
/// LLVM of Debian's compiler, should it not be there to be asked.
const DEBIAN_LLVM: u32 = 22;
/// The LLVM versions that this bpf-linker can be built for.
const LINKER_LLVM: std::ops::RangeInclusive<u32> = 21..=23;

/// One thing to do.
enum Step {
    /// Install these packages.
    Apt(Vec<String>),
    /// Add nightly and rust-src to rustup.
    Nightly,
    /// Build bpf-linker against this LLVM.
    Linker(u32),
}

/// The toolchain, installed first where it is missing.
pub(crate) fn toolchain() -> Result<Toolchain> {
    let why = match Toolchain::find() {
        Ok(found) => {
            println!("{}", found.describe());
            return Ok(found);
        }
        Err(why) => why,
    };
    println!("The XDP program cannot be built yet: {why:#}.");
    let steps = plan()?;
    println!("Setting up:");
    for step in &steps {
        println!("  - {}", step.describe());
    }
    for step in &steps {
        step.run().with_context(|| step.remedy())?;
    }
    let found = Toolchain::find().context("all steps were done, and the toolchain still does not work")?;
    println!("{}", found.describe());
    Ok(found)
}

/// What is to be done: Debian's packages where they exist, else rustup.
fn plan() -> Result<Vec<Step>> {
    let compilers = Compiler::find_all();
    if let Some(compiler) = compilers.first() {
        return linker_steps(compiler.llvm()?);
    }
    if has_packages(&COMPILER_PACKAGES)? {
        let mut packages: Vec<String> = COMPILER_PACKAGES.map(str::to_owned).to_vec();
        let mut steps = linker_steps(DEBIAN_LLVM)?;
        match steps.first_mut() {
            Some(Step::Apt(more)) => more.splice(0..0, packages).for_each(drop),
            _ => steps.insert(0, Step::Apt(std::mem::take(&mut packages))),
        }
        return Ok(steps);
    }
    if find("rustup").is_some() {
        return Ok(vec![Step::Nightly, Step::Linker(DEBIAN_LLVM)]);
    }
    bail!(
        "neither apt with the package {} (Debian 12 and later) nor rustup is here. Install rustup (https://rustup.rs), \
         then:\n  rustup toolchain install nightly --component rust-src\n  {}",
        COMPILER_PACKAGES[0],
        linker_remedy(DEBIAN_LLVM)
    )
}

/// What makes a linker for this LLVM; nothing of it when only that is there already.
fn linker_steps(llvm: u32) -> Result<Vec<Step>> {
    if !LINKER_LLVM.contains(&llvm) {
        bail!(
            "this compiler has LLVM {llvm}, and bpf-linker {LINKER_VERSION} is for {} to {}: install another compiler",
            LINKER_LLVM.start(),
            LINKER_LLVM.end()
        );
    }
    let mut wanted = vec![
        format!("llvm-{llvm}-dev"),
        format!("libpolly-{llvm}-dev"),
        "zlib1g-dev".to_owned(),
        "libzstd-dev".to_owned(),
    ];
    if find("c++").is_none() {
        wanted.push("g++".to_owned());
    }
    let missing: Vec<_> = wanted.into_iter().filter(|package| !is_installed(package)).collect();
    let apt = (!missing.is_empty() && find("apt-get").is_some()).then_some(Step::Apt(missing));
    Ok(apt.into_iter().chain([Step::Linker(llvm)]).collect())
}

impl Step {
    fn describe(&self) -> String {
        match self {
            Self::Apt(packages) => format!("install Debian packages: {}", packages.join(" ")),
            Self::Nightly => "add rustup's nightly toolchain with rust-src".to_owned(),
            Self::Linker(llvm) => {
                format!(
                    "build bpf-linker {LINKER_VERSION} for LLVM {llvm} into target/tools (about a minute)"
                )
            }
        }
    }

    /// What to type when the step fails.
    fn remedy(&self) -> String {
        let command = match self {
            Self::Apt(packages) => {
                let packages = packages.join(" ");
                format!("apt-get update && apt-get install --no-install-recommends {packages}    (as root)")
            }
            Self::Nightly => {
                "rustup toolchain install nightly --profile minimal --component rust-src".to_owned()
            }
            Self::Linker(llvm) => linker_remedy(*llvm),
        };
        format!("could not {}. Do it by hand, then start again:\n  {command}\n", self.describe())
    }

    fn run(&self) -> Result<()> {
        match self {
            Self::Apt(packages) => apt_install(packages),
            Self::Nightly => {
                let mut command = Command::new("rustup");
                command.args(["toolchain", "install", "nightly", "--profile", "minimal"]);
                run(command.args(["--component", "rust-src"]))
            }
            Self::Linker(llvm) => build_linker(*llvm),
        }
    }
}

fn linker_remedy(llvm: u32) -> String {
    format!(
        "LLVM_PREFIX=$(llvm-config-{llvm} --prefix) cargo install bpf-linker --version {LINKER_VERSION} \
         --no-default-features --features llvm-{llvm} --locked"
    )
}

/// Builds bpf-linker for this project alone, so that another project's linker stays as it is.
fn build_linker(llvm: u32) -> Result<()> {
    // After a step that installed a compiler its LLVM is known; before, it was a guess.
    let llvm = Compiler::find_all().first().map_or(Ok(llvm), Compiler::llvm)?;
    let prefix = llvm_prefix(llvm)?;
    let mut command = cargo();
    clean(&mut command).env("LLVM_PREFIX", prefix);
    command.args(["install", "bpf-linker", "--version", LINKER_VERSION, "--locked", "--force"]);
    command.args(["--no-default-features", "--features", &format!("llvm-{llvm}"), "--root"]).arg(tools());
    // Neither optimized nor with what a debugger wants: that takes half the time, and LLVM, which does the work, is there already.
    command.arg("--debug").env("CARGO_PROFILE_DEV_DEBUG", "none");
    // Where it is looked for, so that cargo gives no advice to change the user's own PATH.
    let own = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths([tools().join("bin")].into_iter().chain(env::split_paths(&own)))?;
    run(command.env("PATH", path))
}

/// Where this LLVM is installed.
fn llvm_prefix(llvm: u32) -> Result<PathBuf> {
    for program in [format!("llvm-config-{llvm}"), "llvm-config".to_owned()] {
        for path in find_all(&program) {
            let version = output(Command::new(&path).arg("--version")).unwrap_or_default();
            if version.split('.').next() == Some(&llvm.to_string()) {
                return output(Command::new(&path).arg("--prefix")).map(PathBuf::from);
            }
        }
    }
    Err(anyhow!("no llvm-config of version {llvm} in PATH: install LLVM {llvm} with its development files"))
}

/// Whether dpkg counts this package as installed.
pub(crate) fn is_installed(package: &str) -> bool {
    let mut command = Command::new("dpkg-query");
    output(command.args(["--show", "--showformat=${db:Status-Status}", package]))
        .is_ok_and(|status| status == "installed")
}

/// Whether apt can install all of these, asked again with fresh lists when it cannot.
fn has_packages(packages: &[&str]) -> Result<bool> {
    let Some(apt_cache) = find("apt-cache") else {
        return Ok(false);
    };
    let known = || {
        packages.iter().all(|package| {
            output(Command::new(&apt_cache).args(["policy", package]))
                .is_ok_and(|policy| policy.contains("Candidate:") && !policy.contains("Candidate: (none)"))
        })
    };
    if known() {
        return Ok(true);
    }
    println!("apt does not know {}: updating its lists.", packages.join(" and "));
    apt_update()?;
    Ok(known())
}

fn apt_update() -> Result<()> {
    let remedy =
        "could not update apt's lists. Do it by hand, then start again:\n  apt-get update    (as root)\n";
    let mut command = as_root("apt-get", &[]).context(remedy)?;
    run(command.args(["--quiet", "--yes", "update"])).context(remedy)
}

/// Installs packages without questions, and without starting or enabling the services that come with them.
///
/// Debian asks `policy-rc.d` before it starts a service; 101 means no. One that is there already is left as it is.
pub(crate) fn apt_install(packages: &[String]) -> Result<()> {
    if !is_root() && find("sudo").is_none() {
        bail!("it needs root, and there is no sudo");
    }
    let fresh = !has_lists();
    if fresh {
        apt_update()?;
    }
    let install = || run(as_root("sh", &[])?.args(["-c", INSTALL, "apt-get-install"]).args(packages));
    match install() {
        Err(_) if !fresh => {
            println!("Once more, with fresh lists of packages: old ones name files that are gone.");
            apt_update()?;
            install()
        }
        done => done,
    }
}

/// Whether apt has lists of packages at all.
fn has_lists() -> bool {
    fs::read_dir("/var/lib/apt/lists").is_ok_and(|mut files| {
        files.any(|file| file.is_ok_and(|file| file.file_name().to_string_lossy().contains("_Packages")))
    })
}

const INSTALL: &str = r#"
set -e
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
fi
DEBIAN_FRONTEND=noninteractive apt-get --quiet --yes install --no-install-recommends "$@"
for service in nginx prometheus; do
    case " $* " in *" $service "*)
        if command -v systemctl > /dev/null; then systemctl disable --quiet "$service" || true; fi
    esac
done
"#;

/// Whether `core` must be built with the program.
pub(crate) fn builds_core(toolchain: &Toolchain) -> bool {
    toolchain.compiler.core == Core::Source
}
