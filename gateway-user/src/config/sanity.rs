//! `[sanity]`: which sources are impossible.

use super::reader::{Reader, Section};
use crate::model::keyword::keywords;

keywords! {
    /// Whether sources in what IPv4 has reserved, 240.0.0.0/4 and 0.0.0.0/8, may come.
    #[derive(Default)]
    ReservedSources {
        /// If this host has such an address itself.
        #[default]
        Auto = "auto",
        /// Always.
        Pass = "pass",
        /// Never, but for trusted ones.
        Drop = "drop",
    }
}

/// Which sources are impossible.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sanity {
    /// Those in what IPv4 has reserved.
    pub reserved_sources: ReservedSources,
}

/// Reads the section.
pub(super) fn read<'t>(reader: &mut Reader<'t>, section: &mut Section<'t>) -> Sanity {
    let word = section.get("reserved_sources").and_then(|item| reader.word(&item));
    Sanity { reserved_sources: word.unwrap_or_default() }
}
