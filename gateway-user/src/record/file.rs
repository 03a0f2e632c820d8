//! A month's file: its layout, how it is made, opened and judged.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, params};

use super::{
    RecordError,
    block::{self, Block},
    columns::{self, COLUMNS, TABLES},
    names,
    names::Name,
    tree::{Hash, Tile, Tree},
};

/// "gwrc": what tells the files of the record from other databases.
const APPLICATION_ID: i32 = 0x6777_7263;
/// Number of this layout.
const VERSION: i32 = 1;
/// How long another process that writes the file may keep ours waiting: only a stranger does.
const PATIENCE: Duration = Duration::from_millis(250);

/// Tables, indexes and triggers. Nothing in a file is ever written over. That an id has to be the next one refuses REPLACE too, for
/// which SQLite runs no trigger of DELETE.
const LAYOUT: &str = "
CREATE TABLE subjects ( -- what rows are about: each combination once
    id INTEGER PRIMARY KEY, -- from 1
    kind INTEGER NOT NULL,
    reason TEXT,
    service TEXT,
    actor TEXT
) STRICT;
CREATE INDEX subjects_all ON subjects (kind, reason, service, actor);
CREATE TABLE rows (
    id INTEGER PRIMARY KEY, -- the leaf's index in the tree
    at INTEGER NOT NULL, -- Unix milliseconds
    subject INTEGER NOT NULL,
    source BLOB, -- a prefix: 4 or 6, its first address, its length; what lies within a prefix lies together
    body TEXT, -- a JSON object
    mark INTEGER NOT NULL -- the first four bytes of the leaf's hash
) STRICT;
-- By runs of 65,536 rows: new rows come to a part of it that is small, wherever their sources lie.
CREATE INDEX rows_source ON rows (id >> 16, source) WHERE source IS NOT NULL;
CREATE TABLE blocks ( -- rows of a subject among the 256 rows from n * 256 on; subject 0 stands for all of them
    subject INTEGER NOT NULL,
    n INTEGER NOT NULL,
    oldest INTEGER NOT NULL, -- Unix milliseconds
    newest INTEGER NOT NULL, -- Unix milliseconds
    PRIMARY KEY (subject, n)
) STRICT, WITHOUT ROWID;
CREATE TABLE tiles ( -- hashes of whole subtrees over 256^level rows, the first of which is n * 256^level
    level INTEGER NOT NULL,
    n INTEGER NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (level, n)
) STRICT, WITHOUT ROWID;
CREATE TABLE checkpoints (
    id INTEGER PRIMARY KEY, -- from 1
    at INTEGER NOT NULL, -- Unix milliseconds
    size INTEGER NOT NULL, -- rows below
    note TEXT NOT NULL -- a signed note of C2SP tlog-checkpoint
) STRICT;
CREATE TABLE start ( -- one row: what goes before this file
    id INTEGER PRIMARY KEY CHECK (id = 1),
    file TEXT NOT NULL, -- this one's name
    first INTEGER NOT NULL, -- the id that its first row has
    peaks BLOB NOT NULL, -- hashes of the tree over all rows before
    previous TEXT, -- the file before
    previous_newest INTEGER, -- the latest time in that file
    broken TEXT -- why it does not follow on what was written last
) STRICT;
CREATE TRIGGER rows_insert BEFORE INSERT ON rows
    WHEN NEW.id IS NOT coalesce((SELECT max(id) + 1 FROM rows), (SELECT first FROM start))
    BEGIN SELECT RAISE(ABORT, 'rows of the record are appended, and nothing else'); END;
CREATE TRIGGER rows_update BEFORE UPDATE ON rows
    BEGIN SELECT RAISE(ABORT, 'the record keeps rows for a year'); END;
CREATE TRIGGER rows_delete BEFORE DELETE ON rows
    BEGIN SELECT RAISE(ABORT, 'the record keeps rows for a year'); END;
CREATE TRIGGER subjects_insert BEFORE INSERT ON subjects
    WHEN NEW.id IS NOT coalesce((SELECT max(id) + 1 FROM subjects), 1)
    BEGIN SELECT RAISE(ABORT, 'subjects are appended'); END;
CREATE TRIGGER subjects_update BEFORE UPDATE ON subjects
    BEGIN SELECT RAISE(ABORT, 'the record keeps rows for a year'); END;
CREATE TRIGGER subjects_delete BEFORE DELETE ON subjects
    BEGIN SELECT RAISE(ABORT, 'the record keeps rows for a year'); END;
CREATE TRIGGER blocks_insert BEFORE INSERT ON blocks
    WHEN EXISTS (SELECT 1 FROM blocks WHERE subject = NEW.subject AND n = NEW.n)
    BEGIN SELECT RAISE(IGNORE); END;
CREATE TRIGGER blocks_update BEFORE UPDATE ON blocks
    BEGIN SELECT RAISE(ABORT, 'the record keeps what rows are found by'); END;
CREATE TRIGGER blocks_delete BEFORE DELETE ON blocks
    BEGIN SELECT RAISE(ABORT, 'the record keeps what rows are found by'); END;
CREATE TRIGGER tiles_insert BEFORE INSERT ON tiles
    WHEN EXISTS (SELECT 1 FROM tiles WHERE level = NEW.level AND n = NEW.n)
    BEGIN SELECT RAISE(IGNORE); END;
CREATE TRIGGER tiles_update BEFORE UPDATE ON tiles
    BEGIN SELECT RAISE(ABORT, 'the record keeps its hashes'); END;
CREATE TRIGGER tiles_delete BEFORE DELETE ON tiles
    BEGIN SELECT RAISE(ABORT, 'the record keeps its hashes'); END;
CREATE TRIGGER checkpoints_insert BEFORE INSERT ON checkpoints
    WHEN NEW.id IS NOT coalesce((SELECT max(id) + 1 FROM checkpoints), 1)
    BEGIN SELECT RAISE(ABORT, 'checkpoints are appended'); END;
CREATE TRIGGER checkpoints_update BEFORE UPDATE ON checkpoints
    BEGIN SELECT RAISE(ABORT, 'the record keeps its checkpoints'); END;
CREATE TRIGGER checkpoints_delete BEFORE DELETE ON checkpoints
    BEGIN SELECT RAISE(ABORT, 'the record keeps its checkpoints'); END;
CREATE TRIGGER start_insert BEFORE INSERT ON start
    WHEN EXISTS (SELECT 1 FROM start)
    BEGIN SELECT RAISE(ABORT, 'a file of the record starts once'); END;
CREATE TRIGGER start_update BEFORE UPDATE ON start
    BEGIN SELECT RAISE(ABORT, 'a file of the record starts once'); END;
CREATE TRIGGER start_delete BEFORE DELETE ON start
    BEGIN SELECT RAISE(ABORT, 'a file of the record starts once'); END;
";

/// What goes before a file.
#[derive(Clone, Debug, Default)]
pub(super) struct Start {
    /// The tree over all rows before.
    pub tree: Tree,
    /// The file before.
    pub previous: Option<String>,
    /// The latest time in that file (Unix milliseconds).
    pub previous_newest: Option<u64>,
    /// Why it does not follow on what was written last.
    pub broken: Option<String>,
}

/// An open month.
#[derive(Debug)]
pub(super) struct MonthFile {
    pub name: Name,
    pub path: PathBuf,
    pub connection: Connection,
    pub start: Start,
}

impl MonthFile {
    /// Makes a file, whole or not at all: it has its name only when its layout, start and first checkpoint are on the disk.
    pub(super) fn create(
        directory: &Path,
        name: &Name,
        start: &Start,
        (at, note): (u64, &str),
    ) -> Result<(), RecordError> {
        let path = directory.join(name.to_string());
        let fresh = path.with_extension("db.new");
        let error = RecordError::file(&fresh);
        if fresh.exists() {
            // Left over of a start that ended here; no row was ever in it.
            names::remove(&fresh).map_err(&error)?;
        }
        names::make(&fresh).map_err(&error)?;
        lay_out(&fresh, name, start, (at, note)).map_err(RecordError::sqlite(&fresh))?;
        fs::rename(&fresh, &path).map_err(&error)?;
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(RecordError::file(directory))
    }

    /// Opens a file to append to it.
    ///
    /// Each commit is synced (FULL), for all rows and not for changes alone: a checkpoint may leave the machine the moment it is signed,
    /// and with less, a power failure could take back rows that it stands for. To whoever verifies that looks like tampering. A commit
    /// is a whole batch, so it costs one sync a batch.
    pub(super) fn open(directory: &Path, name: &Name) -> Result<Self, RecordError> {
        let path = directory.join(name.to_string());
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let connection = Connection::open_with_flags(&path, flags).map_err(RecordError::sqlite(&path))?;
        let start = inspect(&connection, &path)?;
        let set = |name: &str, value: &dyn rusqlite::ToSql| {
            connection.pragma_update(None, name, value).map_err(RecordError::sqlite(&path))
        };
        set("journal_mode", &"wal")?;
        set("synchronous", &"full")?;
        // In KiB: the inner pages of all indexes of a busy month.
        set("cache_size", &-16_384)?;
        Ok(Self { name: name.clone(), path, connection, start })
    }

    /// Opens a file to read it, also while it is written, and also where it cannot be written.
    pub(super) fn open_to_read(directory: &Path, name: &Name) -> Result<Self, RecordError> {
        use rusqlite::ErrorCode::{CannotOpen, PermissionDenied, ReadOnly, SystemIoFailure};
        let path = directory.join(name.to_string());
        let open = |options: &str, is_alone: bool| -> Result<Self, RecordError> {
            let connection = connect(&path, options, is_alone).map_err(RecordError::sqlite(&path))?;
            let start = inspect(&connection, &path)?;
            Ok(Self { name: name.clone(), path: path.clone(), connection, start })
        };
        match open("mode=ro", false) {
            // Its write-ahead log needs an index beside it, and there it cannot be made: then nobody writes the file, and the index can
            // be in memory. Without a log there is nothing but the file.
            Err(RecordError::Sqlite { cause, .. })
                if matches!(
                    cause.sqlite_error_code(),
                    Some(CannotOpen | PermissionDenied | ReadOnly | SystemIoFailure)
                ) =>
            {
                if names::has_log(&path) {
                    open("mode=ro", true)
                } else {
                    open("mode=ro&immutable=1", false)
                }
            }
            opened => opened,
        }
    }

    /// The id behind that of the last row.
    pub(super) fn end(&self) -> rusqlite::Result<u64> {
        end(&self.connection, &self.start)
    }

    /// The earliest and latest time in it (Unix milliseconds), where it has rows.
    pub(super) fn times(&self) -> rusqlite::Result<Option<(u64, u64)>> {
        block::times(&self.connection, self.end()?)
    }

    /// The tree over all rows up to the end of this file: from its start, its tiles, and the rows of those that are not whole. Gives
    /// also the tiles that came out of it, and the ids at which no row is; a leaf of zeros is in its place, as when it is verified.
    pub(super) fn tree(&self) -> rusqlite::Result<Grown> {
        let end = self.end()?;
        let mut grown = Grown { tree: self.start.tree.clone(), ..Grown::default() };
        let mut tile = self.connection.prepare("SELECT hash FROM tiles WHERE level = ? AND n = ?")?;
        let sql = format!("SELECT {COLUMNS} FROM {TABLES} WHERE rows.id = ?");
        let mut row = self.connection.prepare(&sql)?;
        let mut line = Vec::new();
        'grow: while grown.tree.size() < end {
            for level in (1..8).rev() {
                let place = Tile::at(level, grown.tree.size()).filter(|tile| tile.leaves().end <= end);
                let Some(place) = place else { continue };
                let hash: Option<Hash> =
                    tile.query_row((place.level, place.index), |row| row.get(0)).optional()?;
                if let Some(hash) = hash {
                    grown.tree.push_tile(place, hash);
                    continue 'grow;
                }
            }
            let id = grown.tree.size();
            let read = |row: &Row<'_>| {
                let leaf = columns::leaf(row)?;
                Ok((leaf.hash(&mut line), (columns::subject(row)?, leaf.at)))
            };
            match row.query_row([id], read).optional()? {
                Some((hash, seen)) => grown.push(hash, Some(seen)),
                None => {
                    grown.missing.push(id);
                    grown.push(Hash::default(), None);
                }
            }
        }
        Ok(grown)
    }
}

/// What [`MonthFile::tree`] gives.
#[derive(Clone, Debug, Default)]
pub(super) struct Grown {
    pub tree: Tree,
    /// Rows behind the last whole block.
    pub open: Block,
    pub missing: Vec<u64>,
    /// Tiles and blocks that became whole.
    tiles: Vec<(Tile, Hash)>,
    blocks: Vec<(u64, Block)>,
}

impl Grown {
    /// Appends a row's hash, and what it is found by where it is there: its subject and time.
    pub(super) fn push(&mut self, hash: Hash, seen: Option<(i64, u64)>) {
        let Self { tree, open, tiles, blocks, .. } = self;
        if let Some((subject, at)) = seen {
            open.add(subject, at);
        }
        tree.push(hash, &mut |tile, hash| {
            tiles.push((tile, hash));
            if tile.level == block::LEVEL {
                blocks.push((tile.index, std::mem::take(open)));
            }
            hash
        });
    }

    /// What is left to be written once all of it was: nothing.
    pub(super) fn written(self) -> Self {
        Self { tree: self.tree, open: self.open, ..Self::default() }
    }

    /// Writes the tiles and blocks that became whole. Those that are there stay as they are.
    pub(super) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut insert = connection.prepare_cached("INSERT INTO tiles (level, n, hash) VALUES (?, ?, ?)")?;
        for (tile, hash) in &self.tiles {
            insert.execute((tile.level, tile.index, hash))?;
        }
        self.blocks.iter().try_for_each(|(n, block)| block.write(connection, *n))
    }
}

/// The id behind that of the last row of a file.
pub(super) fn end(connection: &Connection, start: &Start) -> rusqlite::Result<u64> {
    let last: Option<u64> = connection.query_row("SELECT max(id) FROM rows", (), |row| row.get(0))?;
    Ok(last.map_or(start.tree.size(), |last| last + 1))
}

/// Objects of the layout that a file has not, or has otherwise, or has too many, by type and name.
pub(super) fn strange_objects(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let objects = |connection: &Connection| -> rusqlite::Result<Vec<(String, String)>> {
        // What has no text is SQLite's own, and follows from a table's.
        let sql = "SELECT type || ' ' || name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name";
        connection.prepare(sql)?.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    };
    let expected = Connection::open_in_memory()?;
    expected.execute_batch(LAYOUT)?;
    let (expected, found) = (objects(&expected)?, objects(connection)?);
    let differs = |of: &[(String, String)], other: &[(String, String)]| -> Vec<String> {
        of.iter().filter(|object| !other.contains(object)).map(|(name, _)| name.clone()).collect()
    };
    let mut strange = differs(&expected, &found);
    strange.extend(differs(&found, &expected));
    strange.sort_unstable();
    strange.dedup();
    Ok(strange)
}

fn connect(path: &Path, options: &str, is_alone: bool) -> rusqlite::Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    // As a URI has it: SQLite takes `?`, `#` and `%` for its own.
    let encoded = path.display().to_string().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let connection = Connection::open_with_flags(format!("file:{encoded}?{options}"), flags)?;
    if is_alone {
        connection.pragma_update(None, "locking_mode", "exclusive")?;
    }
    Ok(connection)
}

/// Whether a file is one of the record, and what goes before it.
fn inspect(connection: &Connection, path: &Path) -> Result<Start, RecordError> {
    let error = RecordError::sqlite(path);
    let damaged = |why: &str| RecordError::Damaged { path: path.to_owned(), why: why.to_owned() };
    connection.busy_timeout(PATIENCE).map_err(&error)?;
    // What stands in the layout of a stranger's file is not to be run.
    connection.pragma_update(None, "trusted_schema", "off").map_err(&error)?;
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0)).map_err(&error);
    if number("application_id")? != APPLICATION_ID {
        return Err(damaged("it is no file of the record"));
    }
    match number("user_version")? {
        VERSION => {}
        later if later > VERSION => return Err(RecordError::Later(path.to_owned())),
        _ => return Err(damaged("its version is none that there was")),
    }
    let sql = "SELECT first, peaks, previous, previous_newest, broken FROM start";
    let start = connection.query_row(sql, (), start).map_err(&error)?;
    let start = start.ok_or_else(|| damaged("what it says of the tree before it makes no sense"))?;
    end(connection, &start).map_err(&error)?;
    Ok(start)
}

fn start(row: &Row<'_>) -> rusqlite::Result<Option<Start>> {
    let peaks = row.get_ref(1)?;
    let Some(tree) = Tree::from_peaks(row.get(0)?, peaks.as_blob()?) else { return Ok(None) };
    Ok(Some(Start { tree, previous: row.get(2)?, previous_newest: row.get(3)?, broken: row.get(4)? }))
}

fn lay_out(path: &Path, name: &Name, start: &Start, (at, note): (u64, &str)) -> rusqlite::Result<()> {
    let mut connection = Connection::open(path)?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", VERSION)?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(LAYOUT)?;
    let Start { tree, previous, previous_newest, broken } = start;
    let sql =
        "INSERT INTO start (file, first, peaks, previous, previous_newest, broken) VALUES (?, ?, ?, ?, ?, ?)";
    let peaks = tree.peaks();
    transaction
        .execute(sql, params![name.to_string(), tree.size(), peaks, previous, previous_newest, broken])?;
    transaction.execute("INSERT INTO checkpoints VALUES (1, ?, ?, ?)", params![at, tree.size(), note])?;
    transaction.commit()?;
    connection.close().map_err(|(_, error)| error)
}
