//! Blocks of rows: which subjects are in each, and when. So a query reads the blocks alone that have what it asks for, and a row costs
//! next to nothing to be found by: rows come in the order of time, and few subjects make most of them.

use std::{collections::BTreeMap, ops::Range};

use rusqlite::Connection;

use super::tree::Tile;

/// The level of a block's tile: a block has the rows of one whole tile, 256 of them, but where a file begins in the middle of it.
pub(super) const LEVEL: u8 = 1;
/// Rows of a block.
const ROWS: u64 = 256;
/// What stands for all rows of a block, in the place of a subject.
pub(super) const ALL: i64 = 0;

/// The rows of a block so far: the earliest and latest time (Unix milliseconds) of each subject, and of [`ALL`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Block(BTreeMap<i64, (u64, u64)>);

impl Block {
    /// Adds a row.
    pub(super) fn add(&mut self, subject: i64, at: u64) {
        for subject in [ALL, subject] {
            let (oldest, newest) = self.0.entry(subject).or_insert((at, at));
            *oldest = at.min(*oldest);
            *newest = at.max(*newest);
        }
    }

    /// Writes what stands for a whole block.
    pub(super) fn write(&self, connection: &Connection, n: u64) -> rusqlite::Result<()> {
        let sql = "INSERT INTO blocks (subject, n, oldest, newest) VALUES (?, ?, ?, ?)";
        let mut insert = connection.prepare_cached(sql)?;
        for (subject, (oldest, newest)) in &self.0 {
            insert.execute((subject, n, oldest, newest))?;
        }
        Ok(())
    }

    /// Whether a file has what stands for this block, so that a query finds its rows.
    pub(super) fn is_written(&self, connection: &Connection, n: u64) -> rusqlite::Result<bool> {
        let sql = "SELECT 1 FROM blocks WHERE subject = ? AND n = ? AND oldest = ? AND newest = ?";
        let mut find = connection.prepare_cached(sql)?;
        for (subject, (oldest, newest)) in &self.0 {
            if !find.exists((subject, n, oldest, newest))? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The rows of a block.
pub(super) fn rows(n: u64) -> Range<u64> {
    Tile { level: LEVEL, index: n }.leaves()
}

/// The first row behind the whole blocks of a file that ends before `end`: from there on rows stand in no block.
pub(super) fn open_from(end: u64) -> u64 {
    rows(end / ROWS).start
}

/// The earliest and the latest time of a file whose rows end before `end`, where it has rows.
pub(super) fn times(connection: &Connection, end: u64) -> rusqlite::Result<Option<(u64, u64)>> {
    let sql = format!(
        "SELECT min(oldest), max(newest) FROM (
            SELECT oldest, newest FROM blocks WHERE subject = {ALL}
            UNION ALL SELECT at, at FROM rows WHERE id >= ?)"
    );
    let both = |row: &rusqlite::Row<'_>| {
        let (oldest, newest): (Option<u64>, Option<u64>) = (row.get(0)?, row.get(1)?);
        Ok(oldest.zip(newest))
    };
    connection.query_row(&sql, [open_from(end)], both)
}
