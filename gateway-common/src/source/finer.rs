//! Networks in which sources are finer than a /64: there each host counts by itself, even if hosts that have nothing to
//! do with each other share a /64, as machines of one provider do.
//!
//! A source's key has 64 bits, and its address has more. So the key has the network's number, and the address bits
//! behind the network.

use crate::packet::Address;

/// How a link-local address becomes a key, as network number 0: by the lower 56 bits of its interface identifier.
/// Otherwise all of a link would be one source.
pub const LINK_LOCAL: Finer = Finer(u32::from_le_bytes([0, 63, 0, WIDTH_MAX]));
/// The upper half of fe80::/64.
const LINK_LOCAL_HIGH: u64 = 0xfe80 << 48;

/// Whether an address is of the link alone (RFC 4291 section 2.5.6).
#[inline(always)]
pub const fn is_link_local(address: Address) -> bool {
    address.high == LINK_LOCAL_HIGH
}

/// Networks of one policy have numbers from 1 up, below this.
pub const NUMBERS: u32 = 1 << (TAG - WIDTH_MAX as u32);
/// How many bits a source can have more than its network.
pub const WIDTH_MAX: u8 = 56;
/// Place of a key's upper two bits, which are 01 for such a source. As IPv6 prefixes such keys lie in 4000::/2, of
/// which nothing is assigned to anybody. A source forged from there can count as one that could be forged as well.
const TAG: u32 = 62;

/// How an address becomes a key, as a word of a [`Listing`](crate::abi::Listing). From its lowest byte up: the
/// network's number, how many bits the address's upper half is shifted up, how many its lower half is shifted down, and
/// how many bits of both make the source. 0: as everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Finer(pub u32);

impl Finer {
    /// The rule for a network, by its number, its prefix length, and that of its sources. Nothing if a number is out of
    /// range: sources have 65 to 128 bits, and at most [`WIDTH_MAX`] more than the network.
    pub const fn new(number: u32, network: u8, source: u8) -> Option<Self> {
        if number == 0 || number >= NUMBERS || source <= 64 || source > 128 {
            return None;
        }
        let Some(width @ 1..=WIDTH_MAX) = source.checked_sub(network) else { return None };
        // For a source of 128 bits the shift would be 64. The one bit that 63 leaves is above the bits of the source.
        let up = if source == 128 { 63 } else { source - 64 };
        Some(Self(u32::from_le_bytes([number as u8, up, 128 - source, width])))
    }

    /// The key of an address in the network.
    #[inline(always)]
    pub const fn key(self, Address { high, low }: Address) -> u64 {
        let [number, up, down, width] = self.0.to_le_bytes();
        let bits = high.wrapping_shl(up as u32) | low.wrapping_shr(down as u32);
        let mask = u64::MAX.wrapping_shr(u64::BITS - width as u32);
        1 << TAG | (number as u64) << WIDTH_MAX | bits & mask
    }
}

/// Whether a key is of such a source.
#[inline(always)]
pub const fn is_finer(key: u64) -> bool {
    key >> TAG == 1
}

/// The number of its network, and the address bits behind the network.
pub const fn parts(key: u64) -> Option<(u32, u64)> {
    if !is_finer(key) {
        return None;
    }
    Some(((key >> WIDTH_MAX) as u32 & (NUMBERS - 1), key & (u64::MAX >> (u64::BITS - WIDTH_MAX as u32))))
}

#[cfg(test)]
mod tests {
    use core::net::Ipv6Addr;

    use super::*;

    fn key(network: u8, source: u8, address: &str) -> u64 {
        let address: Ipv6Addr = address.parse().unwrap();
        Finer::new(5, network, source).unwrap().key(Address::v6(address.octets()))
    }

    #[test]
    fn a_key_has_the_bits_between_network_and_source() {
        for (network, source, address, bits) in [
            (64, 120, "2001:db8:1:2:a1b2:c3d4:e5f6:789a", 0xa1_b2c3_d4e5_f678),
            (72, 128, "2001:db8:1:2:a1b2:c3d4:e5f6:789a", 0xb2_c3d4_e5f6_789a),
            (48, 96, "2001:db8:1:2:a1b2:c3d4:e5f6:789a", 0x0002_a1b2_c3d4),
            (64, 65, "2001:db8:1:2:8000::", 1),
            (127, 128, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe", 0),
            (96, 128, "2001:db8:1:2::ffff:ffff", 0xffff_ffff),
        ] {
            let key = key(network, source, address);
            assert_eq!(parts(key), Some((5, bits)), "{address} {network} {source}");
        }
    }

    #[test]
    fn what_is_out_of_range_is_none() {
        for (number, network, source) in [
            (0, 64, 96),
            (NUMBERS, 64, 96),
            (1, 64, 128),
            (1, 32, 64),
            (1, 96, 96),
            (1, 97, 96),
            (1, 100, 129),
        ] {
            assert_eq!(Finer::new(number, network, source), None, "{number} {network} {source}");
        }
        assert_eq!(parts(0x2001_0db8_0000_0000), None);
    }
}
