//! The state database.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;
use rusqlite::{Connection, OpenFlags, params};

use crate::{
    bans::{Claim, ClaimKey},
    model::{Origin, Prefix},
    state_file,
};

/// Number of this layout in the file (`user_version`), and the mark of its kind (`application_id`).
const VERSION: i32 = 1;
const APPLICATION: i32 = i32::from_be_bytes(*b"gwst");

/// How long somebody else who has the file open may keep the writer waiting.
const PATIENCE: Duration = Duration::from_millis(50);

const LAYOUT: &str = "
CREATE TABLE claims (
    prefix BLOB NOT NULL, -- 4 or 6, the address in network order, the length: rows lie in the order of prefixes
    origin TEXT NOT NULL,
    reason TEXT,
    level INTEGER NOT NULL,
    added_at INTEGER NOT NULL, -- Unix seconds
    until_at INTEGER, -- the same; null: until taken back
    PRIMARY KEY (prefix, origin)
) WITHOUT ROWID;
CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- no number comes twice
    at INTEGER NOT NULL, -- Unix milliseconds
    body TEXT NOT NULL -- a JSON object
)";

/// Why the state cannot be kept, or read again.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// SQLite says no.
    #[error("{path}: {cause}")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What it said.
        cause: rusqlite::Error,
    },
    /// It is no file of the daemon's own, or there is no place for it.
    #[error("{path}: {cause}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        cause: io::Error,
    },
    /// It is a database of something else.
    #[error("{0} is a database of another program")]
    Foreign(PathBuf),
    /// A later gateway wrote it.
    #[error(
        "{0} was written by a later version; start that one, or move the file away to start without its bans"
    )]
    Later(PathBuf),
}

impl StateError {
    /// Whether what is in the file is no state, so that another can take its place. Else there is something in its way.
    pub fn is_damage(&self) -> bool {
        use rusqlite::ErrorCode::{
            CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, OutOfMemory, PermissionDenied, ReadOnly,
            SystemIoFailure,
        };
        match self {
            Self::Sqlite { cause, .. } => !matches!(
                cause.sqlite_error_code(),
                Some(
                    CannotOpen
                        | DatabaseBusy
                        | DatabaseLocked
                        | DiskFull
                        | OutOfMemory
                        | PermissionDenied
                        | ReadOnly
                        | SystemIoFailure
                )
            ),
            Self::File { cause, .. } => {
                cause.kind() == io::ErrorKind::Other || cause.raw_os_error() == Some(nix::libc::ELOOP)
            }
            Self::Foreign(_) => true,
            Self::Later(_) => false,
        }
    }
}

/// What a file had.
#[derive(Debug, Default)]
pub struct Kept {
    /// Every claim and memory.
    pub claims: Vec<(ClaimKey, Claim)>,
    /// Facts by their keys.
    pub facts: BTreeMap<String, String>,
    /// Rows that make no sense: they can only be a stranger's.
    pub left_out: usize,
}

/// A row on its way to the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Unix milliseconds.
    pub at: u64,
    /// An [`Outgoing`](super::Outgoing) as JSON.
    pub body: String,
}

/// What is written in one transaction. A value of nothing: the row goes.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Claims.
    pub claims: BTreeMap<ClaimKey, Option<Claim>>,
    /// Facts.
    pub facts: BTreeMap<String, Option<String>>,
    /// Rows for the record.
    pub rows: Vec<Row>,
}

/// The file.
#[derive(Debug)]
pub struct State {
    connection: Connection,
    path: PathBuf,
}

impl State {
    /// Opens the file, made if need be.
    ///
    /// # Errors
    /// When it is no such file, or may not be written.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        state_file::prepare(path).map_err(|cause| StateError::File { path: path.to_owned(), cause })?;
        let error = |cause| StateError::Sqlite { path: path.to_owned(), cause };
        let connection = Connection::open(path).map_err(error)?;
        let (application, version) = prepare(&connection).map_err(error)?;
        check(path, application, version)?;
        Ok(Self { connection, path: path.to_owned() })
    }

    /// All that is in it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn load(&self) -> Result<Kept, StateError> {
        read(&self.connection).map_err(|cause| StateError::Sqlite { path: self.path.clone(), cause })
    }

    /// The same of a file that cannot be written.
    ///
    /// # Errors
    /// When it cannot be read, or is another version's.
    pub fn look(path: &Path) -> Result<Kept, StateError> {
        // With the write-ahead log, for which whoever has the file alone needs no file beside it; else without it.
        ["mode=rw", "mode=ro"]
            .into_iter()
            .find_map(|options| look_with(path, options).ok())
            .map_or_else(|| look_with(path, "mode=ro&immutable=1"), Ok)
    }

    /// Writes a batch: all or nothing. It is on the disk when this returns.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&mut self, batch: &Batch) -> Result<(), StateError> {
        write(&mut self.connection, batch)
            .map_err(|cause| StateError::Sqlite { path: self.path.clone(), cause })
    }

    /// Rows that wait for the record, the first ones, with their numbers.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn waiting(&self, most: usize) -> Result<Vec<(u64, Row)>, StateError> {
        let rows = || -> rusqlite::Result<Vec<(u64, Row)>> {
            let query = "SELECT id, at, body FROM outbox ORDER BY id LIMIT ?";
            let mut statement = self.connection.prepare_cached(query)?;
            let rows = statement.query_map([most as u64], |row| {
                Ok((row.get(0)?, Row { at: row.get(1)?, body: row.get(2)? }))
            })?;
            rows.collect()
        };
        rows().map_err(|cause| StateError::Sqlite { path: self.path.clone(), cause })
    }

    /// Takes away rows that the record has, up to this number.
    ///
    /// # Errors
    /// When they cannot be taken away.
    pub fn handed_over(&mut self, last: u64) -> Result<(), StateError> {
        let deleted = self.connection.execute("DELETE FROM outbox WHERE id <= ?", [last]);
        deleted.map(drop).map_err(|cause| StateError::Sqlite { path: self.path.clone(), cause })
    }
}

fn check(path: &Path, application: i32, version: i32) -> Result<(), StateError> {
    if application != APPLICATION {
        return Err(StateError::Foreign(path.to_owned()));
    }
    if version > VERSION { Err(StateError::Later(path.to_owned())) } else { Ok(()) }
}

fn look_with(path: &Path, options: &str) -> Result<Kept, StateError> {
    let error = |cause| StateError::Sqlite { path: path.to_owned(), cause };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_URI;
    let address = format!("file:{}?{options}", percent_encoded(path));
    let connection = Connection::open_with_flags(address, flags).map_err(error)?;
    connection.busy_timeout(PATIENCE).map_err(error)?;
    connection.pragma_update(None, "locking_mode", "exclusive").map_err(error)?;
    let (application, version) = numbers(&connection).map_err(error)?;
    if version == 0 && application == 0 {
        return Ok(Kept::default());
    }
    check(path, application, version)?;
    read(&connection).map_err(error)
}

/// A path as a URI has it: SQLite takes `?`, `#` and `%` for its own.
fn percent_encoded(path: &Path) -> String {
    path.display().to_string().replace('%', "%25").replace('?', "%3f").replace('#', "%23")
}

fn numbers(connection: &Connection) -> rusqlite::Result<(i32, i32)> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get(0));
    Ok((number("application_id")?, number("user_version")?))
}

/// Settings and layout; gives the marks of its kind and version.
///
/// With a write-ahead log a change is one short write. `synchronous = full`: a change that was answered as being on the
/// disk is there after a power cut, too; with `normal` the last ones may be missing.
fn prepare(connection: &Connection) -> rusqlite::Result<(i32, i32)> {
    connection.busy_timeout(PATIENCE)?;
    let found = numbers(connection)?;
    let tables: u32 = connection.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))?;
    let is_new = found == (0, 0) && tables == 0;
    if !is_new && found.0 != APPLICATION {
        return Ok(found);
    }
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    if is_new {
        let set = format!("PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION}");
        connection.execute_batch(&format!("BEGIN IMMEDIATE; {LAYOUT}; {set}; COMMIT"))?;
    }
    numbers(connection)
}

fn read(connection: &Connection) -> rusqlite::Result<Kept> {
    let mut kept = Kept::default();
    let query = "SELECT prefix, origin, reason, level, added_at, until_at FROM claims ORDER BY prefix";
    let mut statement = connection.prepare(query)?;
    let mut rows = statement.query(())?;
    // Most bans have the reason and the origin of the one before.
    let (mut last, mut origin) = (None, Origin::Operator);
    while let Some(row) = rows.next()? {
        match claim(row, &mut last, &mut origin) {
            Some(claim) => kept.claims.push(claim),
            None => kept.left_out += 1,
        }
    }
    let mut statement = connection.prepare("SELECT key, value FROM facts")?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        match (row.get(0), row.get(1)) {
            (Ok(key), Ok(value)) => drop(kept.facts.insert(key, value)),
            _ => kept.left_out += 1,
        }
    }
    Ok(kept)
}

/// A row of claims; nothing where it makes no sense.
fn claim(
    row: &rusqlite::Row<'_>,
    last: &mut Option<Arc<str>>,
    last_origin: &mut Origin,
) -> Option<(ClaimKey, Claim)> {
    let prefix = decode(row.get_ref(0).ok()?.as_blob().ok()?)?;
    let name = row.get_ref(1).ok()?.as_str().ok()?;
    if last_origin.name() != name {
        *last_origin = Origin::from(name);
    }
    let reason = row.get_ref(2).ok()?.as_str_or_null().ok()?;
    let reason = reason.map(|text| match &last {
        Some(last) if **last == *text => Arc::clone(last),
        _ => Arc::from(text),
    });
    last.clone_from(&reason);
    let (level, added_at, until_at) = (row.get(3).ok()?, row.get(4).ok()?, row.get(5).ok()?);
    Some(((prefix, last_origin.clone()), Claim { reason, level, added_at, until_at }))
}

fn write(connection: &mut Connection, batch: &Batch) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    {
        let mut put = transaction.prepare_cached("REPLACE INTO claims VALUES (?, ?, ?, ?, ?, ?)")?;
        let mut take = transaction.prepare_cached("DELETE FROM claims WHERE prefix = ? AND origin = ?")?;
        for ((prefix, origin), claim) in &batch.claims {
            let key = encode(*prefix);
            match claim {
                Some(Claim { reason, level, added_at, until_at }) => {
                    let reason = reason.as_deref();
                    put.execute(params![key, origin.name(), reason, level, added_at, until_at])?
                }
                None => take.execute(params![key, origin.name()])?,
            };
        }
        let mut put = transaction.prepare_cached("REPLACE INTO facts VALUES (?, ?)")?;
        let mut take = transaction.prepare_cached("DELETE FROM facts WHERE key = ?")?;
        for (key, value) in &batch.facts {
            match value {
                Some(value) => put.execute([key, value])?,
                None => take.execute([key])?,
            };
        }
        let mut put = transaction.prepare_cached("INSERT INTO outbox (at, body) VALUES (?, ?)")?;
        for Row { at, body } in &batch.rows {
            put.execute(params![at, body])?;
        }
    }
    transaction.commit()
}

fn encode(prefix: Prefix) -> Vec<u8> {
    let network = prefix.network();
    let (family, mut bytes) = match network.addr() {
        IpAddr::V4(address) => (4, address.octets().to_vec()),
        IpAddr::V6(address) => (6, address.octets().to_vec()),
    };
    bytes.insert(0, family);
    bytes.push(network.prefix_len());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Prefix> {
    let (family, rest) = bytes.split_first()?;
    let (length, address) = rest.split_last()?;
    let address: IpAddr = match family {
        4 => Ipv4Addr::from(<[u8; 4]>::try_from(address).ok()?).into(),
        6 => Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?).into(),
        _ => return None,
    };
    Prefix::try_from(IpNet::new(address, *length).ok()?).ok()
}
