//! Rows are found, exported and counted.

use std::{fs, ops::ControlFlow, path::Path};

use ipnet::IpNet;

use super::super::{
    Filter, Format, Kind, Order, Record, Row, each, export, leaf_hash, query, status,
    testing::{DAY, NOVEMBER, REASONS, all, entries, entry, open, root_by_definition},
};

/// Three months: 3,000 rows in each, a second apart.
fn three_months(directory: &Path) -> Record {
    let mut record = open(directory);
    for month in 0..3 {
        let at = NOVEMBER + u64::from(month) * 31 * DAY;
        record.append(&entries(month * 3000..month * 3000 + 3000, at)).unwrap();
    }
    record.checkpoint(NOVEMBER + 62 * DAY).unwrap();
    record
}

fn ids(rows: &[Row]) -> Vec<u64> {
    rows.iter().map(|row| row.id).collect()
}

/// Every filter finds what going through all rows finds, in both orders.
#[test]
fn a_query_finds_what_is_there() {
    let place = tempfile::tempdir().unwrap();
    let _record = three_months(place.path());
    let everything = all(place.path());
    let none = Filter::default;
    let text = |text: &str| Some(text.to_owned());
    let net = |text: &str| Some(text.parse::<IpNet>().unwrap());
    let middle = everything[4000].at;
    for filter in [
        none(),
        Filter { kind: Some(Kind::Change), ..none() },
        Filter { kind: Some(Kind::Tls), ..none() },
        Filter { reason: text(REASONS[2]), ..none() },
        Filter { reason: text("' OR 1 = 1"), ..none() },
        Filter { actor: text("cli root"), service: text("tls:443"), ..none() },
        Filter { actor: text("cli root"), service: text("tls:443"), reason: text(REASONS[0]), ..none() },
        Filter { since: Some(middle), until: Some(middle + 10_000), ..none() },
        Filter { since: Some(middle), kind: Some(Kind::Drops), reason: text(REASONS[1]), ..none() },
        Filter { until: Some(0), ..none() },
        Filter { since: Some(u64::MAX), ..none() },
        Filter { source: everything[17].source, ..none() },
        Filter { source: net("10.0.0.0/9"), ..none() },
        Filter { source: net("10.128.0.0/12"), reason: text(REASONS[1]), ..none() },
        Filter { source: net("192.0.2.0/24"), ..none() },
        Filter { source: net("::/0"), ..none() },
    ] {
        let fits = |asked: &Option<String>, found: &Option<String>| asked.is_none() || asked == found;
        let expected: Vec<Row> = everything
            .iter()
            .filter(|row| {
                filter.since.is_none_or(|since| row.at >= since)
                    && filter.until.is_none_or(|until| row.at < until)
                    && filter
                        .source
                        .is_none_or(|asked| row.source.is_some_and(|source| asked.contains(&source)))
                    && filter.kind.is_none_or(|kind| row.kind == kind)
                    && fits(&filter.reason, &row.reason)
                    && fits(&filter.service, &row.service)
                    && fits(&filter.actor, &row.actor)
            })
            .cloned()
            .collect();
        let oldest = Filter { order: Order::OldestFirst, ..filter.clone() };
        assert_eq!(query(place.path(), &oldest, usize::MAX).unwrap().rows, expected, "{filter:?}");
        let reversed: Vec<Row> = expected.iter().rev().cloned().collect();
        let newest = query(place.path(), &filter, 40).unwrap();
        assert_eq!(newest.rows, reversed[..reversed.len().min(40)], "{filter:?}");
        assert_eq!(newest.unread, [""; 0]);
    }
}

#[test]
fn a_prefix_finds_what_overlaps_it() {
    let place = tempfile::tempdir().unwrap();
    let mut record = open(place.path());
    let sources = [
        "0.0.0.0/0",
        "192.0.0.0/8",
        "192.0.2.0/24",
        "192.0.2.0/25",
        "192.0.2.7/32",
        "192.0.2.255/32",
        "192.0.3.0/32",
        "::/0",
        "::ffff:192.0.2.7/128",
        "2001:db8::/32",
        "2001:db8::1/128",
        "2001:db8:0:1::/64",
    ];
    let rows: Vec<_> = (0..)
        .zip(sources)
        .map(|(number, source)| {
            let mut entry = entry(number, NOVEMBER);
            entry.facts.source = Some(source.parse().unwrap());
            entry
        })
        .collect();
    record.append(&rows).unwrap();
    for (asked, expected) in [
        ("192.0.2.7/32", vec![0, 1, 2, 3, 4]),
        ("192.0.2.128/25", vec![0, 1, 2, 5]),
        ("192.0.2.99/24", vec![0, 1, 2, 3, 4, 5]),
        ("0.0.0.0/0", vec![0, 1, 2, 3, 4, 5, 6]),
        ("2001:db8::1/128", vec![7, 9, 10]),
        ("2001:db8::/48", vec![7, 9, 10, 11]),
        ("::/0", vec![7, 8, 9, 10, 11]),
        ("198.51.100.0/24", vec![0]),
    ] {
        let source = Some(asked.parse().unwrap());
        let filter = Filter { source, order: Order::OldestFirst, ..Filter::default() };
        assert_eq!(ids(&query(place.path(), &filter, 100).unwrap().rows), expected, "{asked}");
    }
}

#[test]
fn rows_come_one_by_one_until_it_is_enough() {
    let place = tempfile::tempdir().unwrap();
    let _record = three_months(place.path());
    let mut seen = Vec::new();
    let unread = each(place.path(), &Filter::default(), |row| {
        seen.push(row.id);
        if seen.len() < 3500 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    assert_eq!(unread.unwrap(), [""; 0]);
    assert!(seen.into_iter().eq((5500..9000).rev()));
    assert_eq!(query(place.path(), &Filter::default(), 0).unwrap().rows, []);
}

#[test]
fn what_cannot_be_read_is_told() {
    let place = tempfile::tempdir().unwrap();
    drop(three_months(place.path()));
    fs::write(place.path().join("record-2026-12.db"), "foreign".repeat(1000)).unwrap();
    let found = query(place.path(), &Filter::default(), usize::MAX).unwrap();
    assert_eq!((found.rows.len(), found.unread.len()), (6000, 1));
    assert!(found.unread[0].contains("record-2026-12.db"), "{:?}", found.unread);
    let status = status(place.path()).unwrap();
    assert_eq!((status.rows, status.months.len(), status.unread.len()), (6000, 2, 1));
    assert!(query(&place.path().join("none"), &Filter::default(), 1).is_err());
}

#[test]
fn exports_have_every_row() {
    let place = tempfile::tempdir().unwrap();
    let record = three_months(place.path());
    let filter = Filter { order: Order::OldestFirst, ..Filter::default() };
    let exported = |format| {
        let mut text = Vec::new();
        let (count, unread) = export(place.path(), &filter, format, &mut text).unwrap();
        assert_eq!((count, unread.len()), (9000, 0));
        String::from_utf8(text).unwrap()
    };
    // Whoever has the lines alone can compute the root that was signed.
    let lines = exported(Format::JsonLines);
    let leaves: Vec<_> = lines.lines().map(|line| leaf_hash(line.as_bytes())).collect();
    assert_eq!(root_by_definition(&leaves), record.grown.tree.root());
    let csv = exported(Format::Csv);
    assert_eq!(csv.lines().next(), Some("id,at,kind,source,reason,service,actor,body"));
    assert_eq!(csv.lines().count(), 9001);
    let cef = exported(Format::Cef);
    assert!(
        cef.lines().count() == 9000 && cef.lines().all(|line| line.starts_with("CEF:0|gateway|gateway|"))
    );
}

#[test]
fn the_status_counts() {
    let place = tempfile::tempdir().unwrap();
    let mut record = three_months(place.path());
    record.append(&entries(9000..9500, NOVEMBER + 63 * DAY)).unwrap();
    let status = status(place.path()).unwrap();
    assert_eq!((status.rows, status.oldest), (9500, Some(NOVEMBER)));
    assert_eq!(status.newest, Some(NOVEMBER + 63 * DAY + 9_499_000));
    let last = status.checkpoint.unwrap();
    assert_eq!((last.at, last.size), (NOVEMBER + 62 * DAY, 9000));
    let months: Vec<_> = status.months.iter().map(|month| (month.file.as_str(), month.rows)).collect();
    assert_eq!(
        months,
        [("record-2026-11.db", 3000), ("record-2026-12.db", 3000), ("record-2027-01.db", 3500)]
    );
    assert_eq!(status.bytes, status.months.iter().map(|month| month.bytes).sum::<u64>());
    // Four days have rows.
    let expected = status.bytes / 4;
    assert!(status.bytes_a_day.abs_diff(expected) < expected / 50, "{} {expected}", status.bytes_a_day);
    assert_eq!(status.bytes_a_year, 365 * status.bytes_a_day);
}
