//! Prefix sets as the kernel takes them: each entry says all that holds for it, what covering prefixes say included, so that
//! one longest-prefix match answers.

pub mod flat;

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Prefixes with what is said of each, covering ones included: address bytes in network order, length in bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefixes<V> {
    /// IPv4.
    pub v4: Vec<([u8; 4], u8, V)>,
    /// IPv6.
    pub v6: Vec<([u8; 16], u8, V)>,
}

impl<V> Default for Prefixes<V> {
    fn default() -> Self {
        Self { v4: Vec::new(), v6: Vec::new() }
    }
}

impl<V> Prefixes<V> {
    /// What is said of the longest prefix that holds an address.
    pub fn longest(&self, address: IpAddr) -> Option<&V> {
        match address {
            IpAddr::V4(address) => {
                longest(&self.v4, 32, |length| Ipv4Net::new_assert(address, length).network().octets())
            }
            IpAddr::V6(address) => {
                longest(&self.v6, 128, |length| Ipv6Net::new_assert(address, length).network().octets())
            }
        }
    }
}

/// Entries are in order, so each length is a search.
fn longest<A: Ord, V>(entries: &[(A, u8, V)], bits: u8, network: impl Fn(u8) -> A) -> Option<&V> {
    if entries.is_empty() {
        return None;
    }
    (0..=bits).rev().find_map(|length| {
        let wanted = (network(length), length);
        let place =
            entries.binary_search_by(|(address, length, _)| (address, length).cmp(&(&wanted.0, &wanted.1)));
        place.ok().map(|place| &entries[place].2)
    })
}

/// Compiles prefixes with what is said of each; they come in order. `combine` joins what a covering prefix (or the same one,
/// named twice before) says with what the prefix itself says.
pub fn compile<V: Copy>(
    entries: impl IntoIterator<Item = (IpNet, V)>,
    combine: impl Fn(V, V) -> V,
) -> Prefixes<V> {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for (net, value) in entries {
        match net {
            IpNet::V4(net) => v4.push((u32::from(net.network()), net.prefix_len(), value)),
            IpNet::V6(net) => v6.push((u128::from(net.network()), net.prefix_len(), value)),
        }
    }
    let covers_v4 = |outer, bits, inner| (outer ^ inner) & mask(32, bits) as u32 == 0;
    let covers_v6 = |outer, bits, inner| (outer ^ inner) & mask(128, bits) == 0;
    Prefixes {
        v4: inherit(v4, covers_v4, &combine)
            .map(|(address, length, value)| (address.to_be_bytes(), length, value))
            .collect(),
        v6: inherit(v6, covers_v6, &combine)
            .map(|(address, length, value)| (address.to_be_bytes(), length, value))
            .collect(),
    }
}

/// Goes through prefixes in order, in which covering ones come first, with a stack of those that still cover.
fn inherit<A: Copy + Ord, V: Copy>(
    mut entries: Vec<(A, u8, V)>,
    covers: impl Fn(A, u8, A) -> bool,
    combine: &impl Fn(V, V) -> V,
) -> impl Iterator<Item = (A, u8, V)> {
    // Stable: what was named first stays first. A million in order, as files mostly have them, are sorted in no time.
    entries.sort_by_key(|&(address, length, _)| (address, length));
    entries.dedup_by(|again, first| {
        let same = (again.0, again.1) == (first.0, first.1);
        if same {
            first.2 = combine(first.2, again.2);
        }
        same
    });
    let mut covering: Vec<(A, u8, V)> = Vec::new();
    entries.into_iter().map(move |(address, length, value)| {
        while covering.last().is_some_and(|&(outer, bits, _)| !covers(outer, bits, address)) {
            covering.pop();
        }
        let value = covering.last().map_or(value, |&(_, _, outer)| combine(outer, value));
        covering.push((address, length, value));
        (address, length, value)
    })
}

/// The upper `bits` bits of an address of `width`.
const fn mask(width: u8, bits: u8) -> u128 {
    match bits {
        0 => 0,
        bits => u128::MAX << (width - bits),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_says_what_covering_ones_say() {
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        let entries = [
            (net("198.51.100.0/24"), 1),
            (net("198.51.100.128/25"), 2),
            (net("198.51.100.200/32"), 4),
            (net("203.0.113.0/24"), 8),
            (net("2001:db8::/32"), 16),
            (net("2001:db8:7::/48"), 32),
            (net("0.0.0.0/0"), 64),
            (net("203.0.113.0/24"), 128),
        ];
        let compiled = compile(entries, |outer, own| outer | own);
        let v4: Vec<_> = compiled.v4.iter().map(|&(_, length, value)| (length, value)).collect();
        assert_eq!(v4, [(0, 64), (24, 65), (25, 67), (32, 71), (24, 200)]);
        let v6: Vec<_> = compiled.v6.iter().map(|&(_, length, value)| (length, value)).collect();
        assert_eq!(v6, [(32, 16), (48, 48)]);
    }
}
