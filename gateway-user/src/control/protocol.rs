//! Requests and replies, and the lines that carry them.

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::model::document::{Changed, LimitRow, PrefixRow, SourceRow, Status};
use crate::model::{Dimension, Event, EventFilter, LimitScope, Mode, Order, OriginName, Prefix, Remark};

/// The longest time that can be asked for in seconds: a century, which overflows no arithmetic on times.
pub const SECONDS_MAX: u64 = 100 * 366 * 86_400;

/// What a client asks. Durations are whole seconds, 1 to [`SECONDS_MAX`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// How the daemon is: answered by [`Done::Status`].
    Status {},
    /// Apply the configuration file again.
    Reload {},
    /// The limits in force: rows of [`Row::Limit`].
    LimitList {},
    /// Set a limit live.
    LimitSet {
        /// Where.
        place: LimitScope,
        /// What it counts.
        dimension: Dimension,
        /// Rate as text.
        rate: String,
        /// Burst as text; none: the default of this rate.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        burst: Option<String>,
        /// Reverts after this.
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lasting")]
        for_seconds: Option<u64>,
    },
    /// Take a live limit back, or suspend one of the file.
    LimitUnset {
        /// Where.
        place: LimitScope,
        /// What it counts.
        dimension: Dimension,
    },
    /// Switch the mode.
    Mode {
        /// The mode.
        mode: Mode,
        /// Of which service or class; none: the gateway's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scope: Option<LimitScope>,
        /// Reverts after this.
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lasting")]
        for_seconds: Option<u64>,
    },
    /// Block a prefix.
    BlockAdd {
        /// The prefix.
        prefix: Prefix,
        /// For this long; none: until taken away.
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lasting")]
        for_seconds: Option<u64>,
        /// Why, for the record.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Remark>,
        /// For a feed, by its name; none: by hand.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        origin: Option<OriginName>,
    },
    /// Take a block away.
    BlockDel {
        /// The prefix, exactly as it was added.
        prefix: Prefix,
        /// The claim of this feed; none: that of the operator and of strikes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        origin: Option<OriginName>,
    },
    /// What is blocked: rows of [`Row::Prefix`].
    BlockList {},
    /// The rest of that: what comes behind a page of it.
    BlockMore {
        /// Bans behind this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<Prefix>,
        /// The origin of that one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        origin: Option<String>,
        /// Prefixes of the configuration that were told; 0: bans are not all told yet.
        listed: u64,
    },
    /// Trust a prefix.
    AllowAdd {
        /// The prefix.
        prefix: Prefix,
        /// For this long; none: until taken away.
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lasting")]
        for_seconds: Option<u64>,
    },
    /// Trust it no longer.
    AllowDel {
        /// The prefix, exactly as it was added.
        prefix: Prefix,
    },
    /// Block or trust many prefixes, or no longer, as one change. They follow the request, one a line, and are no part of it.
    Many {
        /// Which set.
        set: Set,
        /// They come into it; else they go.
        adds: bool,
        /// For this long; none: until taken away.
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lasting")]
        for_seconds: Option<u64>,
        /// Why, for the record.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Remark>,
        /// For a feed, of what is blocked; none: by hand.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        origin: Option<OriginName>,
        /// How many lines follow, at most [`MANY_MAX`].
        count: u32,
        /// What they say.
        #[serde(skip)]
        prefixes: Vec<Prefix>,
    },
    /// What is trusted: rows of [`Row::Prefix`].
    AllowList {},
    /// The busiest sources: rows of [`Row::Source`].
    Sources {
        /// At most so many.
        top: u32,
        /// Busiest by what.
        by: Order,
    },
    /// What has happened of late, or happens from now on: rows of [`Row::Event`].
    Events {
        /// Which events.
        #[serde(default)]
        filter: EventFilter,
        /// Those that come too, until the client goes; without a time in the filter those alone.
        #[serde(default)]
        follow: bool,
        /// With the first bytes of dropped frames.
        #[serde(default)]
        frames: bool,
    },
    /// End the daemon.
    Stop {
        /// Whether the attached program stays; none: as the configuration says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keep: Option<bool>,
    },
}

/// The most prefixes of one request.
pub const MANY_MAX: u32 = 1_000_000;

/// One of the two sets of prefixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Set {
    /// What is blocked.
    Block,
    /// What is trusted.
    Allow,
}

impl Request {
    /// Whether it changes anything; what only looks does not go on record.
    pub const fn changes(&self) -> bool {
        !matches!(
            self,
            Self::Status {}
                | Self::LimitList {}
                | Self::BlockList {}
                | Self::BlockMore { .. }
                | Self::AllowList {}
                | Self::Sources { .. }
                | Self::Events { .. }
        )
    }
}

/// A duration within its bounds.
fn lasting<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    match Option::<u64>::deserialize(deserializer)? {
        Some(seconds) if !(1..=SECONDS_MAX).contains(&seconds) => {
            Err(de::Error::custom(format_args!("for_seconds must be 1 to {SECONDS_MAX}")))
        }
        seconds => Ok(seconds),
    }
}

/// What the daemon answers with.
#[derive(Debug)]
pub enum Reply {
    /// One document.
    Done(Done),
    /// A list that is at hand.
    Rows(Vec<Row>),
    /// A part of a list, and what is to be asked for the next one.
    Page(Vec<Row>, Option<Box<Request>>),
    /// A list that follows, until the sender is dropped. Too slow a client is cut off.
    Stream(tokio::sync::mpsc::Receiver<Row>),
    /// It was not done.
    Failed(Failure),
}

impl Reply {
    /// A change was made and needs no remark.
    pub fn changed(message: impl Into<String>, generation: u64) -> Self {
        Self::Done(Done::Changed(Changed { message: message.into(), generation, ..Changed::default() }))
    }

    /// It was not done, and this is why and what to do.
    pub fn failed(kind: FailureKind, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Failed(Failure { kind, message: message.into(), help: Some(help.into()) })
    }
}

/// A reply of one document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Done {
    /// How the daemon is.
    Status(Box<Status>),
    /// A change was made.
    Changed(Changed),
}

/// An element of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Row {
    /// A limit.
    Limit(LimitRow),
    /// A blocked or trusted prefix.
    Prefix(PrefixRow),
    /// A source.
    Source(SourceRow),
    /// An event.
    Event(Box<Event>),
}

/// Why a request was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind of reason.
    pub kind: FailureKind,
    /// What is wrong.
    pub message: String,
    /// What to do next.
    pub help: Option<String>,
}

/// Kinds of failure, by what a caller can do about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The request or the configuration is wrong.
    Usage,
    /// It was right, and could not be done.
    Failed,
    /// It would have locked the caller out.
    Refused,
    /// The caller may not ask.
    Denied,
}

/// One line of a reply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// The whole reply.
    Done(Done),
    /// The whole reply: it was not done. In a list that had begun: it goes no further.
    Failed(Failure),
    /// One element of a list.
    Row(Row),
    /// The list is complete with so many rows.
    End(u64),
}
