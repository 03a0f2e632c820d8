//! Records for tests.

use std::{net::Ipv4Addr, path::Path};

use ipnet::{IpNet, Ipv4Net};
use rusqlite::Connection;
use serde_json::json;
use sha2::Digest as _;

use super::{
    Entry, Facts, Filter, Hash, Kind, Options, Order, Record, Row, Sources, leaf_hash, node_hash, query,
};

/// The first of November 2026, in Unix milliseconds.
pub(super) const NOVEMBER: u64 = 1_793_491_200_000;
/// A day in milliseconds.
pub(super) const DAY: u64 = 86_400_000;
/// Reasons, services and actors that entries have in turn.
pub(super) const REASONS: [&str; 4] = ["rate", "not_tls", "syn_flood", "by hand"];

pub(super) fn options() -> Options {
    Options { origin: "gateway.example/record".to_owned(), sources: Sources::Full }
}

/// Opens a record that nothing is wrong with.
pub(super) fn open(directory: &Path) -> Record {
    let (record, warnings) = Record::open(directory, &options(), NOVEMBER).unwrap();
    assert_eq!(warnings, [""; 0]);
    record
}

/// An entry that can be told from others by its number.
pub(super) fn entry(number: u32, at: u64) -> Entry {
    let pick = |from: &[&str]| from.get(number as usize % from.len()).map(ToString::to_string);
    let address = Ipv4Addr::from(0x0a00_0000 | number.wrapping_mul(2_654_435_761) >> 8);
    let facts = Facts {
        source: Ipv4Net::new(address, 32).ok().map(IpNet::V4),
        reason: pick(&REASONS),
        service: pick(&["tls:443", "quic:443", "tls:8443"]),
        actor: number.is_multiple_of(100).then(|| "cli root".to_owned()),
        body: json!({"number": number, "packets": 17}).as_object().cloned().unwrap_or_default(),
    };
    let kind = if number.is_multiple_of(1000) { Kind::Change } else { Kind::Drops };
    Entry { at, kind, facts }
}

/// So many entries, a second apart.
pub(super) fn entries(numbers: std::ops::Range<u32>, at: u64) -> Vec<Entry> {
    numbers.map(|number| entry(number, at + u64::from(number) * 1000)).collect()
}

/// Every row, the first first.
pub(super) fn all(directory: &Path) -> Vec<Row> {
    let filter = Filter { order: Order::OldestFirst, ..Filter::default() };
    let found = query(directory, &filter, usize::MAX).unwrap();
    assert_eq!(found.unread, [""; 0]);
    let mut rows = found.rows;
    rows.sort_by_key(|row| row.id);
    rows
}

/// The root of RFC 6962, section 2.1, word for word: it splits at the largest power of two that is smaller than the number of leaves.
pub(super) fn root_by_definition(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => sha2::Sha256::digest([]).into(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&root_by_definition(left), &root_by_definition(right))
        }
    }
}

/// The root over rows.
pub(super) fn root_of(rows: &[Row]) -> Hash {
    root_by_definition(&rows.iter().map(|row| leaf_hash(&row.line())).collect::<Vec<_>>())
}

/// Opens a month's file as anybody can who may write it, without its triggers.
pub(super) fn without_triggers(path: &Path) -> (Connection, Vec<String>) {
    let connection = Connection::open(path).unwrap();
    let triggers: Vec<(String, String)> = {
        let sql = "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'";
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    };
    for (name, _) in &triggers {
        connection.execute(&format!("DROP TRIGGER {name}"), ()).unwrap();
    }
    (connection, triggers.into_iter().map(|(_, sql)| sql).collect())
}

/// Changes a month's file by plain SQL, and leaves it with the triggers that it had.
pub(super) fn tamper(path: &Path, change: impl FnOnce(&Connection)) {
    let (connection, triggers) = without_triggers(path);
    change(&connection);
    triggers.iter().for_each(|sql| connection.execute_batch(sql).unwrap());
    connection.close().unwrap();
}
