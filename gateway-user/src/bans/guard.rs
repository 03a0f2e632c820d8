//! Whether an origin may claim what it asks for.

use crate::{config::Guard, model::Prefix};

/// What an origin asks for, and where it stands.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Its name.
    pub origin: &'a str,
    /// What it would claim.
    pub prefixes: &'a [Prefix],
    /// For how many seconds; nothing: without an end.
    pub for_seconds: Option<u64>,
    /// Claims of it that are in force.
    pub in_force: usize,
    /// Claims of it within this hour.
    pub an_hour: usize,
    /// The part of the packets that have passed of late that the prefixes sent, in percent.
    pub share: u8,
}

/// Why it may not, and which key of its guard says so.
pub fn refusal(guard: &Guard, asked: &Asked<'_>) -> Option<(String, &'static str)> {
    let Asked { origin, prefixes, for_seconds, in_force, an_hour, share } = *asked;
    let is_wide = |prefix: &&Prefix| {
        let network = prefix.network();
        let widest = if network.addr().is_ipv4() { guard.widest_ipv4 } else { guard.widest_ipv6 };
        network.prefix_len() < widest
    };
    if let Some(wide) = prefixes.iter().find(is_wide) {
        let (length, key) = if wide.network().addr().is_ipv4() {
            (guard.widest_ipv4, "widest_ipv4")
        } else {
            (guard.widest_ipv6, "widest_ipv6")
        };
        return Some((format!("{origin} may claim nothing wider than a /{length}, and {wide} is"), key));
    }
    let count = prefixes.len();
    if in_force + count > guard.most as usize {
        return Some((
            format!("{origin} would have {} claims, and may have {}", in_force + count, guard.most),
            "most",
        ));
    }
    if an_hour + count > guard.an_hour as usize {
        let made = an_hour + count;
        return Some((
            format!("{origin} would make {made} claims within an hour, and may make {}", guard.an_hour),
            "an_hour",
        ));
    }
    let longest = guard.longest.as_secs();
    if for_seconds.is_none_or(|seconds| seconds > longest) {
        let asked =
            for_seconds.map_or_else(|| "without an end".to_owned(), |seconds| format!("for {seconds} s"));
        return Some((format!("{origin} may claim for {longest} s at most, and asks {asked}"), "longest"));
    }
    if share > guard.share {
        let most = guard.share;
        return Some((
            format!("{share} % of what has passed of late came from there, and {origin} may block {most} %"),
            "share",
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINE: Asked<'_> =
        Asked { origin: "feed", prefixes: &[], for_seconds: Some(60), in_force: 0, an_hour: 0, share: 0 };

    #[test]
    fn an_origin_is_held_to_its_bounds() {
        let guard = Guard { most: 10, an_hour: 20, ..Guard::default() };
        let prefixes: Vec<Prefix> =
            ["192.0.2.0/24", "2001:db8::/32"].map(|text| text.parse().unwrap()).into();
        let asked = Asked { prefixes: &prefixes, ..FINE };
        let key = |asked: Asked<'_>| refusal(&guard, &asked).map(|(_, key)| key);
        assert_eq!(key(asked), None);
        assert_eq!(key(Asked { in_force: 8, an_hour: 18, share: 10, ..asked }), None);
        assert_eq!(key(Asked { in_force: 9, ..asked }), Some("most"));
        assert_eq!(key(Asked { an_hour: 19, ..asked }), Some("an_hour"));
        assert_eq!(key(Asked { for_seconds: None, ..asked }), Some("longest"));
        assert_eq!(key(Asked { for_seconds: Some(91 * 86_400), ..asked }), Some("longest"));
        assert_eq!(key(Asked { share: 11, ..asked }), Some("share"));
        for (text, key) in
            [("10.0.0.0/8", "widest_ipv4"), ("2001::/16", "widest_ipv6"), ("0.0.0.0/0", "widest_ipv4")]
        {
            let wide = [text.parse().unwrap()];
            assert_eq!(refusal(&guard, &Asked { prefixes: &wide, ..FINE }).unwrap().1, key, "{text}");
        }
    }
}
