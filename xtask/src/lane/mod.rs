//! `cargo xtask test --kernel`: the program, its tests and the promises under other kernels, each in an emulated machine.
//!
//! * `kernel`: Debian's kernels, fetched and unpacked, never installed
//! * `image`: what the machine starts from: busybox, the tests that were built here, and the programs they need
//! * `plan`: what is run there
//! * `machine`: qemu, and what it says on its serial line
//!
//! The machine's CPU is emulated, so nothing of the host's kernel is touched, and no rights are needed but those to install
//! packages. What could not be run is told as not run.

mod image;
mod kernel;
mod machine;
mod plan;

use std::fs;
use std::path::PathBuf;
use std::thread::{self, ScopedJoinHandle};

use anyhow::{Result, anyhow, bail};
use clap::ValueEnum;

use crate::command::workspace;
use crate::{ebpf, lab, setup};

use image::Image;
use kernel::Kernel;
use machine::Outcome;
pub(crate) use plan::Length;
use plan::Plan;

/// Programs that the lane needs here, and the Debian packages that they come in.
const PROGRAMS: [(&str, &str); 7] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("cpio", "cpio"),
    ("depmod", "kmod"),
    ("xz", "xz-utils"),
    ("wg", "wireguard-tools"),
    ("pppd", "ppp"),
];

/// Which kernels are to be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Choice {
    /// Debian 11's: the gateway says why it does not start
    #[value(name = "5.10")]
    V5_10,
    /// Debian 12's
    #[value(name = "6.1")]
    V6_1,
    /// Debian 13's
    #[value(name = "6.12")]
    V6_12,
    /// All on which the gateway starts; with --full, Debian 11's too
    All,
}

impl Choice {
    fn kernels(self, length: Length) -> &'static [&'static str] {
        match (self, length) {
            (Self::V5_10, _) => &["5.10"],
            (Self::V6_1, _) => &["6.1"],
            (Self::V6_12, _) => &["6.12"],
            (Self::All, Length::Short) => &["6.1", "6.12"],
            (Self::All, Length::Full) => &["6.1", "6.12", "5.10"],
        }
    }
}

/// Sets up, builds the tests, and runs the plan under each kernel; `only`: steps whose names hold one of these.
///
/// # Errors
/// When a step fails under a kernel, or a kernel could not be tried.
pub(crate) fn run(choice: Choice, length: Length, only: &[String]) -> Result<()> {
    let toolchain = setup::toolchain()?;
    lab::setup()?;
    set_up()?;
    ebpf::build(&toolchain)?;
    let image = Image::build()?;
    let mut bad = Vec::new();
    let with_kernel = |version: &str, plan: Plan| (Kernel::get(version, plan.flavor), plan);
    let of = |&version: &&'static str| {
        let plans = plan::of(version, length, only).into_iter();
        (version, plans.map(|plan| with_kernel(version, plan)).collect::<Vec<_>>())
    };
    let versions: Vec<_> = choice.kernels(length).iter().map(of).collect();
    // Side by side: most of the time goes with waiting.
    let outcomes = thread::scope(|scope| {
        let start = |(version, plans): (&'static str, Vec<(Result<Kernel>, Plan)>)| {
            let image = &image;
            let run = move || {
                let run =
                    |(kernel, plan): (Result<Kernel>, Plan)| machine::run(version, &kernel?, image, &plan);
                plans.into_iter().map(run).collect()
            };
            (version, scope.spawn(run))
        };
        let running: Vec<_> = versions.into_iter().map(start).collect();
        let wait = |(version, thread): (_, ScopedJoinHandle<'_, Result<Vec<Outcome>>>)| {
            (version, thread.join().unwrap_or_else(|_| Err(anyhow!("the thread that watched it panicked"))))
        };
        running.into_iter().map(wait).collect::<Vec<_>>()
    });
    for (version, outcome) in outcomes {
        match outcome {
            Ok(outcomes) => {
                let passed: usize = outcomes.iter().map(|outcome| outcome.passed).sum();
                let failed: Vec<_> = outcomes.into_iter().flat_map(|outcome| outcome.failed).collect();
                println!("Linux {version}: {passed} passed, {} failed", failed.len());
                bad.extend(failed.into_iter().map(|name| format!("Linux {version}: {name} failed")));
            }
            Err(why) => bad.push(format!("Linux {version}: NOT RUN: {why:#}")),
        }
    }
    if bad.is_empty() { Ok(()) } else { bail!("{}", bad.join("\n")) }
}

/// Installs the programs of the lane that are missing, and says so.
fn set_up() -> Result<()> {
    lab::install("The lane of other kernels", &PROGRAMS)
}

/// Where the lane keeps kernels, images and logs.
fn directory() -> Result<PathBuf> {
    let directory = workspace().join("target/lane");
    fs::create_dir_all(&directory)?;
    Ok(directory)
}
