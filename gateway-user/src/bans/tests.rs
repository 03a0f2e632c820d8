//! Bans under a clock that the test sets.

use std::sync::Arc;

use super::{strikes::Tracker, *};

const RULES: Rules = Rules { strikes: 100, within_ms: 10_000, first: 60, factor: 4, longest: 86_400 };

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

fn by_hand(until_at: Option<u64>) -> Claim {
    Claim { reason: Some(Arc::from("why")), level: 0, added_at: 0, until_at }
}

fn by(text: &str, origin: Origin) -> ClaimKey {
    (prefix(text), origin)
}

fn operators(text: &str) -> ClaimKey {
    by(text, Origin::Operator)
}

fn struck(text: &str) -> ClaimKey {
    by(text, Origin::Strikes)
}

/// Seconds of the ban that a source gets now.
fn strike(bans: &mut Bans, now: u64) -> u64 {
    let claim = bans.strike_out(prefix("192.0.2.9"), &RULES, "100 strikes", now).expect("is not banned");
    let end = claim.until_at.unwrap();
    bans.set(struck("192.0.2.9"), Some(claim), now);
    end - now
}

#[test]
fn each_ban_is_longer_up_to_the_longest() {
    let (mut bans, mut now, mut lengths) = (Bans::default(), 1_000, Vec::new());
    for _ in 0..8 {
        let length = strike(&mut bans, now);
        assert!(bans.strike_out(prefix("192.0.2.9"), &RULES, "", now + length - 1).is_none(), "still banned");
        lengths.push(length);
        now += length;
        assert_eq!(bans.expire(now, 10).ended, [struck("192.0.2.9")]);
    }
    assert_eq!(lengths, [60, 240, 960, 3_840, 15_360, 61_440, 86_400, 86_400]);
    assert_eq!(bans.get(&struck("192.0.2.9")).unwrap().level, 7, "no higher where bans grow no longer");
}

#[test]
fn the_memory_fades() {
    let mut bans = Bans::default();
    assert_eq!(strike(&mut bans, 0), 60);
    assert_eq!(strike(&mut bans, 60), 240);
    let end = 300;
    bans.expire(end, 10);
    let ban = bans.get(&struck("192.0.2.9")).unwrap().clone();
    assert_eq!(ban.level_at(end + 240 * FADE - 1), 2);
    assert_eq!(ban.level_at(end + 240 * FADE), 1);
    assert_eq!(ban.level_at(end + 2 * 240 * FADE), 0);
    assert_eq!(bans.next_expiry(), Some(end + 2 * 240 * FADE));
    // Half faded: the second ban again.
    assert_eq!(strike(&mut bans, end + 240 * FADE), 240);
    let end = end + 240 * FADE + 240;
    assert_eq!(bans.expire(end, 10).ended.len(), 1);
    let forgotten = bans.expire(end + 2 * 240 * FADE, 10);
    assert_eq!((forgotten.ended.len(), forgotten.forgotten.len()), (0, 1));
    assert!(bans.get(&struck("192.0.2.9")).is_none());
    assert_eq!(strike(&mut bans, end + 5_000), 60);
}

#[test]
fn a_ban_by_hand_ends_and_leaves_no_memory() {
    let mut bans = Bans::default();
    bans.set(operators("198.51.100.0/24"), Some(by_hand(Some(10))), 0);
    bans.set(operators("2001:db8::/64"), Some(by_hand(None)), 0);
    assert_eq!(bans.counts().collect::<Vec<_>>(), [(Origin::Operator, 2), (Origin::Strikes, 0)]);
    assert_eq!(bans.expire(9, 10), Expired::default());
    let expired = bans.expire(10, 10);
    assert_eq!((expired.ended.len(), expired.forgotten.len()), (1, 1));
    assert_eq!(bans.next_expiry(), None);
    assert!(bans.strike_out(prefix("2001:db8::/64"), &RULES, "", 20).is_none(), "a ban by hand holds on");
    assert!(bans.set(operators("2001:db8::/64"), None, 20).is_some());
    assert_eq!(bans.counts().map(|(_, count)| count).sum::<usize>(), 0);
}

#[test]
fn a_claim_in_the_place_of_another_counts_once() {
    let mut bans = Bans::default();
    bans.set(operators("192.0.2.9"), Some(by_hand(Some(60))), 0);
    bans.set(operators("192.0.2.9"), Some(by_hand(None)), 10);
    assert_eq!(bans.counts().collect::<Vec<_>>(), [(Origin::Operator, 1), (Origin::Strikes, 0)]);
    assert_eq!(bans.next_expiry(), None, "the first claim's end is no more");
    bans.set(operators("192.0.2.9"), None, 10);
    strike(&mut bans, 20);
    bans.expire(80, 10);
    bans.set(operators("192.0.2.9"), Some(by_hand(Some(100))), 90);
    assert_eq!(bans.expire(100, 10).ended, [operators("192.0.2.9")]);
    assert_eq!(bans.next_expiry(), Some(80 + 60 * FADE), "the strikes are remembered nevertheless");
    assert_eq!(bans.counts().map(|(_, count)| count).sum::<usize>(), 0);
}

#[test]
fn pages_go_on_where_the_last_one_ended() {
    let mut bans = Bans::default();
    for last in 0..100_u8 {
        bans.set(operators(&format!("192.0.2.{last}")), Some(by_hand(Some(u64::from(last)))), 0);
    }
    let (mut all, mut last) = (Vec::new(), None);
    loop {
        let page: Vec<_> = bans.after(last, 9).take(7).map(|(key, _)| key.clone()).collect();
        let Some(end) = page.last().cloned() else { break };
        last = Some(end.clone());
        all.extend(page);
        // What is taken away meanwhile disturbs nothing.
        bans.set(end, None, 9);
    }
    assert_eq!(all.len(), 90);
    assert!(all.is_sorted());
}

#[test]
fn times_go_with_the_wall_clock() {
    let mut bans = Bans::default();
    bans.set(operators("203.0.113.7"), Some(by_hand(Some(150))), 100);
    bans.set(operators("203.0.113.8"), Some(by_hand(None)), 100);
    for (step, end) in [(1_000, 1_150), (-1_140, 10)] {
        bans.shift(step);
        assert_eq!(
            (bans.next_expiry(), bans.get(&operators("203.0.113.7")).unwrap().until_at),
            (Some(end), Some(end))
        );
    }
    assert_eq!(bans.expire(10, 9).ended, [operators("203.0.113.7")]);
}

#[test]
fn no_origin_lifts_the_claim_of_another() {
    let mut bans = Bans::default();
    let source = prefix("192.0.2.9");
    let feed = Origin::from("drop");
    assert_eq!(bans.in_force(source, 0), None);
    bans.set((source, Origin::Operator), Some(by_hand(Some(50))), 0);
    bans.set((source, feed.clone()), Some(by_hand(Some(90))), 0);
    assert_eq!(bans.in_force(source, 0), Some(Some(90)), "the latest end holds");
    bans.set((source, Origin::Strikes), Some(by_hand(None)), 0);
    assert_eq!(bans.in_force(source, 0), Some(None), "no end is later than any");
    assert!(bans.set((source, Origin::Strikes), None, 0).is_some());
    assert!(bans.set((source, feed), None, 0).is_some());
    assert_eq!(bans.in_force(source, 0), Some(Some(50)));
    assert_eq!(bans.expire(50, 9).ended, [(source, Origin::Operator)]);
    assert_eq!(bans.in_force(source, 50), None);
}

proptest::proptest! {
    /// Whatever comes and goes: in force is what the claims that are there say.
    #[test]
    fn in_force_is_what_any_claim_says(steps in proptest::collection::vec((0..3_usize, 0..4_u64, 0..5_u64), 0..60)) {
        let source = prefix("192.0.2.9");
        let (mut bans, mut model) = (Bans::default(), [None::<Option<u64>>; 3]);
        for (index, what, length) in steps {
            let key = (source, ["operator", "strikes", "drop"].map(Origin::from)[index].clone());
            // No end, an end, or taken back.
            model[index] = match what {
                0 => Some(None),
                1 | 2 => Some(Some(10 + length)),
                _ => None,
            };
            bans.set(key, model[index].map(by_hand), 10);
            let active = model.iter().flatten().filter(|until| until.is_none_or(|at| at > 10));
            let latest = active.clone().map(|until| until.unwrap_or(u64::MAX)).max();
            let wanted = latest.map(|at| (at != u64::MAX).then_some(at));
            proptest::prop_assert_eq!(bans.in_force(source, 10), wanted);
            proptest::prop_assert_eq!(bans.counts().map(|(_, count)| count).sum::<usize>(), active.count());
        }
    }
}

/// Reads counts every quarter of a second, each a step higher; when the source was banned.
fn banned_after(per_second: u32, rules: &Rules, seconds: u64) -> Option<u64> {
    let (mut tracker, mut count) = (Tracker::default(), 0);
    assert_eq!(tracker.read([], rules, 0), []);
    for step in 1..=seconds * 4 {
        count = (u64::from(per_second) * step / 4) as u32;
        if let [(7, strikes)] = tracker.read([(7, count)], rules, step * 250)[..] {
            assert!(strikes >= rules.strikes);
            return Some(step * 250);
        }
    }
    assert!(count > 0);
    None
}

#[test]
fn strikes_count_for_their_time_alone() {
    assert_eq!(banned_after(100, &RULES, 60), Some(1_000));
    assert_eq!(banned_after(12, &RULES, 60), Some(8_500));
    // Ten a second are a hundred in the ten seconds, but parts that lie in it only in part do not count.
    assert_eq!(banned_after(9, &RULES, 600), None);
    assert_eq!(banned_after(1, &Rules { strikes: 1, ..RULES }, 60), Some(1_000));
}

#[test]
fn old_counts_say_nothing() {
    let mut tracker = Tracker::default();
    assert_eq!(tracker.read([(7, 1_000)], &RULES, 0), []);
    assert_eq!(tracker.read([(7, 1_000)], &RULES, 250), []);
    assert_eq!(tracker.read([(7, 1_100)], &RULES, 500), [(7, 100)]);
    assert_eq!(tracker.read([(7, 1_100)], &RULES, 750), [], "they are used up");
    // Pushed out, and there again with a count of its own.
    assert_eq!(tracker.read([(7, 99)], &RULES, 1_000), []);
    assert_eq!(tracker.read([(7, 100)], &RULES, 1_250), [(7, 100)]);
}

#[test]
fn a_daemon_that_was_held_up_does_not_ban_for_what_is_past() {
    let mut tracker = Tracker::default();
    tracker.read([], &RULES, 0);
    assert_eq!(tracker.read([(7, 500)], &RULES, 60_000), [], "500 in a minute are 83 in ten seconds");
    assert_eq!(tracker.read([(7, 1_200)], &RULES, 120_000).len(), 1);
}
