//! Arguments of `audit`: the year's record.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::{Args, Subcommand, ValueEnum};

use super::Output;
use crate::{
    model::{Prefix, parse_duration},
    record::Kind,
};

/// Verbs of `audit`.
#[derive(Clone, Debug, Subcommand)]
pub enum AuditVerb {
    /// Show rows of the record, the newest last
    #[command(after_help = "Example:\n  gateway audit query --since 1d --kind change\n  \
                            gateway audit query --source 192.0.2.0/24 --json")]
    Query {
        /// Which rows.
        #[command(flatten)]
        rows: Rows,
        /// At most so many, the newest ones
        #[arg(long, value_name = "N", default_value_t = 200)]
        limit: usize,
        /// Output.
        #[command(flatten)]
        output: Output,
    },
    /// Look whether the record is as it was written
    #[command(after_help = "Example:\n  gateway audit verify\n  \
                            gateway audit verify --checkpoint kept-elsewhere.txt --key kept-elsewhere.vkey")]
    Verify {
        /// A checkpoint that was kept elsewhere; may be repeated
        #[arg(long = "checkpoint", value_name = "FILE")]
        checkpoints: Vec<PathBuf>,
        /// The key that was kept elsewhere [default: record.vkey beside the record]
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
        /// Output.
        #[command(flatten)]
        output: Output,
    },
    /// Write rows out for other programs
    #[command(after_help = "Example:\n  gateway audit export --format csv --since 30d > rows.csv")]
    Export {
        /// Which rows.
        #[command(flatten)]
        rows: Rows,
        /// How
        #[arg(long, value_name = "FORMAT", default_value = "json")]
        format: ExportFormat,
    },
    /// Tell how large the record is, how old, and when it was signed
    #[command(after_help = "Example:\n  gateway audit status")]
    Status(Output),
}

/// Formats of `audit export`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// JSON, one object a line
    Json,
    /// CSV
    Csv,
    /// Common Event Format
    Cef,
}

/// Which rows of the record.
#[derive(Clone, Debug, Default, Args)]
pub struct Rows {
    /// What they are about.
    #[command(flatten)]
    pub about: About,
    /// Before then
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub until: Option<u64>,
    /// By this actor, as it is shown
    #[arg(long, value_name = "NAME")]
    pub actor: Option<String>,
    /// Of this kind
    #[arg(long, value_name = "KIND", value_parser = kind)]
    pub kind: Option<Kind>,
}

/// What rows, or events, are about.
#[derive(Clone, Debug, Default, Args)]
pub struct About {
    /// From then on: a time ago (90s, 10m, 36h, 400d), or a time such as 2026-11-30T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub since: Option<u64>,
    /// About this address, or in this prefix or around it
    #[arg(long, value_name = "PREFIX")]
    pub source: Option<Prefix>,
    /// With this reason
    #[arg(long, value_name = "REASON")]
    pub reason: Option<String>,
    /// About this service
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
}

fn kind(name: &str) -> Result<Kind, String> {
    Kind::from_name(name).ok_or_else(|| {
        let names: Vec<_> = Kind::ALL.map(Kind::name).into();
        format!("there is {}", names.join(", "))
    })
}

/// A time in Unix milliseconds.
fn moment(text: &str) -> Result<u64, String> {
    let now = SystemTime::now();
    let at = match parse_duration(text) {
        Ok(ago) => now.checked_sub(ago).unwrap_or(UNIX_EPOCH),
        Err(_) => humantime::parse_rfc3339_weak(text)
            .map_err(|_| "write a time ago as 90s, 10m, 36h or 400d, or a time as 2026-11-30T08:00:00Z")?,
    };
    let since = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Ok(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
