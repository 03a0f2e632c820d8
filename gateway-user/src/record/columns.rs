//! A row as columns of its file.

use ipnet::IpNet;
use rusqlite::{Connection, Statement, params};

use super::{
    Kind,
    row::{Leaf, Row},
};

/// The columns, in the order in which they are read here.
pub(super) const COLUMNS: &str = "id, at, kind, source, source_key, reason, service, actor, body, mark";

const INSERT: &str = "INSERT INTO rows (id, at, kind, source, source_key, reason, service, actor, body, mark)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

/// The statement that writes rows.
pub(super) fn insert(connection: &Connection) -> rusqlite::Result<rusqlite::CachedStatement<'_>> {
    connection.prepare_cached(INSERT)
}

/// Writes a row.
pub(super) fn write(
    statement: &mut Statement<'_>,
    leaf: &Leaf<'_>,
    source_key: Option<&[u8]>,
    mark: i32,
) -> rusqlite::Result<()> {
    let Leaf { id, at, kind, source, reason, service, actor, body } = leaf;
    let kind = kind.number();
    statement.execute(params![id, at, kind, source, source_key, reason, service, actor, body, mark])?;
    Ok(())
}

/// What a row's hash is made of. Columns of another type than the file's layout has are an error.
pub(super) fn leaf<'a>(row: &'a rusqlite::Row<'_>) -> rusqlite::Result<Leaf<'a>> {
    let text = |column| -> rusqlite::Result<Option<&'a str>> { Ok(row.get_ref(column)?.as_str_or_null()?) };
    let kind = row.get(2)?;
    Ok(Leaf {
        id: row.get(0)?,
        at: row.get(1)?,
        kind: Kind::from_number(kind).ok_or(rusqlite::Error::IntegralValueOutOfRange(2, kind))?,
        source: text(3)?,
        reason: text(5)?,
        service: text(6)?,
        actor: text(7)?,
        body: text(8)?,
    })
}

/// Whether the key by which a row's source is searched is that of the source.
pub(super) fn has_key_of_source(row: &rusqlite::Row<'_>, source: Option<&str>) -> rusqlite::Result<bool> {
    let kept = row.get_ref(4)?.as_blob_or_null()?;
    let expected = match source.map(str::parse) {
        None => None,
        Some(Ok(source)) => Some(source_key(source)),
        Some(Err(_)) => return Ok(false),
    };
    Ok(kept == expected.as_deref())
}

/// A row's mark.
pub(super) fn mark(row: &rusqlite::Row<'_>) -> rusqlite::Result<i32> {
    row.get(9)
}

/// A whole row.
pub(super) fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let leaf = leaf(row)?;
    let owned = |text: Option<&str>| text.map(str::to_owned);
    let source = leaf.source.map(str::parse).transpose();
    Ok(Row {
        id: leaf.id,
        at: leaf.at,
        kind: leaf.kind,
        source: source.map_err(|error: ipnet::AddrParseError| rusqlite::types::FromSqlError::other(error))?,
        reason: owned(leaf.reason),
        service: owned(leaf.service),
        actor: owned(leaf.actor),
        body: owned(leaf.body),
    })
}

/// The key by which a source is searched: 4 or 6, the address in network order, the length. So the prefixes within a prefix lie
/// together, from its own key on.
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
            assert!(!outside.iter().any(|other| range.contains(&source_key(net(other)))), "{outer}");
        }
    }
}
