//! Layouts, hashes and checkpoints.

use super::*;

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
            |copy| copy.sql(DEC, "DROP INDEX rows_source"),
            vec![(DEC, 0..0, strange("index rows_source"))],
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
    copy.sql(JAN, "UPDATE rows SET body = NULL WHERE id = 1650");
    hash_again(&copy.path(JAN), true);
    let tree = {
        let directory = copy.place.path().canonicalize().unwrap();
        let name = super::super::names::list(&directory).unwrap().pop().unwrap();
        super::super::MonthFile::open_to_read(&directory, &name).unwrap().tree().unwrap().tree
    };
    let text = Checkpoint { origin: signer.name().to_owned(), size: 1700, root: tree.root() }.to_text();
    let note = signer.sign(&text);
    copy.sql(JAN, &format!("UPDATE checkpoints SET note = '{note}' WHERE size = 1700"));
    assert!(copy.verify(&[]).is_intact());
    let report = copy.verify(std::slice::from_ref(&sample.kept));
    let [finding] = &report.findings[..] else { panic!("{:#?}", report.findings) };
    assert_eq!((&finding.what, &finding.rows, report.kept), (&What::Kept, &Some(1600..1700), None));
}
