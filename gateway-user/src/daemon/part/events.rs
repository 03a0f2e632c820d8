//! What has happened: kept for a while for who asks, told to who follows, and put down in the record.

use std::{borrow::Cow, collections::VecDeque};

use ipnet::IpNet;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use crate::{
    control::protocol::{Reply, Row},
    model::{Actor, Event, EventFilter, EventKind, Fact, Happened, Prefix, What},
    record::{Kind, Sources},
    store::Outgoing,
};

/// Drops that are kept, and events of all other kinds.
const KEPT: usize = 4_096;
/// Events that a follower may be behind; after that it is cut off.
const BEHIND: usize = 2_048;

/// An event with its frame's first bytes.
pub(in crate::daemon) struct Kept {
    pub(in crate::daemon) event: Event,
    pub(in crate::daemon) frame: Option<Box<[u8]>>,
}

impl Kept {
    fn row(&self, has_frame: bool) -> Row {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let frame = self.frame.as_deref().filter(|_| has_frame).map(hex);
        Row::Event(Box::new(Event { frame, ..self.event.clone() }))
    }
}

/// A client that follows.
struct Follower {
    filter: EventFilter,
    frames: bool,
    rows: mpsc::Sender<Row>,
}

/// The events of late, and the clients that follow.
#[derive(Default)]
pub(in crate::daemon) struct Hub {
    drops: VecDeque<Kept>,
    others: VecDeque<Kept>,
    followers: Vec<Follower>,
    /// Drops that found no room on the way here, ever.
    pub(in crate::daemon) lost: u64,
}

impl Hub {
    pub(in crate::daemon) fn push(&mut self, kept: Kept) {
        self.followers.retain(|follower| {
            let is_wanted = follower.filter.takes(&kept.event);
            // A client that is too slow hears of it by the end of its list.
            !follower.rows.is_closed()
                && (!is_wanted || follower.rows.try_send(kept.row(follower.frames)).is_ok())
        });
        let of_its_kind = match kept.event.what {
            Happened::Drop(_) => &mut self.drops,
            _ => &mut self.others,
        };
        if of_its_kind.len() == KEPT {
            of_its_kind.pop_front();
        }
        of_its_kind.push_back(kept);
    }

    /// The events that are kept and asked for, in the order of their times.
    fn past(&self, filter: &EventFilter, frames: bool) -> Vec<Row> {
        let all = self.drops.iter().chain(&self.others).filter(|kept| filter.takes(&kept.event));
        let mut past: Vec<&Kept> = all.collect();
        past.sort_by_key(|kept| kept.event.at);
        past.into_iter().map(|kept| kept.row(frames)).collect()
    }

    /// Answers a client that asks, or begins to follow: from now on, unless it asks for what was before.
    pub(in crate::daemon) fn answer(&mut self, filter: &EventFilter, follow: bool, frames: bool) -> Reply {
        if !follow {
            return Reply::Rows(self.past(filter, frames));
        }
        let past = if filter.since.is_some() { self.past(filter, frames) } else { Vec::new() };
        let (rows, follows) = mpsc::channel(past.len() + BEHIND);
        for row in past {
            // There is room.
            let _ = rows.try_send(row);
        }
        self.followers.push(Follower { filter: filter.clone(), frames, rows });
        Reply::Stream(follows)
    }
}

/// What the record has of changes, as JSON. There may be a hundred thousand, so each is written as it is, with no document in between.
pub(in crate::daemon) fn change_rows(
    facts: &[Fact],
    actor: &Actor,
    sources: Sources,
) -> impl Iterator<Item = String> {
    let name = actor.to_string();
    facts.iter().map(move |fact| {
        let fact = if sources == Sources::Full {
            Cow::Borrowed(fact)
        } else {
            Cow::Owned(less_exact_fact(fact.clone(), sources))
        };
        let kind = if fact.what == What::Block { Kind::Ban } else { Kind::Change };
        let row = ChangeRow {
            kind: kind.name(),
            source: fact.target.parse().ok(),
            reason: fact.reason.as_deref(),
            service: fact.service(),
            actor: &name,
            body: ChangeBody { actor, change: &fact },
        };
        serde_json::to_string(&row).unwrap_or_default()
    })
}

/// The same as an [`Outgoing`] of a change.
#[derive(Serialize)]
struct ChangeRow<'a> {
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Prefix>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<&'a str>,
    actor: &'a str,
    body: ChangeBody<'a>,
}

#[derive(Serialize)]
struct ChangeBody<'a> {
    actor: &'a Actor,
    change: &'a Fact,
}

/// What the record has of an event, with sources as exact as they are to be kept.
pub(in crate::daemon) fn outgoing(what: &Happened, sources: Sources) -> Outgoing {
    let what = &less_exact(what.clone(), sources);
    let mut body = match serde_json::to_value(what) {
        Ok(Value::Object(members)) => members,
        _ => Map::new(),
    };
    for told_apart in ["event", "reason", "service"] {
        body.remove(told_apart);
    }
    let (source, actor) = match what {
        Happened::Stop { actor, .. } => (None, Some(actor)),
        Happened::Start { .. } => (None, Some(&Actor::Start)),
        // By far the most came from there.
        Happened::Flood(flood) => {
            let most = flood.sources.first().filter(|share| share.percent >= 50);
            (most.and_then(|share| Prefix::try_from(IpNet::from(share.source)).ok()), None)
        }
        _ => (None, None),
    };
    Outgoing {
        kind: kind(what.kind()).name().to_owned(),
        source,
        reason: what.reason().map(str::to_owned),
        service: what.service().map(str::to_owned),
        actor: actor.map(ToString::to_string),
        body,
    }
}

/// The record's word for a kind of event.
const fn kind(kind: EventKind) -> Kind {
    match kind {
        EventKind::Drop => Kind::Drops,
        EventKind::Flood => Kind::Flood,
        EventKind::Ban => Kind::Ban,
        EventKind::Change => Kind::Change,
        EventKind::Start => Kind::Start,
        EventKind::Stop => Kind::Stop,
        EventKind::Fault => Kind::Fault,
        EventKind::Gap => Kind::Gap,
    }
}

/// The same with the networks of sources, where the record is to have no more.
fn less_exact(what: Happened, sources: Sources) -> Happened {
    match what {
        Happened::Flood(mut flood) => {
            for share in &mut flood.sources {
                share.source = sources.kept(share.source.into()).network();
            }
            Happened::Flood(flood)
        }
        other => other,
    }
}

/// The same of a change.
fn less_exact_fact(fact: Fact, sources: Sources) -> Fact {
    let target: Option<Prefix> = fact.target.parse().ok();
    let network = target.and_then(|prefix| Prefix::try_from(sources.kept(prefix.network())).ok());
    Fact { target: network.map_or_else(|| fact.target.clone(), |network| network.to_string()), ..fact }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact() -> Fact {
        Fact::new(What::Block, "192.0.2.9", None, Some("banned".to_owned()))
    }

    fn ban() -> Happened {
        Happened::Change { change: fact(), actor: Actor::Strikes }
    }

    fn at(hub: &mut Hub, at: u64) {
        hub.push(Kept { event: Event::new(at, ban()), frame: None });
    }

    #[test]
    fn a_ban_is_put_down_with_its_source_or_with_its_network() {
        let text = |sources| change_rows(&[fact()], &Actor::Strikes, sources).next().unwrap();
        let row: Outgoing = serde_json::from_str(&text(Sources::Full)).unwrap();
        assert_eq!((row.kind.as_str(), row.source.unwrap().to_string().as_str()), ("ban", "192.0.2.9"));
        assert_eq!((row.actor.as_deref(), row.body.len()), (Some("strikes"), 2));
        let text = text(Sources::Subnet);
        assert!(text.contains("192.0.2.0/24") && !text.contains("192.0.2.9"), "{text}");
    }

    #[test]
    fn the_last_events_are_kept_and_followers_get_the_next() {
        let mut hub = Hub::default();
        for time in 0..5_000 {
            at(&mut hub, time);
        }
        let Reply::Rows(rows) = hub.answer(&EventFilter::default(), false, false) else { panic!("no rows") };
        assert_eq!(rows.len(), KEPT);
        let since = EventFilter { since: Some(4_999), ..EventFilter::default() };
        let Reply::Stream(mut rows) = hub.answer(&since, true, false) else { panic!("no stream") };
        at(&mut hub, 5_000);
        let times: Vec<u64> = std::iter::from_fn(|| rows.try_recv().ok())
            .map(|row| if let Row::Event(event) = row { event.at } else { 0 })
            .collect();
        assert_eq!(times, [4_999, 5_000]);
        for time in 0..=BEHIND as u64 {
            at(&mut hub, 6_000 + time);
        }
        at(&mut hub, 9_000);
        assert!(hub.followers.is_empty(), "one that does not read is cut off");
    }
}
