//! Laws of the limiter.

use proptest::prelude::*;
use std::{vec, vec::Vec};

use super::*;

/// A packet: how long after the last, and how large.
type Arrival = (u64, u32);

fn dimension() -> impl Strategy<Value = Dimension> {
    prop_oneof![Just(Dimension::Packets), Just(Dimension::Bytes)]
}

/// A possible rate, log-uniform, with a burst.
fn limit() -> impl Strategy<Value = (Dimension, Rate, u64, Limit)> {
    (dimension(), 0f64..1.0, 0f64..1.0).prop_filter_map("a limit", |(dimension, rate, burst)| {
        let bytes = dimension == Dimension::Bytes;
        let (lowest, highest): (f64, f64) = if bytes { (10.0, 12.5e9) } else { (1.0, 1e8) };
        let amount = (lowest * (highest / lowest).powf(rate)) as u64;
        let burst = if bytes { 1_518.0 * 1e6f64.powf(burst) } else { 1e6f64.powf(burst) } as u64;
        let rate = Rate { amount, per: 1_000_000_000 };
        Some((dimension, rate, burst, Limit::new(dimension, rate, burst).ok()?))
    })
}

/// Packets around a limit's pace: some at once, some too fast, some after a pause.
fn arrivals() -> impl Strategy<Value = Vec<Arrival>> {
    let gap = prop_oneof![4 => Just(0u64), 4 => 0u64..2_000_000, 1 => 0u64..10_000_000_000];
    prop::collection::vec((gap, 60u32..=1_518), 1..200)
}

/// The instants of arrivals, from a start that may wrap.
fn times(start: Instant, arrivals: &[Arrival]) -> Vec<(Instant, u128, u32)> {
    let mut elapsed = 0u128;
    let mut times = Vec::new();
    for &(gap, bytes) in arrivals {
        elapsed += u128::from(gap << INSTANT_SHIFT);
        times.push((start.wrapping_add(elapsed as u64), elapsed, bytes));
    }
    times
}

/// What a packet of so many bytes counts as.
fn units(dimension: Dimension, bytes: u32) -> u128 {
    if dimension == Dimension::Bytes { u128::from(bytes) } else { 1 }
}

/// Whether over no time more than `rate * time + burst` was admitted. `admitted`: when, and how much.
fn keeps(rate: Rate, burst: u64, admitted: &[(u128, u128)]) -> bool {
    let per = u128::from(rate.per) << INSTANT_SHIFT;
    (0..admitted.len()).all(|first| {
        let mut amount = 0;
        admitted[first..].iter().all(|&(elapsed, units)| {
            amount += units;
            let time = elapsed - admitted[first].0;
            // With all divisions multiplied out.
            amount * per <= u128::from(rate.amount) * time + u128::from(burst) * per
        })
    })
}

proptest! {
    #[test]
    fn decisions_are_those_of_exact_gcra((dimension, _, _, limit) in limit(), start: u64, arrivals in arrivals()) {
        // An idle bucket's TAT is the start: one from before it would do as well.
        let (mut tat, mut exact) = (start, 0u128);
        for (now, elapsed, bytes) in times(start, &arrivals) {
            let price = limit.price(dimension, bytes);
            let next = exact.max(elapsed) + u128::from(price);
            let conforms = next - elapsed <= u128::from(limit.burst);
            let answer = limit.admit(tat, now.into(), price);
            prop_assert_eq!(answer.is_some(), conforms);
            if let Some(next_tat) = answer {
                (tat, exact) = (next_tat, next);
                prop_assert_eq!(u128::from(tat.wrapping_sub(start)), exact & u128::from(u64::MAX));
            }
        }
    }

    #[test]
    fn no_time_gets_more_than_rate_and_burst((dimension, rate, burst, limit) in limit(), start: u64, arrivals in arrivals()) {
        let mut tat = start;
        let mut admitted = vec![];
        for (now, elapsed, bytes) in times(start, &arrivals) {
            if let Some(next) = limit.admit(tat, now.into(), limit.price(dimension, bytes)) {
                tat = next;
                admitted.push((elapsed, units(dimension, bytes)));
            }
        }
        prop_assert!(keeps(rate, burst, &admitted));
    }

    #[test]
    fn late_readings_grant_nothing(
        (dimension, rate, burst, limit) in limit(),
        start: u64,
        arrivals in arrivals(),
        late in 0..10_000_000u64,
        lags in prop::collection::vec(0f64..=1.0, 200),
    ) {
        let late = late << INSTANT_SHIFT;
        let mut tat = start;
        let mut admitted = vec![];
        for ((now, elapsed, bytes), lag) in times(start, &arrivals).into_iter().zip(lags) {
            // The clock was read before the packet came: by no more than is said.
            let lag = (late as f64 * lag) as u64;
            let clock = Reading { latest: now.wrapping_sub(lag).wrapping_add(late), late };
            prop_assert_eq!(clock.now(), now.wrapping_sub(lag));
            let price = limit.price(dimension, bytes);
            let next = limit.admit(tat, clock, price);
            prop_assert_eq!(limit.is_over(tat, clock, price) == 0, next.is_some());
            if let Some(next) = next {
                tat = next;
                admitted.push((elapsed, units(dimension, bytes)));
            }
        }
        prop_assert!(keeps(rate, burst, &admitted));
    }

    #[test]
    fn equal_packets_get_what_is_theirs((dimension, rate, burst, limit) in limit(), bytes in 60u32..=1_518, gap in 0u64..1_000_000) {
        // A steady stream: never more than the exact limit gives, and never 0.1 % and a packet less.
        let price = limit.price(dimension, bytes);
        let unit = units(dimension, bytes);
        let (mut tat, mut admitted) = (0, 0u128);
        let steps = 2_000u64;
        for step in 0..steps {
            if let Some(next) = limit.admit(tat, (step * (gap << INSTANT_SHIFT)).into(), price) {
                (tat, admitted) = (next, admitted + 1);
            }
        }
        let time = u128::from(gap) * u128::from(steps - 1);
        let most = (u128::from(rate.amount) * time / u128::from(rate.per) + u128::from(burst)) / unit;
        prop_assert!(admitted <= most.min(u128::from(steps)));
        let fair = (most * 999 / 1_000).saturating_sub(2).min(u128::from(steps));
        // Nothing is lost only where a packet's worth that comes back between two packets finds room in the burst.
        let saves = limit.burst >= 2 * price && gap << INSTANT_SHIFT <= price;
        prop_assert!(!saves || admitted >= fair, "{admitted} of {fair}");
    }

    #[test]
    fn a_clock_that_steps_back_grants_nothing((dimension, _, _, limit) in limit(), clock in prop::collection::vec(0u64..1 << 40, 1..300)) {
        let start = 1 << 50;
        let price = limit.price(dimension, 1_000);
        let (mut tat, mut owed, mut latest) = (0, 0u128, start);
        for ahead in clock {
            let now = start + ahead;
            latest = latest.max(now);
            if let Some(next) = limit.admit(tat, now.into(), price) {
                tat = next;
                owed += u128::from(price);
            }
            prop_assert!(owed <= u128::from(limit.burst) + u128::from(latest - start));
        }
    }

    #[test]
    fn a_clock_that_stands_still_grants_a_burst((dimension, _, _, limit) in limit(), now: u64) {
        let price = limit.price(dimension, 1_518);
        let most = limit.burst / price;
        // The last of a long burst is what matters.
        let skipped = most.saturating_sub(1_000);
        let mut tat = now.wrapping_add(skipped * price);
        for _ in skipped..most {
            tat = limit.admit(tat, now.into(), price).expect("within the burst");
        }
        prop_assert!(limit.admit(tat, now.into(), price).is_none());
    }

    #[test]
    fn rates_are_within_a_thousandth((dimension, rate, _, limit) in limit(), bytes in 60u32..=1_518) {
        let unit = if dimension == Dimension::Bytes { f64::from(bytes) } else { 1.0 };
        let second = (1u64 << INSTANT_SHIFT) as f64 * 1e9;
        let kept = unit * second / limit.price(dimension, bytes) as f64;
        let wanted = rate.amount as f64;
        prop_assert!(kept <= wanted * 1.000_001 && kept >= wanted * 0.999, "{kept} of {wanted}");
    }
}

#[test]
fn the_slowest_and_the_fastest() {
    let hour = 3_600_000_000_000;
    let slow = Limit::new(Dimension::Packets, Rate { amount: 1, per: hour }, 1).expect("1/h");
    assert_eq!(slow.cost, hour << INSTANT_SHIFT);
    assert!(slow.admit(slow.cost, (slow.cost - 1).into(), slow.cost).is_none());
    assert!(slow.admit(slow.cost, slow.cost.into(), slow.cost).is_some());
    let rate = Rate { amount: 12_500_000_000, per: 1_000_000_000 };
    let fast = Limit::new(Dimension::Bytes, rate, 1_518).expect("100 Gbit/s");
    let (kept, wanted) = (256e9 * 60.0 / fast.price(Dimension::Bytes, 60) as f64, 12.5e9);
    assert!(kept <= wanted && kept > wanted * 0.999, "{kept}");
    let line = Rate { amount: 148_810_000, per: 1_000_000_000 };
    let packets = Limit::new(Dimension::Packets, line, 1).expect("line rate");
    let kept = 256e9 / packets.cost as f64;
    assert!(kept <= 148.81e6 && kept > 148.81e6 * 0.999, "{kept}");
}

#[test]
fn what_cannot_be_kept_is_refused() {
    let new = |amount, per, burst| Limit::new(Dimension::Packets, Rate { amount, per }, burst);
    let second = 1_000_000_000;
    assert_eq!(new(0, second, 1), Err(LimitError::Zero));
    assert_eq!(new(1, 0, 1), Err(LimitError::Zero));
    assert_eq!(new(1_000_000_000, second, 1), Err(LimitError::TooFast));
    assert_eq!(new(1, 100_000 * second, 1), Err(LimitError::TooSlow));
    assert_eq!(new(1, second, 0), Err(LimitError::BurstTooSmall));
    assert_eq!(new(1, second, 10_000_000), Err(LimitError::BurstTooLong));
    let bytes = Limit::new(Dimension::Bytes, Rate { amount: 1_000, per: second }, 1_517);
    assert_eq!(bytes, Err(LimitError::BurstTooSmall));
}

#[test]
fn a_tat_from_before_a_wrap_is_no_debt() {
    assert_eq!(debt(5, 10), 0);
    assert_eq!(debt(10, 5), 5);
    assert_eq!(debt(3, u64::MAX - 1), 5);
    assert_eq!(debt(u64::MAX / 2, 0), 0);
}

#[test]
fn what_another_cpu_saw_a_moment_ahead_was_seen_now() {
    for (seen, now, since) in
        [(5, 5, 0), (6, 5, 0), (5, 6, 1), (5, 9, 4), (0xffff, 0, 1), (0, 0xffff, 0), (7, 5, 0xfffe)]
    {
        assert_eq!(units_since(seen, now, 0xffff), since, "{seen} {now}");
    }
}
