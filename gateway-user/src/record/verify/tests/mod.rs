//! Everything that can be done to the files is found, and an untouched record verifies.

mod files;
mod rows;
mod signed;

use std::{
    fs,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use rusqlite::Connection;
use tempfile::TempDir;

use super::{
    super::{
        Checkpoint, NoteError, Record, RecordError, Signer, columns,
        row::{self},
        testing::{DAY, NOVEMBER, entries, entry, open, options, tamper},
        tree::{Tile, Tree},
    },
    Report, What, verify,
};

const NOV: &str = "record-2026-11.db";
const DEC: &str = "record-2026-12.db";
const JAN: &str = "record-2027-01.db";
const NOW: u64 = NOVEMBER + 62 * DAY;

/// Three months: rows 0 to 599, 600 to 1299 and 1300 to 1699, with a checkpoint each hundred rows.
struct Sample {
    place: TempDir,
    vkey: String,
    /// The last checkpoint, as somebody else keeps it.
    kept: String,
    /// The last month's file, as it was with a hundred rows.
    older: Vec<u8>,
    key: String,
}

impl Sample {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let mut record = open(place.path());
        let (mut kept, mut older) = (String::new(), Vec::new());
        for hundred in 0..17_u32 {
            let month = if hundred < 6 { 0 } else { 1 + u64::from(hundred >= 13) };
            let at = NOVEMBER + 31 * DAY * month;
            record.append(&entries(hundred * 100..hundred * 100 + 100, at)).unwrap();
            kept = record.checkpoint(at).unwrap();
            if hundred == 13 {
                drop(record);
                older = fs::read(place.path().join(JAN)).unwrap();
                record = open(place.path());
            }
        }
        let key = fs::read_to_string(place.path().join("record.key")).unwrap();
        Self { vkey: record.vkey(), place, kept, older, key }
    }

    fn copy(&self) -> Copy<'_> {
        let place = tempfile::tempdir().unwrap();
        for file in fs::read_dir(self.place.path()).unwrap().map(Result::unwrap) {
            fs::copy(file.path(), place.path().join(file.file_name())).unwrap();
        }
        Copy { place, sample: self }
    }
}

/// A copy of the sample, to be changed.
struct Copy<'a> {
    place: TempDir,
    sample: &'a Sample,
}

impl Copy<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn sql(&self, name: &str, sql: &str) {
        tamper(&self.path(name), |connection| connection.execute_batch(sql).unwrap());
    }

    fn verify(&self, kept: &[String]) -> Report {
        verify(self.place.path(), &self.sample.vkey, kept, NOW).unwrap()
    }
}

/// What is found: in which file (none: a checkpoint kept elsewhere), which rows (0..0: none in particular), what.
type Expected = (&'static str, std::ops::Range<u64>, What);

type Case = (&'static str, fn(&Copy<'_>), Vec<Expected>);

/// Everything that is found is expected, and nothing else.
fn check(cases: Vec<Case>) {
    let sample = Sample::new();
    for (name, change, expected) in cases {
        let copy = sample.copy();
        change(&copy);
        let report = copy.verify(std::slice::from_ref(&sample.kept));
        let found: Vec<_> = report
            .findings
            .iter()
            .map(|finding| {
                let rows = finding.rows.clone().unwrap_or(0..0);
                (finding.file.as_deref().unwrap_or(""), rows, finding.what.clone())
            })
            .collect();
        let expected: Vec<_> = expected.into_iter().collect();
        assert_eq!(found, expected, "{name}");
        assert_eq!(report.is_intact(), expected.is_empty(), "{name}");
    }
}

fn fits_not(size: u64, more: u64) -> What {
    What::Checkpoint { size, more }
}

/// Makes hashes fit rows, as somebody does who knows how they are made: marks, and tiles if asked.
fn hash_again(path: &Path, with_tiles: bool) {
    tamper(path, |connection| {
        let (first, peaks) = connection
            .query_row("SELECT first, peaks FROM start", (), |row| {
                Ok((row.get(0)?, row.get::<_, Vec<u8>>(1)?))
            })
            .unwrap();
        let mut tree = Tree::from_peaks(first, &peaks).unwrap();
        let mut statement = connection
            .prepare(&format!("SELECT {} FROM {} ORDER BY rows.id", columns::COLUMNS, columns::TABLES))
            .unwrap();
        let leaves: Vec<_> = statement
            .query_map((), |row| {
                let leaf = columns::leaf(row)?;
                Ok((leaf.id, leaf.hash(&mut Vec::new())))
            })
            .unwrap()
            .map(Result::unwrap)
            .collect();
        for (id, hash) in leaves {
            let mark = row::mark(&hash);
            connection.execute("UPDATE rows SET mark = ? WHERE id = ?", (mark, id)).unwrap();
            tree.push(hash, &mut |Tile { level, index }, hash| {
                if with_tiles {
                    let sql = "UPDATE tiles SET hash = ? WHERE level = ? AND n = ?";
                    connection.execute(sql, (hash, level, index)).unwrap();
                }
                hash
            });
        }
    });
}

/// Writes other bytes wherever some are on the pages of a table or an index: also where they are left over of what was there before.
fn edit(path: &Path, object: &str, from: &[u8], to: &[u8]) {
    let pages: Vec<u64> = {
        let connection = Connection::open(path).unwrap();
        let sql = "SELECT pageno FROM dbstat WHERE name = ? AND pagetype = 'leaf'";
        let mut statement = connection.prepare(sql).unwrap();
        statement.query_map([object], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut count = 0;
    for page in pages {
        let mut bytes = [0; 4096];
        let begin = (page - 1) * 4096;
        file.read_exact_at(&mut bytes, begin).unwrap();
        for at in (0..bytes.len()).filter(|at| bytes[*at..].starts_with(from)) {
            file.write_all_at(to, begin + at as u64).unwrap();
            count += 1;
        }
    }
    assert!(count > 0, "{from:?} is not in {object}");
}

#[test]
fn an_untouched_record_verifies() {
    check(vec![("nothing", |_| {}, vec![])]);
    let sample = Sample::new();
    let report = sample.copy().verify(&[]);
    assert!(report.is_intact());
    assert_eq!((report.files, report.rows, report.first, report.end), (3, 1700, 0, 1700));
    // One in each file's first place, and seventeen; the last of a month is the first of the next.
    assert_eq!((report.checkpoints, report.signed, report.kept), (20, Some(1700), None));
    assert!(report.limits()[0].contains("can have rewritten all of it"), "{:?}", report.limits());
    let report = sample.copy().verify(std::slice::from_ref(&sample.kept));
    assert_eq!(report.kept, Some(1700));
    assert!(report.limits()[0].contains("Rows before 1700 fit"), "{:?}", report.limits());
}

#[test]
fn a_record_that_is_written_verifies() {
    let place = tempfile::tempdir().unwrap();
    let mut record = open(place.path());
    let (vkey, path) = (record.vkey(), place.path().to_owned());
    let writer = std::thread::spawn(move || {
        for hundred in 0..60 {
            record.append(&entries(hundred * 100..hundred * 100 + 100, NOVEMBER)).unwrap();
            record.checkpoint(NOVEMBER).unwrap();
        }
    });
    while !writer.is_finished() {
        let report = verify(&path, &vkey, &[], NOVEMBER).unwrap();
        assert!(report.is_intact(), "{:#?}", report.findings);
    }
    writer.join().unwrap();
}
