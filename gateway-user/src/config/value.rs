//! Values as the configuration has them: what several sections are written with.

use std::{
    ops::{Range, RangeInclusive},
    path::PathBuf,
};

use gateway_common::limit::rate::Dimension;
use ipnet::IpNet;
use toml::de::DeValue;

use super::reader::{Item, Reader, Section};
use crate::model::{
    Part, Prefix, Quota, Quotas,
    wrong::{Wrong, quoted},
};

/// What an item of a list starts with that names a file.
pub(super) const FILE: &str = "file:";

/// Reads a section if it is there, and reports the keys that `read` did not ask for.
pub(super) fn each<'t, T>(
    reader: &mut Reader<'t>,
    parent: &mut Section<'t>,
    key: &'static str,
    read: impl FnOnce(&mut Reader<'t>, &mut Section<'t>) -> T,
) -> Option<T> {
    let item = parent.get(key)?;
    let mut section = reader.section(&item, &format!("[{}]", parent.name_of(key)))?;
    let value = read(reader, &mut section);
    section.finish(reader);
    Some(value)
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
        if let Some(prefix) = reader.parsed(&element, "\"203.0.113.0/24\"", prefix) {
            prefixes.push((prefix, element.at));
        }
    }
    prefixes
}

/// A source prefix, `198.51.100.0/24`, or a bare address, which stands for itself alone.
pub(super) fn prefix(text: &str) -> Result<IpNet, Wrong> {
    text.parse::<Prefix>().map(Prefix::network).map_err(|error| match error.0 {
        wrong if text.starts_with(FILE) => {
            Wrong::new(wrong.message, "files of prefixes can stand in [lists] alone")
        }
        wrong => wrong,
    })
}

/// Ports and ranges of ports, and where they stand.
pub(super) fn ports<'t>(
    reader: &mut Reader<'t>,
    item: &Item<'t>,
) -> Vec<(RangeInclusive<u16>, Range<usize>)> {
    let example = "ports = [443, \"8000-8099\"]";
    let elements = reader.array(item, example);
    let mut found = Vec::new();
    for element in elements {
        let range = match element.value {
            DeValue::String(_) => reader.parsed(&element, "443", port_range),
            _ => reader.number(&element, 1..=u32::from(u16::MAX)).and_then(|port| {
                let port = u16::try_from(port).ok()?;
                Some(port..=port)
            }),
        };
        found.extend(range.map(|range| (range, element.at)));
    }
    found
}

/// `8000-8099`.
fn port_range(text: &str) -> Result<RangeInclusive<u16>, Wrong> {
    let port = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|&port| digits && port > 0)
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (port(first), port(last)) {
        (Some(first), Some(last)) if first <= last => Ok(first..=last),
        (Some(first), Some(last)) => Err(Wrong::new(
            format!("{} is a range that ends before it starts", quoted(text)),
            format!("write \"{last}-{first}\""),
        )),
        _ => Err(Wrong::new(
            format!("{} is no range of ports", quoted(text)),
            "write two ports from 1 to 65535 with a dash between: \"8000-8099\"",
        )),
    }
}

/// A path that means the same wherever the daemon was started.
pub(super) fn absolute_path(text: &str) -> Result<PathBuf, Wrong> {
    if !text.starts_with('/') || text.contains('\0') {
        return Err(Wrong::new(
            format!("{} is no absolute path", quoted(text)),
            "write a path that starts with /",
        ));
    }
    Ok(PathBuf::from(text))
}
