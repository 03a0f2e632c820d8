//! Files that are gone, exchanged or damaged.

use super::*;

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
fn damaged_files_are_found() {
    let sample = Sample::new();
    #[track_caller]
    fn first(copy: &Copy<'_>) -> super::super::Finding {
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
        let sql = "SELECT pageno FROM dbstat WHERE name = 'rows' AND pagetype = 'leaf' ORDER BY path LIMIT 1 OFFSET 5";
        connection.query_row(sql, (), |row| row.get(0)).unwrap()
    };
    let file = fs::File::options().write(true).open(copy.path(DEC)).unwrap();
    file.write_all_at(&[0xff; 4096], (page - 1) * 4096).unwrap();
    let finding = first(&copy);
    assert!(matches!(finding.what, What::Unreadable(_)), "{finding}");
    let rows = finding.rows.clone().unwrap();
    assert!(rows.start > 600 && rows.start < 1300, "{finding}");

    // An index leads to another source.
    let copy = sample.copy();
    let source = |number| columns::source_key(entry(number, 0).facts.source.unwrap());
    edit(&copy.path(DEC), "rows_source", &source(700), &source(5_000));
    let finding = first(&copy);
    assert!(matches!(finding.what, What::Index(_)), "{finding}");

    let copy = sample.copy();
    Connection::open(copy.path(DEC)).unwrap().pragma_update(None, "user_version", 2).unwrap();
    assert_eq!(first(&copy).what, What::Later);
}
