//! A row as columns of its file.

use std::collections::HashMap;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use rusqlite::{CachedStatement, Connection, OptionalExtension as _, params};

use super::{
    Kind,
    row::{Leaf, Row},
};

/// The columns, in the order in which they are read here.
pub(super) const COLUMNS: &str = "rows.id, at, subject, source, body, mark, kind, reason, service, actor";
/// Where they are read. A row whose subject is gone has none of its columns.
pub(super) const TABLES: &str = "rows LEFT JOIN subjects ON subjects.id = subject";

/// What rows are written with.
pub(super) struct Writer<'a> {
    insert: CachedStatement<'a>,
    find: CachedStatement<'a>,
    make: CachedStatement<'a>,
    /// Subjects that are known to be in the file.
    known: HashMap<Subject<'a>, i64>,
}

/// What a row is about: few combinations stand in many rows, and a file has each once.
type Subject<'a> = (Kind, Option<&'a str>, Option<&'a str>, Option<&'a str>);

impl<'a> Writer<'a> {
    pub(super) fn new(connection: &'a Connection) -> rusqlite::Result<Self> {
        let insert = "INSERT INTO rows (id, at, subject, source, body, mark) VALUES (?, ?, ?, ?, ?, ?)";
        let find =
            "SELECT id FROM subjects WHERE kind = ? AND reason IS ? AND service IS ? AND actor IS ? LIMIT 1";
        let make =
            "INSERT INTO subjects SELECT coalesce(max(id), 0) + 1, ?, ?, ?, ? FROM subjects RETURNING id";
        Ok(Self {
            insert: connection.prepare_cached(insert)?,
            find: connection.prepare_cached(find)?,
            make: connection.prepare_cached(make)?,
            known: HashMap::new(),
        })
    }

    /// Writes a row; gives its subject.
    pub(super) fn write(&mut self, leaf: &Leaf<'a>, mark: i32) -> rusqlite::Result<i64> {
        let subject = self.subject(leaf)?;
        let source = leaf.source.map(source_key);
        self.insert.execute(params![leaf.id, leaf.at, subject, source, leaf.body, mark])?;
        Ok(subject)
    }

    /// The number of a subject, which is put into the file where it is not there.
    fn subject(&mut self, leaf: &Leaf<'a>) -> rusqlite::Result<i64> {
        let subject = (leaf.kind, leaf.reason, leaf.service, leaf.actor);
        if let Some(number) = self.known.get(&subject) {
            return Ok(*number);
        }
        let values = (leaf.kind.number(), leaf.reason, leaf.service, leaf.actor);
        let found = self.find.query_row(values, |row| row.get(0)).optional()?;
        let number = match found {
            Some(number) => number,
            None => self.make.query_row(values, |row| row.get(0))?,
        };
        self.known.insert(subject, number);
        Ok(number)
    }
}

/// A row's subject.
pub(super) fn subject(row: &rusqlite::Row<'_>) -> rusqlite::Result<i64> {
    row.get(2)
}

/// A row's mark.
pub(super) fn mark(row: &rusqlite::Row<'_>) -> rusqlite::Result<i32> {
    row.get(5)
}

/// What a row's hash is made of. Columns of another type than the file's layout has are an error.
pub(super) fn leaf<'a>(row: &'a rusqlite::Row<'_>) -> rusqlite::Result<Leaf<'a>> {
    let text = |column| -> rusqlite::Result<Option<&'a str>> { Ok(row.get_ref(column)?.as_str_or_null()?) };
    let source = row.get_ref(3)?.as_blob_or_null()?;
    let no_source = || rusqlite::types::FromSqlError::InvalidType;
    let kind = row.get(6)?;
    Ok(Leaf {
        id: row.get(0)?,
        at: row.get(1)?,
        kind: Kind::from_number(kind).ok_or(rusqlite::Error::IntegralValueOutOfRange(6, kind))?,
        source: source.map(|key| source_of(key).ok_or_else(no_source)).transpose()?,
        reason: text(7)?,
        service: text(8)?,
        actor: text(9)?,
        body: text(4)?,
    })
}

/// A whole row.
pub(super) fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let leaf = leaf(row)?;
    let owned = |text: Option<&str>| text.map(str::to_owned);
    Ok(Row {
        id: leaf.id,
        at: leaf.at,
        kind: leaf.kind,
        source: leaf.source,
        reason: owned(leaf.reason),
        service: owned(leaf.service),
        actor: owned(leaf.actor),
        body: owned(leaf.body),
    })
}

/// The source of a key. One that has a key has that alone.
fn source_of(key: &[u8]) -> Option<IpNet> {
    let source = match *key {
        [4, a, b, c, d, length] => IpNet::V4(Ipv4Net::new([a, b, c, d].into(), length).ok()?),
        [6, ref address @ .., length] => {
            IpNet::V6(Ipv6Net::new(<[u8; 16]>::try_from(address).ok()?.into(), length).ok()?)
        }
        _ => return None,
    };
    (source.trunc() == source).then_some(source)
}

/// A source as it is kept: 4 or 6, the address in network order, the length. So the prefixes within a prefix lie together, from its own
/// key on.
pub(super) fn source_key(source: IpNet) -> Vec<u8> {
    let mut key = Vec::with_capacity(18);
    match source {
        IpNet::V4(net) => {
            key.push(4);
            key.extend(net.network().octets());
        }
        IpNet::V6(net) => {
            key.push(6);
            key.extend(net.network().octets());
        }
    }
    key.push(source.prefix_len());
    key
}

/// The key behind those of all prefixes within a prefix: its last address, with a length that none has.
pub(super) fn source_key_end(source: IpNet) -> Vec<u8> {
    let last = IpNet::from(source.broadcast());
    let mut key = source_key(last);
    if let Some(length) = key.last_mut() {
        *length = u8::MAX;
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_what_lies_within_lie_between() {
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        for (outer, within, outside) in [
            (
                "192.0.2.0/24",
                ["192.0.2.0/24", "192.0.2.0/32", "192.0.2.255/32"],
                ["192.0.0.0/16", "192.0.3.0/32"],
            ),
            (
                "2001:db8::/32",
                ["2001:db8::/32", "2001:db8::/128", "2001:db8:ffff::/48"],
                ["2001::/16", "::/0"],
            ),
            ("::/0", ["::/0", "::ffff:0:0/96", "ffff::/16"], ["0.0.0.0/0", "255.255.255.255/32"]),
        ] {
            let range = source_key(net(outer))..source_key_end(net(outer));
            assert!(within.iter().all(|inner| range.contains(&source_key(net(inner)))), "{outer}");
            assert!(
                within.iter().all(|inner| source_of(&source_key(net(inner))) == Some(net(inner))),
                "{outer}"
            );
            assert!(!outside.iter().any(|other| range.contains(&source_key(net(other)))), "{outer}");
        }
    }
    #[test]
    fn a_key_that_no_source_has_is_none() {
        let keys: [&[u8]; 6] = [
            &[],
            &[4],
            &[4, 10, 0, 0, 0, 33],
            &[4, 10, 0, 0, 1, 24],
            &[5, 10, 0, 0, 0, 8],
            &[6, 0, 0, 0, 0, 8],
        ];
        for key in keys {
            assert_eq!(source_of(key), None, "{key:?}");
        }
    }
}
