//! Whom a flood claims to come from.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Result, bail};

use super::config;

/// Whom a flood claims to come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sources {
    /// The template's source.
    Fixed,
    /// Drawn from `count` addresses from `first` on.
    Ipv4 {
        /// The lowest address.
        first: Ipv4Addr,
        /// How many.
        count: u32,
    },
    /// Drawn from `count` networks of 64 bits from `first` on, counted up in the second 32 bits; the host part stays.
    Ipv6Networks {
        /// An address in the lowest network.
        first: Ipv6Addr,
        /// How many.
        count: u32,
    },
    /// Drawn from all hosts of one network of 64 bits.
    Ipv6Hosts {
        /// An address in the network.
        network: Ipv6Addr,
    },
}

impl Sources {
    /// Mode, count and base for the generator; `template` begins with the template's source.
    pub(crate) fn config(&self, template: &[u8], v6: bool) -> Result<(u32, u32, [u32; 4])> {
        let words = |address: Ipv6Addr| {
            let all = u128::from(address);
            [96, 64, 32, 0].map(|shift| (all >> shift) as u32)
        };
        let word = |index: usize| {
            template
                .get(index * 4..)
                .and_then(|rest| rest.first_chunk())
                .map_or(0, |word| u32::from_be_bytes(*word))
        };
        Ok(match (*self, v6) {
            (Self::Fixed, true) => (config::SOURCE_FIXED, 0, [0, 1, 2, 3].map(word)),
            (Self::Fixed, false) => (config::SOURCE_FIXED, 0, [word(0), 0, 0, 0]),
            (Self::Ipv4 { first, count }, false) => (config::SOURCE_IPV4, count, [first.into(), 0, 0, 0]),
            (Self::Ipv6Networks { first, count }, true) => {
                (config::SOURCE_IPV6_NETWORKS, count, words(first))
            }
            (Self::Ipv6Hosts { network }, true) => (config::SOURCE_IPV6_HOSTS, 0, words(network)),
            _ => bail!("the flood's sources are not of the template's family"),
        })
    }
}
