//! What has happened: the same in `gateway events`, the log and the record.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Actor, Dropped, EventKind, Fact, Flood, Prefix};

/// Something that has happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When: Unix milliseconds.
    pub at: u64,
    /// What.
    #[serde(flatten)]
    pub what: Happened,
    /// Of a drop: the frame's first bytes, in hexadecimal digits, if they are asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame: Option<String>,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Happened {
    /// A packet was dropped, or would have been: one of some.
    Drop(Dropped),
    /// Many packets are dropped for one reason.
    Flood(Flood),
    /// Something was changed.
    Change {
        /// What is other than before.
        change: Fact,
        /// Its cause.
        actor: Actor,
    },
    /// The daemon has started.
    Start {
        /// Its version.
        version: String,
        /// The mode.
        mode: String,
        /// What it protects.
        interfaces: Vec<String>,
        /// Whether it took over the tables of an earlier one.
        resumed: bool,
    },
    /// The daemon ends.
    Stop {
        /// The cause.
        actor: Actor,
        /// Whether the program stays.
        keeps: bool,
    },
    /// An interface has lost the program, or has it again.
    Interface {
        /// Its name.
        interface: String,
        /// Whether it has the program.
        protected: bool,
        /// Why not; of one that has it again: why it had not.
        why: String,
    },
    /// Something does not work, or works again.
    Alarm {
        /// What the warning is about.
        about: String,
        /// The warning; nothing: it works again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        warning: Option<String>,
    },
    /// Drops that should have been shown found no room.
    Lost {
        /// How many.
        samples: u64,
    },
}

impl Event {
    /// An event without bytes.
    pub const fn new(at: u64, what: Happened) -> Self {
        Self { at, what, frame: None }
    }
}

impl Happened {
    /// The word for what it is: a ban is one of a kind of its own.
    pub fn kind(&self) -> EventKind {
        match self {
            Self::Drop(_) => EventKind::Drop,
            Self::Flood(_) => EventKind::Flood,
            Self::Change { change, .. } => EventKind::of(change),
            Self::Start { .. } => EventKind::Start,
            Self::Stop { .. } => EventKind::Stop,
            Self::Interface { .. } | Self::Alarm { .. } => EventKind::Fault,
            Self::Lost { .. } => EventKind::Gap,
        }
    }

    /// The reason, of what has one.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Drop(dropped) => Some(&dropped.reason),
            Self::Flood(flood) => Some(&flood.reason),
            Self::Change { change, .. } => change.reason.as_deref(),
            _ => None,
        }
    }

    /// The service, of what is about one.
    pub fn service(&self) -> Option<&str> {
        match self {
            Self::Drop(dropped) => dropped.service.as_deref(),
            Self::Flood(flood) => flood.service.as_deref(),
            Self::Change { change, .. } => change.service(),
            _ => None,
        }
    }

    /// Whether it is about a source in a prefix, or about a prefix around it.
    pub fn is_about(&self, prefix: Prefix) -> bool {
        let network = prefix.network();
        match self {
            Self::Drop(dropped) => dropped.source.is_some_and(|source| network.contains(&source)),
            Self::Flood(flood) => flood.sources.iter().any(|share| network.contains(&share.source)),
            Self::Change { change, .. } => {
                let target: Option<Prefix> = change.target.parse().ok();
                target.is_some_and(|target| {
                    network.contains(&target.network()) || target.network().contains(&network)
                })
            }
            _ => false,
        }
    }
}

impl fmt::Display for Happened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drop(dropped) => dropped.fmt(f),
            Self::Flood(flood) => flood.fmt(f),
            Self::Change { change, actor } => write!(f, "{change}, by {actor}"),
            Self::Start { version, mode, interfaces, resumed } => {
                let resumed = if *resumed { ", with the tables of the last run" } else { "" };
                write!(f, "gateway {version} started: {} in {mode} mode{resumed}", interfaces.join(", "))
            }
            Self::Stop { actor, keeps } => {
                let what = if *keeps { "goes on protecting" } else { "is taken off" };
                write!(f, "gateway ends, by {actor}; the program {what}")
            }
            Self::Interface { interface, protected: true, .. } => write!(f, "{interface} is protected again"),
            Self::Interface { interface, why, .. } => write!(f, "{interface} is not protected: {why}"),
            Self::Alarm { warning: Some(warning), .. } => f.write_str(warning),
            Self::Alarm { about, .. } => write!(f, "{about}: well again"),
            Self::Lost { samples } => write!(f, "{samples} drops more were not shown: there was no room"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::flood::example;

    #[test]
    fn an_event_is_one_flat_document() {
        let event = Event::new(7, Happened::Flood(example()));
        let text = serde_json::to_string(&event).unwrap();
        assert!(text.starts_with(r#"{"at":7,"event":"flood","phase":"over","verdict":"drop","#), "{text}");
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
    }
}
