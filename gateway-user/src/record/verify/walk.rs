//! One month is read, row by row, and its part of the tree built anew.

use std::ops::Range;

use rusqlite::{OptionalExtension as _, Statement};

use super::{
    super::{
        block::{self, Block},
        columns::{self, COLUMNS, TABLES},
        file::MonthFile,
        row,
        tree::{Hash, Tile, Tree},
    },
    Findings, Report, Signed, What,
};

/// So many missing rows in one place are filled in; beyond that a file is not read on. A month of ten times the rows that are aimed at.
const GAP: u64 = 1 << 24;
/// Tiles have this many levels at most: 256^8 is more than there are ids.
const LEVELS: u32 = 8;

/// What is known while a file is read.
struct Walk<'a> {
    file: &'a MonthFile,
    tree: Tree,
    /// The hash of a tile, as it was stored.
    stored: Statement<'a>,
    /// The rows of the block that is not whole yet, and whether something was found among them.
    open: Block,
    is_told: bool,
    line: Vec<u8>,
}

/// Reads a file, and compares it with its tiles and with what was signed; gives the tree at its end.
pub(super) fn walk(
    file: &MonthFile,
    signed: &mut Signed,
    findings: &mut Findings,
    report: &mut Report,
) -> rusqlite::Result<Tree> {
    let stored = file.connection.prepare("SELECT hash FROM tiles WHERE level = ? AND n = ?")?;
    let mut walk = Walk {
        file,
        tree: file.start.tree.clone(),
        stored,
        open: Block::default(),
        is_told: false,
        line: Vec::new(),
    };
    signed.compare(&walk.tree, file, findings);
    let mut statement =
        file.connection.prepare(&format!("SELECT {COLUMNS} FROM {TABLES} ORDER BY rows.id"))?;
    let mut rows = statement.query(())?;
    report.end = walk.tree.size();
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        let Some(missing) = id.try_into().ok().and_then(|id: u64| id.checked_sub(walk.tree.size())) else {
            walk.tell(findings, id.unsigned_abs()..id.unsigned_abs() + 1, What::PutIn);
            continue;
        };
        if missing > GAP {
            let next = walk.tree.size();
            walk.tell(findings, next..next + missing, What::Missing);
            break;
        }
        for _ in 0..missing {
            let next = walk.tree.size();
            walk.tell(findings, next..next + 1, What::Missing);
            walk.push(Hash::default(), findings)?;
            signed.compare(&walk.tree, file, findings);
        }
        let hash = walk.hash(row, findings);
        walk.push(hash, findings)?;
        signed.compare(&walk.tree, file, findings);
        report.rows += 1;
        report.end = walk.tree.size();
    }
    walk.count_tiles(findings)?;
    signed.end_of_file(walk.tree.size(), &file.name, findings);
    Ok(walk.tree)
}

impl Walk<'_> {
    fn tell(&mut self, findings: &mut Findings, rows: Range<u64>, what: What) {
        self.is_told = true;
        findings.add(Some(&self.file.name), Some(rows), what);
    }

    /// The hash of the next row. One that cannot be read has none, and a hash of zeros stands in its place.
    fn hash(&mut self, row: &rusqlite::Row<'_>, findings: &mut Findings) -> Hash {
        let read = columns::leaf(row).and_then(|leaf| {
            let hash = leaf.hash(&mut self.line);
            self.open.add(columns::subject(row)?, leaf.at);
            Ok((hash, columns::mark(row)? == row::mark(&hash)))
        });
        if !matches!(read, Ok((_, true))) {
            let id = self.tree.size();
            self.tell(findings, id..id + 1, What::Changed);
        }
        read.map(|(hash, _)| hash).unwrap_or_default()
    }

    /// Appends a leaf. Of each tile that is whole now, the hash that was stored takes the place of the one that is not the same.
    fn push(&mut self, leaf: Hash, findings: &mut Findings) -> rusqlite::Result<()> {
        let Self { file, tree, stored, open, is_told, .. } = self;
        let first = file.start.tree.size();
        let mut failed = Ok(());
        tree.push(leaf, &mut |tile, hash| {
            let (mut block, mut was_told) = (Block::default(), false);
            if tile.level == block::LEVEL {
                (block, was_told) = (std::mem::take(open), std::mem::take(is_told));
            }
            let compared = compare(file, stored, tile, hash, &block).map(|(kept, what)| {
                if let Some(what) = what.filter(|_| !was_told) {
                    let rows = tile.leaves().start.max(first)..tile.leaves().end;
                    findings.add(Some(&file.name), Some(rows), what);
                }
                kept
            });
            compared.unwrap_or_else(|error| {
                failed = Err(error);
                hash
            })
        });
        failed
    }

    /// Tiles of which there are no rows are of rows that were taken away.
    fn count_tiles(&mut self, findings: &mut Findings) -> rusqlite::Result<()> {
        let sql = "SELECT level, max(n) FROM tiles GROUP BY level ORDER BY level";
        let mut statement = self.file.connection.prepare(sql)?;
        let mut levels = statement.query(())?;
        let end = self.tree.size();
        let mut furthest = end;
        while let Some(row) = levels.next()? {
            let (level, index): (u32, u64) = (row.get(0)?, row.get(1)?);
            let last = u8::try_from(level).ok().filter(|_| (1..LEVELS).contains(&level));
            match last.map(|level| Tile { level, index }.leaves().end) {
                Some(last) => furthest = furthest.max(last),
                None => self.tell(findings, end..end + 1, What::Tile),
            }
        }
        if furthest > end {
            self.tell(findings, end..furthest, What::Cut);
        }
        Ok(())
    }
}

/// The hash of a tile to go on with, and what is wrong with what was stored of it and its block.
fn compare(
    file: &MonthFile,
    stored: &mut Statement<'_>,
    tile: Tile,
    hash: Hash,
    block: &Block,
) -> rusqlite::Result<(Hash, Option<What>)> {
    let kept: Option<Hash> = stored.query_row((tile.level, tile.index), |row| row.get(0)).optional()?;
    let what = match kept {
        Some(kept) if kept == hash => {
            (!block.is_written(&file.connection, tile.index)?).then_some(What::Block)
        }
        Some(_) if tile.level == block::LEVEL => Some(What::ChangedAmong),
        Some(_) | None => Some(What::Tile),
    };
    Ok((kept.unwrap_or(hash), what))
}
