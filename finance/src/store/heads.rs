//! Signed heads of the journal's chain.

use rusqlite::{Connection, Row, params};
use stockmesh_finance_core::LedgerHead;
use stockmesh_types::ChainHash;

use super::read::{Page, Reader, limit};
use super::{Store, StoreError, hash, signed, unsigned};

/// A head and its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedHead {
    /// What is signed.
    pub head: LedgerHead,
    /// When, milliseconds since 1970-01-01T00:00:00Z.
    pub signed_time_ms: i64,
    /// Ed25519 public key, 32 bytes.
    pub public_key: Vec<u8>,
    /// Ed25519 signature, 64 bytes.
    pub signature: Vec<u8>,
}

const COLUMNS: &str = "number, hash, signed_time_ms, public_key, signature";

impl Store {
    /// Keeps a signed head. Durable when it returns.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn write_signed_head(&mut self, signed_head: &SignedHead) -> Result<(), StoreError> {
        let SignedHead { head, signed_time_ms, public_key, signature } = signed_head;
        self.connection.execute(
            "INSERT INTO signed_head (number, hash, signed_time_ms, public_key, signature) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![signed(head.number), head.hash.0.as_slice(), signed_time_ms, public_key, signature],
        )?;
        Ok(())
    }

    /// The last head that was signed.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn last_signed_head(&self) -> Result<Option<SignedHead>, StoreError> {
        last(&self.connection)
    }
}

impl Reader {
    /// The last head that was signed.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn last_signed_head(&self) -> Result<Option<SignedHead>, StoreError> {
        last(self.connection())
    }

    /// Signed heads after the one of entry `after`, by number; from the first, when it is none.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn signed_heads(&self, after: Option<u64>, size: usize) -> Result<Page<SignedHead>, StoreError> {
        let mut statement = self
            .connection()
            .prepare_cached(&format!("SELECT {COLUMNS} FROM signed_head WHERE number > ?1 ORDER BY number LIMIT ?2"))?;
        let mut rows = statement.query(params![after.map_or(-1, signed), limit(size)])?;
        let mut heads = Vec::new();
        while let Some(row) = rows.next()? {
            heads.push(of_row(row)?);
        }
        Ok(Page::of(heads, size))
    }

    /// Chain hash of an entry, the start's for 0; none when there is no such entry.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn entry_hash(&self, number: u64) -> Result<Option<ChainHash>, StoreError> {
        if number == 0 {
            return Ok(Some(ChainHash::START));
        }
        let mut statement = self.connection().prepare_cached("SELECT hash FROM entry WHERE number = ?1")?;
        let mut rows = statement.query([signed(number)])?;
        rows.next()?.map(|row| hash(&row.get::<_, Vec<u8>>(0)?)).transpose()
    }
}

fn last(connection: &Connection) -> Result<Option<SignedHead>, StoreError> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM signed_head ORDER BY number DESC LIMIT 1"))?;
    let mut rows = statement.query([])?;
    rows.next()?.map(of_row).transpose()
}

fn of_row(row: &Row<'_>) -> Result<SignedHead, StoreError> {
    Ok(SignedHead {
        head: LedgerHead { number: unsigned(row.get(0)?), hash: hash(&row.get::<_, Vec<u8>>(1)?)? },
        signed_time_ms: row.get(2)?,
        public_key: row.get(3)?,
        signature: row.get(4)?,
    })
}
