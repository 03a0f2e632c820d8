//! Whatever lies in the directory, the record opens, and says what it went on without.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
};

use rusqlite::Connection;

use super::super::{
    Record, RecordError, What,
    testing::{DAY, NOVEMBER, all, entries, open, options},
    verify,
};

const NOV: &str = "record-2026-11.db";
const DEC: &str = "record-2026-12.db";

/// Two months of rows.
fn two_months(directory: &Path) -> String {
    let mut record = open(directory);
    record.append(&entries(0..300, NOVEMBER)).unwrap();
    record.append(&entries(300..600, NOVEMBER + 30 * DAY)).unwrap();
    record.checkpoint(NOVEMBER + 30 * DAY).unwrap()
}

type Damage = fn(&Path);

/// What can come to a file. None of it ends the start.
const DAMAGES: [(&str, Damage); 7] = [
    ("empty", |path| fs::write(path, "").unwrap()),
    ("foreign", |path| fs::write(path, "no database at all, but some text\n".repeat(300)).unwrap()),
    ("truncated", |path| {
        let half = fs::metadata(path).unwrap().len() / 2;
        fs::File::options().write(true).open(path).unwrap().set_len(half).unwrap();
    }),
    ("a page of a database", |path| {
        fs::File::options().write(true).open(path).unwrap().set_len(4096).unwrap();
    }),
    ("another database", |path| {
        fs::remove_file(path).unwrap();
        Connection::open(path).unwrap().execute_batch("CREATE TABLE rows (id)").unwrap();
    }),
    ("an unknown version", |path| {
        Connection::open(path).unwrap().pragma_update(None, "user_version", 0).unwrap();
    }),
    ("without its tables", |path| {
        let connection = Connection::open(path).unwrap();
        connection.execute_batch("DROP TABLE start").unwrap();
    }),
];

#[test]
fn a_damaged_newest_file_is_set_aside() {
    for (name, damage) in DAMAGES {
        let place = tempfile::tempdir().unwrap();
        let kept = two_months(place.path());
        damage(&place.path().join(DEC));
        let before = fs::read(place.path().join(DEC)).unwrap();
        let now = NOVEMBER + 31 * DAY;
        let (mut record, warnings) = Record::open(place.path(), &options(), now).unwrap();
        assert!(warnings.len() == 1 && warnings[0].contains("record-2026-12.db.bad"), "{name}: {warnings:?}");
        assert_eq!(fs::read(place.path().join("record-2026-12.db.bad")).unwrap(), before, "{name}");
        assert_eq!(record.append(&entries(300..400, now)).unwrap(), 300..400, "{name}");
        assert_eq!(all(place.path()).len(), 400, "{name}");
        record.checkpoint(now).unwrap();
        let report = verify(place.path(), &record.vkey(), &[kept], now).unwrap();
        let told = report.findings.iter().any(|finding| matches!(finding.what, What::SetAside(_)));
        let rolled_back = report.findings.iter().any(|finding| matches!(finding.what, What::RolledBack(600)));
        assert!(told && rolled_back && report.findings.len() == 2, "{name}: {:#?}", report.findings);
        drop(record);
        open(place.path());
    }
}

#[test]
fn a_damaged_older_file_is_set_aside() {
    for (name, damage) in DAMAGES {
        let place = tempfile::tempdir().unwrap();
        two_months(place.path());
        damage(&place.path().join(NOV));
        let (mut record, warnings) = Record::open(place.path(), &options(), NOVEMBER + 31 * DAY).unwrap();
        assert!(warnings.len() == 1 && warnings[0].contains("record-2026-11.db.bad"), "{name}: {warnings:?}");
        assert_eq!(record.append(&entries(600..601, NOVEMBER + 31 * DAY)).unwrap(), 600..601, "{name}");
        let report = verify(place.path(), &record.vkey(), &[], NOVEMBER + 31 * DAY).unwrap();
        let [finding] = &report.findings[..] else { panic!("{name}: {:#?}", report.findings) };
        assert_eq!(
            (&finding.what, &finding.rows),
            (&What::TooYoung(NOV.to_owned()), &Some(0..300)),
            "{name}"
        );
        assert_eq!(report.aside, ["record-2026-11.db.bad"], "{name}");
    }
}

#[test]
fn a_file_of_a_later_version_is_left_alone() {
    for later in [NOV, DEC] {
        let place = tempfile::tempdir().unwrap();
        two_months(place.path());
        let path = place.path().join(later);
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 2).unwrap();
        let before = fs::read(&path).unwrap();
        let (mut record, warnings) = Record::open(place.path(), &options(), NOVEMBER + 31 * DAY).unwrap();
        assert!(warnings.len() == 1 && warnings[0].contains("later version"), "{warnings:?}");
        record.append(&entries(0..10, NOVEMBER + 31 * DAY)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), before);
        assert_eq!(place.path().join("record-2026-12.1.db").exists(), later == DEC);
        let report = verify(place.path(), &record.vkey(), &[], NOVEMBER + 31 * DAY).unwrap();
        assert!(report.findings.iter().any(|finding| finding.what == What::Later), "{:#?}", report.findings);
    }
}

#[test]
fn files_are_their_owners_and_no_links() {
    let place = tempfile::tempdir().unwrap();
    let mut record = open(place.path());
    record.append(&entries(0..300, NOVEMBER)).unwrap();
    for file in fs::read_dir(place.path()).unwrap().map(Result::unwrap) {
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        let expected = if file.file_name() == "record.vkey" { 0o644 } else { 0o600 };
        assert_eq!(mode, expected, "{:?}", file.file_name());
    }
    drop(record);
    // By way of a link the directory is the same one; a file is not followed.
    let other = tempfile::tempdir().unwrap();
    symlink(place.path(), other.path().join("state")).unwrap();
    assert_eq!(open(&other.path().join("state")).size(), 300);
    fs::rename(place.path().join(NOV), other.path().join(NOV)).unwrap();
    symlink(other.path().join(NOV), place.path().join(NOV)).unwrap();
    let error = Record::open(place.path(), &options(), NOVEMBER).unwrap_err();
    assert!(matches!(error, RecordError::Sqlite { .. }), "{error}");
}

#[test]
fn two_do_not_write_it() {
    let place = tempfile::tempdir().unwrap();
    let _record = open(place.path());
    let error = Record::open(place.path(), &options(), NOVEMBER).unwrap_err();
    assert!(matches!(error, RecordError::InUse(_)), "{error}");
}

#[test]
fn a_file_that_was_not_finished_is_made_again() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("record-2026-11.db.new"), "half a file").unwrap();
    let mut record = open(place.path());
    assert_eq!(record.append(&entries(0..1, NOVEMBER)).unwrap(), 0..1);
    assert!(!place.path().join("record-2026-11.db.new").exists());
}

#[test]
fn a_month_that_was_not_closed_is_closed_at_the_next_start() {
    let place = tempfile::tempdir().unwrap();
    let mut record = open(place.path());
    record.append(&entries(0..300, NOVEMBER)).unwrap();
    let reader = Connection::open(place.path().join(NOV)).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM rows").unwrap();
    record.append(&entries(300..301, NOVEMBER + 30 * DAY)).unwrap();
    let mode = || fs::read(place.path().join(NOV)).unwrap()[18];
    // The write version in the header: 2 is with a log.
    assert_eq!(mode(), 2);
    drop((record, reader));
    assert_eq!(open(place.path()).size(), 301);
    assert_eq!(mode(), 1);
}
