//! Laws of the tables: buckets on one set, and whose proof a connection's is.

use gateway_common::{
    abi::{Limits, SLOT_KEY, SLOT_TATS, WAYS},
    env::{Context, Env as _},
    limit::{
        bucket::Cost,
        rate::{Dimension, Instant, Limit, SECOND, bit, debt},
    },
    stage::parse,
    state::{
        assoc::Victim,
        conntrack::{self, Conn, ConnState, Phase},
        known_clients,
    },
    tables::{BucketTable, Note, Table},
    verdict::Reason,
    words::{Slots as _, Words as _},
};
use gateway_tests::builder;
use gateway_tests::cases::{CLIENT, Draft as _, Offer, SERVER, SERVER_V6, START, limit};
use gateway_user::host::{Drops, HostEnv, Sets, Stand};
use proptest::prelude::*;

/// An environment whose table of sources is one set.
fn one_set() -> HostEnv {
    let mut stand = Stand::new();
    stand.sets = Sets { sources: 1, ..Sets::default() };
    HostEnv::new(stand)
}

fn limits(packets: Limit) -> Limits {
    let mut limits = Limits::default();
    limits.each[Dimension::Packets as usize] = packets;
    limits
}

/// Key and debt of every slot.
fn slots(env: &HostEnv, now: Instant) -> Vec<(u64, Instant)> {
    let set = env.tables().set(Table::Sources, 0).expect("one set");
    (0..WAYS)
        .map(|way| {
            let slot = set.slot(way);
            let debts = (0..Dimension::COLUMNS).map(|place| debt(slot.load(SLOT_TATS + place), now));
            (slot.load(SLOT_KEY), debts.max().unwrap_or(0))
        })
        .collect()
}

/// One packet of a source.
fn admits(env: &HostEnv, limits: &Limits, key: u64, now: Instant) -> bool {
    let cost = Cost { bytes: 60, mask: bit(Dimension::Packets) };
    let bucket =
        gateway_tests::bucket(env, BucketTable::Sources, key, now).expect("one CPU is never contended");
    bucket.over(cost, limits, now.into()) == 0 && bucket.charge(cost, limits, now.into()) == 0
}

/// Sources and gaps around the limit's pace.
fn packets() -> impl Strategy<Value = Vec<(u64, u64)>> {
    let gap = prop_oneof![Just(0u64), 0u64..200_000_000, 0u64..5_000_000_000];
    prop::collection::vec((1u64..9, gap), 1..300)
}

proptest! {
    #[test]
    fn only_the_least_debt_goes(packets in packets()) {
        let env = one_set();
        let limits = limits(limit(Dimension::Packets, 10, 5));
        let mut now = START;
        for (key, gap) in packets {
            now += gap << 8;
            let before = slots(&env, now);
            let evicted = env.counters().noted(Table::Sources, Note::Evicted);
            let known = before.iter().any(|(owner, _)| *owner == key);
            admits(&env, &limits, key, now);
            let after = slots(&env, now);
            let evicted = env.counters().noted(Table::Sources, Note::Evicted) - evicted;
            let changed: Vec<usize> = (0..WAYS).filter(|&way| before[way].0 != after[way].0).collect();
            if known {
                prop_assert!(changed.is_empty() && evicted == 0);
                continue;
            }
            prop_assert_eq!(changed.len(), 1);
            let least = before.iter().map(|(_, debt)| *debt).min().expect("ways");
            prop_assert_eq!(before[changed[0]].1, least);
            prop_assert_eq!(evicted, u64::from(least != 0));
        }
    }

    #[test]
    fn a_source_that_keeps_its_slot_gets_no_more_than_its_limit(packets in packets()) {
        let env = one_set();
        let (rate, burst) = (10u128, 5u128);
        let limits = limits(limit(Dimension::Packets, rate as u64, burst as u64));
        let mut now = START;
        // Since when each source has its slot, and what it got since.
        let mut tenants: Vec<(u64, Instant, u128)> = Vec::new();
        for (key, gap) in packets {
            now += gap << 8;
            let known = slots(&env, now).iter().any(|(owner, _)| *owner == key);
            let admitted = admits(&env, &limits, key, now);
            if !known {
                tenants.retain(|(tenant, ..)| *tenant != key);
                tenants.push((key, now, 0));
            }
            let tenant = tenants.iter_mut().find(|(tenant, ..)| *tenant == key).expect("entered");
            tenant.2 += u128::from(admitted);
            let time = u128::from((now - tenant.1) >> 8);
            prop_assert!(tenant.2 * 1_000_000_000 <= rate * time + 1_000_000_000 * burst);
        }
    }

    #[test]
    fn a_full_bucket_is_the_same_as_none(gaps in prop::collection::vec(0u64..400_000_000, 1..100)) {
        // A source alone, and one that loses its slot whenever it owes nothing: the same answers.
        let (alone, crowded) = (one_set(), one_set());
        let limits = limits(limit(Dimension::Packets, 10, 3));
        let mut now = START;
        for gap in gaps {
            now += gap << 8;
            if slots(&crowded, now).iter().all(|(_, debt)| *debt == 0) {
                for stranger in 100..100 + WAYS as u64 {
                    gateway_tests::bucket(&crowded, BucketTable::Sources, stranger, now).expect("a slot");
                }
            }
            prop_assert_eq!(admits(&alone, &limits, 1, now), admits(&crowded, &limits, 1, now));
        }
    }
}

#[test]
fn a_full_table_of_clients_forgets_who_was_silent_for_longest() {
    let mut stand = Stand::new().serve(Offer::tls(443));
    stand.sets = Sets { clients: 1, ..Sets::default() };
    let env = HostEnv::new(stand);
    let host = &env;
    let (active, now) = (host.active(), START);
    let settings = host.settings(active).expect("settings");
    let context = |seconds: u64| Context {
        env: &host,
        settings,
        active,
        now: now + seconds * SECOND,
        drops: Drops::default(),
    };
    let packet = |client: u8| {
        let frame = builder::ip(&format!("192.0.2.{client}"), SERVER).tcp(1, 443).build();
        parse::packet(&frame.as_slice()).expect("a packet")
    };
    let meet = |client, seconds| {
        known_clients::insert(&context(seconds), &packet(client), &mut Victim::default());
    };
    let known = |seconds| {
        let is_known = |client: &u8| known_clients::contains(&context(seconds), &packet(*client));
        (1..=6).filter(is_known).collect::<Vec<u8>>()
    };
    for client in 1..=4 {
        meet(client, 100 * u64::from(client));
    }
    meet(1, 500);
    assert_eq!(known(500), [1, 2, 3, 4]);
    meet(5, 600);
    assert_eq!(known(600), [1, 3, 4, 5]);
    assert_eq!(env.counters().noted(Table::KnownClients, Note::Evicted), 1);
    // Who is known no more loses nothing.
    let days = 200_000;
    assert!(known(days).is_empty());
    meet(6, days);
    assert_eq!(known(days), [6]);
    assert_eq!(env.counters().noted(Table::KnownClients, Note::Evicted), 1);
}

/// Who has a /47 has more sources than the table has places.
#[test]
fn one_network_of_ipv6_takes_few_places_among_clients() {
    let env = HostEnv::new(Stand::new().serve(Offer::tls(443)));
    let host = &env;
    let active = host.active();
    let settings = host.settings(active).expect("settings");
    let context = Context { env: &host, settings, active, now: START, drops: Drops::default() };
    for network in 0..=0x1_ffff_u32 {
        let (high, low) = (network >> 16, network & 0xffff);
        let source = format!("2001:db8:{high:x}:{low:x}::9");
        let packet = parse::packet(&builder::ip(&source, SERVER_V6).tcp(1, 443).build().as_slice());
        known_clients::insert(&context, &packet.expect("a packet"), &mut Victim::default());
    }
    assert_eq!(env.counters().noted(Table::KnownClients, Note::Inserted), 2);
    assert_eq!(env.counters().noted(Table::KnownClients, Note::Evicted), 0);
}

#[test]
fn proof_of_another_connection_is_none() {
    // What a race of two connections for one entry can leave: the name of one, the state of the other.
    let env = HostEnv::new(Stand::new().serve(Offer::tls(443)));
    let frame =
        |port| builder::ip(CLIENT, SERVER).tcp(port, 443).seq(70_000).payload(b"GET / HTTP/1.1\r\n").build();
    let identity = |port| {
        let packet = parse::packet(&frame(port).as_slice()).expect("a packet");
        conntrack::identity(&&env, &packet)
    };
    let words = |identity: u64| {
        let index = (identity >> 32) as u32 & (Sets::default().connections - 1);
        env.tables().set(Table::Conntrack, index).expect("a set")
    };
    let proven = ConnState::new(0, Phase::Proven, START);
    let (one, other) = (identity(1), identity(2));
    env.set_now(START);
    let host = &env;
    let active = host.active();
    let settings = host.settings(active).expect("settings");
    let context = Context { env: &host, settings, active, now: START, drops: Drops::default() };
    let conn = Conn { identity: one, next: proven, ..Conn::default() };
    assert!(conntrack::remember(&context, &conn, &mut Victim::default()).is_continue());
    assert_eq!(env.judge(&frame(1), START).reason, Reason::Ok);
    let state = words(one).load(1);
    words(other).store(0, other);
    words(other).store(1, state);
    // Nor is it a connection that was open before the gateway came.
    assert_eq!(env.judge(&frame(2), START).reason, Reason::TcpSequence);
}
