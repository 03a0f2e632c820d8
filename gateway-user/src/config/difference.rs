//! What two configurations differ in, in words.

use super::{Class, Config, Service};
use crate::model::{Fact, What};

/// What is other in the new one, part by part. Prefix lists are told by their number: they can be long.
pub fn differences(old: &Config, new: &Config) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut told = |target: &str, from: Option<String>, to: Option<String>| {
        if from != to {
            facts.push(Fact::new(What::Configuration, target, from, to));
        }
    };
    told("mode", Some(old.mode.to_string()), Some(new.mode.to_string()));
    let prefixes = |list: &[ipnet::IpNet]| Some(format!("{} prefixes", list.len()));
    for (target, old, new) in [
        ("lists.allow", &old.lists.allow, &new.lists.allow),
        ("lists.block", &old.lists.block, &new.lists.block),
    ] {
        match (old == new, old.len() == new.len()) {
            (true, _) => {}
            (_, true) => told(target, prefixes(old), Some(format!("{} other prefixes", new.len()))),
            (_, false) => told(target, prefixes(old), prefixes(new)),
        }
    }
    for (target, is_same) in [
        ("limits", old.limits == new.limits),
        ("limits.neighbours", old.neighbours == new.neighbours),
        ("reflection", old.reflection == new.reflection),
        ("sanity", old.sanity == new.sanity),
        ("ban", old.ban == new.ban),
        ("attach", old.attach == new.attach),
        ("metrics", old.metrics == new.metrics),
        ("control", old.control == new.control),
        ("audit", old.audit == new.audit),
        ("guard", old.guards == new.guards),
    ] {
        if !is_same {
            told(target, Some("as before".to_owned()), Some("changed".to_owned()));
        }
    }
    named(&mut facts, "service", &old.services, &new.services, |service: &Service| &service.name);
    named(&mut facts, "class", &old.classes, &new.classes, |class: &Class| &class.name);
    facts
}

/// What has a name: it came, went, or is another.
fn named<T: PartialEq>(
    facts: &mut Vec<Fact>,
    kind: &str,
    old: &[T],
    new: &[T],
    name: impl Fn(&T) -> &String,
) {
    let there = || Some("there".to_owned());
    let find = |list: &'_ [T], of: &T| list.iter().position(|one| name(one) == name(of));
    for one in new {
        let target = format!("{kind}/{}", name(one));
        match find(old, one) {
            None => facts.push(Fact::new(What::Configuration, target, None, there())),
            Some(place) if old[place] != *one => {
                facts.push(Fact::new(What::Configuration, target, there(), Some("changed".to_owned())));
            }
            Some(_) => {}
        }
    }
    for gone in old.iter().filter(|one| find(new, one).is_none()) {
        facts.push(Fact::new(What::Configuration, format!("{kind}/{}", name(gone)), there(), None));
    }
}
