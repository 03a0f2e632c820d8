//! What has happened: the same in `gateway events`, the log and the record.

use std::{fmt, net::IpAddr, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Actor, Fact, Outcome, Prefix, What, keyword::keywords};

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

/// A packet that was dropped, or in monitor mode would have been.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// What happened to it.
    pub verdict: Outcome,
    /// Why: the reason's word.
    pub reason: String,
    /// The interface that it came in by.
    pub interface: String,
    /// Its service, as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Its source, unless its header makes no sense.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// Its source port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_port: Option<u16>,
    /// Its destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<IpAddr>,
    /// Its destination port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination_port: Option<u16>,
    /// `tcp`, `udp`, `icmp`, `icmpv6`, or the protocol's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// Bytes of the whole frame.
    pub length: u32,
    /// Whether it begins with an Ethernet header; else with that of IP.
    pub ethernet: bool,
}

keywords! {
    /// How far a flood is.
    Phase {
        /// It has begun.
        Begun = "begun",
        /// It goes on.
        GoesOn = "goes_on",
        /// It is over.
        Over = "over",
    }
}

/// Many packets that are dropped for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flood {
    /// How far it is.
    pub phase: Phase,
    /// What happens to its packets.
    pub verdict: Outcome,
    /// Why: the reason's word.
    pub reason: String,
    /// The service; nothing: none, or the reason is one of before services are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Since when: Unix milliseconds.
    pub since: u64,
    /// For how long, in seconds.
    pub seconds: u64,
    /// Packets so far.
    pub packets: u64,
    /// Bytes so far: of all packets with this reason, shared out by packets.
    pub bytes: u64,
    /// The most packets in a second.
    pub peak: u64,
    /// Where most of the sampled packets are from: an estimate.
    pub sources: Vec<Share>,
}

/// A source's share of a flood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// The source.
    pub source: IpAddr,
    /// Its part of the samples, in percent.
    pub percent: u8,
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
            Self::Change { change: Fact { what: What::Block, .. }, .. } => EventKind::Ban,
            Self::Change { .. } => EventKind::Change,
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

keywords! {
    /// What an event is.
    EventKind {
        /// A drop.
        Drop = "drop",
        /// A flood.
        Flood = "flood",
        /// A ban, or its end.
        Ban = "ban",
        /// Another change.
        Change = "change",
        /// A start.
        Start = "start",
        /// A stop.
        Stop = "stop",
        /// A fault, or its end.
        Fault = "fault",
        /// Missing events.
        Gap = "gap",
    }
}

/// Which events are asked for: those to which all that is set applies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventFilter {
    /// At this time or after it: Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// Of this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<EventKind>,
    /// With this reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// About this service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// About a source in this prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Prefix>,
}

impl EventFilter {
    /// Whether an event is asked for.
    pub fn takes(&self, event: &Event) -> bool {
        let Self { since, kind, reason, service, source } = self;
        let what = &event.what;
        since.is_none_or(|since| event.at >= since)
            && kind.is_none_or(|kind| what.kind() == kind)
            && reason.as_deref().is_none_or(|reason| what.reason() == Some(reason))
            && service.as_deref().is_none_or(|service| what.service() == Some(service))
            && source.is_none_or(|source| what.is_about(source))
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

/// `limit_syn: 192.0.2.9:4711 → 203.0.113.1:443 tcp, 74 bytes, api, eth0`.
impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let passed = if self.verdict == Outcome::WouldDrop { " (monitored, and passed)" } else { "" };
        write!(f, "{}{passed}: ", self.reason)?;
        let end = |address: Option<IpAddr>, port: Option<u16>| match (address, port) {
            (Some(IpAddr::V6(address)), Some(port)) => format!("[{address}]:{port}"),
            (Some(address), Some(port)) => format!("{address}:{port}"),
            (Some(address), None) => address.to_string(),
            (None, _) => "?".to_owned(),
        };
        match self.source {
            Some(_) => write!(
                f,
                "{} → {}",
                end(self.source, self.source_port),
                end(self.destination, self.destination_port)
            )?,
            None => f.write_str("a frame that is not understood")?,
        }
        if let Some(protocol) = &self.protocol {
            write!(f, " {protocol}")?;
        }
        write!(f, ", {} bytes", self.length)?;
        if let Some(service) = &self.service {
            write!(f, ", {service}")?;
        }
        write!(f, ", {}", self.interface)
    }
}

/// `flood of limit_syn at api: over after 2m 5s, 44250 packets, 3 MB, at most 9800/s, from 192.0.2.9 (97 %)`.
impl fmt::Display for Flood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "flood of {}", self.reason)?;
        if let Some(service) = &self.service {
            write!(f, " at {service}")?;
        }
        if self.verdict == Outcome::WouldDrop {
            f.write_str(" (monitored, and passed)")?;
        }
        let lasted = humantime::format_duration(Duration::from_secs(self.seconds.max(1)));
        match self.phase {
            Phase::Begun => f.write_str(": begun")?,
            Phase::GoesOn => write!(f, ": goes on for {lasted}")?,
            Phase::Over => write!(f, ": over after {lasted}")?,
        }
        write!(f, ", {} packets, {} kB, at most {}/s", self.packets, self.bytes / 1_000, self.peak)?;
        for (place, share) in self.sources.iter().enumerate() {
            let before = if place == 0 { ", from about" } else { "," };
            write!(f, "{before} {} ({} %)", share.source, share.percent)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flood() -> Flood {
        Flood {
            phase: Phase::Over,
            verdict: Outcome::Drop,
            reason: "limit_syn".to_owned(),
            service: Some("api".to_owned()),
            since: 1,
            seconds: 125,
            packets: 44_250,
            bytes: 2_655_000,
            peak: 9_800,
            sources: vec![Share { source: "192.0.2.9".parse().unwrap(), percent: 97 }],
        }
    }

    #[test]
    fn an_event_is_one_flat_document() {
        let event = Event::new(7, Happened::Flood(flood()));
        let text = serde_json::to_string(&event).unwrap();
        assert!(text.starts_with(r#"{"at":7,"event":"flood","phase":"over","verdict":"drop","#), "{text}");
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
    }

    #[test]
    fn events_are_sentences() {
        let text = Happened::Flood(flood()).to_string();
        assert_eq!(
            text,
            "flood of limit_syn at api: over after 2m 5s, 44250 packets, 2655 kB, at most 9800/s, from about 192.0.2.9 (97 %)"
        );
    }

    #[test]
    fn a_filter_takes_what_all_of_it_applies_to() {
        let event = Event::new(7, Happened::Flood(flood()));
        let takes = |filter: EventFilter| filter.takes(&event);
        assert!(takes(EventFilter::default()));
        let prefix = |text: &str| Some(text.parse().unwrap());
        assert!(takes(EventFilter {
            source: prefix("192.0.2.0/24"),
            since: Some(7),
            ..EventFilter::default()
        }));
        assert!(!takes(EventFilter { source: prefix("198.51.100.0/24"), ..EventFilter::default() }));
        assert!(!takes(EventFilter { since: Some(8), ..EventFilter::default() }));
        assert!(!takes(EventFilter { kind: Some(EventKind::Ban), ..EventFilter::default() }));
        assert!(!takes(EventFilter { service: Some("web".to_owned()), ..EventFilter::default() }));
    }
}
