//! The project's commands. `cargo xtask help` lists them; each verb is a file of this crate.

mod aarch64;
mod command;
mod debian;
mod dist;
mod ebpf;
mod lab;
mod lane;
mod lint;
mod program;
mod run;
mod setup;
mod test;
mod toolchain;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

/// Set up, build, run, test and measure the gateway.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Install what building the XDP program needs; says what before it does it
    Setup {
        /// Also what tests, demo and benchmarks need: nginx, curl, openssl, nftables and others
        #[arg(long)]
        lab: bool,
        /// Also what the long runs need: browsers, runtimes, and programs of a later Debian
        #[arg(long)]
        soak: bool,
    },
    /// Build the XDP objects into target/bpf
    Ebpf,
    /// Set up, build, and run the gateway: `cargo xtask run -- --interface eth0`
    Run(Rest),
    /// Show the gateway at work in a network of namespaces
    Demo(Rest),
    /// Measure the gateway beside a bare drop and other filters
    Bench(Rest),
    /// All long runs; with arguments those of the lab that they name
    Soak(Rest),
    /// Run all tests, those that need root too
    Test {
        /// Run them under another kernel instead, in an emulated machine
        #[arg(long, value_name = "VERSION")]
        kernel: Option<lane::Choice>,
        /// Build the host's tests for another architecture instead, and run them with its CPU emulated
        #[arg(long, value_name = "ARCH", value_parser = ["aarch64"], conflicts_with = "kernel")]
        arch: Option<String>,
        /// With --kernel: all that a long run has time for
        #[arg(long, requires = "kernel")]
        full: bool,
        /// Handed on to `cargo test` as they are; with --kernel: which steps, by parts of their names
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Make what is given to others: a static binary, a Debian package, checksums, into target/packages
    Dist,
    /// Check format and lints of all crates
    Lint,
}

/// Arguments for the program that is started.
#[derive(Args)]
struct Rest {
    /// Handed on as they are
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

fn main() -> Result<()> {
    match Cli::parse().verb {
        Verb::Setup { lab, soak } => {
            setup::toolchain()?;
            if lab || soak {
                lab::setup()?;
            }
            if soak { lab::setup_soak() } else { Ok(()) }
        }
        Verb::Ebpf => ebpf::build(&setup::toolchain()?),
        Verb::Run(rest) => run::gateway(&rest.arguments),
        Verb::Demo(rest) => program::run("demo", &rest.arguments),
        Verb::Bench(rest) => program::run("bench", &rest.arguments),
        Verb::Soak(rest) => program::soak(&rest.arguments),
        Verb::Test { arch: Some(_), arguments, .. } => aarch64::test(&arguments),
        Verb::Test { kernel: Some(kernel), full, arguments, .. } => {
            lane::run(kernel, if full { lane::Length::Full } else { lane::Length::Short }, &arguments)
        }
        Verb::Test { arguments, .. } => test::run(&arguments),
        Verb::Dist => dist::make(),
        Verb::Lint => lint::run(),
    }
}
