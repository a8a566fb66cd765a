//! The books' file: SQLite, one writer, any number of readers.
//!
//! `schema.sql` documents the tables, and views for accountants. The writer's connection runs in WAL mode with
//! `synchronous=FULL`: a batch of facts is one transaction (entries, balances, layers, suspense, cursors, chain head), durable
//! when it commits. Readers have connections of their own and see whole batches only.
//!
//! Must not know: posting rules, gRPC.

mod archive;
mod check;
mod heads;
mod migrate;
mod read;
mod records;
mod verify;
mod write;

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use stockmesh_finance_core::books::BalanceKey;
use stockmesh_proto::entry::Head;
use stockmesh_types::{ChainHash, FeedId};

pub use archive::{ArchivedChunk, ArchivedFeed, Arrivals};
pub use heads::SignedHead;
pub use read::{Account, Page, Place, Reader, StockRow, SuspenseRow};
pub use verify::{Finding, Verification, verify};
pub use write::Batch;

/// Name of the file in the data folder.
pub const FILE_NAME: &str = "books.sqlite";
/// `PRAGMA application_id`: "SMFB", Stockmesh finance books.
const APPLICATION_ID: i64 = 0x534d_4642;
/// `PRAGMA user_version`: format of the file. 2: tax rates of postings, parts of entries, channels of issues. 3: the raw feeds,
/// signed heads, goods held, set aside and on their way. Format 1 was in no release: there is nothing to migrate, and such a file is refused.
const FORMAT: i64 = 3;

/// Why the books can't be kept: a fault.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite, or the disk under it.
    #[error("the books' file failed: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The folder.
    #[error("{path}: {error}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// Another process keeps these books.
    #[error("{0} is in use by another process: one finance service keeps one set of books")]
    InUse(PathBuf),
    /// Another program's file, or another version's.
    #[error(
        "{path} is not a file of books that this version keeps (application id {application_id}, format {format}; \
         format {FORMAT} is expected)"
    )]
    Format {
        /// Which.
        path: PathBuf,
        /// As found.
        application_id: i64,
        /// As found.
        format: i64,
    },
    /// The file contradicts itself.
    #[error("the books are damaged: {0}. Keep the file as it is, and restore a backup; the feeds fill in the rest")]
    Damaged(String),
}

impl From<serde_json::Error> for StoreError {
    fn from(error: serde_json::Error) -> Self {
        Self::Damaged(format!("a record can't be read: {error}"))
    }
}

/// The writer's connection.
pub struct Store {
    connection: Connection,
    /// Row ids of accounts: as many as the trial balance has lines.
    accounts: BTreeMap<BalanceKey, i64>,
    /// Row ids of feeds: one for each epoch of each node, and each incarnation of the coordinator.
    feeds: BTreeMap<FeedId, i64>,
    /// Last row of the archive.
    last_archive: u64,
    /// Held while the process lives.
    _lock: File,
}

impl Store {
    /// Opens the books in `dir`, or begins them, and checks that they are whole.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn open(dir: &Path, finance_id: &str) -> Result<Self, StoreError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |error| StoreError::Io { path, error }
        };
        std::fs::create_dir_all(dir).map_err(io(dir))?;
        let lock_path = dir.join("LOCK");
        let lock = File::create(&lock_path).map_err(io(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::InUse(dir.to_owned())),
            Err(TryLockError::Error(error)) => return Err(io(&lock_path)(error)),
        }
        let path = dir.join(FILE_NAME);
        let connection = Connection::open(&path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", "OFF")?; // Row ids come from this store alone.
        connection.pragma_update(None, "cache_size", -65_536)?; // 64 MiB
        connection.set_prepared_statement_cache_capacity(64);
        let found = format_of(&connection)?;
        if found == (0, 0) && tables(&connection)? == 0 {
            begin(&connection, finance_id)?;
        } else if found.0 != APPLICATION_ID || !(migrate::OLDEST..=FORMAT).contains(&found.1) {
            let (application_id, format) = found;
            return Err(StoreError::Format { path, application_id, format });
        }
        check::check_id(&connection, finance_id)?;
        check::check_whole(&connection)?;
        if (migrate::OLDEST..FORMAT).contains(&found.1) {
            migrate::migrate(&connection, found.1)?;
        }
        let last_archive = archive::last_id(&connection)?;
        let (accounts, feeds) = (BTreeMap::new(), BTreeMap::new());
        let mut store = Self { connection, accounts, feeds, last_archive, _lock: lock };
        store.load_ids()?;
        Ok(store)
    }

    /// Gives up durability: for books that are made to be compared, and thrown away.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn without_syncs(self) -> Result<Self, StoreError> {
        self.connection.pragma_update(None, "synchronous", "OFF")?;
        Ok(self)
    }

    fn load_ids(&mut self) -> Result<(), StoreError> {
        let Self { connection, accounts, feeds, last_archive: _, _lock } = self;
        let mut rows = connection.prepare("SELECT id, entity, name, currency FROM account")?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let currency = read::currency(&row.get::<_, String>(3)?)?;
            accounts.insert((row.get(1)?, row.get(2)?, currency), row.get(0)?);
        }
        let mut rows = connection.prepare("SELECT id, participant, destination, epoch FROM feed")?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let feed = FeedId { participant: row.get(1)?, destination: row.get(2)?, epoch: unsigned(row.get(3)?) };
            feeds.insert(feed, row.get(0)?);
        }
        Ok(())
    }

    /// How far each feed is posted.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn cursors(&self) -> Result<BTreeMap<FeedId, Head>, StoreError> {
        read::cursors(&self.connection)
    }
}

/// Opens the books of a folder, or a file of books, for reading.
///
/// # Errors
/// See [`StoreError`]; also when there are none.
pub fn open_reader(path: &Path) -> Result<Reader, StoreError> {
    let path = if path.is_dir() { path.join(FILE_NAME) } else { path.to_owned() };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&path, flags)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    let (application_id, format) = format_of(&connection)?;
    if (application_id, format) != (APPLICATION_ID, FORMAT) {
        // Reading changes nothing: a file of an earlier format is brought to this one when the service opens it.
        return Err(StoreError::Format { path, application_id, format });
    }
    Ok(Reader::new(connection))
}

fn format_of(connection: &Connection) -> Result<(i64, i64), StoreError> {
    let application_id = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let format = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok((application_id, format))
}

fn tables(connection: &Connection) -> Result<i64, StoreError> {
    Ok(connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?)
}

/// Makes the tables and the meta row, all or nothing.
fn begin(connection: &Connection, finance_id: &str) -> Result<(), StoreError> {
    let transaction = connection.unchecked_transaction()?;
    transaction.execute_batch(include_str!("schema.sql"))?;
    transaction.execute_batch(include_str!("schema_3.sql"))?;
    transaction.execute(
        "INSERT INTO meta (id, finance_id, head_number, head_hash, last_suspense, suspended) VALUES (1, ?1, 0, ?2, 0, 0)",
        params![finance_id, ChainHash::START.0.as_slice()],
    )?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()?;
    Ok(())
}

/// SQLite's integers are signed. Numbers here are counts, which never reach the top bit.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn hash(bytes: &[u8]) -> Result<ChainHash, StoreError> {
    ChainHash::from_bytes(bytes).ok_or_else(|| StoreError::Damaged("a hash does not have 32 bytes".to_owned()))
}

/// One row, or none.
fn optional<T>(row: rusqlite::Result<T>) -> Result<Option<T>, StoreError> {
    Ok(row.optional()?)
}
