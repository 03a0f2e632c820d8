//! Sets of prefixes with longest-prefix look-up, as `BPF_MAP_TYPE_LPM_TRIE` has it.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::packet::Address;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Values by prefix. The longest prefix answers alone: its value must contain what the covering prefixes say.
#[derive(Clone, Debug)]
pub struct Prefixes<T> {
    v4: HashMap<(u8, u32), T>,
    v6: HashMap<(u8, u128), T>,
    /// Bit *n*: there are prefixes of length *n*.
    lengths_v4: u64,
    /// The same; 128 is the highest, so a bit more than a word.
    lengths_v6: [u64; 3],
}

impl<T> Default for Prefixes<T> {
    fn default() -> Self {
        Self { v4: HashMap::new(), v6: HashMap::new(), lengths_v4: 0, lengths_v6: [0; 3] }
    }
}

impl<T> Prefixes<T> {
    /// Sets the value of a prefix.
    pub fn insert(&mut self, prefix: IpNet, value: T) {
        let length = prefix.prefix_len();
        match prefix.trunc() {
            IpNet::V4(net) => {
                self.lengths_v4 |= 1 << length;
                self.v4.insert((length, net.addr().to_bits()), value);
            }
            IpNet::V6(net) => {
                self.lengths_v6[usize::from(length / 64)] |= 1 << (length % 64);
                self.v6.insert((length, net.addr().to_bits()), value);
            }
        }
    }

    /// Whether there are IPv4 prefixes.
    #[must_use]
    pub fn has_v4(&self) -> bool {
        !self.v4.is_empty()
    }

    /// Whether there are IPv6 prefixes.
    #[must_use]
    pub fn has_v6(&self) -> bool {
        !self.v6.is_empty()
    }

    /// Every prefix with its value, in no order.
    ///
    /// # Panics
    /// Never: the lengths in the set are those of prefixes.
    pub fn iter(&self) -> impl Iterator<Item = (IpNet, &T)> {
        let v4 = self.v4.iter().map(|(&(length, bits), value)| {
            (IpNet::V4(Ipv4Net::new(Ipv4Addr::from_bits(bits), length).expect("a length of before")), value)
        });
        let v6 = self.v6.iter().map(|(&(length, bits), value)| {
            (IpNet::V6(Ipv6Net::new(Ipv6Addr::from_bits(bits), length).expect("a length of before")), value)
        });
        v4.chain(v6)
    }

    /// The value of the longest prefix that holds an address.
    #[must_use]
    pub fn longest(&self, ipv6: bool, address: Address) -> Option<&T> {
        if ipv6 { self.longest_v6(address) } else { self.longest_v4(address.as_v4()) }
    }

    fn longest_v4(&self, address: u32) -> Option<&T> {
        (0..=32u8).rev().filter(|length| self.lengths_v4 & 1 << length != 0).find_map(|length| {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            self.v4.get(&(length, address & mask))
        })
    }

    fn longest_v6(&self, Address { high, low }: Address) -> Option<&T> {
        let address = u128::from(high) << 64 | u128::from(low);
        let has = |length: &u8| self.lengths_v6[usize::from(length / 64)] & 1 << (length % 64) != 0;
        (0..=128u8).rev().filter(has).find_map(|length| {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            self.v6.get(&(length, address & mask))
        })
    }
}
