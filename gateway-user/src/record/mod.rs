//! The record: what happened, row by row, kept for a year at least, in files that show when somebody has changed them.
//!
//! * A [row](row) is never changed and never deleted alone. Rows are numbered from 0 without gaps, over all months.
//! * Each month (UTC) has a file of its own, a SQLite database ([`file`]); whole months go when they are over age ([`age`]).
//! * All rows are the leaves of one Merkle tree ([`tree`]), whose root is signed from time to time: a [`checkpoint`] as a signed
//!   [`note`]. [`verify()`] finds what was changed since, and says what it cannot find.
//!
//! Time is an argument everywhere: Unix time in milliseconds. Nothing here imports another module of the crate. The directory has to be one that
//! nobody but the daemon's user can write to. docs/record.md describes all of this for people and other tools.

mod age;
mod append;
mod block;
mod checkpoint;
mod columns;
mod error;
mod export;
mod file;
mod key;
mod kind;
mod lookup;
mod names;
mod note;
mod query;
mod row;
mod status;
mod tree;
mod verify;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::{
    fs::File,
    path::{Path, PathBuf},
};

pub use age::RETENTION_MIN;
pub use checkpoint::Checkpoint;
pub use error::RecordError;
pub use export::{Format, export};
pub use kind::Kind;
pub use note::{NoteError, Signer, Verifier, open as open_note};
pub use query::{Filter, Found, Order, each, query};
pub use row::{Entry, Facts, Row, Sources};
pub use status::{LastCheckpoint, MonthStatus, Status, status};
pub use tree::{Hash, Tile, Tree, leaf_hash, node_hash};
pub use verify::{Finding, Report, What, verify};

use rusqlite::OptionalExtension as _;

use file::{Grown, MonthFile, Start};
use names::Name;

/// The file that rows go to, and the tree at its end.
type Newest = (MonthFile, Grown);

/// How the record is kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// The log's name in checkpoints, a URL without its scheme, as `gateway.example/record`: not empty, no spaces, no plus signs. It
    /// becomes part of the key at the first start, and is not looked at after that.
    pub origin: String,
    /// How exactly sources are kept.
    pub sources: Sources,
}

/// The record, open to be written: by one process, and by it alone.
#[derive(Debug)]
pub struct Record {
    directory: PathBuf,
    sources: Sources,
    signer: Signer,
    /// Locked as long as the record is open.
    _key: File,
    /// The newest file: where rows go.
    file: MonthFile,
    /// The tree over all rows, and what of it the file has not yet.
    grown: Grown,
}

impl Record {
    /// Opens the record of a directory, made if need be; `now` in Unix milliseconds.
    ///
    /// Files that are damaged get another name (`.bad`), and the record goes on without them; files of a later version are left alone.
    /// Gives also what is to be told of that, a sentence each.
    ///
    /// # Errors
    /// Where another process writes it, the directory or the key cannot be had, or the disk is full: what may pass.
    pub fn open(directory: &Path, options: &Options, now: u64) -> Result<(Self, Vec<String>), RecordError> {
        let directory = names::directory(directory).map_err(RecordError::file(directory))?;
        let mut warnings = Vec::new();
        let (signer, key) = key::load_or_make(&directory, &options.origin, &mut warnings)?;
        let (newest, broken) = sort_out(&directory, &mut warnings)?;
        let (file, grown) = match (newest, broken) {
            (Some(newest), None) => newest,
            (newest, broken) => begin_after(&directory, &signer, newest, broken, now)?,
        };
        if let Some(missing) = grown.missing.first() {
            let count = grown.missing.len();
            warnings.push(format!("{}: {count} rows are missing, the first is {missing}", file.name));
        }
        Ok((Self { directory, sources: options.sources, signer, _key: key, file, grown }, warnings))
    }

    /// The number of rows there ever were: the id of the next one.
    pub fn size(&self) -> u64 {
        self.grown.tree.size()
    }

    /// What verifies the record's checkpoints, as in `record.vkey`. To be kept elsewhere.
    pub fn vkey(&self) -> String {
        self.signer.verifier().to_text()
    }

    /// Signs what the record is now, keeps that in the month's file, and gives it: a signed note of C2SP tlog-checkpoint. Where no row
    /// came since the last one, it is that one.
    ///
    /// # Errors
    /// Where it cannot be written; then none was signed.
    pub fn checkpoint(&mut self, at: u64) -> Result<String, RecordError> {
        let note = signed(&self.signer, &self.grown.tree);
        let error = RecordError::sqlite(&self.file.path);
        let connection = &self.file.connection;
        let last = "SELECT note FROM checkpoints ORDER BY id DESC LIMIT 1";
        let last: Option<String> =
            connection.query_row(last, (), |row| row.get(0)).optional().map_err(&error)?;
        if last.as_ref() != Some(&note) {
            let sql = "INSERT INTO checkpoints SELECT coalesce(max(id), 0) + 1, ?, ?, ? FROM checkpoints";
            connection.execute(sql, (at, self.size(), &note)).map_err(&error)?;
        }
        Ok(note)
    }

    /// Keeps sources as exactly as this from now on. What is written stays.
    pub const fn set_sources(&mut self, sources: Sources) {
        self.sources = sources;
    }

    /// Bytes of all files on the disk.
    ///
    /// # Errors
    /// Where the directory cannot be read.
    pub fn bytes(&self) -> Result<u64, RecordError> {
        let names = names::list(&self.directory).map_err(RecordError::file(&self.directory))?;
        Ok(names.iter().map(|name| names::bytes(&self.directory.join(name.to_string()))).sum())
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

/// A checkpoint of a tree, signed.
fn signed(signer: &Signer, tree: &Tree) -> String {
    let checkpoint = Checkpoint { origin: signer.name().to_owned(), size: tree.size(), root: tree.root() };
    signer.sign(&checkpoint.to_text())
}

/// Judges all files, and sets aside those that are damaged. Gives the newest of the others, and what came to one that was newer.
fn sort_out(
    directory: &Path,
    warnings: &mut Vec<String>,
) -> Result<(Option<Newest>, Option<String>), RecordError> {
    let mut names = names::list(directory).map_err(RecordError::file(directory))?;
    let (mut newest, mut broken) = (None, None);
    while let Some(name) = names.pop() {
        let opened = if newest.is_none() {
            open_newest(directory, &name).map(|opened| newest = Some(opened))
        } else {
            MonthFile::open_to_read(directory, &name).and_then(|file| close_later(directory, file))
        };
        match opened {
            Ok(()) => {}
            Err(error @ RecordError::Later(_)) => warnings.push(error.to_string()),
            Err(error) if error.is_damage() => {
                let path = directory.join(name.to_string());
                let aside = names::set_aside(&path).map_err(RecordError::file(&path))?;
                let aside = aside.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let text = format!("{name} was damaged, and is {aside} now ({error})");
                if newest.is_none() {
                    broken.get_or_insert_with(|| text.clone());
                }
                warnings.push(text);
            }
            Err(error) => return Err(error),
        }
    }
    Ok((newest, broken))
}

fn open_newest(directory: &Path, name: &Name) -> Result<Newest, RecordError> {
    let file = MonthFile::open(directory, name)?;
    let grown = file.tree().map_err(RecordError::sqlite(&file.path))?;
    Ok((file, grown))
}

/// Makes one file of a month that is over, where an earlier process could not.
fn close_later(directory: &Path, file: MonthFile) -> Result<(), RecordError> {
    let mode = file.connection.pragma_query_value(None, "journal_mode", |row| row.get::<_, String>(0));
    let (mode, name) = (mode.map_err(RecordError::sqlite(&file.path))?, file.name.clone());
    // A reader would be in the way.
    drop(file);
    if mode == "wal" {
        append::close(&MonthFile::open(directory, &name)?);
    }
    Ok(())
}

/// Begins a file after those that are left: the first of all, or in place of newer ones that were set aside.
fn begin_after(
    directory: &Path,
    signer: &Signer,
    newest: Option<Newest>,
    broken: Option<String>,
    now: u64,
) -> Result<Newest, RecordError> {
    let Some((file, grown)) = newest else {
        return begin(directory, signer, Name::of(now), &Start { broken, ..Start::default() }, now);
    };
    let start = Start { broken, ..start_after(&file, grown.tree)? };
    begin(directory, signer, Name::of(now).max(file.name), &start, now)
}

/// What goes before a file that follows on another.
fn start_after(file: &MonthFile, tree: Tree) -> Result<Start, RecordError> {
    let times = file.times().map_err(RecordError::sqlite(&file.path))?;
    let previous_newest = times.map_or(file.start.previous_newest, |(_, newest)| Some(newest));
    Ok(Start { tree, previous: Some(file.name.to_string()), previous_newest, broken: None })
}

/// Begins a file, under the next name from `name` on that is free. Its first checkpoint signs what goes before it.
fn begin(
    directory: &Path,
    signer: &Signer,
    mut name: Name,
    start: &Start,
    at: u64,
) -> Result<Newest, RecordError> {
    while std::fs::symlink_metadata(directory.join(name.to_string())).is_ok() {
        name = name.next_part();
    }
    MonthFile::create(directory, &name, start, (at, &signed(signer, &start.tree)))?;
    open_newest(directory, &name)
}
