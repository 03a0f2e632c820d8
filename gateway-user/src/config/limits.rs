//! `[limits]`.

use std::collections::HashMap;
use std::net::Ipv6Addr;
use std::ops::{Range, RangeInclusive};

use gateway_common::{
    limit::rate::Dimension,
    source::finer::{NUMBERS, WIDTH_MAX},
};
use ipnet::{IpNet, Ipv6Net};

use super::check::PrefixPlaces;
use super::connections;
use super::policy::{FinerNetwork, Limits, Neighbours};
use super::reader::{Item, Reader, Section};
use super::value::{each, prefixes, quotas};
use crate::model::wrong::{Wrong, quoted};

/// Networks in which sources are finer: the packet path has numbers for so many.
const NETWORKS_MAX: usize = NUMBERS as usize - 1;
/// By what translators show IPv4 hosts (RFC 6052 section 2.1).
const TRANSLATED: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);

/// Limits of sources and of their neighbourhoods, each key in the place of its default.
pub(super) fn limits<'t>(
    reader: &mut Reader<'t>,
    section: &mut Section<'t>,
    places: &mut PrefixPlaces,
) -> (Limits, Neighbours) {
    let mut limits = Limits::default();
    quotas(reader, section, &Dimension::OF_SOURCES, &mut limits.quotas);
    prefix_length(reader, section, ("ipv4_prefix", 8..=32), &mut limits.ipv4_prefix, &mut places.source[0]);
    prefix_length(reader, section, ("ipv6_prefix", 16..=64), &mut limits.ipv6_prefix, &mut places.source[1]);
    if let Some(item) = section.get("network") {
        limits.finer = finer_networks(reader, &item);
    }
    each(reader, section, "rest", |reader, section| {
        quotas(reader, section, &Dimension::OF_SOURCES, &mut limits.rest);
    });
    let neighbours = each(reader, section, "neighbours", |reader, section| {
        let mut neighbours = Neighbours::default();
        quotas(reader, section, &Dimension::OF_SOURCES, &mut neighbours.quotas);
        let [ipv4, ipv6] = &mut places.neighbourhood;
        prefix_length(reader, section, ("ipv4_prefix", 1..=31), &mut neighbours.ipv4_prefix, ipv4);
        prefix_length(reader, section, ("ipv6_prefix", 1..=63), &mut neighbours.ipv6_prefix, ipv6);
        if let Some(item) = section.get("connections") {
            connections::count(reader, &item, &mut neighbours.connections);
        }
        if let Some(item) = section.get("escalate") {
            neighbours.escalate = reader.flag(&item).unwrap_or(neighbours.escalate);
        }
        neighbours
    });
    (limits, neighbours.unwrap_or_default())
}

/// Networks in which sources are finer, from all `[[limits.network]]`.
fn finer_networks<'t>(reader: &mut Reader<'t>, item: &Item<'t>) -> Vec<FinerNetwork> {
    let mut networks = Vec::new();
    let mut places: HashMap<IpNet, Range<usize>> = HashMap::new();
    for mut section in reader.sections(item) {
        let example = "sources = [\"2001:db8:7:8::/64\"]";
        let sources = section.need(reader, "sources", example);
        let sources = sources.map(|item| prefixes(reader, &item)).unwrap_or_default();
        let length = section.need(reader, "ipv6_prefix", "ipv6_prefix = 120");
        let length = length.and_then(|item| reader.number(&item, 65..=128));
        section.finish(reader);
        let Some(length) = length.and_then(|length| u8::try_from(length).ok()) else { continue };
        for (source, at) in sources {
            if let Some(first) = places.insert(source, at.clone()) {
                let message = format!("{} is named twice", quoted(&source.to_string()));
                reader.conflict(at, Wrong::new(message, "write it once"), first, "first here".to_owned());
                continue;
            }
            match finer_network(source, length) {
                Ok(_) if networks.len() == NETWORKS_MAX => {
                    let message = format!("more than {NETWORKS_MAX} networks of finer sources");
                    reader.error(at, message, "join neighbouring ones, or leave some out");
                    return networks;
                }
                Ok(network) => networks.push(network),
                Err(wrong) => reader.error(at, wrong.message, wrong.help),
            }
        }
    }
    networks
}

/// A network whose sources have so many bits, if their keys have room for what the network leaves open.
fn finer_network(source: IpNet, ipv6_prefix: u8) -> Result<FinerNetwork, Wrong> {
    let name = quoted(&source.to_string());
    let IpNet::V6(network) = source else {
        let help = "name IPv6 networks; an IPv4 source is one address already, or as ipv4_prefix has it";
        return Err(Wrong::new(format!("{name} is no IPv6 network"), help));
    };
    if network.contains(&TRANSLATED) || TRANSLATED.contains(&network) {
        let help = "leave it out; name networks of other translators";
        return Err(Wrong::new(format!("hosts of {TRANSLATED} count as their IPv4 addresses already"), help));
    }
    let length = network.prefix_len();
    match ipv6_prefix.checked_sub(length) {
        Some(1..=WIDTH_MAX) => Ok(FinerNetwork { network, ipv6_prefix }),
        None | Some(0) => {
            let message = format!("a source of /{ipv6_prefix} is no finer than {name}");
            Err(Wrong::new(message, "write a larger ipv6_prefix, or a shorter prefix of the network"))
        }
        Some(width) => {
            let message = format!(
                "a source of /{ipv6_prefix} in {name} is {width} bits finer; at most {WIDTH_MAX} are possible"
            );
            let (least, most) = (ipv6_prefix - WIDTH_MAX, length + WIDTH_MAX);
            let help = match most {
                65.. => format!("write ipv6_prefix = {most} or less, or networks of /{least} or narrower"),
                _ => format!("write networks of /{least} or narrower"),
            };
            Err(Wrong::new(message, help))
        }
    }
}

fn prefix_length<'t>(
    reader: &mut Reader<'t>,
    section: &mut Section<'t>,
    (key, range): (&'static str, RangeInclusive<u32>),
    value: &mut u8,
    place: &mut Option<Range<usize>>,
) {
    let Some(item) = section.get(key) else { return };
    *place = Some(item.at.clone());
    if let Some(length) = reader.number(&item, range).and_then(|length| u8::try_from(length).ok()) {
        *value = length;
    }
}
