//! Prefix sets as the kernel takes them: each entry says all that holds for it, what covering prefixes say included, so that
//! one longest-prefix match answers.

pub mod flat;

use std::collections::BTreeMap;

use ipnet::IpNet;

use crate::kernel::Prefixes;

/// Compiles prefixes with what is said of each. `combine` joins what a covering prefix (or the same one, named twice before)
/// says with what the prefix itself says.
pub fn compile<V: Copy>(
    entries: impl IntoIterator<Item = (IpNet, V)>,
    combine: impl Fn(V, V) -> V,
) -> Prefixes<V> {
    let (mut v4, mut v6) = (BTreeMap::new(), BTreeMap::new());
    for (net, value) in entries {
        let (family, address) = match net {
            IpNet::V4(net) => (&mut v4, u128::from(u32::from(net.network())) << 96),
            IpNet::V6(net) => (&mut v6, u128::from(net.network())),
        };
        let slot = family.entry((address, net.prefix_len())).or_insert(value);
        *slot = combine(*slot, value);
    }
    Prefixes {
        v4: inherit(v4, &combine)
            .map(|(address, length, value)| (((address >> 96) as u32).to_be_bytes(), length, value))
            .collect(),
        v6: inherit(v6, &combine)
            .map(|(address, length, value)| (address.to_be_bytes(), length, value))
            .collect(),
    }
}

/// Goes through prefixes in order, in which covering ones come first, with a stack of those that still cover.
fn inherit<V: Copy>(
    entries: BTreeMap<(u128, u8), V>,
    combine: &impl Fn(V, V) -> V,
) -> impl Iterator<Item = (u128, u8, V)> {
    let mut covering: Vec<(u128, u8, V)> = Vec::new();
    entries.into_iter().map(move |((address, length), value)| {
        while covering.last().is_some_and(|&(outer, bits, _)| (address ^ outer) & mask(bits) != 0) {
            covering.pop();
        }
        let value = covering.last().map_or(value, |&(_, _, outer)| combine(outer, value));
        covering.push((address, length, value));
        (address, length, value)
    })
}

/// The upper `bits` bits.
const fn mask(bits: u8) -> u128 {
    match bits {
        0 => 0,
        bits => u128::MAX << (128 - bits),
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
        ];
        let compiled = compile(entries, |outer, own| outer | own);
        let v4: Vec<_> = compiled.v4.iter().map(|&(_, length, value)| (length, value)).collect();
        assert_eq!(v4, [(0, 64), (24, 65), (25, 67), (32, 71), (24, 72)]);
        let v6: Vec<_> = compiled.v6.iter().map(|&(_, length, value)| (length, value)).collect();
        assert_eq!(v6, [(32, 16), (48, 48)]);
    }
}
