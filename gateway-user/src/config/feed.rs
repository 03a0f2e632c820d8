//! A line of a list that others publish.
//!
//! Such files come as their publishers write them, and change without notice: a line that says nothing is skipped, and the others hold.
//! What is taken is what published lists have: a prefix, or an address, with or without a netmask; a range; the row of a table that begins
//! with one; a JSON object with a `cidr`. Comments start with `#`, `;` or `//`.

use std::net::IpAddr;

use ipnet::{IpNet, IpSubnets, Ipv4Net, Ipv4Subnets, Ipv6Subnets};
use serde_json::Value;

use super::value::prefix;
use crate::model::wrong::{Wrong, quoted};

/// The shortest prefix that is taken of IPv4, and of IPv6: whoever blocks more at once writes it into the configuration.
const SHORTEST: [u8; 2] = [8, 16];

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Nothing.
    Empty,
    /// These prefixes.
    Prefixes(Vec<IpNet>),
    /// How many entries the whole list has.
    Records(u64),
}

/// Reads a line.
///
/// # Errors
/// Why it says nothing that can be taken.
pub(super) fn line(text: &str) -> Result<Line, Wrong> {
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.starts_with('{') {
        return json(text);
    }
    let text = ["#", ";", "//"].into_iter().fold(text, |text, start| text.split(start).next().unwrap_or(""));
    let mut words =
        text.split([' ', '\t', ',']).map(|word| word.trim_matches('"')).filter(|word| !word.is_empty());
    let Some(first) = words.next() else { return Ok(Line::Empty) };
    let (second, third) = (words.next(), words.next());
    let prefixes = match (first.split_once('-'), second, third) {
        (Some((start, end)), ..) if !end.is_empty() => range(start, end)?,
        // With blanks around the hyphen.
        (None, Some("-"), Some(end)) => range(first, end)?,
        (None, Some(end), length) if end.parse::<IpAddr>().is_ok() => row(first, end, length)?,
        _ => vec![network(first)?],
    };
    taken(prefixes)
}

/// The prefixes, unless one of them says too much.
fn taken(prefixes: Vec<IpNet>) -> Result<Line, Wrong> {
    if let Some(wide) =
        prefixes.iter().find(|net| net.prefix_len() < SHORTEST[usize::from(net.addr().is_ipv6())])
    {
        let message =
            format!("{} is more than a list from outside may name at once", quoted(&wide.to_string()));
        return Err(Wrong::new(message, "to have it nevertheless, write it into the configuration itself"));
    }
    Ok(Line::Prefixes(prefixes))
}

/// An object of Spamhaus's lists: an entry, or what ends the list.
fn json(text: &str) -> Result<Line, Wrong> {
    const HELP: &str = "an object needs \"cidr\": \"198.51.100.0/24\"";
    let Ok(object) = serde_json::from_str::<Value>(text) else {
        return Err(Wrong::new("a line starts as JSON, and is none", HELP));
    };
    if let Some(records) = object["records"].as_u64() {
        return Ok(Line::Records(records));
    }
    match object["cidr"].as_str() {
        Some(cidr) => taken(vec![network(cidr)?]),
        None => Err(Wrong::new("a JSON object without an address", HELP)),
    }
}

/// A prefix, or an address with a netmask. What is behind the prefix's length is left out, as other tools do that read such lists.
fn network(word: &str) -> Result<IpNet, Wrong> {
    let masked = word.split_once('/').filter(|(_, mask)| mask.contains('.'));
    if let Some((address, mask)) = masked
        && let (Ok(address), Ok(mask)) = (address.parse(), mask.parse())
        && let Ok(net) = Ipv4Net::with_netmask(address, mask)
    {
        return Ok(net.trunc().into());
    }
    match (prefix(word), word.parse::<IpNet>()) {
        (Err(_), Ok(net)) if net != net.trunc() && prefix(&net.trunc().to_string()).is_ok() => {
            Ok(net.trunc())
        }
        (taken, _) => taken,
    }
}

/// All addresses from one to another, in as few prefixes as there can be.
fn range(start: &str, end: &str) -> Result<Vec<IpNet>, Wrong> {
    let subnets = match (start.trim().parse(), end.trim().parse()) {
        (Ok(IpAddr::V4(start)), Ok(IpAddr::V4(end))) if start <= end => {
            IpSubnets::from(Ipv4Subnets::new(start, end, 0))
        }
        (Ok(IpAddr::V6(start)), Ok(IpAddr::V6(end))) if start <= end => {
            IpSubnets::from(Ipv6Subnets::new(start, end, 0))
        }
        _ => {
            let message = format!("{} is no range", quoted(&format!("{start}-{end}")));
            return Err(Wrong::new(message, "write the lower address first: 192.0.2.10-192.0.2.19"));
        }
    };
    Ok(subnets.collect())
}

/// A row with the first and the last address of a network, and the length of its prefix, as DShield has them.
fn row(start: &str, end: &str, length: Option<&str>) -> Result<Vec<IpNet>, Wrong> {
    let nets = range(start, end)?;
    let is_told = |net: &IpNet| length.is_some_and(|length| length == net.prefix_len().to_string());
    match nets[..] {
        [net] if is_told(&net) => Ok(nets),
        _ => Err(Wrong::new(
            format!("{start} and {end} in one line can mean a range or two addresses"),
            format!("write {start}-{end}, or two lines"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_published_lists_have_is_taken() {
        for (text, taken) in [
            ("192.0.2.9", "192.0.2.9/32"),
            ("192.0.2.0/24 ; SBL1", "192.0.2.0/24"),
            ("; Spamhaus DROP List", ""),
            ("// a comment", ""),
            ("# another", ""),
            ("\u{feff}# ours", ""),
            ("   ", ""),
            ("192.0.2.0/24\tAS64496 | EXAMPLE", "192.0.2.0/24"),
            ("192.0.2.0/24,2026-11-29,scanner", "192.0.2.0/24"),
            ("\"192.0.2.7\",\"443\"", "192.0.2.7/32"),
            ("192.0.2.0/255.255.255.0", "192.0.2.0/24"),
            ("192.0.2.77/24", "192.0.2.0/24"),
            ("2001:DB8::1/48", "2001:db8::/48"),
            ("192.0.2.10-192.0.2.13", "192.0.2.10/31 192.0.2.12/31"),
            ("192.0.2.0 - 192.0.2.255", "192.0.2.0/24"),
            ("192.0.2.0 192.0.2.255 24 1234 EXAMPLE", "192.0.2.0/24"),
            ("2001:db8::-2001:db8::ff", "2001:db8::/120"),
            ("{\"cidr\":\"198.51.100.0/22\",\"sblid\":\"SBL1\",\"rir\":null}", "198.51.100.0/22"),
            ("10.0.0.0/8", "10.0.0.0/8"),
        ] {
            let wanted: Vec<IpNet> = taken.split_whitespace().map(|net| net.parse().unwrap()).collect();
            let wanted = if wanted.is_empty() { Line::Empty } else { Line::Prefixes(wanted) };
            assert_eq!(line(text).unwrap_or_else(|wrong| panic!("{text}: {wrong}")), wanted, "{text}");
        }
        let end = "{\"type\":\"metadata\",\"timestamp\":1764374400,\"size\":99,\"records\":1406}";
        assert_eq!(line(end), Ok(Line::Records(1_406)));
    }

    #[test]
    fn what_can_mean_two_things_is_not() {
        for text in [
            "example.com",
            "first_seen,dst_ip",
            "010.0.0.1",
            "10.1",
            "192.0.2.1/0.0.0.255",
            "192.0.2.0/255.0.255.0",
            "192.0.2.0/33",
            "192.0.2.9-192.0.2.1",
            "192.0.2.9-2001:db8::1",
            "192.0.2.9-",
            "192.0.2.0 192.0.2.255",
            "192.0.2.0 192.0.2.255 16",
            "192.0.2.1 198.51.100.9 32",
            "::ffff:192.0.2.1",
            "{\"cidr\":7}",
            "{\"cidr\":",
            "0.0.0.0/0",
            "64.0.0.0/2",
            "0.0.0.0-255.255.255.255",
            "2000::/3",
        ] {
            assert!(line(text).is_err(), "{text}: {:?}", line(text));
        }
    }
}
