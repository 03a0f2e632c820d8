//! Rows are found again: by time, source, reason, service, actor and kind.

use std::{ops::ControlFlow, path::Path};

use ipnet::IpNet;
use rusqlite::{params_from_iter, types::Value};

use super::{
    Kind, RecordError, Row,
    columns::{self, COLUMNS, TABLES},
    file::MonthFile,
    lookup, names,
};

/// In which order rows come: that in which they were written. It is the one of time, but where the clock was set back.
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
    if limit == 0 {
        return Ok(Found::default());
    }
    let unread = each(directory, filter, |row| {
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
    let mut unread = Vec::new();
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
        match walk_file(&file, filter, &mut take, &mut unread) {
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
    take: &mut impl FnMut(Row) -> ControlFlow<()>,
    unread: &mut Vec<String>,
) -> rusqlite::Result<ControlFlow<()>> {
    // All of it is from one moment, while others write.
    let _moment = file.connection.unchecked_transaction()?;
    let Some((oldest, newest)) = file.times()? else { return Ok(ControlFlow::Continue(())) };
    if filter.since.is_some_and(|since| since > newest) || filter.until.is_some_and(|until| until <= oldest) {
        return Ok(ControlFlow::Continue(()));
    }
    let direction = if filter.order == Order::NewestFirst { "DESC" } else { "ASC" };
    let condition = lookup::condition(filter);
    let sql = format!(
        "SELECT {COLUMNS} FROM {TABLES} WHERE rows.id >= ? AND rows.id < ? AND {} ORDER BY rows.id {direction}",
        condition.sql
    );
    let mut statement = file.connection.prepare(&sql)?;
    let texts = || condition.texts.iter().cloned().map(Value::Text);
    let mut strange = 0_u64;
    let mut flow = ControlFlow::Continue(());
    for range in lookup::ranges(file, filter)? {
        // Ids are numbers of SQLite.
        let bounds = [range.start, range.end].map(|id| Value::Integer(id.cast_signed()));
        let mut rows = statement.query(params_from_iter(bounds.into_iter().chain(texts())))?;
        while flow.is_continue() {
            match rows.next()?.map(columns::row) {
                Some(Ok(row)) => flow = take(row),
                Some(Err(_)) => strange += 1,
                None => break,
            }
        }
        if flow.is_break() {
            break;
        }
    }
    if strange > 0 {
        unread.push(format!("{}: {strange} rows that no gateway has written", file.name));
    }
    Ok(flow)
}
