//! Looks under a clock that the test sets.

use std::net::{Ipv4Addr, Ipv6Addr};

use gateway_common::{
    abi::{Limits, SLOT_TATS, SLOT_WORDS},
    limit::rate::{Dimension, Instant, Limit, Rate, SECOND},
    source::{KEY_UNSPECIFIED, KEY_V4},
};

use super::*;

fn v4(text: &str) -> u64 {
    KEY_V4 | u64::from(text.parse::<Ipv4Addr>().unwrap().to_bits())
}

fn v6(text: &str) -> u64 {
    (text.parse::<Ipv6Addr>().unwrap().to_bits() >> 64) as u64
}

/// So many sources from one on.
fn sources(first: u64, count: u32) -> impl Iterator<Item = u64> + Clone {
    (0..u64::from(count)).map(move |number| first + number)
}

fn names(neighbourhoods: impl IntoIterator<Item = Neighbourhood>) -> Vec<String> {
    neighbourhoods.into_iter().map(|neighbourhood| neighbourhood.to_string()).collect()
}

fn escalated(watch: &Watch) -> Vec<String> {
    names(watch.iter().map(|(neighbourhood, _)| neighbourhood))
}

#[test]
fn enough_offenders_of_one_network_escalate_it() {
    let mut watch = Watch::default();
    assert!(watch.look(sources(v4("192.0.2.0"), OFFENDERS - 1), 0).is_empty());
    // Across the border of two networks.
    let both = sources(v4("192.0.1.241"), 2 * OFFENDERS - 2);
    assert!(watch.look(both, SECOND).is_empty());
    let changes = watch.look(sources(v4("192.0.2.240"), OFFENDERS), 2 * SECOND);
    assert_eq!(changes.escalated.len(), 1);
    assert_eq!(changes.escalated[0].1, OFFENDERS);
    assert_eq!(escalated(&watch), ["192.0.2.0/24"]);
    // What was under way at the change is no second one.
    assert!(watch.look(sources(v4("192.0.2.0"), 200), 3 * SECOND).is_empty());
    assert_eq!(watch.counts(), [1, 0]);
}

#[test]
fn random_sources_escalate_nobody() {
    let mut watch = Watch::default();
    // Each over its limit even, one or two of a network.
    let scattered =
        sources(v4("10.0.0.1"), 2).flat_map(|first| sources(0, 40_000).map(move |net| first + net * 256));
    let scattered_v6 = sources(0, 40_000).map(|net| v6("2001:db8::") + net * 0x1_0003);
    assert!(watch.look(scattered.chain(scattered_v6).chain([KEY_UNSPECIFIED]), 0).is_empty());
}

#[test]
fn a_network_is_released_when_its_bucket_is_quiet() {
    let mut watch = Watch::default();
    watch.look(sources(v4("192.0.2.0"), OFFENDERS), 0);
    let key = watch.iter().next().unwrap().0.key();
    for second in 1..=20 {
        assert!(watch.look([key], second * SECOND).is_empty());
    }
    for second in 21..50 {
        assert!(watch.look([], second * SECOND).is_empty(), "released at {second} s");
    }
    assert_eq!(names(watch.look([], 50 * SECOND).released), ["192.0.2.0/24"]);
    assert_eq!(watch.counts(), [0, 0]);
}

#[test]
fn a_network_that_is_never_quiet_is_tried() {
    let mut watch = Watch::default();
    let start: Instant = 0_u64.wrapping_sub(100 * SECOND);
    watch.look(sources(v4("192.0.2.0"), OFFENDERS), start);
    let key = watch.iter().next().unwrap().0.key();
    for second in 1..300 {
        assert!(watch.look([key], start.wrapping_add(second * SECOND)).is_empty());
    }
    assert_eq!(names(watch.look([key], start.wrapping_add(TRIAL)).tried), ["192.0.2.0/24"]);
    // Each with its own limit again, but fewer offenders: it stays released.
    assert!(watch.look(sources(v4("192.0.2.0"), 3), start.wrapping_add(TRIAL + SECOND)).is_empty());
    assert!(!watch.look(sources(v4("192.0.2.0"), 64), start.wrapping_add(TRIAL + 2 * SECOND)).is_empty());
}

#[test]
fn ipv6_escalates_by_56_and_then_by_48() {
    let mut watch = Watch::default();
    let narrow = |net: u64| sources(v6("2001:db8:7::") | net << 8, OFFENDERS);
    // However many of one /56, it is one.
    watch.look(sources(v6("2001:db8:7:ab00::"), 256), 0);
    assert_eq!(escalated(&watch), ["2001:db8:7:ab00::/56"]);
    watch.look(narrow(1).chain(narrow(2)), SECOND);
    assert_eq!(watch.counts(), [0, 3]);
    let changes = watch.look(narrow(3), 2 * SECOND);
    assert_eq!(names(changes.escalated.iter().map(|(one, _)| *one)), ["2001:db8:7::/48"]);
    assert_eq!((changes.merged.len(), escalated(&watch)), (3, vec!["2001:db8:7::/48".to_owned()]));
    assert!(watch.look(narrow(9), 3 * SECOND).is_empty(), "the wide one holds it");
}

#[test]
fn a_48_escalates_for_offenders_that_are_spread() {
    let mut watch = Watch::default();
    let spread = |count: u32| sources(0, count).map(|net| v6("2001:db8:7::") | net << 8 | 1);
    assert!(watch.look(spread(NARROW * OFFENDERS - 1), 0).is_empty());
    watch.look(spread(NARROW * OFFENDERS), SECOND);
    assert_eq!(escalated(&watch), ["2001:db8:7::/48"]);
}

#[test]
fn there_are_no_more_than_there_is_room_for() {
    let mut watch = Watch::default();
    let all = sources(0, MOST as u32 + 10).flat_map(|net| sources(v4("10.0.0.0") + net * 256, OFFENDERS));
    let changes = watch.look(all, 0);
    assert_eq!((changes.escalated.len(), changes.left_out), (MOST, 10));
    assert_eq!((watch.clear().released.len(), watch.counts()), (MOST, [0, 0]));
}

#[test]
fn the_kernel_is_told_again_in_time() {
    let mut watch = Watch::default();
    watch.look(sources(v4("192.0.2.0"), OFFENDERS), 0);
    assert!(watch.renew(0));
    assert_eq!(watch.iter().next().unwrap().1, HOLD);
    assert!(!watch.renew(HOLD - RENEW));
    assert!(watch.renew(HOLD - RENEW + SECOND));
    assert!(watch.renew(10 * HOLD), "overdue");
}

#[test]
fn keys_are_networks_and_no_sources() {
    for (source, narrow, wide) in [
        (v4("192.0.2.77"), "192.0.2.0/24", None),
        (v4("0.0.0.0"), "0.0.0.0/24", None),
        (v6("2001:db8:7:abcd::"), "2001:db8:7:ab00::/56", Some("2001:db8:7::/48")),
        (v6("fe80::"), "fe80::/56", Some("fe80::/48")),
        (v6("100::"), "100::/56", Some("100::/48")),
        // What is not assigned has no key of a /48.
        (v6("1:2:3:4::"), "1:2:3::/56", None),
    ] {
        assert_eq!(Neighbourhood::of_shared(source), None);
        let own = Neighbourhood::of_source(source).unwrap();
        assert_eq!(own.to_string(), narrow);
        assert_eq!(own.wide().map(|wide| wide.to_string()).as_deref(), wide);
        for one in [Some(own), own.wide()].into_iter().flatten() {
            assert_eq!(Neighbourhood::of_shared(one.key()), Some(one));
            assert_eq!(Neighbourhood::of_source(one.key()), None);
        }
    }
    assert_eq!(
        (Neighbourhood::of_source(KEY_UNSPECIFIED), Neighbourhood::of_shared(KEY_UNSPECIFIED)),
        (None, None)
    );
}

#[test]
fn a_count_that_changed_has_grown() {
    let mut readings = Readings::default();
    assert!(readings.grown([5, 0, 7, 0]).is_empty());
    assert!(readings.grown([5, 0, 7, 0]).is_empty());
    // The third slot has a newcomer with drops of its own, the first one without.
    assert_eq!(readings.grown([0, 1, 3, 0]), [(1, 1), (2, 3)]);
    assert_eq!(readings.grown([0, 1, 3, 9]), [(3, 9)]);
    assert_eq!(readings.grown([0, 5, 2, 9]), [(1, 4), (2, 2)], "a newcomer has two");
}

#[test]
fn a_drop_without_debt_is_not_for_a_limit() {
    let mut limits = Limits::default();
    // Its burst takes two seconds to come back.
    let rate = Rate { amount: 200, per: 1_000_000_000 };
    limits.each[Dimension::Syn as usize] = Limit::new(Dimension::Syn, rate, 400).unwrap();
    let now = 1_000 * SECOND;
    let slot = |debt: Instant| {
        let mut words = [0; SLOT_WORDS];
        words[SLOT_TATS + Dimension::Syn.column()] = now + debt;
        words
    };
    assert!(is_over(&slot(2 * SECOND), &limits, now, SECOND));
    assert!(is_over(&slot(SECOND), &limits, now, SECOND), "it may have been when the look began");
    assert!(!is_over(&slot(SECOND / 2), &limits, now, SECOND));
    assert!(!is_over(&slot(0), &Limits::default(), now, SECOND), "there is no limit");
}
