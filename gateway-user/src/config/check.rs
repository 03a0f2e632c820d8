//! What must fit together: prefix lengths, names, prefixes of classes, ports of services.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::policy::{Limits, Neighbours, Protocol, Service};
use super::reader::Reader;
use super::services::{ClassAt, ServiceAt};
use crate::model::wrong::{Wrong, quoted};

/// Classes of a configuration, and services as well: the packet path keeps their number in six bits, 0 for none.
const GROUPS_MAX: usize = 63;
/// Services that can share a port; the packet path looks at them one by one.
const SHARING_MAX: usize = 8;

/// Where the prefix lengths of IPv4 and IPv6 are written, if they are.
#[derive(Default)]
pub(super) struct PrefixPlaces {
    pub(super) source: [Option<Range<usize>>; 2],
    pub(super) neighbourhood: [Option<Range<usize>>; 2],
}

/// A neighbourhood has to be larger than a source.
pub(super) fn prefix_lengths(
    reader: &mut Reader<'_>,
    limits: &Limits,
    neighbours: &Neighbours,
    at: &PrefixPlaces,
) {
    let lengths = [
        ("ipv4_prefix", limits.ipv4_prefix, neighbours.ipv4_prefix),
        ("ipv6_prefix", limits.ipv6_prefix, neighbours.ipv6_prefix),
    ];
    for (family, (key, source, neighbourhood)) in lengths.into_iter().enumerate() {
        let place = at.neighbourhood[family].clone().or_else(|| at.source[family].clone());
        let Some(place) = place.filter(|_| neighbourhood >= source) else {
            continue;
        };
        let message = format!("a neighbourhood of /{neighbourhood} is no larger than a source of /{source}");
        let help = format!("write {key} = {} or less in [limits.neighbours]", source - 1);
        reader.error(place, message, help);
    }
}

/// Number, names and sources of the classes.
pub(super) fn classes(reader: &mut Reader<'_>, classes: &[ClassAt]) {
    names(reader, "class", classes.iter().map(|placed| (placed.class.name.as_str(), &placed.name_at)));
    let mut owners = HashMap::new();
    for placed in classes {
        for (prefix, at) in placed.class.sources.iter().zip(&placed.sources_at) {
            let Some((owner, first)) = owners.insert(*prefix, (&placed.class.name, at)) else {
                continue;
            };
            let (owner, name) = (quoted(owner), quoted(&placed.class.name));
            let message =
                format!("{} is in class {owner} and again in class {name}", quoted(&prefix.to_string()));
            let wrong = Wrong::new(message, "a prefix can be in one class, once; nested prefixes are fine");
            reader.conflict(at.clone(), wrong, first.clone(), format!("first in class {owner}"));
        }
    }
}

/// At most [`GROUPS_MAX`], each with a name of its own.
fn names<'a>(reader: &mut Reader<'_>, kind: &str, names: impl Iterator<Item = (&'a str, &'a Range<usize>)>) {
    let mut seen = HashMap::new();
    for (index, (name, at)) in names.enumerate() {
        if index == GROUPS_MAX {
            let message = format!("more than {GROUPS_MAX} tables [[{kind}]]");
            reader.error(at.clone(), message, format!("a configuration can have {GROUPS_MAX}: join some"));
        }
        // An empty name has been reported.
        if name.is_empty() {
            continue;
        }
        if let Some(first) = seen.insert(name, at) {
            let wrong = Wrong::new(
                format!("two [[{kind}]] are named {}", quoted(name)),
                "give each a name of its own",
            );
            reader.conflict(at.clone(), wrong, first.clone(), "first used here".to_owned());
        }
    }
}

/// A range of ports of a service.
struct Ports<'s> {
    first: u16,
    last: u16,
    /// Index of the service.
    owner: usize,
    service: &'s Service,
    at: &'s Range<usize>,
}

/// Number, names and ports of the services.
pub(super) fn services(reader: &mut Reader<'_>, services: &[ServiceAt]) {
    names(reader, "service", services.iter().map(|placed| (placed.service.name.as_str(), &placed.name_at)));
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let mut ports: Vec<_> = services.iter().enumerate().flat_map(ranges).collect();
        ports.retain(|ports| ports.service.protocol == protocol);
        ports.sort_by_key(|ports| (ports.first, ports.owner, ports.at.start));
        sweep(reader, &ports);
    }
}

fn ranges<'s>((owner, placed): (usize, &'s ServiceAt)) -> impl Iterator<Item = Ports<'s>> {
    let service = &placed.service;
    let ranges = service.ports.iter().zip(&placed.ports_at);
    ranges.map(move |(range, at)| Ports { first: *range.start(), last: *range.end(), owner, service, at })
}

/// Goes over the ranges by their first port; those that reach up to there are the ones that a port can be shared with.
fn sweep(reader: &mut Reader<'_>, ports: &[Ports<'_>]) {
    let mut open: Vec<&Ports<'_>> = Vec::new();
    // One report for two services, however many ports they share.
    let mut reported = HashSet::new();
    let mut crowded = false;
    for new in ports {
        open.retain(|old| old.last >= new.first);
        for old in &open {
            let pair = (old.owner.min(new.owner), old.owner.max(new.owner));
            if share_address(old, new) && reported.insert(pair) {
                overlap(reader, old, new);
            }
        }
        open.push(new);
        let sharing: HashSet<_> = open.iter().map(|ports| ports.owner).collect();
        if sharing.len() > SHARING_MAX && !crowded {
            crowded = true;
            let message = format!("more than {SHARING_MAX} services have port {}", new.first);
            reader.error(new.at.clone(), message, "join services, or give them other ports");
        }
    }
}

fn share_address(one: &Ports<'_>, other: &Ports<'_>) -> bool {
    let (a, b) = (&one.service.addresses, &other.service.addresses);
    a.is_empty() || b.is_empty() || a.iter().any(|address| b.contains(address))
}

/// Reports two ranges with a common port; the later of them in the file is the one to blame.
fn overlap(reader: &mut Reader<'_>, one: &Ports<'_>, other: &Ports<'_>) {
    let (early, late) = if one.at.start <= other.at.start { (one, other) } else { (other, one) };
    let port = one.first.max(other.first);
    let (early_name, late_name) = (quoted(&early.service.name), quoted(&late.service.name));
    if early.owner == late.owner {
        let wrong = Wrong::new(format!("service {late_name} has port {port} twice"), "write it once");
        reader.conflict(late.at.clone(), wrong, early.at.clone(), "first here".to_owned());
        return;
    }
    let message = format!(
        "services {early_name} and {late_name} both have {} port {port}",
        late.service.protocol.name()
    );
    let wrong = Wrong::new(message, "give them different ports, or different `addresses` on this host");
    reader.conflict(late.at.clone(), wrong, early.at.clone(), format!("service {early_name} has it here"));
}
