//! Bans over a restart: one SQLite file, in which each ban is a row of its own, so that a change writes that row alone.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;
use rusqlite::{Connection, OpenFlags, Row, params};

use super::{Ban, Origin};
use crate::{control::words::Prefix, state_file};

/// Number of this layout in the file.
const VERSION: i32 = 1;

/// How long somebody else who has the file open may keep the daemon waiting.
const PATIENCE: Duration = Duration::from_millis(50);

const LAYOUT: &str = "CREATE TABLE IF NOT EXISTS bans (
    prefix BLOB PRIMARY KEY, -- 4 or 6, the address in network order, the length: rows lie in the order of prefixes
    origin INTEGER NOT NULL, -- 0: by hand, 1: strikes
    reason TEXT,
    level INTEGER NOT NULL,
    added_at INTEGER NOT NULL, -- Unix seconds
    until_at INTEGER -- the same; null: until taken back
) WITHOUT ROWID";

/// Why bans cannot be kept, or read again.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
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
    /// A later gateway wrote it.
    #[error(
        "{0} was written by a later version; start that one, or move the file away to start without its bans"
    )]
    Later(PathBuf),
}

impl StoreError {
    /// Whether what is in the file is no database of bans, so that another can take its place. Else there is something in its way.
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
            Self::Later(_) => false,
        }
    }
}

/// What a file of bans had.
#[derive(Debug, Default)]
pub struct Kept {
    /// Every ban and memory.
    pub bans: Vec<(Prefix, Ban)>,
    /// Rows that make no sense: they can only be a stranger's.
    pub left_out: usize,
}

/// The file.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    path: PathBuf,
}

impl Store {
    /// Where bans are kept beside the audit record.
    pub fn path(database: &Path) -> PathBuf {
        database.with_file_name("bans.db")
    }

    /// Opens the file, made if need be.
    ///
    /// # Errors
    /// When it is no such file, or may not be written.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        state_file::prepare(path).map_err(|cause| StoreError::File { path: path.to_owned(), cause })?;
        let error = |cause| StoreError::Sqlite { path: path.to_owned(), cause };
        let connection = Connection::open(path).map_err(error)?;
        let version = prepare(&connection).map_err(error)?;
        if version > VERSION {
            return Err(StoreError::Later(path.to_owned()));
        }
        Ok(Self { connection, path: path.to_owned() })
    }

    /// Every ban and memory.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn load(&self) -> Result<Kept, StoreError> {
        read(&self.connection).map_err(|cause| StoreError::Sqlite { path: self.path.clone(), cause })
    }

    /// The same of a file that cannot be written.
    ///
    /// # Errors
    /// When it cannot be read, or is another version's.
    pub fn look(path: &Path) -> Result<Kept, StoreError> {
        // With the write-ahead log, for which whoever has the file alone needs no file beside it; else without it.
        ["mode=rw", "mode=ro"]
            .into_iter()
            .find_map(|options| look_with(path, options).ok())
            .map_or_else(|| look_with(path, "mode=ro&immutable=1"), Ok)
    }

    /// Writes bans, and takes out those that are nothing any more: all or none.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn keep<'a>(
        &mut self,
        changes: impl IntoIterator<Item = (Prefix, Option<&'a Ban>)>,
    ) -> Result<(), StoreError> {
        write(&mut self.connection, changes)
            .map_err(|cause| StoreError::Sqlite { path: self.path.clone(), cause })
    }
}

fn look_with(path: &Path, options: &str) -> Result<Kept, StoreError> {
    let error = |cause| StoreError::Sqlite { path: path.to_owned(), cause };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_URI;
    let address = format!("file:{}?{options}", percent_encoded(path));
    let connection = Connection::open_with_flags(address, flags).map_err(error)?;
    connection.busy_timeout(PATIENCE).map_err(error)?;
    connection.pragma_update(None, "locking_mode", "exclusive").map_err(error)?;
    let version: i32 =
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(error)?;
    match version {
        0 => Ok(Kept::default()),
        VERSION => read(&connection).map_err(error),
        _ => Err(StoreError::Later(path.to_owned())),
    }
}

/// A path as a URI has it: SQLite takes `?`, `#` and `%` for its own.
fn percent_encoded(path: &Path) -> String {
    path.display().to_string().replace('%', "%25").replace('?', "%3f").replace('#', "%23")
}

fn read(connection: &Connection) -> rusqlite::Result<Kept> {
    let query = "SELECT prefix, origin, reason, level, added_at, until_at FROM bans ORDER BY prefix";
    let mut statement = connection.prepare(query)?;
    let mut rows = statement.query(())?;
    let mut kept = Kept::default();
    // Most bans have the reason of the one before.
    let mut last: Option<Arc<str>> = None;
    while let Some(row) = rows.next()? {
        match ban(row, &mut last) {
            Some(ban) => kept.bans.push(ban),
            None => kept.left_out += 1,
        }
    }
    Ok(kept)
}

fn ban(row: &Row<'_>, last: &mut Option<Arc<str>>) -> Option<(Prefix, Ban)> {
    let prefix = decode(row.get_ref(0).ok()?.as_blob().ok()?)?;
    let origin = *Origin::ALL.get(row.get::<_, usize>(1).ok()?)?;
    let reason = row.get_ref(2).ok()?.as_str_or_null().ok()?;
    let reason = reason.map(|text| match &last {
        Some(last) if **last == *text => Arc::clone(last),
        _ => Arc::from(text),
    });
    last.clone_from(&reason);
    let (level, added_at, until_at) = (row.get(3).ok()?, row.get(4).ok()?, row.get(5).ok()?);
    Some((prefix, Ban { origin, reason, level, added_at, until_at }))
}

/// Settings and layout; gives the layout's number. With a write-ahead log a change is one short write; after a crash of the
/// machine the last changes may be missing, and the rest is whole.
fn prepare(connection: &Connection) -> rusqlite::Result<i32> {
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "normal")?;
    let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version == 0 {
        connection.execute(LAYOUT, ())?;
        connection.pragma_update(None, "user_version", VERSION)?;
    }
    Ok(version)
}

fn write<'a>(
    connection: &mut Connection,
    changes: impl IntoIterator<Item = (Prefix, Option<&'a Ban>)>,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    {
        let mut insert = transaction.prepare_cached("REPLACE INTO bans VALUES (?, ?, ?, ?, ?, ?)")?;
        let mut delete = transaction.prepare_cached("DELETE FROM bans WHERE prefix = ?")?;
        for (prefix, ban) in changes {
            let key = encode(prefix);
            match ban {
                Some(Ban { origin, reason, level, added_at, until_at }) => {
                    let reason = reason.as_deref();
                    insert.execute(params![key, *origin as usize, reason, level, added_at, until_at])?
                }
                None => delete.execute([key])?,
            };
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
