//! Files of earlier formats, brought to the present one when the service opens them. All or nothing.

use rusqlite::Connection;

use super::{FORMAT, StoreError};

/// The first format that is read.
pub(super) const OLDEST: i64 = 2;

/// Format 3: raw feeds are archived. What was posted before has no copy here: the archive begins where each feed stands.
const TO_3: &str = "\
ALTER TABLE feed ADD COLUMN archive_base_seq INTEGER NOT NULL DEFAULT 0;
ALTER TABLE feed ADD COLUMN archive_base_hash BLOB NOT NULL \
DEFAULT x'0000000000000000000000000000000000000000000000000000000000000000';
ALTER TABLE feed ADD COLUMN archived_bytes INTEGER NOT NULL DEFAULT 0;
UPDATE feed SET archive_base_seq = seq, archive_base_hash = hash;
";

pub(super) fn migrate(connection: &Connection, from: i64) -> Result<(), StoreError> {
    let transaction = connection.unchecked_transaction()?;
    if from < 3 {
        transaction.execute_batch(TO_3)?;
        transaction.execute_batch(include_str!("schema_archive.sql"))?;
    }
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()?;
    tracing::info!(from, to = FORMAT, "the books' file has the present format now");
    Ok(())
}
