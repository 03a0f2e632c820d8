//! Arguments of the verbs that change a running gateway: `limit`, `mode`, `block`, `allow`.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::{ChangeArgs, Output};
use crate::control::protocol::SECONDS_MAX;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::model::{Dimension, LimitScope, Mode, OriginName, Prefix, PrefixError, Remark, parse_duration};

/// Verbs of `limit`.
#[derive(Clone, Debug, Subcommand)]
pub enum LimitVerb {
    /// List the limits in force
    #[command(after_help = "Example:\n  gateway limit list")]
    List(Output),
    /// Set a limit until the next reload or restart, or for a time
    #[command(after_help = "Example:\n  gateway limit set class/partners packets 500k/s --burst 1M --for 2h")]
    Set {
        /// default, neighbours, class/NAME, service/NAME, or all sources together: total/NAME at a service, rest at none
        #[arg(value_name = "WHERE")]
        place: LimitScope,
        /// What it counts
        #[arg(value_name = "DIM")]
        #[arg(value_parser = dimension())]
        dimension: Dimension,
        /// Such as 200/s, 20k/s, 30/min; for bytes 100MiB/s, 1Gbit/s; none for no limit
        rate: String,
        /// Such as 400, 40k; for bytes 64MiB
        #[arg(long, value_name = "N")]
        burst: Option<String>,
        /// Revert after this time: 90s, 10m, 36h
        #[arg(long = "for", value_name = "TIME", value_parser = span, allow_negative_numbers = true)]
        for_seconds: Option<Span>,
        /// How it is made.
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Have a limit as configured again; `limit set WHERE DIM none` takes it away
    #[command(after_help = "Example:\n  gateway limit unset default icmp")]
    Unset {
        /// default, neighbours, rest, class/NAME, service/NAME or total/NAME
        #[arg(value_name = "WHERE")]
        place: LimitScope,
        /// What it counts
        #[arg(value_name = "DIM")]
        #[arg(value_parser = dimension())]
        dimension: Dimension,
        /// How it is made.
        #[command(flatten)]
        change: ChangeArgs,
    },
}

/// Arguments of `mode`.
#[derive(Clone, Debug, Args)]
pub struct ModeArgs {
    /// The mode
    pub mode: Mode,
    /// Of this service or class alone: service/NAME, class/NAME
    #[arg(value_name = "WHERE")]
    pub scope: Option<LimitScope>,
    /// Revert after this time: 90s, 10m, 36h
    #[arg(long = "for", value_name = "TIME", value_parser = span, allow_negative_numbers = true)]
    pub for_seconds: Option<Span>,
    /// How it is made.
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// Verbs of `block`.
#[derive(Clone, Debug, Subcommand)]
pub enum BlockVerb {
    /// Block a prefix
    #[command(
        after_help = "Example:\n  gateway block add 2001:db8:7::/48 --for 36h --reason 'login flood'\n  \
                            gateway block add - --for 1d < addresses.txt"
    )]
    Add {
        /// Address or prefix; - reads many from standard input, one a line
        #[arg(value_parser = which)]
        prefix: Which,
        /// Only for this time: 90s, 10m, 400d; a number alone: seconds; -1: no end
        #[arg(long = "for", value_name = "TIME", value_parser = span, allow_negative_numbers = true)]
        for_seconds: Option<Span>,
        /// Why, for the record
        #[arg(long, value_name = "TEXT")]
        reason: Option<Remark>,
        /// For a feed of this name, within its guard, instead of by hand
        #[arg(long, value_name = "NAME")]
        origin: Option<OriginName>,
        /// How it is made.
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Take a block away
    #[command(after_help = "Example:\n  gateway block del 198.51.100.7")]
    Del {
        /// Address or prefix as it is listed; - reads many from standard input, one a line
        #[arg(value_parser = which)]
        prefix: Which,
        /// The claim of the feed of this name, instead of yours and that of strikes
        #[arg(long, value_name = "NAME")]
        origin: Option<OriginName>,
        /// Output.
        #[command(flatten)]
        output: Output,
    },
    /// List what is blocked
    #[command(
        after_help = "Example:\n  gateway block list --json | jq -r 'select(.origin == \"strikes\").prefix'"
    )]
    List(Output),
}

/// One prefix, or those of standard input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// This one.
    One(Prefix),
    /// Those of standard input.
    Input,
}

pub(super) fn which(text: &str) -> Result<Which, PrefixError> {
    if text == "-" { Ok(Which::Input) } else { text.parse().map(Which::One) }
}

/// Verbs of `allow`.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum AllowVerb {
    /// Trust a prefix
    #[command(after_help = "Example:\n  gateway allow add 192.0.2.10 --for 2h")]
    Add {
        /// Address or prefix; - reads many from standard input, one a line
        #[arg(value_parser = which)]
        prefix: Which,
        /// Only for this time: 90s, 10m, 400d; a number alone: seconds; -1: no end
        #[arg(long = "for", value_name = "TIME", value_parser = span, allow_negative_numbers = true)]
        for_seconds: Option<Span>,
        /// Output.
        #[command(flatten)]
        output: Output,
    },
    /// Trust it no longer
    #[command(after_help = "Example:\n  gateway allow del 192.0.2.10")]
    Del {
        /// Address or prefix as it is listed; - reads many from standard input, one a line
        #[arg(value_parser = which)]
        prefix: Which,
        /// How it is made.
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// List what is trusted
    #[command(after_help = "Example:\n  gateway allow list")]
    List(Output),
}

/// How long a change lasts, in seconds; nothing: without an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Option<u64>);

/// A duration in whole seconds. A number alone is one of seconds, and -1 no end, as fail2ban has them.
fn span(text: &str) -> Result<Span, String> {
    let example = "write for example 90s, 10m, 36h or 400d";
    let time = match text.parse::<i64>() {
        Ok(-1) => return Ok(Span(None)),
        Ok(seconds) if seconds >= 0 => Duration::from_secs(seconds.unsigned_abs()),
        Ok(_) => return Err(format!("below 0; {example}, or -1 for no end")),
        Err(_) => parse_duration(text)?,
    };
    match time.as_secs() {
        seconds @ 1..=SECONDS_MAX => Ok(Span(Some(seconds))),
        0 => Err(format!("less than a second; {example}")),
        _ => Err("longer than a century; leave --for out to set no end".into()),
    }
}

/// The dimensions by their words.
fn dimension() -> impl TypedValueParser<Value = Dimension> {
    PossibleValuesParser::new(Dimension::ALL.map(Dimension::name)).try_map(|word| word.parse::<Dimension>())
}
