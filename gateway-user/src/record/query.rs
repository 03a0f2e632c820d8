//! Rows are found again: by time, source, reason, service, actor and kind, through the indexes of each file.

use std::{ops::ControlFlow, path::Path};

use ipnet::IpNet;
use rusqlite::params_from_iter;

use super::{Kind, RecordError, Row, columns, file::MonthFile, names, plan};

/// In which order rows come: files one after the other, and within a file by time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The last row first.
    #[default]
    NewestFirst,
    /// The first row first.
    OldestFirst,
}

/// Which rows are asked for: those to which all that is set applies.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// At this time or after it (Unix milliseconds).
    pub since: Option<u64>,
    /// Before this time (Unix milliseconds).
    pub until: Option<u64>,
    /// The source overlaps this prefix: it lies in it, or it in the source.
    pub source: Option<IpNet>,
    /// The reason is this.
    pub reason: Option<String>,
    /// The service is this.
    pub service: Option<String>,
    /// The actor is this.
    pub actor: Option<String>,
    /// The kind is this.
    pub kind: Option<Kind>,
    /// In which order they come.
    pub order: Order,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// The rows.
    pub rows: Vec<Row>,
    /// Why files, or rows in them, could not be read; the answer is without them.
    pub unread: Vec<String>,
}

/// The first `limit` rows that are asked for.
///
/// # Errors
/// Where the directory cannot be read. Of a file that cannot be read [`Found::unread`] tells.
pub fn query(directory: &Path, filter: &Filter, limit: usize) -> Result<Found, RecordError> {
    let mut rows = Vec::new();
    let unread = walk(directory, filter, Some(limit), &mut |row| {
        rows.push(row);
        if rows.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(Found { rows, unread })
}

/// All rows that are asked for, one by one, until `take` breaks off. Gives why files, or rows in them, could not be read.
///
/// # Errors
/// Where the directory cannot be read.
pub fn each(
    directory: &Path,
    filter: &Filter,
    mut take: impl FnMut(Row) -> ControlFlow<()>,
) -> Result<Vec<String>, RecordError> {
    walk(directory, filter, None, &mut take)
}

fn walk(
    directory: &Path,
    filter: &Filter,
    limit: Option<usize>,
    take: &mut dyn FnMut(Row) -> ControlFlow<()>,
) -> Result<Vec<String>, RecordError> {
    let mut unread = Vec::new();
    if limit == Some(0) {
        return Ok(unread);
    }
    let directory = directory.canonicalize().map_err(RecordError::file(directory))?;
    let mut names = names::list(&directory).map_err(RecordError::file(&directory))?;
    if filter.order == Order::NewestFirst {
        names.reverse();
    }
    for name in names {
        let file = match MonthFile::open_to_read(&directory, &name) {
            Ok(file) => file,
            Err(error) => {
                unread.push(error.to_string());
                continue;
            }
        };
        match walk_file(&file, filter, limit, take, &mut unread) {
            Ok(ControlFlow::Continue(())) => {}
            Ok(ControlFlow::Break(())) => break,
            Err(error) => unread.push(format!("{name}: {error}")),
        }
    }
    Ok(unread)
}

fn walk_file(
    file: &MonthFile,
    filter: &Filter,
    limit: Option<usize>,
    take: &mut dyn FnMut(Row) -> ControlFlow<()>,
    unread: &mut Vec<String>,
) -> rusqlite::Result<ControlFlow<()>> {
    let Some((oldest, newest)) = file.times()? else { return Ok(ControlFlow::Continue(())) };
    if filter.since.is_some_and(|since| since > newest) || filter.until.is_some_and(|until| until <= oldest) {
        return Ok(ControlFlow::Continue(()));
    }
    let direction = if filter.order == Order::NewestFirst { "DESC" } else { "ASC" };
    // More than SQLite counts are all.
    let limit = limit.and_then(|limit| i64::try_from(limit).ok());
    let limit = limit.map_or(String::new(), |limit| format!(" LIMIT {limit}"));
    let (sql, values) = plan::plan(&file.connection, filter)?;
    let sql = format!("{sql} ORDER BY at {direction}, id {direction}{limit}");
    let mut statement = file.connection.prepare(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut strange = 0_u64;
    let mut flow = ControlFlow::Continue(());
    while flow.is_continue() {
        match rows.next()?.map(columns::row) {
            Some(Ok(row)) => flow = take(row),
            Some(Err(_)) => strange += 1,
            None => break,
        }
    }
    if strange > 0 {
        unread.push(format!("{}: {strange} rows that no gateway has written", file.name));
    }
    Ok(flow)
}
