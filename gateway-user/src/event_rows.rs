//! Events as rows of the record, and rows as the events that they are of.

use std::borrow::Cow;

use ipnet::IpNet;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    model::{Actor, EventKind, Fact, Happened, Prefix},
    record::{Kind, Row, Sources},
    store::Outgoing,
};

/// What the record has of changes, as JSON. There may be a hundred thousand, so each is written as it is, with no document in between.
pub fn change_rows(facts: &[Fact], actor: &Actor, sources: Sources) -> impl Iterator<Item = String> {
    let name = actor.to_string();
    facts.iter().map(move |fact| {
        let fact = if sources == Sources::Full {
            Cow::Borrowed(fact)
        } else {
            Cow::Owned(less_exact_fact(fact.clone(), sources))
        };
        let row = Outgoing {
            kind: kind(EventKind::of(&fact)).name().to_owned(),
            source: fact.target.parse().ok(),
            reason: fact.reason.clone(),
            service: fact.service().map(str::to_owned),
            actor: Some(name.clone()),
            body: ChangeBody { actor, change: &fact },
        };
        serde_json::to_string(&row).unwrap_or_default()
    })
}

/// The rest of the row of a change.
#[derive(Serialize)]
struct ChangeBody<'a> {
    actor: &'a Actor,
    change: &'a Fact,
}

/// What the record has of an event, with sources as exact as they are to be kept.
pub fn outgoing(what: &Happened, sources: Sources) -> Outgoing {
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

/// The event that a row is of; nothing where it is of none.
pub fn happened(row: &Row) -> Option<Happened> {
    let mut event = row.body();
    let name = match row.kind {
        Kind::Change | Kind::Ban => "change",
        Kind::Flood => "flood",
        Kind::Start => "start",
        Kind::Stop => "stop",
        Kind::Fault if event.contains_key("interface") => "interface",
        Kind::Fault => "alarm",
        Kind::Drops | Kind::Gap | Kind::Tls => return None,
    };
    let apart =
        [("event", Some(name)), ("reason", row.reason.as_deref()), ("service", row.service.as_deref())];
    event.extend(apart.into_iter().filter_map(|(member, text)| Some((member.to_owned(), text?.into()))));
    serde_json::from_value(Value::Object(event)).ok()
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
        Happened::Change { change, actor } => {
            Happened::Change { change: less_exact_fact(change, sources), actor }
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
    use crate::{
        model::What,
        record::{self, Entry, Facts, Filter, Options, Record},
    };

    fn fact() -> Fact {
        Fact::new(What::Block, "192.0.2.9", None, Some("banned".to_owned()))
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
    fn a_row_says_what_has_happened() {
        let place = tempfile::tempdir().unwrap();
        let options = Options { origin: "gateway/record".to_owned(), sources: Sources::Full };
        let (mut open, _) = Record::open(place.path(), &options, 7).unwrap();
        let happened_before = [
            Happened::Change { change: fact(), actor: Actor::Strikes },
            Happened::Stop { actor: Actor::Signal { name: "SIGTERM".to_owned() }, keeps: true },
            Happened::Alarm { about: "tunnels".to_owned(), warning: None },
            Happened::Interface { interface: "eth0".to_owned(), protected: false, why: "gone".to_owned() },
        ];
        let rows = happened_before.iter().map(|what| outgoing(what, Sources::Full));
        let entries = rows.map(|Outgoing { kind, source, reason, service, actor, body }| Entry {
            at: 7,
            kind: Kind::from_name(&kind).unwrap(),
            facts: Facts { source: source.map(Prefix::network), reason, service, actor, body },
        });
        open.append(&entries.collect::<Vec<_>>()).unwrap();
        let mut found = record::query(place.path(), &Filter::default(), 9).unwrap().rows;
        found.sort_by_key(|row| row.id);
        assert_eq!(found.iter().filter_map(happened).collect::<Vec<_>>(), happened_before);
    }
}
