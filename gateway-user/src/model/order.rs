//! The order of a list of sources.

use serde::{Deserialize, Serialize};

/// What `sources` are ordered by, highest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Packets seen.
    #[default]
    Packets,
    /// Bytes seen.
    Bytes,
    /// Packets dropped, or in monitor mode that would have been.
    Drops,
}
