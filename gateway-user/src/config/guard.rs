//! `[guard.ORIGIN]`: what an origin may claim that is neither the operator nor strikes.

use std::{collections::BTreeMap, time::Duration};

use super::reader::{Reader, Section};
use crate::model::{OriginName, units, wrong::Wrong};

/// The guard of all origins that have none of their own.
pub(super) const DEFAULT: &str = "default";

/// Bounds of what an origin may claim: one that is taken over is not to block the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The shortest prefix of IPv4.
    pub widest_ipv4: u8,
    /// The shortest prefix of IPv6.
    pub widest_ipv6: u8,
    /// Claims in force at once.
    pub most: u32,
    /// Claims within an hour.
    pub an_hour: u32,
    /// The longest claim; one without an end is longer.
    pub longest: Duration,
    /// The most of the packets that have passed of late, in percent, that its prefixes sent.
    pub share: u8,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            widest_ipv4: 16,
            widest_ipv6: 32,
            most: 500_000,
            an_hour: 500_000,
            longest: Duration::from_secs(90 * 86_400),
            share: 10,
        }
    }
}

/// All guards, by the names of their origins.
pub(super) fn read<'t>(reader: &mut Reader<'t>, root: &mut Section<'t>) -> BTreeMap<String, Guard> {
    const EXAMPLE: &str = "[guard.blocklist]";
    let mut guards = BTreeMap::new();
    let Some(item) = root.get("guard") else { return guards };
    let Some(section) = reader.section(&item, EXAMPLE) else { return guards };
    for item in section.items() {
        let name = item.word().to_owned();
        if name != DEFAULT
            && let Err(error) = name.parse::<OriginName>()
        {
            reader.error(item.key.clone(), error, format!("write a name as in {EXAMPLE}"));
            continue;
        }
        if let Some(mut section) = reader.section(&item, EXAMPLE) {
            guards.insert(name, guard(reader, &mut section));
            section.finish(reader);
        }
    }
    guards
}

fn guard<'t>(reader: &mut Reader<'t>, section: &mut Section<'t>) -> Guard {
    let mut guard = Guard::default();
    let mut number = |key, most: u32| {
        let item = section.get(key)?;
        reader.number(&item, 0..=most)
    };
    let length = |found: Option<u32>| found.and_then(|length| u8::try_from(length).ok());
    guard.widest_ipv4 = length(number("widest_ipv4", 32)).unwrap_or(guard.widest_ipv4);
    guard.widest_ipv6 = length(number("widest_ipv6", 128)).unwrap_or(guard.widest_ipv6);
    guard.most = number("most", u32::MAX).unwrap_or(guard.most);
    guard.an_hour = number("an_hour", u32::MAX).unwrap_or(guard.an_hour);
    guard.share = length(number("share", 100)).unwrap_or(guard.share);
    if let Some(item) = section.get("longest") {
        let at_least_one = |text: &str| match units::duration(text)? {
            short if short.as_secs() == 0 => {
                Err(Wrong::new("this is less than a second", "write for example 30d"))
            }
            duration => Ok(duration),
        };
        guard.longest = reader.parsed(&item, "\"30d\"", at_least_one).unwrap_or(guard.longest);
    }
    guard
}
