//! The host's environment keeps what it promises. Frames are judged only in tests of other crates: to compile the
//! packet path here, too, would double the time that it takes.

use std::net::IpAddr;

use crate::{
    abi::{Active, Live},
    tables::Table,
    words::Words as _,
};
use proptest::prelude::*;

use super::*;

fn address(ip: IpAddr) -> (bool, crate::packet::Address) {
    use crate::packet::Address;
    match ip {
        IpAddr::V4(ip) => (false, Address::v4(ip.octets())),
        IpAddr::V6(ip) => (true, Address::v6(ip.octets())),
    }
}

fn prefix() -> impl Strategy<Value = ipnet::IpNet> {
    // Few bits, so that prefixes meet.
    let v4 = (0u32..8, 0u8..=32).prop_map(|(bits, length)| (IpAddr::V4((bits << 29 | bits).into()), length));
    let v6 =
        (0u128..8, 0u8..=128).prop_map(|(bits, length)| (IpAddr::V6((bits << 125 | bits).into()), length));
    prop_oneof![v4, v6].prop_map(|(ip, length)| ipnet::IpNet::new(ip, length).expect("a right length"))
}

proptest! {
    #[test]
    fn the_longest_prefix_answers(prefixes in prop::collection::vec(prefix(), 0..20), asked in prefix()) {
        let mut set = Prefixes::default();
        for prefix in &prefixes {
            set.insert(*prefix, prefix.trunc());
        }
        let ip = asked.addr();
        let expected = prefixes
            .iter()
            .filter(|prefix| prefix.contains(&ip))
            .max_by_key(|prefix| prefix.prefix_len())
            .map(ipnet::IpNet::trunc);
        let (ipv6, address) = address(ip);
        prop_assert_eq!(set.longest(ipv6, address).copied(), expected);
        prop_assert_eq!(set.iter().filter(|(prefix, value)| prefix == *value).count(), set.iter().count());
    }
}

#[test]
fn words_beyond_the_last_read_as_zero() {
    let tables = Tables::new(Sets::default());
    let set = tables.set(Table::Conntrack, 0).expect("a set");
    set.store(1_000, 7);
    set.add(1_000, 7);
    assert!(!set.replace(1_000, 0, 7));
    assert_eq!(set.load(1_000), 0);
    assert!(tables.set(Table::Conntrack, Sets::default().connections).is_none());
    assert!(tables.set(Table::ServiceSources, Sets::default().all_of(Table::ServiceSources)).is_none());
}

#[test]
fn a_stand_says_where_live_entries_are() {
    let mut stand = Stand::new();
    let Active(before) = stand.active();
    let live = Live { allow_until: 1, ..Live::NONE };
    stand.live.insert("2001:db8::/32".parse().expect("a prefix"), live.into());
    assert_eq!(stand.active(), Active(before | Active::LIVE_V6));
    stand.live.insert("192.0.2.0/24".parse().expect("a prefix"), live.into());
    assert_eq!(stand.active(), Active(before | Active::LIVE_V4 | Active::LIVE_V6));
}
