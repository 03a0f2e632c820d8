//! Which events are asked for.

use serde::{Deserialize, Serialize};

use super::{Event, Fact, Prefix, What, keyword::keywords};

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

impl EventKind {
    /// That of a change: a ban is one of a kind of its own.
    pub fn of(change: &Fact) -> Self {
        if change.what == What::Block { Self::Ban } else { Self::Change }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Happened, flood::example};

    #[test]
    fn a_filter_takes_what_all_of_it_applies_to() {
        let event = Event::new(7, Happened::Flood(example()));
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
