//! How a file is asked for rows: through which index. SQLite would have to guess which is the best one, as it keeps no numbers of these
//! files, and a wrong guess reads a month.

use std::fmt::Write as _;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use rusqlite::{Connection, params_from_iter};

use super::{
    Filter,
    columns::{self, COLUMNS},
};

/// So many entries of an index are looked at to see how many there are: a millisecond's worth. Whoever has more is no good.
const PROBE: usize = 10_000;

/// A condition on rows.
struct Condition {
    /// The table, by way of the index that finds the rows to which it applies.
    from: String,
    /// The condition on a row. Numbers and bytes stand in it; a text is its parameter.
    sql: String,
    text: Option<String>,
    /// Whether rows come in the order of time.
    is_ordered: bool,
}

/// The statement that finds the rows of a file, without an order, and its parameters.
pub(super) fn plan(connection: &Connection, filter: &Filter) -> rusqlite::Result<(String, Vec<String>)> {
    let conditions = conditions(filter);
    // Where all find many, the index of a single value is as good as the one of times: its rows are in the order of time too.
    let ordered = conditions.iter().find(|condition| condition.is_ordered);
    let mut best = (PROBE, ordered.map_or_else(|| by_index("rows_at"), |condition| condition.from.clone()));
    for condition in &conditions {
        let count = count(connection, condition, &time(filter))?;
        if count < best.0 {
            best = (count, condition.from.clone());
        }
    }
    let mut sql = format!("SELECT {COLUMNS} FROM {} WHERE {}", best.1, time(filter));
    let mut texts = Vec::new();
    for condition in conditions {
        // A string takes all.
        let _ = write!(sql, " AND ({})", condition.sql);
        texts.extend(condition.text);
    }
    Ok((sql, texts))
}

/// How many rows a condition finds by its index, up to [`PROBE`].
fn count(connection: &Connection, condition: &Condition, time: &str) -> rusqlite::Result<usize> {
    let Condition { from, sql, text, .. } = condition;
    let sql = format!("SELECT count(*) FROM (SELECT 1 FROM {from} WHERE ({sql}) AND {time} LIMIT {PROBE})");
    connection.query_row(&sql, params_from_iter(text), |row| row.get(0))
}

/// What is asked for but time, each with an index of its own.
fn conditions(filter: &Filter) -> Vec<Condition> {
    let text = |column: &str, text: &Option<String>| {
        text.as_ref().map(|text| Condition {
            from: by_index(&format!("rows_{column}")),
            sql: format!("{column} = ?"),
            text: Some(text.clone()),
            is_ordered: true,
        })
    };
    let kind = filter.kind.map(|kind| Condition {
        from: by_index("rows_kind"),
        sql: format!("kind = {}", kind.number()),
        text: None,
        is_ordered: true,
    });
    let source = filter.source.map(|asked| source(asked, &time(filter)));
    let texts =
        [text("actor", &filter.actor), text("reason", &filter.reason), text("service", &filter.service)];
    source.into_iter().chain(texts.into_iter().flatten()).chain(kind).collect()
}

fn by_index(index: &str) -> String {
    format!("rows INDEXED BY {index}")
}

/// The condition on time.
fn time(filter: &Filter) -> String {
    // Times are kept up to the year 9999, and SQLite's numbers end later.
    let bound = |time: u64| i64::try_from(time).unwrap_or(i64::MAX);
    let (since, until) = (filter.since.unwrap_or(0), filter.until.unwrap_or(u64::MAX));
    format!("at >= {} AND at < {}", bound(since), bound(until))
}

/// Prefixes that overlap lie one in the other. So a row's is one of the few that the asked one lies in, or it lies in the asked one, and
/// those lie together in the index.
fn source(asked: IpNet, time: &str) -> Condition {
    let literal = |key: Vec<u8>| {
        key.iter().fold("x'".to_owned(), |mut text, byte| {
            // A string takes all.
            let _ = write!(text, "{byte:02x}");
            text
        }) + "'"
    };
    // The first is no key: of a list without any SQLite makes no search.
    let keys = std::iter::once(Vec::new()).chain(wider(asked).map(columns::source_key));
    let wider: Vec<String> = keys.map(literal).collect();
    let wider = format!("source_key IN ({})", wider.join(", "));
    let from = literal(columns::source_key(asked.trunc()));
    let within = format!("source_key >= {from} AND source_key < {}", literal(columns::source_key_end(asked)));
    let ids = |condition: &str| {
        format!("SELECT id AS hit FROM {} WHERE {condition} AND {time}", by_index("rows_source"))
    };
    Condition {
        // SQLite would look through all rows for an OR in one index.
        from: format!("({} UNION ALL {}) CROSS JOIN rows ON id = hit", ids(&wider), ids(&within)),
        sql: format!("{wider} OR ({within})"),
        text: None,
        is_ordered: false,
    }
}

/// The prefixes that a prefix lies in, but itself.
fn wider(net: IpNet) -> impl Iterator<Item = IpNet> {
    (0..net.prefix_len()).filter_map(move |length| match net {
        IpNet::V4(net) => Ipv4Net::new(net.addr(), length).ok().map(|net| IpNet::V4(net.trunc())),
        IpNet::V6(net) => Ipv6Net::new(net.addr(), length).ok().map(|net| IpNet::V6(net.trunc())),
    })
}
