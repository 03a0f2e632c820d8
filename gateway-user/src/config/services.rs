//! `[[class]]` and `[[service]]`.

use std::net::IpAddr;
use std::ops::{Range, RangeInclusive};

use gateway_common::limit::rate::Dimension;

use super::connections;
use super::policy::{Class, Connections, Protocol, Refuse, Require, Service, SynCookies};
use super::reader::{Item, Reader, Section};
use super::requirements;
use super::value::{ports, prefixes, quotas};
use crate::model::Mode;
use crate::model::Quotas;
use crate::model::wrong::{Wrong, quoted};

/// Longest name of a class or service, in characters.
const NAME_MAX: usize = 31;
/// Local addresses of one service; the packet path compares them one by one.
const ADDRESSES_MAX: usize = 8;

/// A class, and where its parts stand.
pub(super) struct ClassAt {
    pub(super) class: Class,
    pub(super) name_at: Range<usize>,
    /// One for each of the sources.
    pub(super) sources_at: Vec<Range<usize>>,
}

/// A service, and where its parts stand.
pub(super) struct ServiceAt {
    pub(super) service: Service,
    pub(super) name_at: Range<usize>,
    /// One for each of the ports; none where an error leaves open which ports of which protocol and address are meant.
    pub(super) ports_at: Vec<Range<usize>>,
}

/// All classes.
pub(super) fn classes<'t>(reader: &mut Reader<'t>, item: &Item<'t>) -> Vec<ClassAt> {
    let sections = reader.sections(item);
    sections.into_iter().map(|section| class(reader, section)).collect()
}

/// All services.
pub(super) fn services<'t>(reader: &mut Reader<'t>, item: &Item<'t>) -> Vec<ServiceAt> {
    let sections = reader.sections(item);
    sections.into_iter().map(|section| service(reader, section)).collect()
}

fn class<'t>(reader: &mut Reader<'t>, mut section: Section<'t>) -> ClassAt {
    let (name, name_at) = name(reader, &mut section);
    let example = "sources = [\"203.0.113.0/24\"]";
    let item = section.need(reader, "sources", example);
    let sources = item.as_ref().map(|item| prefixes(reader, item)).unwrap_or_default();
    if let Some(item) = item.filter(|item| item.value.as_array().is_some_and(|array| array.is_empty())) {
        reader.error(item.at, "a class without sources", format!("write: {example}"));
    }
    let mut own = Quotas::NONE;
    quotas(reader, &mut section, &Dimension::OF_SOURCES, &mut own);
    let mode = mode(reader, &mut section);
    section.finish(reader);
    let (sources, sources_at) = sources.into_iter().unzip();
    ClassAt { class: Class { name, sources, quotas: own, mode }, name_at, sources_at }
}

/// The mode of a class or service: the strictest where nothing is said, since the gateway's holds too.
fn mode<'t>(reader: &mut Reader<'t>, section: &mut Section<'t>) -> Mode {
    section.get("mode").and_then(|item| reader.word(&item)).unwrap_or(Mode::Enforce)
}

/// The name and its place; empty where there is none.
fn name<'t>(reader: &mut Reader<'t>, section: &mut Section<'t>) -> (String, Range<usize>) {
    let Some(item) = section.need(reader, "name", "name = \"api\"") else {
        return (String::new(), section.at.clone());
    };
    let valid = |text: &str| {
        let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let rest = |c: char| word(c) || c == '_' || c == '-';
        if text.starts_with(word) && text.chars().all(rest) && text.len() <= NAME_MAX {
            return Ok(text.to_owned());
        }
        let help = "write 1 to 31 of a-z, 0-9, `_` and `-`, a letter or digit first";
        Err(Wrong::new(format!("{} cannot be a name", quoted(text)), help))
    };
    (reader.parsed(&item, "name = \"api\"", valid).unwrap_or_default(), item.at)
}

fn service<'t>(reader: &mut Reader<'t>, mut section: Section<'t>) -> ServiceAt {
    let (name, name_at) = name(reader, &mut section);
    let protocol_item = section.need(reader, "protocol", "protocol = \"tcp\"");
    let protocol = protocol_item.and_then(|item| reader.word::<Protocol>(&item));
    let ports = section
        .need(reader, "ports", "ports = [443]")
        .map(|item| some_ports(reader, &item))
        .unwrap_or_default();
    let addresses = match section.get("addresses") {
        Some(item) => addresses(reader, &item),
        None => Some(Vec::new()),
    };
    let (ports, mut ports_at): (_, Vec<_>) = ports.into_iter().unzip();
    if protocol.is_none() || addresses.is_none() {
        ports_at.clear();
    }
    let mut service = Service {
        name,
        protocol: protocol.unwrap_or_default(),
        ports,
        addresses: addresses.unwrap_or_default(),
        require: Require::default(),
        min_tls: None,
        server_names: Vec::new(),
        proxy_protocol: false,
        refuse: Refuse::default(),
        syn_cookies: SynCookies::default(),
        syn_answers: Service::default_answers(),
        total: Quotas::NONE,
        quotas: Quotas::NONE,
        connections: Connections::default(),
        mode: mode(reader, &mut section),
    };
    requirements::read(reader, &mut section, protocol, &mut service);
    (service.quotas, service.total) = Service::default_quotas(service.require);
    service.connections = Service::default_connections(service.require);
    connections::read(reader, &mut section, protocol, &mut service);
    countable(reader, &mut section, protocol, service.require, &mut service.quotas);
    if let Some(item) = section.get("total")
        && let Some(mut all) = reader.section(&item, "total.syn = { rate = \"50k/s\" }")
    {
        countable(reader, &mut all, protocol, service.require, &mut service.total);
        connections::total(reader, &mut all, protocol, &mut service.connections);
        all.finish(reader);
    }
    section.finish(reader);
    ServiceAt { service, name_at, ports_at }
}

/// The quotas of a service or of its total; refuses those of what a service of this protocol never sees.
fn countable<'t>(
    reader: &mut Reader<'t>,
    section: &mut Section<'t>,
    protocol: Option<Protocol>,
    require: Require,
    own: &mut Quotas,
) {
    quotas(reader, section, &Dimension::ALL, own);
    let of = |protocol| Service::dimensions(protocol, require);
    // Where the protocol is not known, what no protocol has.
    let counted =
        protocol.map_or_else(|| [of(Protocol::Tcp), of(Protocol::Udp)].concat(), |known| of(known).to_vec());
    for foreign in Dimension::ALL.into_iter().filter(|dimension| !counted.contains(dimension)) {
        let Some(item) = section.get(foreign.name()) else {
            continue;
        };
        let message = format!("`{foreign}` counts nothing that belongs to this service");
        let kind = match (protocol, require) {
            (Some(Protocol::Tcp), _) => "a tcp",
            (Some(Protocol::Udp), Require::Quic) => "a QUIC",
            (Some(Protocol::Udp), _) => "a udp",
            (None, _) => "a",
        };
        let can: Vec<_> = counted.iter().map(|dimension| format!("`{dimension}`")).collect();
        reader.error(item.key, message, format!("{kind} service can limit {}", can.join(", ")));
    }
}

/// The addresses; nothing where one of them is wrong, for none at all would mean every address.
fn addresses<'t>(reader: &mut Reader<'t>, item: &Item<'t>) -> Option<Vec<IpAddr>> {
    let before = reader.problems.len();
    let address = |text: &str| match text.parse::<IpAddr>() {
        Ok(IpAddr::V6(v6)) if v6.to_ipv4_mapped().is_some() => Err(Wrong::new(
            format!("{} is an IPv4 address mapped into IPv6, which packets do not carry", quoted(text)),
            format!("write {}", v6.to_canonical()),
        )),
        Ok(address) => Ok(address),
        Err(_) => Err(Wrong::new(
            format!("{} is no IP address", quoted(text)),
            "write a local address without a prefix length: 192.0.2.1 or 2001:db8::1",
        )),
    };
    let mut found = Vec::new();
    for element in reader.array(item, "addresses = [\"192.0.2.1\"]") {
        let Some(address) = reader.parsed(&element, "\"192.0.2.1\"", address) else {
            continue;
        };
        if found.contains(&address) {
            reader.error(element.at, format!("the address {address} is listed twice"), "list it once");
        } else {
            found.push(address);
        }
    }
    if found.len() > ADDRESSES_MAX {
        let message = format!("a service can have {ADDRESSES_MAX} addresses, not {}", found.len());
        reader.error(item.at.clone(), message, "make two services, or write addresses = [] for all");
    }
    (reader.problems.len() == before).then_some(found)
}

fn some_ports<'t>(reader: &mut Reader<'t>, item: &Item<'t>) -> Vec<(RangeInclusive<u16>, Range<usize>)> {
    if item.value.as_array().is_some_and(|array| array.is_empty()) {
        let help = "write: ports = [443, \"8000-8099\"]";
        reader.error(item.at.clone(), "a service without ports", help);
    }
    ports(reader, item)
}
