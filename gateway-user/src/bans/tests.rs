//! Bans under a clock that the test sets.

use std::sync::Arc;

use super::{
    store::{Kept, Store},
    strikes::Tracker,
    *,
};

const RULES: Rules = Rules { strikes: 100, within_ms: 10_000, first: 60, factor: 4, longest: 86_400 };

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

fn by_hand(until_at: Option<u64>) -> Ban {
    Ban { origin: Origin::Operator, reason: Some(Arc::from("why")), level: 0, added_at: 0, until_at }
}

/// Seconds of the ban that a source gets now.
fn strike(bans: &mut Bans, now: u64) -> u64 {
    let ban = bans.strike_out(prefix("192.0.2.9"), &RULES, "100 strikes", now).expect("is not banned");
    ban.until_at.unwrap() - now
}

#[test]
fn each_ban_is_longer_up_to_the_longest() {
    let (mut bans, mut now, mut lengths) = (Bans::default(), 1_000, Vec::new());
    for _ in 0..8 {
        let length = strike(&mut bans, now);
        assert!(bans.strike_out(prefix("192.0.2.9"), &RULES, "", now + length - 1).is_none(), "still banned");
        lengths.push(length);
        now += length;
        assert_eq!(bans.expire(now, 10).ended, [prefix("192.0.2.9")]);
    }
    assert_eq!(lengths, [60, 240, 960, 3_840, 15_360, 61_440, 86_400, 86_400]);
    assert_eq!(bans.get(prefix("192.0.2.9")).unwrap().level, 7, "no higher where bans grow no longer");
}

#[test]
fn the_memory_fades() {
    let mut bans = Bans::default();
    assert_eq!(strike(&mut bans, 0), 60);
    assert_eq!(strike(&mut bans, 60), 240);
    let end = 300;
    bans.expire(end, 10);
    let ban = bans.get(prefix("192.0.2.9")).unwrap().clone();
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
    assert!(bans.get(prefix("192.0.2.9")).is_none());
    assert_eq!(strike(&mut bans, end + 5_000), 60);
}

#[test]
fn a_ban_by_hand_ends_and_leaves_no_memory() {
    let mut bans = Bans::default();
    bans.add(prefix("198.51.100.0/24"), by_hand(Some(10)), 0);
    bans.add(prefix("2001:db8::/64"), by_hand(None), 0);
    assert_eq!(bans.counts().collect::<Vec<_>>(), [(Origin::Operator, 2), (Origin::Strikes, 0)]);
    assert_eq!(bans.expire(9, 10), Expired::default());
    let expired = bans.expire(10, 10);
    assert_eq!((expired.ended.len(), expired.forgotten.len()), (1, 1));
    assert_eq!(bans.next_expiry(), None);
    assert!(bans.strike_out(prefix("2001:db8::/64"), &RULES, "", 20).is_none(), "a ban by hand holds on");
    assert!(bans.remove(prefix("2001:db8::/64")).is_some());
    assert_eq!(bans.counts().map(|(_, count)| count).sum::<usize>(), 0);
}

#[test]
fn a_ban_in_the_place_of_another_counts_once() {
    let mut bans = Bans::default();
    strike(&mut bans, 0);
    bans.add(prefix("192.0.2.9"), by_hand(None), 10);
    assert_eq!(bans.counts().collect::<Vec<_>>(), [(Origin::Operator, 1), (Origin::Strikes, 0)]);
    assert_eq!(bans.next_expiry(), None, "the first ban's end is no more");
    bans.remove(prefix("192.0.2.9"));
    strike(&mut bans, 20);
    bans.expire(80, 10);
    bans.add(prefix("192.0.2.9"), by_hand(Some(100)), 90);
    assert_eq!(bans.expire(100, 10).ended.len(), 1);
    assert_eq!(bans.next_expiry(), None);
    assert_eq!(bans.counts().map(|(_, count)| count).sum::<usize>(), 0);
}

#[test]
fn pages_go_on_where_the_last_one_ended() {
    let mut bans = Bans::default();
    for last in 0..100_u8 {
        bans.add(prefix(&format!("192.0.2.{last}")), by_hand(Some(u64::from(last))), 0);
    }
    let (mut all, mut last) = (Vec::new(), None);
    loop {
        let page: Vec<_> = bans.after(last, 9).take(7).map(|(prefix, _)| prefix).collect();
        let Some(&end) = page.last() else { break };
        last = Some(end);
        all.extend(page);
        // What is taken away meanwhile disturbs nothing.
        bans.remove(end);
    }
    assert_eq!(all.len(), 90);
    assert!(all.is_sorted());
}

#[test]
fn times_go_with_the_wall_clock() {
    let mut bans = Bans::default();
    bans.add(prefix("203.0.113.7"), by_hand(Some(150)), 100);
    bans.add(prefix("203.0.113.8"), by_hand(None), 100);
    for (step, end) in [(1_000, 1_150), (-1_140, 10)] {
        bans.shift(step);
        assert_eq!(
            (bans.next_expiry(), bans.get(prefix("203.0.113.7")).unwrap().until_at),
            (Some(end), Some(end))
        );
    }
    assert_eq!(bans.expire(10, 9).ended, [prefix("203.0.113.7")]);
}

#[test]
fn what_is_kept_is_there_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = Store::path(&directory.path().join("audit.db"));
    let mut store = Store::open(&path).unwrap();
    let mut bans = Bans::default();
    strike(&mut bans, 100);
    bans.add(prefix("2001:db8:7::/48"), by_hand(None), 100);
    bans.add(prefix("203.0.113.7"), by_hand(Some(150)), 100);
    let all = ["192.0.2.9", "2001:db8:7::/48", "203.0.113.7"].map(prefix);
    store.keep(all.map(|prefix| (prefix, bans.get(prefix)))).unwrap();
    store.keep([(all[1], None)]).unwrap();
    drop(store);
    let Kept { bans: kept, left_out } = Store::open(&path).unwrap().load().unwrap();
    assert_eq!((kept.len(), left_out), (2, 0));
    assert_eq!(Some(&kept[0].1), bans.get(all[0]));
    // A minute later the one by hand is over, and the other ends when it would have.
    let mut again = Bans::restore(kept, 155);
    assert!(again.get(all[2]).is_none());
    assert_eq!((again.next_expiry(), again.expire(160, 1).ended), (Some(160), vec![all[0]]));
    assert_eq!(strike(&mut again, 160), 240);
    std::fs::write(&path, "this is no database, whatever its name says; it is a text").unwrap();
    let _ = std::fs::remove_file(path.with_extension("db-wal"));
    let error = Store::open(&path).unwrap_err();
    assert!(error.to_string().contains("bans.db") && error.is_damage(), "{error}");
}

#[test]
fn what_makes_no_sense_is_left_out_and_what_is_locked_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = Store::path(&directory.path().join("audit.db"));
    let mut store = Store::open(&path).unwrap();
    store.keep([(prefix("192.0.2.9"), Some(&by_hand(None)))]).unwrap();
    drop(store);
    let stranger = rusqlite::Connection::open(&path).unwrap();
    stranger.execute("INSERT INTO bans VALUES (x'04c000020a20', 0, NULL, -5, 0, NULL)", ()).unwrap();
    stranger.execute("INSERT INTO bans VALUES (x'09', 0, NULL, 0, 0, NULL)", ()).unwrap();
    let mut store = Store::open(&path).unwrap();
    let kept = store.load().unwrap();
    assert_eq!((kept.bans.len(), kept.left_out), (1, 2));
    // Nobody waits for whoever has the file.
    stranger.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let began = std::time::Instant::now();
    let error = store.keep([(prefix("192.0.2.8"), Some(&by_hand(None)))]).unwrap_err();
    assert!(!error.is_damage() && began.elapsed().as_secs() < 2, "{error}");
    assert_eq!(Store::open(&path).unwrap().load().unwrap().bans.len(), 1);
    assert_eq!(Store::look(&path).unwrap().bans.len(), 1);
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
