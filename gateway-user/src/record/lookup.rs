//! Where in a file the rows can be that are asked for, and which of those they are.

use std::{fmt::Write as _, ops::Range};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use rusqlite::{Connection, params_from_iter};

use super::{Filter, Order, block, columns, file::MonthFile};

/// So many rows of a source are found by the index of sources. Of one that has more, most blocks have rows.
const HITS: usize = 65_536;

/// The index of sources has runs of 2^16 rows.
const RUN: u32 = 16;

/// What a row has to be.
pub(super) struct Condition {
    /// As SQL, on the columns of a row. Numbers and bytes stand in it; texts are its parameters.
    pub sql: String,
    pub texts: Vec<String>,
}

/// What rows have to be.
pub(super) fn condition(filter: &Filter) -> Condition {
    let Condition { sql, texts } = subject(filter);
    let source =
        filter.source.map_or_else(String::new, |asked| format!(" AND ({})", source(asked).join(" OR ")));
    Condition { sql: format!("{sql} AND {}{source}", time(filter, "at", "at")), texts }
}

/// The rows that are to be read, in the order that is asked for. Others are not what is asked for.
pub(super) fn ranges(file: &MonthFile, filter: &Filter) -> rusqlite::Result<Vec<Range<u64>>> {
    let hits = filter.source.map(|asked| hits(file, asked)).transpose()?;
    let mut ranges = match hits.flatten() {
        Some(hits) => merged(hits.into_iter().map(|id| id..id + 1)),
        None => {
            let end = file.end()?;
            let open = block::open_from(end)..end;
            // Where rows were taken away, what stands for them may be left.
            let blocks = blocks(&file.connection, filter)?.into_iter().map(block::rows);
            merged(blocks.take_while(|rows| rows.end <= open.start).chain([open.clone()]))
        }
    };
    if filter.order == Order::NewestFirst {
        ranges.reverse();
    }
    Ok(ranges)
}

/// The rows of a source, in their order; nothing where there are more than [`HITS`].
fn hits(file: &MonthFile, asked: IpNet) -> rusqlite::Result<Option<Vec<u64>>> {
    let run = |id: u64| (id >> RUN).cast_signed();
    let runs = run(file.start.tree.size())..=run(file.end()?);
    // SQLite would look through all rows for an OR in one index.
    let find = |condition: &str| {
        let from = "rows INDEXED BY rows_source";
        let sql = format!("SELECT id FROM {from} WHERE id >> {RUN} = ? AND {condition} LIMIT {}", HITS + 1);
        file.connection.prepare(&sql)
    };
    let [wider, within] = source(asked);
    let mut statements = [find(&wider)?, find(&within)?];
    let mut hits = Vec::new();
    for run in runs {
        for statement in &mut statements {
            for id in statement.query_map([run], |row| row.get(0))? {
                hits.push(id?);
            }
        }
        if hits.len() > HITS {
            return Ok(None);
        }
    }
    hits.sort_unstable();
    Ok(Some(hits))
}

/// The whole blocks that have rows of what is asked for, in their order.
fn blocks(connection: &Connection, filter: &Filter) -> rusqlite::Result<Vec<u64>> {
    let Condition { sql, texts } = subject(filter);
    let subjects = if texts.is_empty() && filter.kind.is_none() {
        format!("subject = {}", block::ALL)
    } else {
        format!("subject IN (SELECT id FROM subjects WHERE {sql})")
    };
    let time = time(filter, "newest", "oldest");
    let sql = format!("SELECT DISTINCT n FROM blocks WHERE {subjects} AND {time} ORDER BY n");
    let mut statement = connection.prepare(&sql)?;
    statement.query_map(params_from_iter(texts), |row| row.get(0))?.collect()
}

/// Ranges that touch as one.
fn merged(ranges: impl Iterator<Item = Range<u64>>) -> Vec<Range<u64>> {
    let mut merged: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => merged.push(range),
        }
    }
    merged
}

/// The condition on a subject.
fn subject(filter: &Filter) -> Condition {
    let mut sql = filter.kind.map_or_else(|| "1".to_owned(), |kind| format!("kind = {}", kind.number()));
    let mut texts = Vec::new();
    let columns = [("reason", &filter.reason), ("service", &filter.service), ("actor", &filter.actor)];
    for (column, text) in columns {
        if let Some(text) = text {
            // A string takes all.
            let _ = write!(sql, " AND {column} = ?");
            texts.push(text.clone());
        }
    }
    Condition { sql, texts }
}

/// The condition on time, where `newest` and `oldest` are the latest and the earliest there are.
fn time(filter: &Filter, newest: &str, oldest: &str) -> String {
    // Times are kept up to the year 9999, and SQLite's numbers end later.
    let bound = |time: u64| i64::try_from(time).unwrap_or(i64::MAX);
    let (since, until) = (filter.since.unwrap_or(0), filter.until.unwrap_or(u64::MAX));
    format!("{newest} >= {} AND {oldest} < {}", bound(since), bound(until))
}

/// The conditions on a source, of which one has to hold. Prefixes that overlap lie one in the other. So a row's is one of the few that
/// the asked one lies in, or it lies in the asked one, and those lie together in the index.
fn source(asked: IpNet) -> [String; 2] {
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
    let from = literal(columns::source_key(asked.trunc()));
    [
        format!("source IN ({})", wider.join(", ")),
        format!("source >= {from} AND source < {}", literal(columns::source_key_end(asked))),
    ]
}

/// The prefixes that a prefix lies in, but itself.
fn wider(net: IpNet) -> impl Iterator<Item = IpNet> {
    (0..net.prefix_len()).filter_map(move |length| match net {
        IpNet::V4(net) => Ipv4Net::new(net.addr(), length).ok().map(|net| IpNet::V4(net.trunc())),
        IpNet::V6(net) => Ipv6Net::new(net.addr(), length).ok().map(|net| IpNet::V6(net.trunc())),
    })
}
