//! The parser against good and bad files.

mod bad;
mod cases;
mod good;
mod laws;
mod values;

use super::{Config, Report};

/// The problems of a text that must not be accepted.
fn refused(text: &str) -> Report {
    match Config::parse("gateway.toml", text) {
        Ok(config) => panic!("accepted:\n{text}\nas {config:?}"),
        Err(report) => report,
    }
}

/// The configuration of a text that must be accepted.
fn accepted(text: &str) -> Config {
    Config::parse("gateway.toml", text).unwrap_or_else(|report| panic!("refused:\n{report}"))
}
