//! Rows that were changed, removed, put in or swapped.

use super::*;

#[test]
fn changed_rows_are_found() {
    check(vec![
        (
            "a column",
            |copy| copy.sql(DEC, "UPDATE rows SET body = NULL WHERE id = 700"),
            vec![(DEC, 700..701, What::Changed)],
        ),
        (
            "a column, in a tile with a checkpoint",
            |copy| copy.sql(NOV, "UPDATE rows SET at = at + 1 WHERE id = 10"),
            vec![(NOV, 10..11, What::Changed), (NOV, 0..100, fits_not(100, 1))],
        ),
        (
            "rows one behind the other",
            |copy| copy.sql(NOV, "UPDATE rows SET at = at + 1 WHERE id BETWEEN 250 AND 259"),
            vec![(NOV, 250..260, What::Changed), (NOV, 200..300, fits_not(300, 2))],
        ),
        (
            "what a row is about",
            |copy| copy.sql(NOV, "UPDATE rows SET subject = subject - 1 WHERE id = 250"),
            vec![(NOV, 250..251, What::Changed)],
        ),
        (
            "that a row is about something",
            |copy| copy.sql(NOV, "UPDATE rows SET subject = 77 WHERE id = 250"),
            vec![(NOV, 250..251, What::Changed)],
        ),
        (
            "what all rows of a subject are about",
            |copy| copy.sql(NOV, "UPDATE subjects SET reason = 'x' WHERE kind = 1"),
            vec![(NOV, 0..1, What::Changed), (NOV, 0..100, fits_not(100, 1))],
        ),
        (
            "a kind that there is not",
            |copy| copy.sql(NOV, "UPDATE subjects SET kind = 77 WHERE kind = 1"),
            vec![(NOV, 0..1, What::Changed), (NOV, 0..100, fits_not(100, 1))],
        ),
        (
            "a source",
            |copy| copy.sql(NOV, "UPDATE rows SET source = x'04' WHERE id = 250"),
            vec![(NOV, 250..251, What::Changed)],
        ),
        (
            "what the rows of a block are found by",
            |copy| {
                let change = "DELETE FROM blocks WHERE n = 0 AND subject = 2;
                    UPDATE blocks SET newest = 1 WHERE n = 1 AND subject = 0";
                copy.sql(NOV, change);
            },
            vec![(NOV, 0..512, What::Block)],
        ),
        (
            "a mark",
            |copy| copy.sql(NOV, "UPDATE rows SET mark = 0 WHERE id = 250"),
            vec![(NOV, 250..251, What::Changed)],
        ),
        (
            "bytes of the file",
            |copy| edit(&copy.path(NOV), "rows", br#"{"number":255,"#, br#"{"number":265,"#),
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
                copy.sql(NOV, "UPDATE rows SET body = NULL WHERE id = 250");
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
                copy.sql(NOV, "UPDATE rows SET body = NULL WHERE id = 250");
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
            |copy| copy.sql(DEC, "INSERT INTO rows (id, at, subject, mark) VALUES (599, 1, 1, 1)"),
            vec![(DEC, 599..600, What::PutIn)],
        ),
        (
            "one put in with a number that none has",
            |copy| copy.sql(NOV, "INSERT INTO rows (id, at, subject, mark) VALUES (-5, 1, 1, 1)"),
            vec![(NOV, 5..6, What::PutIn)],
        ),
        (
            "one put in behind a month that is over",
            |copy| {
                copy.sql(NOV, "INSERT INTO rows (id, at, subject, mark) VALUES (600, 1, 1, 1)");
                hash_again(&copy.path(NOV), true);
            },
            vec![(DEC, 600..601, What::Twice)],
        ),
        (
            "one put in far behind",
            |copy| copy.sql(JAN, "INSERT INTO rows (id, at, subject, mark) VALUES (1099511627776, 1, 1, 1)"),
            vec![(JAN, 1700..1 << 40, What::Missing)],
        ),
    ]);
}
