//! Banned sources as prefixes: their keys are those of [`gateway_common::state::ban_table`].

use std::net::{Ipv4Addr, Ipv6Addr};

use gateway_common::source::{KEY_UNSPECIFIED, KEY_V4, finer::is_finer};
use ipnet::IpNet;

use crate::{config::Limits, finer, model::Prefix};

/// The key of a prefix that the table takes: an IPv4 address, or an IPv6 /64. All others are matched as prefixes.
pub fn source_of(prefix: Prefix) -> Option<u64> {
    match prefix.network() {
        IpNet::V4(net) if net.prefix_len() == 32 => Some(KEY_V4 | u64::from(u32::from(net.addr()))),
        IpNet::V6(net) if net.prefix_len() == 64 => match (u128::from(net.addr()) >> 64) as u64 {
            0 => Some(KEY_UNSPECIFIED),
            high => Some(high),
        },
        _ => None,
    }
}

/// A source's key as a prefix: of the table, or with other lengths of the tables of limits and strikes.
pub fn prefix_of(key: u64, ipv4_prefix: u8, ipv6_prefix: u8) -> Option<Prefix> {
    let net = match key {
        KEY_UNSPECIFIED => IpNet::new(Ipv6Addr::UNSPECIFIED.into(), ipv6_prefix),
        key if key >> 32 == KEY_V4 >> 32 => IpNet::new(Ipv4Addr::from(key as u32).into(), ipv4_prefix),
        key => IpNet::new(Ipv6Addr::from(u128::from(key) << 64).into(), ipv6_prefix),
    };
    Prefix::try_from(net.ok()?).ok()
}

/// The source that a key of the tables of limits and strikes names.
pub fn source_by_limits(key: u64, limits: &Limits) -> Option<Prefix> {
    if is_finer(key) {
        return Prefix::try_from(finer::source_of(key, &limits.finer)?).ok();
    }
    prefix_of(key, limits.ipv4_prefix, limits.ipv6_prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_prefixes_are_the_same_sources() {
        for text in ["192.0.2.9", "2001:db8:7:8::/64", "::/64", "0.0.0.0"] {
            let prefix: Prefix = text.parse().unwrap();
            assert_eq!(prefix_of(source_of(prefix).unwrap(), 32, 64), Some(prefix));
        }
        for text in ["192.0.2.0/31", "2001:db8:7:8::9", "2001:db8::/63"] {
            assert_eq!(source_of(text.parse().unwrap()), None);
        }
    }
}
