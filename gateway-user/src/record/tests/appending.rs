//! Rows are appended, whole batches or nothing, and nothing else is done to them.

use std::fs;

use proptest::prelude::*;
use rusqlite::Connection;
use serde_json::Map;

use super::super::{
    Checkpoint, Entry, Facts, Kind, Options, Record, RecordError, Sources, Verifier, open_note,
    testing::{DAY, NOVEMBER, all, entries, entry, open, options, root_of, tamper},
    verify,
};

#[test]
fn rows_are_numbered_over_batches_months_and_starts() {
    let place = tempfile::tempdir().unwrap();
    let mut record = open(place.path());
    assert_eq!(record.append(&[]).unwrap(), 0..0);
    assert_eq!(record.append(&entries(0..300, NOVEMBER)).unwrap(), 0..300);
    assert_eq!(record.append(&entries(300..301, NOVEMBER + 40 * DAY)).unwrap(), 300..301);
    drop(record);
    let mut record = open(place.path());
    assert_eq!(record.size(), 301);
    assert_eq!(record.append(&entries(301..900, NOVEMBER + 70 * DAY)).unwrap(), 301..900);
    // The clock was set back: rows go on in the newest file.
    assert_eq!(record.append(&entries(900..901, NOVEMBER)).unwrap(), 900..901);
    let rows = all(place.path());
    assert_eq!(rows.len(), 901);
    assert!(rows.iter().map(|row| row.id).eq(0..901));
    for name in ["record-2026-11.db", "record-2026-12.db", "record-2027-01.db"] {
        assert!(place.path().join(name).exists(), "{name}");
    }
    // A month that is over is one file.
    assert!(!place.path().join("record-2026-12.db-wal").exists());
    let checkpoint = record.checkpoint(NOVEMBER).unwrap();
    let report = verify(place.path(), &record.vkey(), &[checkpoint], NOVEMBER + 70 * DAY).unwrap();
    assert!(report.is_intact(), "{:#?}", report.findings);
    assert_eq!((report.first, report.end, report.rows, report.kept), (0, 901, 901, Some(901)));
}

#[test]
fn a_row_is_read_as_it_was_written() {
    let place = tempfile::tempdir().unwrap();
    let mut record = open(place.path());
    let facts = Facts {
        source: Some("2001:db8::7/48".parse().unwrap()),
        reason: Some("line\nand \"quote\"\u{0}".to_owned()),
        body: Map::from_iter([("b".to_owned(), 0.1.into()), ("a".to_owned(), Map::new().into())]),
        ..Facts::default()
    };
    record.append(&[Entry { at: NOVEMBER, kind: Kind::Tls, facts: facts.clone() }]).unwrap();
    let [row] = &all(place.path())[..] else { panic!() };
    assert_eq!((row.id, row.at, row.kind), (0, NOVEMBER, Kind::Tls));
    assert_eq!(row.source.unwrap().to_string(), "2001:db8::/48");
    assert_eq!((&row.reason, &row.service, &row.actor), (&facts.reason, &None, &None));
    assert_eq!((row.body.as_deref(), row.body()), (Some(r#"{"a":{},"b":0.1}"#), facts.body));
}

#[test]
fn a_batch_with_an_entry_that_cannot_be_kept_is_not_written() {
    let place = tempfile::tempdir().unwrap();
    let mut record = open(place.path());
    let mut batch = entries(0..300, NOVEMBER);
    batch[299].facts.reason = Some("x".repeat(65_535));
    let error = record.append(&batch).unwrap_err();
    assert!(matches!(error, RecordError::Entry { index: 299, .. }), "{error}");
    batch[299] = entry(0, u64::MAX);
    let error = record.append(&batch).unwrap_err();
    assert!(matches!(error, RecordError::Entry { index: 299, .. }), "{error}");
    assert_eq!((record.size(), all(place.path()).len()), (0, 0));
    assert_eq!(record.append(&batch[..299]).unwrap(), 0..299);
}

#[test]
fn a_batch_that_was_not_committed_is_not_there() {
    let place = tempfile::tempdir().unwrap();
    let mut record = open(place.path());
    record.append(&entries(0..300, NOVEMBER)).unwrap();
    // As a process leaves it that is killed: the log has pages of a transaction without its end.
    let connection = &record.file.connection;
    connection.execute_batch("PRAGMA cache_size = 1; BEGIN IMMEDIATE").unwrap();
    for id in 300..2300 {
        let sql = "INSERT INTO rows (id, at, subject, body, mark) VALUES (?, 1, 1, ?, 0)";
        connection.execute(sql, (id, "x".repeat(400))).unwrap();
    }
    let left = tempfile::tempdir().unwrap();
    let log = fs::metadata(place.path().join("record-2026-11.db-wal")).unwrap().len();
    assert!(log > 500_000, "{log}");
    for file in fs::read_dir(place.path()).unwrap().map(Result::unwrap) {
        if !file.file_name().to_string_lossy().ends_with("-shm") {
            fs::copy(file.path(), left.path().join(file.file_name())).unwrap();
        }
    }
    let mut record = open(left.path());
    assert_eq!(record.append(&entries(300..400, NOVEMBER)).unwrap(), 300..400);
    record.checkpoint(NOVEMBER).unwrap();
    let report = verify(left.path(), &record.vkey(), &[], NOVEMBER).unwrap();
    assert!(report.is_intact(), "{:#?}", report.findings);
}

#[test]
fn plain_sql_changes_nothing() {
    let place = tempfile::tempdir().unwrap();
    let mut record = open(place.path());
    record.append(&entries(0..300, NOVEMBER)).unwrap();
    drop(record);
    let connection = Connection::open(place.path().join("record-2026-11.db")).unwrap();
    let columns = "(id, at, subject, mark) VALUES";
    for sql in [
        "UPDATE rows SET body = NULL WHERE id = 7".to_owned(),
        "DELETE FROM rows WHERE id = 7".to_owned(),
        format!("REPLACE INTO rows {columns} (7, 1, 1, 1)"),
        format!("INSERT INTO rows {columns} (-1, 1, 1, 1)"),
        format!("INSERT INTO rows {columns} (301, 1, 1, 1)"),
        "INSERT INTO rows (at, subject, mark) VALUES (1, 1, 1)".to_owned(),
        format!("INSERT INTO rows {columns} (7, 1, 1, 1) ON CONFLICT (id) DO UPDATE SET at = 1"),
        "UPDATE subjects SET reason = 'x'".to_owned(),
        "DELETE FROM subjects".to_owned(),
        "REPLACE INTO subjects (id, kind) VALUES (1, 1)".to_owned(),
        "UPDATE blocks SET newest = 0".to_owned(),
        "DELETE FROM blocks".to_owned(),
        "UPDATE tiles SET hash = x''".to_owned(),
        "DELETE FROM tiles".to_owned(),
        "UPDATE checkpoints SET note = ''".to_owned(),
        "DELETE FROM checkpoints".to_owned(),
        "REPLACE INTO checkpoints VALUES (1, 1, 1, '')".to_owned(),
        "UPDATE start SET first = 1".to_owned(),
        "DELETE FROM start".to_owned(),
        "REPLACE INTO start (id, file, first, peaks) VALUES (1, '', 0, x'')".to_owned(),
    ] {
        assert!(connection.execute(&sql, ()).is_err(), "{sql}");
    }
    let text = connection.execute("DELETE FROM rows", ()).unwrap_err().to_string();
    assert_eq!(text, "the record keeps rows for a year");
    for sql in ["REPLACE INTO tiles VALUES (1, 0, x'')", "REPLACE INTO blocks VALUES (0, 0, 1, 1)"] {
        assert_eq!(connection.execute(sql, ()).unwrap(), 0, "{sql}");
    }
}

#[test]
fn rows_of_other_processes_are_told_in_the_record() {
    let place = tempfile::tempdir().unwrap();
    let mut record = open(place.path());
    record.append(&entries(0..250, NOVEMBER)).unwrap();
    let connection = Connection::open(place.path().join("record-2026-11.db")).unwrap();
    for id in 250..260 {
        connection.execute("INSERT INTO rows (id, at, subject, mark) VALUES (?, 1, 1, 1)", [id]).unwrap();
    }
    assert_eq!(record.append(&entries(250..252, NOVEMBER)).unwrap(), 261..263);
    let rows = all(place.path());
    let fault = rows.iter().find(|row| row.id == 260).unwrap();
    assert_eq!(
        (fault.kind, fault.body.as_deref()),
        (Kind::Fault, Some(r#"{"rows_found":260,"rows_written":250}"#))
    );
    record.checkpoint(NOVEMBER).unwrap();
    // Their marks are wrong; nothing else is.
    let report = verify(place.path(), &record.vkey(), &[], NOVEMBER).unwrap();
    assert_eq!(report.findings.len(), 1, "{:#?}", report.findings);
    assert_eq!(report.findings[0].rows, Some(250..260));
    drop(connection);

    tamper(&place.path().join("record-2026-11.db"), |connection| {
        connection.execute("DELETE FROM rows WHERE id >= 200", ()).unwrap();
    });
    assert_eq!(record.append(&entries(0..1, NOVEMBER)).unwrap(), 201..202);
    let rows = all(place.path());
    assert_eq!(rows[rows.len() - 2].body.as_deref(), Some(r#"{"rows_found":200,"rows_written":263}"#));
}

#[test]
fn sources_are_kept_as_subnets_if_asked() {
    let place = tempfile::tempdir().unwrap();
    let options = Options { sources: Sources::Subnet, ..options() };
    let (mut record, _) = Record::open(place.path(), &options, NOVEMBER).unwrap();
    record.append(&entries(0..10, NOVEMBER)).unwrap();
    assert!(all(place.path()).iter().all(|row| row.source.unwrap().prefix_len() == 24));
}

#[test]
fn a_checkpoint_is_a_note_of_what_there_is() {
    let place = tempfile::tempdir().unwrap();
    let mut record = open(place.path());
    let vkey = Verifier::parse(&record.vkey()).unwrap();
    let read = |record: &mut Record, at| {
        let note = record.checkpoint(at).unwrap();
        Checkpoint::parse(open_note(&note, std::slice::from_ref(&vkey)).unwrap()).unwrap()
    };
    let empty = read(&mut record, NOVEMBER);
    assert_eq!((empty.origin.as_str(), empty.size, empty.root), ("gateway.example/record", 0, root_of(&[])));
    record.append(&entries(0..700, NOVEMBER)).unwrap();
    let full = read(&mut record, NOVEMBER + 1);
    assert_eq!((full.size, full.root), (700, root_of(&all(place.path()))));
    assert_eq!(read(&mut record, NOVEMBER + 2), full);
    let count = "SELECT count(*) FROM checkpoints";
    let count: u32 = record.file.connection.query_row(count, (), |row| row.get(0)).unwrap();
    assert_eq!(count, 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn the_root_is_that_of_all_rows_wherever_months_and_starts_cut_them(
        batches in prop::collection::vec((1..400_u32, 0..2_u64, any::<bool>()), 1..8),
    ) {
        let place = tempfile::tempdir().unwrap();
        let mut record = open(place.path());
        let (mut number, mut at, mut kept) = (0, NOVEMBER, Vec::new());
        for (count, months, is_restarted) in batches {
            at += months * 31 * DAY;
            record.append(&entries(number..number + count, at)).unwrap();
            number += count;
            kept.push(record.checkpoint(at).unwrap());
            if is_restarted {
                drop(record);
                record = open(place.path());
            }
        }
        let rows = all(place.path());
        prop_assert_eq!(record.grown.tree.root(), root_of(&rows));
        let report = verify(place.path(), &record.vkey(), &kept, at).unwrap();
        prop_assert!(report.is_intact(), "{:#?}", report.findings);
        prop_assert_eq!(report.kept, Some(u64::from(number)));
    }
}
