//! The networks that share a bucket: /24 of IPv4, /56 and /48 of IPv6.

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
};

use gateway_common::source::{KEY_SHARED_V4, KEY_V4, finer::is_finer, shared_48, shared_56};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// A neighbourhood, by the key of its bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Neighbourhood(u64);

/// What is behind the first 24 bits of an IPv4 address.
const HOSTS: u64 = 0xff;
/// The first byte of a key of a /56.
const NARROW: u64 = 0xff;

impl Neighbourhood {
    /// The narrowest one of a source, by the source's key.
    pub const fn of_source(key: u64) -> Option<Self> {
        if key >> 32 == KEY_V4 >> 32 {
            return Some(Self(KEY_SHARED_V4 | key as u32 as u64 & !HOSTS));
        }
        // The unspecified address has none, and shared keys neither; nor hosts that have nothing to do with their neighbours.
        if key >> 48 == 0 || key >> 56 == NARROW || is_finer(key) { None } else { Some(Self(shared_56(key))) }
    }

    /// The one whose bucket has a key; nothing if it is a source's.
    pub const fn of_shared(key: u64) -> Option<Self> {
        let own = Self(key);
        if own.is_v4() || own.is_wide() || key >> 56 == NARROW { Some(own) } else { None }
    }

    /// The /48 of a /56.
    pub const fn wide(self) -> Option<Self> {
        if self.0 >> 56 != NARROW {
            return None;
        }
        match shared_48(self.0 << 8) {
            Some(key) => Some(Self(key)),
            None => None,
        }
    }

    /// The key of its bucket.
    pub const fn key(self) -> u64 {
        self.0
    }

    /// Whether it is one of IPv4.
    pub const fn is_v4(self) -> bool {
        self.0 >> 32 == KEY_SHARED_V4 >> 32
    }

    /// Whether it is a /48 of IPv6.
    pub const fn is_wide(self) -> bool {
        self.0 >> 48 == 0 && self.0 >> 40 != 0
    }

    /// Its prefix.
    pub fn network(self) -> IpNet {
        let v6 = |high: u64, length| {
            IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::from_bits(u128::from(high) << 64), length))
        };
        match self.0 {
            key if self.is_v4() => IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::from_bits(key as u32), 24)),
            key if key >> 56 == NARROW => v6(key << 8, 56),
            key => v6(key << 16, 48),
        }
    }
}

impl fmt::Display for Neighbourhood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.network().fmt(f)
    }
}
