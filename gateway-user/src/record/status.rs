//! What there is of the record: rows, bytes, months.

use std::{collections::BTreeMap, ops::Range, path::Path};

use rusqlite::OptionalExtension as _;

use super::{
    RecordError, block,
    file::MonthFile,
    names::{self, Name},
};

const DAY: u64 = 86_400_000;
const DAYS_A_YEAR: u64 = 365;
/// Days with rows that an average day is made of.
const DAYS: usize = 7;

/// What there is.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Rows.
    pub rows: u64,
    /// Bytes on the disk.
    pub bytes: u64,
    /// The earliest time (Unix milliseconds).
    pub oldest: Option<u64>,
    /// The latest time (Unix milliseconds).
    pub newest: Option<u64>,
    /// Bytes a day, of the last seven days (UTC) that have rows.
    pub bytes_a_day: u64,
    /// What a year of such days is, in bytes.
    pub bytes_a_year: u64,
    /// The last checkpoint.
    pub checkpoint: Option<LastCheckpoint>,
    /// Files, the oldest first.
    pub months: Vec<MonthStatus>,
    /// Why files could not be read; the numbers are without them.
    pub unread: Vec<String>,
}

/// A month's file.
#[derive(Clone, Debug)]
pub struct MonthStatus {
    /// Its name.
    pub file: String,
    /// Rows.
    pub rows: u64,
    /// Bytes on the disk.
    pub bytes: u64,
    /// The earliest time (Unix milliseconds).
    pub oldest: Option<u64>,
    /// The latest time (Unix milliseconds).
    pub newest: Option<u64>,
}

/// A checkpoint that was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastCheckpoint {
    /// When (Unix milliseconds).
    pub at: u64,
    /// Rows that it stands for.
    pub size: u64,
}

/// What there is of the record in a directory.
///
/// # Errors
/// Where the directory cannot be read. Of a file that cannot be read [`Status::unread`] tells.
pub fn status(directory: &Path) -> Result<Status, RecordError> {
    let directory = directory.canonicalize().map_err(RecordError::file(directory))?;
    let mut status = Status::default();
    let mut days = BTreeMap::new();
    for name in names::list(&directory).map_err(RecordError::file(&directory))?.iter().rev() {
        if let Err(error) = add(&mut status, &mut days, &directory, name) {
            status.unread.push(error.to_string());
        }
    }
    status.months.reverse();
    status.unread.reverse();
    let bytes: u64 = days.values().rev().take(DAYS).sum();
    status.bytes_a_day = bytes.checked_div(days.len().min(DAYS) as u64).unwrap_or(0);
    status.bytes_a_year = status.bytes_a_day * DAYS_A_YEAR;
    Ok(status)
}

/// Adds a file; files come from the newest on.
fn add(
    status: &mut Status,
    days: &mut BTreeMap<u64, u64>,
    directory: &Path,
    name: &Name,
) -> Result<(), RecordError> {
    let file = MonthFile::open_to_read(directory, name)?;
    let error = RecordError::sqlite(&file.path);
    let end = file.end().map_err(&error)?;
    let rows = end.saturating_sub(file.start.tree.size());
    let times = file.times().map_err(&error)?;
    let bytes = names::bytes(&file.path);
    if days.len() < DAYS {
        add_days(&file, end, bytes.checked_div(rows).unwrap_or(0), days).map_err(&error)?;
    }
    if status.checkpoint.is_none() {
        let sql = "SELECT at, size FROM checkpoints ORDER BY id DESC LIMIT 1";
        let last = |row: &rusqlite::Row<'_>| Ok(LastCheckpoint { at: row.get(0)?, size: row.get(1)? });
        status.checkpoint = file.connection.query_row(sql, (), last).optional().map_err(&error)?;
    }
    let (oldest, newest) = times.unzip();
    status.rows += rows;
    status.bytes += bytes;
    status.oldest = [status.oldest, oldest].into_iter().flatten().min();
    status.newest = status.newest.max(newest);
    status.months.push(MonthStatus { file: name.to_string(), rows, bytes, oldest, newest });
    Ok(())
}

/// Adds the bytes of the last days that have rows. A block within a day is counted as it is, and rows are read where days meet.
fn add_days(
    file: &MonthFile,
    end: u64,
    bytes_a_row: u64,
    days: &mut BTreeMap<u64, u64>,
) -> rusqlite::Result<()> {
    let sql = format!("SELECT at / {DAY}, count(*) FROM rows WHERE id >= ? AND id < ? GROUP BY 1");
    let mut count = file.connection.prepare(&sql)?;
    let mut add_rows = |rows: Range<u64>, days: &mut BTreeMap<u64, u64>| -> rusqlite::Result<()> {
        let mut counted = count.query((rows.start, rows.end))?;
        while let Some(row) = counted.next()? {
            *days.entry(row.get(0)?).or_default() += row.get::<_, u64>(1)? * bytes_a_row;
        }
        Ok(())
    };
    add_rows(block::open_from(end)..end, days)?;
    let all = block::ALL;
    let sql =
        format!("SELECT n, oldest / {DAY}, newest / {DAY} FROM blocks WHERE subject = {all} ORDER BY n DESC");
    let mut blocks = file.connection.prepare(&sql)?;
    let mut blocks = blocks.query(())?;
    while days.len() <= DAYS
        && let Some(row) = blocks.next()?
    {
        let (n, oldest, newest): (u64, u64, u64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let rows = block::rows(n);
        if oldest == newest {
            // A file may begin in the middle of its first block.
            let first = rows.start.max(file.start.tree.size());
            *days.entry(oldest).or_default() += rows.end.saturating_sub(first) * bytes_a_row;
        } else {
            add_rows(rows, days)?;
        }
    }
    Ok(())
}
