//! What was found, with a bound on how much of it is kept.

use std::{fmt, ops::Range};

use super::{super::NoteError, Name, file_of};

/// More findings than this are counted only.
const FINDINGS: usize = 1000;

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// In which file; in none where it is about a checkpoint that was kept elsewhere.
    pub file: Option<String>,
    /// Which rows, by their ids.
    pub rows: Option<Range<u64>>,
    /// What.
    pub what: What,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.file.as_deref().unwrap_or("a checkpoint that was kept elsewhere"))?;
        match &self.rows {
            Some(Range { start, end: u64::MAX }) => write!(formatter, ", rows from {start} on")?,
            Some(Range { start, end }) if end - start == 1 => write!(formatter, ", row {start}")?,
            Some(Range { start, end }) => write!(formatter, ", rows {start} to {}", end.saturating_sub(1))?,
            None => {}
        }
        write!(formatter, ": {}", self.what)
    }
}

/// What can be found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum What {
    /// A file cannot be read, or not to its end.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// A later gateway wrote the file.
    #[error("a later version wrote it; it is not verified")]
    Later,
    /// A table, an index or a trigger.
    #[error("the {0} is missing, was changed, or does not belong there")]
    Strange(String),
    /// A file has another one's name.
    #[error("it was exchanged: it says that it is {0}")]
    Exchanged(String),
    /// A file begins anew, because a newer one could not be read.
    #[error("it begins anew: {0}")]
    SetAside(String),
    /// Months are gone too early.
    #[error("months before it were removed, up to {0}, with rows younger than a year")]
    TooYoung(String),
    /// A file does not begin where the one before ends.
    #[error("they are missing: the file before it, {0}, was removed, cut or replaced by an older copy")]
    MissingBefore(String),
    /// A file begins before the end of the one before.
    #[error("they are also at the end of the file before: one of the two was exchanged, or rows were put in")]
    Twice,
    /// A file begins with another tree than the one before ends with.
    #[error(
        "the tree that it goes on with is not the one of the rows before: one of the two files was changed"
    )]
    Start,
    /// Rows are gone.
    #[error("missing")]
    Missing,
    /// Rows are where none can be.
    #[error("put in: they do not belong to this file")]
    PutIn,
    /// A row has another hash.
    #[error("changed, or in another place than it was written to")]
    Changed,
    /// One of some rows has another hash.
    #[error("at least one of them was changed together with its mark, or the stored hash over them was")]
    ChangedAmong,
    /// The stored hash over some rows.
    #[error("the stored hash over them was changed or removed")]
    Tile,
    /// Rows are gone at the end of a file.
    #[error("missing at the end of the file: there are hashes or checkpoints of them")]
    Cut,
    /// A checkpoint does not fit.
    #[error(
        "one of them, or a hash over them, is not what checkpoint {size} was signed for, nor {more} later ones of this file"
    )]
    Checkpoint {
        /// Rows that it stands for.
        size: u64,
        /// Further ones that do not fit.
        more: u64,
    },
    /// A checkpoint that was kept elsewhere does not fit.
    #[error(
        "the record is not what this one was signed for: rows were changed, or an older copy took its place"
    )]
    Kept,
    /// A checkpoint that was kept elsewhere has more rows.
    #[error("missing: the record was cut or an older copy took its place, since there were {0} rows")]
    RolledBack(u64),
    /// A checkpoint is not the gateway's.
    #[error("checkpoint {id}: {why}")]
    Forged {
        /// Its number in the file, or its place among those kept elsewhere, from 1.
        id: u64,
        /// Why it is not taken.
        why: NoteError,
    },
    /// Checkpoints are gone.
    #[error("checkpoints {0} to {1} were removed")]
    CheckpointsMissing(u64, u64),
    /// A checkpoint is in a file whose rows it does not stand for.
    #[error("checkpoint {0} does not belong to this file")]
    Misplaced(u64),
    /// Nothing vouches for the rows.
    #[error("no checkpoint vouches for it")]
    Unsigned,
    /// What stands for a block of rows does not say what is in it.
    #[error(
        "a query may not find all of them: what says which subjects and times they have was changed or removed"
    )]
    Block,
    /// An index does not lead to the rows, or the file is damaged.
    #[error("rows may not be found by a query, or the file is damaged: {0}")]
    Index(String),
}

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    list: Vec<Finding>,
    more: u64,
}

impl Findings {
    /// Adds one. The same of the next rows is the same finding.
    pub(super) fn add(&mut self, file: Option<&Name>, rows: Option<Range<u64>>, what: What) {
        let file = file_of(file);
        if let (Some(last), Some(next)) = (self.list.last_mut(), &rows)
            && last.file == file
            && last.what == what
            && let Some(rows) = &mut last.rows
            && rows.end == next.start
        {
            rows.end = next.end;
        } else if self.list.len() < FINDINGS {
            self.list.push(Finding { file, rows, what });
        } else {
            self.more += 1;
        }
    }

    /// All of them, and how many there were beyond.
    pub(super) fn finish(self) -> (Vec<Finding>, u64) {
        (self.list, self.more)
    }
}
