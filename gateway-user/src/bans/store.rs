//! Bans over a restart: one SQLite file, in which each ban is a row of its own, so that a change writes that row alone.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
    sync::Arc,
};

use ipnet::IpNet;
use rusqlite::{Connection, params};

use super::{Ban, Origin};
use crate::control::words::Prefix;

/// Number of this layout in the file.
const VERSION: i32 = 1;

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
    /// The directory cannot be made.
    #[error("cannot make the directory of {path}: {cause}")]
    Directory {
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
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)
                .map_err(|cause| StoreError::Directory { path: path.to_owned(), cause })?;
        }
        let error = |cause| StoreError::Sqlite { path: path.to_owned(), cause };
        let connection = Connection::open(path).map_err(error)?;
        let version = prepare(&connection).map_err(error)?;
        if version > VERSION {
            return Err(StoreError::Later(path.to_owned()));
        }
        Ok(Self { connection, path: path.to_owned() })
    }

    /// Every ban and memory. What makes no sense is left out: it can only be a stranger's.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn load(&self) -> Result<Vec<(Prefix, Ban)>, StoreError> {
        self.read().map_err(|cause| self.error(cause))
    }

    fn read(&self) -> rusqlite::Result<Vec<(Prefix, Ban)>> {
        let query = "SELECT prefix, origin, reason, level, added_at, until_at FROM bans ORDER BY prefix";
        let mut statement = self.connection.prepare(query)?;
        let mut rows = statement.query(())?;
        let mut bans = Vec::new();
        // Most bans have the reason of the one before.
        let mut last: Option<Arc<str>> = None;
        while let Some(row) = rows.next()? {
            let prefix = row.get_ref(0)?.as_blob().ok().and_then(decode);
            let origin = Origin::ALL.get(row.get::<_, usize>(1)?).copied();
            let (Some(prefix), Some(origin)) = (prefix, origin) else { continue };
            let reason = row.get_ref(2)?.as_str_or_null().ok().flatten();
            let reason = reason.map(|text| match &last {
                Some(last) if **last == *text => Arc::clone(last),
                _ => Arc::from(text),
            });
            last.clone_from(&reason);
            let (level, added_at, until_at) = (row.get(3)?, row.get(4)?, row.get(5)?);
            bans.push((prefix, Ban { origin, reason, level, added_at, until_at }));
        }
        Ok(bans)
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

    fn error(&self, cause: rusqlite::Error) -> StoreError {
        StoreError::Sqlite { path: self.path.clone(), cause }
    }
}

/// Settings and layout; gives the layout's number. With a write-ahead log a change is one short write; after a crash of the
/// machine the last changes may be missing, and the rest is whole.
fn prepare(connection: &Connection) -> rusqlite::Result<i32> {
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
