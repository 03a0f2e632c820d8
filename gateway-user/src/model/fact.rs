//! What a change did to one thing: the same in the answer, the log, events and the record.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::keyword::keywords;

keywords! {
    /// The kind of thing that was changed.
    What {
        /// The gateway's mode, live.
        Mode = "mode",
        /// A limit, live.
        Limit = "limit",
        /// A claim on a banned prefix.
        Block = "block",
        /// A trusted prefix.
        Allow = "allow",
        /// A part of the configuration.
        Configuration = "configuration",
        /// A network whose sources share a budget, or no longer.
        Neighbourhood = "neighbourhood",
        /// A setting of this host.
        Host = "host",
    }
}

/// What a change did to one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// The kind of thing.
    pub what: What,
    /// The thing: `default syn`, `192.0.2.9`, `service/api`; of a mode nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// What was in force before; nothing: it was not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What is in force now; nothing: it is not there any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Unix seconds at which it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_at: Option<u64>,
    /// Of a claim: its origin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Why, in the words of its author.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Fact {
    /// Something that was one thing before and is another now.
    pub fn new(what: What, target: impl Into<String>, from: Option<String>, to: Option<String>) -> Self {
        Self { what, target: target.into(), from, to, until_at: None, origin: None, reason: None }
    }

    /// The service that it is about, if it is about one.
    pub fn service(&self) -> Option<&str> {
        let rest = ["service/", "total/"].iter().find_map(|start| self.target.strip_prefix(start));
        rest.and_then(|rest| rest.split_whitespace().next())
    }
}

/// `mode: monitor → enforce`, `block 192.0.2.9: not banned → banned (strikes: 100 strikes within 10s)`.
impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |value: &Option<String>| value.as_deref().unwrap_or("nothing").to_owned();
        f.write_str(self.what.name())?;
        if !self.target.is_empty() {
            write!(f, " {}", self.target)?;
        }
        write!(f, ": {} → {}", name(&self.from), name(&self.to))?;
        match (&self.origin, &self.reason) {
            (Some(origin), Some(reason)) => write!(f, " ({origin}: {reason})"),
            (Some(one), None) | (None, Some(one)) => write!(f, " ({one})"),
            (None, None) => Ok(()),
        }
    }
}
