//! Networks in which sources are finer than a /64: their numbers, and the sources that keys name. [`gateway_common::source::finer`] says why.

use std::net::Ipv6Addr;

use gateway_common::{
    hash::{self, Key},
    packet::Address,
    source::finer::{Finer, NUMBERS, parts},
};
use ipnet::{IpNet, Ipv6Net};

use crate::config::FinerNetwork;

/// Each network with its number, which follows from the network itself: so keys of one are not taken for another's after a reload.
/// Where two have the same, the later one takes the next that is free.
pub fn numbered(networks: &[FinerNetwork]) -> Vec<(FinerNetwork, u32)> {
    let mut numbered: Vec<(FinerNetwork, u32)> = Vec::new();
    for &network in networks {
        let wanted = number_of(&network);
        let after = (0..NUMBERS - 1).map(|step| (wanted + step) % (NUMBERS - 1) + 1);
        let free = after.into_iter().find(|number| numbered.iter().all(|(_, taken)| taken != number));
        numbered.extend(free.map(|number| (network, number)));
    }
    numbered
}

/// As the packet path takes them.
pub fn compile(networks: &[FinerNetwork]) -> impl Iterator<Item = (IpNet, Finer)> {
    numbered(networks).into_iter().filter_map(|(FinerNetwork { network, ipv6_prefix }, number)| {
        Some((network.into(), Finer::new(number, network.prefix_len(), ipv6_prefix)?))
    })
}

/// The source that a key names, if it is one of these networks'.
pub fn source_of(key: u64, networks: &[FinerNetwork]) -> Option<IpNet> {
    let (number, bits) = parts(key)?;
    if number == 0 {
        // The first byte of the interface identifier is not in the key.
        return Some(Ipv6Net::from(Ipv6Addr::from_bits(0xfe80 << 112 | u128::from(bits))).into());
    }
    let (FinerNetwork { network, ipv6_prefix }, _) =
        numbered(networks).into_iter().find(|(_, taken)| *taken == number)?;
    let below = u32::from(u8::try_from(u128::BITS).ok()?.checked_sub(ipv6_prefix)?);
    let address = Ipv6Addr::from_bits(network.network().to_bits() | u128::from(bits) << below);
    Some(Ipv6Net::new(address, ipv6_prefix).ok()?.into())
}

fn number_of(FinerNetwork { network, ipv6_prefix }: &FinerNetwork) -> u32 {
    let Address { high, low } = Address::v6(network.network().octets());
    let lengths = u64::from(network.prefix_len()) << 8 | u64::from(*ipv6_prefix);
    let mark = hash::fingerprint(Key::default(), [high, low, lengths]);
    (mark % u64::from(NUMBERS - 1)) as u32
}

#[cfg(test)]
mod tests {
    use gateway_common::source::finer::LINK_LOCAL;

    use super::*;

    fn networks(all: &[(&str, u8)]) -> Vec<FinerNetwork> {
        let network = |&(network, ipv6_prefix): &(&str, u8)| FinerNetwork {
            network: network.parse().unwrap(),
            ipv6_prefix,
        };
        all.iter().map(network).collect()
    }

    #[test]
    fn a_key_names_the_source_that_it_was_made_of() {
        let networks = networks(&[
            ("2001:db8:1:2::/64", 120),
            ("2001:db8:64::/96", 128),
            ("2001:db8:3::/48", 96),
            ("2001:db8:1:2:ff00::/72", 128),
        ]);
        for (index, address, source) in [
            (0, "2001:db8:1:2:a1b2:c3d4:e5f6:789a", "2001:db8:1:2:a1b2:c3d4:e5f6:7800/120"),
            (1, "2001:db8:64::192.0.2.9", "2001:db8:64::c000:209/128"),
            (2, "2001:db8:3:4:5:6:7:8", "2001:db8:3:4:5:6::/96"),
            (3, "2001:db8:1:2:ff12:3456:789a:bcde", "2001:db8:1:2:ff12:3456:789a:bcde/128"),
        ] {
            let (_, finer) = compile(&networks).nth(index).unwrap();
            let address: Ipv6Addr = address.parse().unwrap();
            let key = finer.key(Address::v6(address.octets()));
            assert_eq!(source_of(key, &networks), Some(source.parse().unwrap()));
        }
        assert_eq!(source_of(0x2001_0db8_0000_0000, &networks), None);
        let address: Ipv6Addr = "fe80::8:9abc:def0:1234".parse().unwrap();
        let key = LINK_LOCAL.key(Address::v6(address.octets()));
        assert_eq!(source_of(key, &networks), Some(Ipv6Net::from(address).into()));
    }

    #[test]
    fn a_number_stays_when_others_come_and_go() {
        let all: Vec<FinerNetwork> = (0..NUMBERS as u16 - 1)
            .map(|index| FinerNetwork {
                network: Ipv6Net::new(Ipv6Addr::new(0x2001, 0xdb8, 0, index, 0, 0, 0, 0), 64).unwrap(),
                ipv6_prefix: 120,
            })
            .collect();
        let mut numbers: Vec<u32> = numbered(&all).into_iter().map(|(_, number)| number).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (1..NUMBERS).collect::<Vec<_>>());
        for one in &all {
            let alone = numbered(&[*one]);
            assert_eq!(alone[0].1, number_of(one) + 1);
        }
    }
}
