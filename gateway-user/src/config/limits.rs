//! `[limits]`, and what limits are written with everywhere: quotas and prefixes.

use std::collections::HashMap;
use std::net::Ipv6Addr;
use std::ops::{Range, RangeInclusive};

use gateway_common::{
    limit::rate::Dimension,
    source::finer::{NUMBERS, WIDTH_MAX},
};
use ipnet::{IpNet, Ipv6Net};
use toml::de::DeValue;

use super::check::PrefixPlaces;
use super::connections;
use super::lists;
use super::policy::{FinerNetwork, Limits, Neighbours};
use super::problem::{Wrong, quoted};
use super::quota::{Part, Quota, Quotas};
use super::reader::{Item, Reader, Section};
use super::sections::each;

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

/// The quotas of a section in some dimensions, each in the place of a default.
pub(super) fn quotas<'t>(
    reader: &mut Reader<'t>,
    section: &mut Section<'t>,
    dimensions: &[Dimension],
    quotas: &mut Quotas,
) {
    for &dimension in dimensions {
        if let Some(item) = section.get(dimension.name()) {
            quota(reader, &item, dimension, quotas);
        }
    }
}

/// The quota of a dimension, or the word `none`, in the place of a default.
pub(super) fn quota<'t>(reader: &mut Reader<'t>, item: &Item<'t>, dimension: Dimension, quotas: &mut Quotas) {
    if item.value.as_str() == Some("none") {
        quotas.lift(dimension);
    } else if let Some(quota) = rate_and_burst(reader, item, dimension) {
        quotas.set(quota);
    }
}

fn rate_and_burst<'t>(reader: &mut Reader<'t>, item: &Item<'t>, dimension: Dimension) -> Option<Quota> {
    let (rate_example, burst_example) = match dimension {
        Dimension::Bytes => ("rate = \"1Gbit/s\"", "burst = \"64MiB\""),
        _ => ("rate = \"20k/s\"", "burst = \"40k\""),
    };
    let name = item.word();
    let example = format!("{name} = {{ {rate_example}, {burst_example} }}, or {name} = \"none\"");
    let mut section = reader.section(item, &example)?;
    let rate = section.need(reader, "rate", rate_example);
    let burst = section.get("burst");
    section.finish(reader);
    let rate = rate?;
    let rate_text = reader.text(&rate, rate_example)?;
    let burst_text = match &burst {
        // A number of packets needs no unit, and so no quotes.
        Some(Item { value: DeValue::Integer(number), .. }) if dimension != Dimension::Bytes => {
            Some(number.to_string())
        }
        Some(burst) => Some(reader.text(burst, burst_example)?.to_owned()),
        None => None,
    };
    match Quota::from_texts(dimension, rate_text, burst_text.as_deref()) {
        Ok(quota) => Some(quota),
        Err((part, wrong)) => {
            let item = burst.filter(|_| part == Part::Burst).unwrap_or(rate);
            reader.error(item.at, wrong.message, wrong.help);
            None
        }
    }
}

/// Prefixes in an array, with their places.
pub(super) fn prefixes<'t>(reader: &mut Reader<'t>, item: &Item<'t>) -> Vec<(IpNet, Range<usize>)> {
    let elements = reader.array(item, "an array of prefixes: [\"203.0.113.0/24\"]");
    let mut prefixes = Vec::new();
    for element in elements {
        if let Some(prefix) = reader.parsed(&element, "\"203.0.113.0/24\"", lists::prefix) {
            prefixes.push((prefix, element.at));
        }
    }
    prefixes
}
