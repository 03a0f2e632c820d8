//! Whole months go, once they are over age, and what is left verifies.

use std::{fs, path::Path, time::Duration};

use super::super::{
    RETENTION_MIN, Record, names,
    testing::{DAY, NOVEMBER, all, entries, open},
    verify,
};

/// Sixteen months of rows, 50 each.
fn months(directory: &Path) -> (Record, Vec<String>) {
    let mut record = open(directory);
    let kept = (0..16).map(|month| {
        let at = NOVEMBER + u64::from(month) * 31 * DAY;
        record.append(&entries(month * 50..month * 50 + 50, at)).unwrap();
        record.checkpoint(at).unwrap()
    });
    let kept = kept.collect();
    (record, kept)
}

fn names(directory: &Path) -> Vec<String> {
    names::list(directory).unwrap().iter().map(ToString::to_string).collect()
}

#[test]
fn months_over_age_go_and_the_rest_verifies() {
    let place = tempfile::tempdir().unwrap();
    let (mut record, kept) = months(place.path());
    let now = NOVEMBER + 15 * 31 * DAY;
    let before = names(place.path());
    // Less than a year is taken for a year.
    let removed = record.age(now, Duration::from_secs(1)).unwrap();
    assert_eq!(removed, ["record-2026-11.db", "record-2026-12.db", "record-2027-01.db", "record-2027-02.db"]);
    assert_eq!(names(place.path()), before[4..]);
    assert_eq!(record.age(now, RETENTION_MIN).unwrap(), [""; 0]);
    assert_eq!(all(place.path()).first().unwrap().id, 200);
    let report = verify(place.path(), &record.vkey(), &kept, now).unwrap();
    assert!(report.is_intact(), "{:#?}", report.findings);
    assert_eq!((report.first, report.end, report.unchecked, report.kept), (200, 800, 3, Some(800)));
    assert_eq!(record.append(&entries(800..900, now)).unwrap(), 800..900);
}

#[test]
fn a_longer_retention_keeps_more() {
    let place = tempfile::tempdir().unwrap();
    let (mut record, _) = months(place.path());
    let now = NOVEMBER + 15 * 31 * DAY;
    assert_eq!(record.age(now, Duration::from_secs(14 * 31 * 86_400)).unwrap(), ["record-2026-11.db"]);
    assert_eq!(record.age(now, Duration::MAX).unwrap(), [""; 0]);
}

#[test]
fn the_file_that_is_written_stays_and_so_do_those_behind_a_younger_one() {
    let place = tempfile::tempdir().unwrap();
    let mut record = open(place.path());
    // A clock that ran ahead left a row of the year 2030 in the first month.
    let mut first = entries(0..50, NOVEMBER);
    first[0].at = NOVEMBER + 1200 * DAY;
    record.append(&first).unwrap();
    record.append(&entries(50..100, NOVEMBER + 31 * DAY)).unwrap();
    assert_eq!(record.age(NOVEMBER + 1500 * DAY, RETENTION_MIN).unwrap(), [""; 0]);
    assert_eq!(record.age(NOVEMBER + 9000 * DAY, RETENTION_MIN).unwrap(), ["record-2026-11.db"]);
    assert_eq!(names(place.path()), ["record-2026-12.db"]);
    assert!(fs::metadata(place.path().join("record-2026-11.db-wal")).is_err());
}
