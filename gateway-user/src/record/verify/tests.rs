//! Everything that can be done to the files is found, and an untouched record verifies.

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
        testing::{DAY, NOVEMBER, entries, open, options, tamper},
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
        let mut statement =
            connection.prepare(&format!("SELECT {} FROM rows ORDER BY id", columns::COLUMNS)).unwrap();
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
fn edit(path: &Path, object: &str, from: &str, to: &str) {
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
        for at in (0..bytes.len()).filter(|at| bytes[*at..].starts_with(from.as_bytes())) {
            file.write_all_at(to.as_bytes(), begin + at as u64).unwrap();
            count += 1;
        }
    }
    assert!(count > 0, "{from} is not in {object}");
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
fn changed_rows_are_found() {
    check(vec![
        (
            "a column",
            |copy| copy.sql(DEC, "UPDATE rows SET actor = 'nobody' WHERE id = 700"),
            vec![(DEC, 700..701, What::Changed)],
        ),
        (
            "a column, in a tile with a checkpoint",
            |copy| copy.sql(NOV, "UPDATE rows SET at = at + 1 WHERE id = 10"),
            vec![(NOV, 10..11, What::Changed), (NOV, 0..100, fits_not(100, 1))],
        ),
        (
            "rows one behind the other",
            |copy| copy.sql(NOV, "UPDATE rows SET kind = 2 WHERE id BETWEEN 250 AND 259"),
            vec![(NOV, 250..260, What::Changed), (NOV, 200..300, fits_not(300, 2))],
        ),
        (
            "a type",
            |copy| copy.sql(NOV, "UPDATE rows SET kind = 77 WHERE id = 250"),
            vec![(NOV, 250..251, What::Changed)],
        ),
        (
            "what a source is found by",
            |copy| copy.sql(NOV, "UPDATE rows SET source_key = x'04' WHERE id = 250"),
            vec![(NOV, 250..251, What::Changed)],
        ),
        (
            "a mark",
            |copy| copy.sql(NOV, "UPDATE rows SET mark = 0 WHERE id = 250"),
            vec![(NOV, 250..251, What::Changed)],
        ),
        (
            "bytes of the file",
            |copy| edit(&copy.path(NOV), "rows", r#"{"number":255,"#, r#"{"number":265,"#),
            vec![(NOV, 255..256, What::Changed)],
        ),
        (
            "two swapped",
            |copy| {
                let swap = "UPDATE rows SET id = -1 WHERE id = 210; UPDATE rows SET id = 210 WHERE id = 220;
                    UPDATE rows SET id = 220 WHERE id = -1";
                copy.sql(NOV, swap);
            },
            vec![(NOV, 210..211, What::Changed), (NOV, 220..221, What::Changed)],
        ),
        (
            "with its mark",
            |copy| {
                copy.sql(NOV, "UPDATE rows SET reason = 'x' WHERE id = 250");
                hash_again(&copy.path(NOV), false);
            },
            vec![(NOV, 0..256, What::ChangedAmong)],
        ),
        (
            "in another order, with their marks",
            |copy| {
                let reverse = "UPDATE rows SET id = -1 - id; UPDATE rows SET id = 600 + id";
                copy.sql(NOV, reverse);
                hash_again(&copy.path(NOV), false);
            },
            vec![
                (NOV, 0..512, What::ChangedAmong),
                (NOV, 0..100, fits_not(100, 5)),
                (DEC, 0..0, What::Start),
            ],
        ),
        (
            "with all hashes, but without the key",
            |copy| {
                copy.sql(NOV, "UPDATE rows SET reason = 'x' WHERE id = 250");
                hash_again(&copy.path(NOV), true);
            },
            vec![(NOV, 200..300, fits_not(300, 3)), (DEC, 0..0, What::Start)],
        ),
    ]);
}

#[test]
fn rows_that_are_gone_or_too_many_are_found() {
    check(vec![
        (
            "one removed",
            |copy| copy.sql(DEC, "DELETE FROM rows WHERE id = 700"),
            vec![(DEC, 700..701, What::Missing)],
        ),
        (
            "the first of a month",
            |copy| copy.sql(DEC, "DELETE FROM rows WHERE id = 600"),
            vec![(DEC, 600..601, What::Missing), (DEC, 600..700, fits_not(700, 0))],
        ),
        (
            "the end of a month that is over",
            |copy| copy.sql(DEC, "DELETE FROM rows WHERE id >= 1290"),
            vec![(DEC, 1290..1300, What::Cut), (JAN, 1290..1300, What::MissingBefore(DEC.to_owned()))],
        ),
        (
            "the end of the record",
            |copy| copy.sql(JAN, "DELETE FROM rows WHERE id >= 1650"),
            vec![(JAN, 1650..1700, What::Cut), ("", 1650..1700, What::RolledBack(1700))],
        ),
        (
            "the end of the record with its checkpoints",
            |copy| {
                copy.sql(JAN, "DELETE FROM rows WHERE id >= 1650; DELETE FROM checkpoints WHERE size > 1650");
            },
            vec![("", 1650..1700, What::RolledBack(1700))],
        ),
        (
            "the end of the record with its checkpoints, but not its hashes",
            |copy| {
                copy.sql(JAN, "DELETE FROM rows WHERE id >= 1500; DELETE FROM checkpoints WHERE size > 1500");
            },
            vec![(JAN, 1500..1536, What::Cut), ("", 1500..1700, What::RolledBack(1700))],
        ),
        (
            "one put in before a month",
            |copy| copy.sql(DEC, "INSERT INTO rows (id, at, kind, mark) VALUES (599, 1, 1, 1)"),
            vec![(DEC, 599..600, What::PutIn)],
        ),
        (
            "one put in with a number that none has",
            |copy| copy.sql(NOV, "INSERT INTO rows (id, at, kind, mark) VALUES (-5, 1, 1, 1)"),
            vec![(NOV, 5..6, What::PutIn)],
        ),
        (
            "one put in behind a month that is over",
            |copy| {
                copy.sql(NOV, "INSERT INTO rows (id, at, kind, mark) VALUES (600, 1, 1, 1)");
                hash_again(&copy.path(NOV), true);
            },
            vec![(DEC, 600..601, What::Twice)],
        ),
        (
            "one put in far behind",
            |copy| copy.sql(JAN, "INSERT INTO rows (id, at, kind, mark) VALUES (1099511627776, 1, 1, 1)"),
            vec![(JAN, 1700..1 << 40, What::Missing)],
        ),
    ]);
}

#[test]
fn files_that_are_gone_or_exchanged_are_found() {
    check(vec![
        (
            "the first",
            |copy| fs::remove_file(copy.path(NOV)).unwrap(),
            vec![(DEC, 0..600, What::TooYoung(NOV.to_owned()))],
        ),
        (
            "one in the middle",
            |copy| fs::remove_file(copy.path(DEC)).unwrap(),
            vec![(JAN, 600..1300, What::MissingBefore(DEC.to_owned()))],
        ),
        (
            "the last",
            |copy| fs::remove_file(copy.path(JAN)).unwrap(),
            vec![("", 1300..1700, What::RolledBack(1700))],
        ),
        (
            "the last, by an older copy",
            |copy| fs::write(copy.path(JAN), &copy.sample.older).unwrap(),
            vec![("", 1400..1700, What::RolledBack(1700))],
        ),
        (
            "two, by each other",
            |copy| {
                fs::rename(copy.path(NOV), copy.path("x")).unwrap();
                fs::rename(copy.path(DEC), copy.path(NOV)).unwrap();
                fs::rename(copy.path("x"), copy.path(DEC)).unwrap();
            },
            vec![
                (NOV, 0..600, What::TooYoung(NOV.to_owned())),
                (NOV, 0..0, What::Exchanged(DEC.to_owned())),
                (DEC, 0..1300, What::Twice),
                (DEC, 0..0, What::Exchanged(NOV.to_owned())),
                (JAN, 600..1300, What::MissingBefore(DEC.to_owned())),
            ],
        ),
        (
            "one, by that of another record",
            |copy| {
                let other = tempfile::tempdir().unwrap();
                drop(Record::open(other.path(), &options(), NOVEMBER + 31 * DAY).unwrap());
                fs::copy(other.path().join(DEC), copy.path(DEC)).unwrap();
            },
            vec![
                (DEC, 0..600, What::Twice),
                (DEC, 0..0, What::Forged { id: 1, why: NoteError::Unknown }),
                (JAN, 0..1300, What::MissingBefore(DEC.to_owned())),
            ],
        ),
    ]);
}

#[test]
fn changed_layouts_hashes_and_checkpoints_are_found() {
    let other = Signer::new("gateway.example/record", [7; 32]).unwrap();
    assert!(other.to_text().starts_with("PRIVATE+KEY+"));
    let strange = |object: &str| What::Strange(object.to_owned());
    check(vec![
        (
            "a trigger removed",
            |copy| drop(Connection::open(copy.path(DEC)).unwrap().execute("DROP TRIGGER rows_update", ())),
            vec![(DEC, 0..0, strange("trigger rows_update"))],
        ),
        (
            "a trigger that does nothing",
            |copy| {
                let nothing = "DROP TRIGGER rows_delete;
                    CREATE TRIGGER rows_delete BEFORE DELETE ON rows BEGIN SELECT 1; END";
                Connection::open(copy.path(DEC)).unwrap().execute_batch(nothing).unwrap();
            },
            vec![(DEC, 0..0, strange("trigger rows_delete"))],
        ),
        (
            "an index removed",
            |copy| copy.sql(DEC, "DROP INDEX rows_reason"),
            vec![(DEC, 0..0, strange("index rows_reason"))],
        ),
        (
            "a table with a column more",
            |copy| copy.sql(DEC, "ALTER TABLE rows ADD COLUMN more TEXT"),
            vec![(DEC, 0..0, strange("table rows"))],
        ),
        (
            "a hash",
            |copy| copy.sql(NOV, "UPDATE tiles SET hash = zeroblob(32) WHERE n = 0"),
            vec![
                (NOV, 0..256, What::ChangedAmong),
                (NOV, 200..300, fits_not(300, 3)),
                (DEC, 0..0, What::Start),
            ],
        ),
        (
            "a hash removed",
            |copy| copy.sql(DEC, "DELETE FROM tiles WHERE n = 3"),
            vec![(DEC, 768..1024, What::Tile)],
        ),
        (
            "the tree that a month starts with",
            |copy| copy.sql(DEC, "UPDATE start SET peaks = zeroblob(length(peaks))"),
            vec![
                (DEC, 0..0, What::Start),
                (DEC, 600..768, What::ChangedAmong),
                (DEC, 600..600, fits_not(600, 7)),
                (JAN, 0..0, What::Start),
            ],
        ),
        (
            "a checkpoint edited",
            |copy| copy.sql(DEC, "UPDATE checkpoints SET note = replace(note, '700', '701')"),
            vec![(DEC, 0..0, What::Forged { id: 2, why: NoteError::Forged })],
        ),
        (
            "a checkpoint by another key",
            |copy| {
                let other = Signer::new("gateway.example/record", [7; 32]).unwrap();
                let text = Checkpoint { origin: other.name().to_owned(), size: 700, root: [0; 32] }.to_text();
                copy.sql(DEC, &format!("UPDATE checkpoints SET note = '{}' WHERE id = 2", other.sign(&text)));
            },
            vec![(DEC, 0..0, What::Forged { id: 2, why: NoteError::Unknown })],
        ),
        (
            "checkpoints removed",
            |copy| copy.sql(DEC, "DELETE FROM checkpoints WHERE id IN (2, 3)"),
            vec![(DEC, 0..0, What::CheckpointsMissing(2, 3))],
        ),
        (
            "a checkpoint of another month",
            |copy| {
                let take = "ATTACH 'PATH' AS nov;
                    UPDATE checkpoints SET note = (SELECT note FROM nov.checkpoints WHERE id = 2) WHERE id = 3;
                    DETACH nov";
                copy.sql(DEC, &take.replace("PATH", &copy.path(NOV).display().to_string()));
            },
            vec![(DEC, 0..0, What::Misplaced(3))],
        ),
    ]);
}

#[test]
fn damaged_files_are_found() {
    let sample = Sample::new();
    #[track_caller]
    fn first(copy: &Copy<'_>) -> super::Finding {
        let report = copy.verify(std::slice::from_ref(&copy.sample.kept));
        report.findings.into_iter().next().unwrap()
    }
    let copy = sample.copy();
    let half = fs::metadata(copy.path(DEC)).unwrap().len() / 2;
    fs::File::options().write(true).open(copy.path(DEC)).unwrap().set_len(half).unwrap();
    let finding = first(&copy);
    assert!(matches!(finding.what, What::Unreadable(_)) && finding.file.as_deref() == Some(DEC), "{finding}");

    // A page of rows is gone; what lies behind it is read again from the next file on.
    let copy = sample.copy();
    let page: u64 = {
        let connection = Connection::open(copy.path(DEC)).unwrap();
        let sql = "SELECT pageno FROM dbstat WHERE name = 'rows' AND pagetype = 'leaf' ORDER BY path LIMIT 1 OFFSET 9";
        connection.query_row(sql, (), |row| row.get(0)).unwrap()
    };
    let file = fs::File::options().write(true).open(copy.path(DEC)).unwrap();
    file.write_all_at(&[0xff; 4096], (page - 1) * 4096).unwrap();
    let finding = first(&copy);
    assert!(matches!(finding.what, What::Unreadable(_)), "{finding}");
    let rows = finding.rows.clone().unwrap();
    assert!(rows.start > 600 && rows.start < 1300, "{finding}");

    let copy = sample.copy();
    edit(&copy.path(DEC), "rows_reason", "syn_flood", "syn_fl00d");
    let finding = first(&copy);
    assert!(matches!(finding.what, What::Index(_)), "{finding}");

    let copy = sample.copy();
    Connection::open(copy.path(DEC)).unwrap().pragma_update(None, "user_version", 2).unwrap();
    assert_eq!(first(&copy).what, What::Later);
}

#[test]
fn checkpoints_kept_elsewhere_are_judged() {
    let sample = Sample::new();
    let copy = sample.copy();
    let other = Signer::new("gateway.example/record", [7; 32]).unwrap();
    let kept =
        [other.sign("gateway.example/record\n0\n\n"), sample.kept.replace("1700", "1600"), String::new()];
    let report = copy.verify(&kept);
    let found: Vec<What> = report.findings.into_iter().map(|finding| finding.what).collect();
    let forged = |id, why| What::Forged { id, why };
    let malformed = forged(3, NoteError::Malformed);
    assert_eq!(found, [forged(1, NoteError::Unknown), forged(2, NoteError::Forged), malformed]);
    for vkey in ["", "no key", &sample.key] {
        let error = verify(copy.place.path(), vkey, &[], NOW).unwrap_err();
        assert!(matches!(error, RecordError::Vkey(_)), "{error}");
    }
}

/// Whoever has the key can rewrite what is behind the last checkpoint kept elsewhere, and nothing before it.
#[test]
fn who_has_the_key_is_found_by_what_is_kept_elsewhere() {
    let sample = Sample::new();
    let copy = sample.copy();
    let signer = Signer::parse(sample.key.trim_end()).unwrap();
    copy.sql(JAN, "UPDATE rows SET reason = 'x' WHERE id = 1650");
    hash_again(&copy.path(JAN), true);
    let tree = {
        let directory = copy.place.path().canonicalize().unwrap();
        let name = super::names::list(&directory).unwrap().pop().unwrap();
        super::MonthFile::open_to_read(&directory, &name).unwrap().tree().unwrap().tree
    };
    let text = Checkpoint { origin: signer.name().to_owned(), size: 1700, root: tree.root() }.to_text();
    let note = signer.sign(&text);
    copy.sql(JAN, &format!("UPDATE checkpoints SET note = '{note}' WHERE size = 1700"));
    assert!(copy.verify(&[]).is_intact());
    let report = copy.verify(std::slice::from_ref(&sample.kept));
    let [finding] = &report.findings[..] else { panic!("{:#?}", report.findings) };
    assert_eq!((&finding.what, &finding.rows, report.kept), (&What::Kept, &Some(1600..1700), None));
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
