//! The state over a restart, and with a disk that takes nothing.

use std::{fs, path::Path, sync::Arc, time::Duration};

use super::*;
use crate::{
    bans::{Claim, ClaimKey},
    model::Origin,
    record,
};

const PATIENCE: Duration = Duration::from_secs(10);

fn options() -> StoreOptions {
    StoreOptions {
        retention: record::RETENTION_MIN,
        sources: Sources::Full,
        checkpoint: None,
        max_size: 1 << 30,
    }
}

fn key(text: &str, origin: &str) -> ClaimKey {
    (text.parse().unwrap(), Origin::from(origin))
}

fn claim(until_at: Option<u64>) -> Claim {
    Claim { reason: Some(Arc::from("why")), level: 2, added_at: 7, until_at }
}

fn batch(last: u8) -> Batch {
    Batch {
        claims: [(key(&format!("192.0.2.{last}"), "operator"), Some(claim(None)))].into(),
        facts: [(format!("row s{last}"), Some(last.to_string()))].into(),
        rows: vec![Row { at: last.into(), body: "{}".to_owned() }],
    }
}

fn database(path: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(path).unwrap()
}

#[test]
fn what_is_written_is_there_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = path(&directory.path().join("audit.db"));
    let mut state = State::open(&path).unwrap();
    let keys =
        [key("192.0.2.9", "operator"), key("192.0.2.9", "drop-list"), key("2001:db8:7::/48", "strikes")];
    let claims = keys.iter().map(|key| (key.clone(), Some(claim(Some(90))))).collect();
    let facts = [("mode".to_owned(), Some("x".to_owned())), ("row api".to_owned(), Some("3".to_owned()))];
    let rows = (0..3).map(|at| Row { at, body: format!("{{\"n\":{at}}}") }).collect();
    state.write(&Batch { claims, facts: facts.into(), rows }).unwrap();
    let gone = [(keys[2].clone(), None)].into();
    let without = [("mode".to_owned(), None)].into();
    state.write(&Batch { claims: gone, facts: without, rows: Vec::new() }).unwrap();
    drop(state);
    let mut state = State::open(&path).unwrap();
    let kept = state.load().unwrap();
    let found: Vec<_> = kept.claims.iter().map(|(key, _)| key.clone()).collect();
    assert_eq!(found, [keys[1].clone(), keys[0].clone()], "two origins of one prefix, by their names");
    assert_eq!(kept.claims[0].1, claim(Some(90)));
    assert_eq!((kept.facts, kept.left_out), ([("row api".to_owned(), "3".to_owned())].into(), 0));
    let waiting = state.waiting(2).unwrap();
    assert_eq!(waiting.iter().map(|(id, row)| (*id, row.at)).collect::<Vec<_>>(), [(1, 0), (2, 1)]);
    state.handed_over(2).unwrap();
    assert_eq!(state.waiting(9).unwrap()[0].0, 3);
}

#[test]
fn what_makes_no_sense_is_left_out_and_what_is_locked_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    let mut state = State::open(&path).unwrap();
    state.write(&batch(9)).unwrap();
    drop(state);
    let stranger = database(&path);
    stranger.execute("INSERT INTO claims VALUES (x'04c000020a20', 'x', NULL, -5, 0, NULL)", ()).unwrap();
    stranger.execute("INSERT INTO claims VALUES (x'09', 'x', NULL, 0, 0, NULL)", ()).unwrap();
    let mut state = State::open(&path).unwrap();
    let kept = state.load().unwrap();
    assert_eq!((kept.claims.len(), kept.left_out), (1, 2));
    // The daemon does not wait for another process that has the file.
    stranger.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let began = std::time::Instant::now();
    let error = state.write(&batch(8)).unwrap_err();
    assert!(!error.is_damage() && began.elapsed().as_secs() < 2, "{error}");
    assert_eq!(State::look(&path).unwrap().claims.len(), 1);
}

#[test]
fn a_foreign_file_is_put_aside_and_a_later_one_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    database(&path).execute_batch("CREATE TABLE claims (x); PRAGMA user_version = 1").unwrap();
    assert!(matches!(State::open(&path), Err(StateError::Foreign(_))));
    let (mut store, kept, warnings) = Store::start(&path, options());
    assert!(kept.claims.is_empty() && warnings[0].contains("state.db.bad"), "{warnings:?}");
    drop(store.write(batch(1)));
    assert!(store.close(PATIENCE));
    database(&path).execute_batch("PRAGMA user_version = 99").unwrap();
    let (store, kept, _) = Store::start(&path, options());
    assert!(kept.claims.is_empty() && store.trouble().unwrap().contains("later version"));
    let written = store.write(batch(2));
    assert_eq!(written.blocking_recv(), Ok(false));
    assert!(store.trouble().unwrap().contains("later version"));
    let claims: u32 = database(&path).query_row("SELECT count(*) FROM claims", (), |row| row.get(0)).unwrap();
    assert_eq!(claims, 1, "nothing of it was changed");
}

#[test]
fn what_could_not_be_written_is_written_once_it_can_be() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    let (mut store, _, warnings) = Store::start(&path, options());
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(store.write(batch(1)).blocking_recv(), Ok(true));
    // Another process has the file for a while.
    let stranger = database(&path);
    stranger.execute_batch("BEGIN EXCLUSIVE").unwrap();
    assert_eq!(store.write(batch(2)).blocking_recv(), Ok(false));
    // What comes later goes before what has failed.
    let newer = Batch { claims: [(key("192.0.2.2", "operator"), None)].into(), ..Batch::default() };
    drop(store.write(newer));
    assert!(store.trouble().is_some());
    stranger.execute_batch("COMMIT").unwrap();
    let start = std::time::Instant::now();
    while store.trouble().is_some() {
        assert!(start.elapsed() < PATIENCE, "{:?}", store.trouble());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(store.close(PATIENCE) && store.lost() == 0);
    let state = State::open(&path).unwrap();
    let kept = state.load().unwrap();
    assert_eq!(
        kept.claims.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>(),
        [key("192.0.2.1", "operator")]
    );
    // The rows are in the record by now, each once.
    assert!(state.waiting(9).unwrap().is_empty());
    let filter = record::Filter { order: record::Order::OldestFirst, ..record::Filter::default() };
    let recorded = record::query(directory.path(), &filter, 9).unwrap().rows;
    assert_eq!(recorded.iter().map(|row| row.at).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn rows_beyond_the_bound_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    // Nothing can be made below a file.
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let (store, _, _) = Store::start(&file.join("state.db"), options());
    assert!(store.trouble().is_some());
    let rows = (0..ROWS_MAX as u64 + 7).map(|at| Row { at, body: "{}".to_owned() }).collect();
    assert_eq!(store.write(Batch { rows, ..Batch::default() }).blocking_recv(), Ok(false));
    assert_eq!(store.lost(), 7);
}

#[test]
fn one_daemon_has_the_folder() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    let lock = Lock::take(&path).unwrap();
    let error = Lock::take(&path).unwrap_err();
    assert!(matches!(error, LockError::Taken(_)) && error.to_string().contains("audit.database"), "{error}");
    drop(lock);
    Lock::take(&path).unwrap();
}
