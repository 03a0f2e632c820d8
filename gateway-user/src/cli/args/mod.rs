//! Verbs and their arguments.

mod audit;
mod events;
mod live;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use audit::{About, AuditVerb, ExportFormat, Rows};
pub use events::EventsArgs;
pub use live::{AllowVerb, BlockVerb, LimitVerb, ModeArgs, Span, Which};

use crate::{
    config::{self, Driver, OnExit},
    model::{Mode, Order, Prefix},
    replay::{AllPorts, PolicyChoice},
};
use gateway_common::tables::TableSizes;

/// Where the control socket is unless said otherwise.
pub const SOCKET: &str = "/run/gateway/control.sock";

const EXIT: &str = "Exit status:
  0  done
  1  it failed
  2  bad usage or configuration
  3  no running gateway
  4  refused: it would have locked you out";

/// A TLS-only flood shield at the network card.
#[derive(Clone, Debug, Parser)]
#[command(name = "gateway", version, after_help = EXIT, arg_required_else_help = true, max_term_width = 100)]
pub struct Cli {
    /// Options of every verb.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Options of every verb.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// Configuration file
    #[arg(long, global = true, help_heading = "Global options", value_name = "FILE", default_value = config::DEFAULT_PATH)]
    pub config: PathBuf,
    /// Control socket [default: control.socket of the configuration, else /run/gateway/control.sock]
    #[arg(long, global = true, help_heading = "Global options", value_name = "FILE")]
    pub socket: Option<PathBuf>,
}

/// How output is printed.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct Output {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// How a change is made that could lock somebody out.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct ChangeArgs {
    /// Even if it locks out you, or somebody else who is logged in
    #[arg(long)]
    pub force: bool,
    /// Output.
    #[command(flatten)]
    pub output: Output,
}

impl From<Output> for ChangeArgs {
    fn from(output: Output) -> Self {
        Self { force: false, output }
    }
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Verb {
    /// Load, attach and serve in the foreground; SIGHUP reloads, SIGTERM ends it
    #[command(after_help = "Example:\n  gateway run --interface eth0 --service tls:443")]
    Run(RunArgs),
    /// Validate a configuration and print the policy that it means
    #[command(after_help = "Example:\n  gateway check /etc/gateway/gateway.toml")]
    Check(CheckArgs),
    /// Show interfaces, mode, traffic by verdict and reason, and how full tables are
    #[command(after_help = "Example:\n  gateway status\n  gateway status --json | jq .mode")]
    Status(Output),
    /// Apply the configuration file again, as one change, without a gap
    #[command(after_help = "Example:\n  gateway check && gateway reload")]
    Reload(ChangeArgs),
    /// Show and change limits live
    #[command(subcommand, after_help = "Example:\n  gateway limit set default syn 100/s --for 10m")]
    Limit(LimitVerb),
    /// Switch the mode live, of the gateway or of one service or class
    #[command(after_help = "Example:\n  gateway mode monitor --for 10m\n  gateway mode enforce service/api")]
    Mode(ModeArgs),
    /// Block sources by hand
    #[command(subcommand, after_help = "Example:\n  gateway block add 198.51.100.7 --for 1h --reason scan")]
    Block(BlockVerb),
    /// Trust sources by hand
    #[command(subcommand, after_help = "Example:\n  gateway allow add 192.0.2.0/24 --for 2h")]
    Allow(AllowVerb),
    /// List the sources seen, busiest first, with what is left of their budgets
    #[command(after_help = "Example:\n  gateway sources --top 10 --by drops")]
    Sources(SourcesArgs),
    /// Show what happens: floods, bans, changes, faults, and some of the packets that are dropped
    #[command(
        after_help = "Example:\n  gateway events --follow\n  gateway events --since 1h --kind flood\n  \
                            gateway events --follow --reason not_tls --pcap drops.pcapng"
    )]
    Events(EventsArgs),
    /// Ask, verify and export the record of what has happened
    #[command(subcommand, after_help = "Example:\n  gateway audit query --since 1d")]
    Audit(AuditVerb),
    /// Show what the gateway would do with the packets of a capture; needs no privilege and no interface
    #[command(after_help = "Example:\n  gateway replay --service tls:443,8443 capture.pcap\n  \
                      gateway replay --all-ports tls --json capture.pcapng | tail -1")]
    Replay(ReplayArgs),
    /// End the running gateway
    #[command(after_help = "Example:\n  gateway stop --keep")]
    Stop(StopArgs),
    /// Tell what on this host helps or hinders, each with its fix
    #[command(after_help = "Example:\n  gateway doctor eth0")]
    Doctor(DoctorArgs),
    /// Take blocks away; the same as `block del`
    #[command(hide = true, after_help = "Example:\n  gateway unblock 198.51.100.7")]
    Unblock {
        /// Address or prefix as it is listed; - reads many from standard input, one a line
        #[arg(value_parser = live::which)]
        prefix: Which,
        /// Output.
        #[command(flatten)]
        output: Output,
    },
    /// A word that others use for one of these
    #[command(
        name = "ban",
        aliases = ["unban", "banned", "logs", "log", "history", "stats", "list", "top", "why"],
        hide = true,
        after_help = "Example:\n  gateway ban 198.51.100.7"
    )]
    Elsewhere {
        /// Whatever follows
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<String>,
    },
    /// Print shell completions
    #[command(after_help = "Example:\n  gateway completions bash > /etc/bash_completion.d/gateway\n  \
                      gateway completions zsh > /usr/share/zsh/site-functions/_gateway")]
    Completions {
        /// Shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one for each verb
    #[command(
        after_help = "Example:\n  gateway man | man -l -\n  gateway man --directory /usr/share/man/man1"
    )]
    Man {
        /// Write all pages here
        #[arg(long, value_name = "DIR")]
        directory: Option<PathBuf>,
    },
}

/// Arguments of `run`. What is given here goes before the configuration file.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// Interface to protect, instead of attach.interfaces; may be repeated
    #[arg(long = "interface", short = 'i', value_name = "IF")]
    pub interfaces: Vec<String>,
    /// A service, instead of those of the configuration file: tls:443,8443 or quic:443; may be repeated
    #[arg(long = "service", value_name = "SERVICE")]
    pub services: Vec<PolicyChoice>,
    /// Mode
    #[arg(long)]
    pub mode: Option<Mode>,
    /// How to attach
    #[arg(long)]
    pub driver: Option<Driver>,
    /// Take the place of another XDP program that is attached already
    #[arg(long)]
    pub replace: bool,
    /// Log what the program itself cannot do, as where it finds a ring buffer full; for its developers
    #[arg(long)]
    pub debug_log: bool,
    /// What SIGINT and SIGTERM leave behind
    #[arg(long, value_name = "WHAT")]
    pub on_exit: Option<OnExit>,
    /// Sources tracked at once, 64 bytes each, rounded up to a power of two; with another number than the last run's, tables
    /// begin empty
    #[arg(long, value_name = "N", default_value_t = TableSizes::default().sources,
        value_parser = clap::value_parser!(u32).range(1_024..=16_777_216))]
    pub sources: u32,
    /// Description of this very kernel's types (BTF), where /sys/kernel/btf/vmlinux is not to be had
    #[arg(long, value_name = "FILE")]
    pub btf: Option<PathBuf>,
    /// Where maps and attachments are pinned; for tests, which need a place of their own
    #[arg(long, value_name = "DIR", hide = true, default_value = crate::kernel::pins::ROOT)]
    pub pins: PathBuf,
}

/// Arguments of `check`.
#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    /// Configuration file, instead of --config; also a pipe, and - for standard input
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Output.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `sources`.
#[derive(Clone, Debug, Args)]
pub struct SourcesArgs {
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub top: u32,
    /// Busiest by what
    #[arg(long, default_value = "packets")]
    pub by: Order,
    /// Output.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `replay`.
#[derive(Clone, Debug, Args)]
pub struct ReplayArgs {
    /// Capture: pcap or pcapng, also compressed by gzip
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// A service, instead of a configuration file: tls:443,8443 or quic:443; may be repeated
    #[arg(long = "service", value_name = "SERVICE")]
    pub services: Vec<PolicyChoice>,
    /// The same for every port: tls for TCP, quic for UDP
    #[arg(long, value_name = "WHAT")]
    pub all_ports: Option<AllPorts>,
    /// The protected side, where the first packets of connections do not show it
    #[arg(long, value_name = "PREFIX")]
    pub server: Option<Prefix>,
    /// Output.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `stop`.
#[derive(Clone, Copy, Debug, Args)]
pub struct StopArgs {
    /// The attached program goes on protecting
    #[arg(long, conflicts_with = "detach")]
    pub keep: bool,
    /// The attached program goes too
    #[arg(long)]
    pub detach: bool,
    /// Output.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `doctor`.
#[derive(Clone, Debug, Args)]
pub struct DoctorArgs {
    /// Interface; none: those of the configuration
    #[arg(value_name = "IF")]
    pub interface: Option<String>,
    /// Description of this very kernel's types (BTF), where /sys/kernel/btf/vmlinux is not to be had
    #[arg(long, value_name = "FILE")]
    pub btf: Option<PathBuf>,
    /// Output.
    #[command(flatten)]
    pub output: Output,
}
