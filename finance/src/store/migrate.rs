//! Files of earlier formats, brought to the present one when the service opens them. All or nothing.

use rusqlite::Connection;

use super::{FORMAT, StoreError};

/// The first format that is read.
pub(super) const OLDEST: i64 = 2;

/// Format 3: raw feeds are archived, and goods are remembered that are held, set aside, or on their way. What was posted before has no copy here: the archive begins where each feed stands.
const TO_3: &str = "\
ALTER TABLE feed ADD COLUMN archive_base_seq INTEGER NOT NULL DEFAULT 0;
ALTER TABLE feed ADD COLUMN archive_base_hash BLOB NOT NULL \
DEFAULT x'0000000000000000000000000000000000000000000000000000000000000000';
ALTER TABLE feed ADD COLUMN archived_bytes INTEGER NOT NULL DEFAULT 0;
UPDATE feed SET archive_base_seq = seq, archive_base_hash = hash;
ALTER TABLE stock ADD COLUMN held_quantity INTEGER NOT NULL DEFAULT 0;
ALTER TABLE stock ADD COLUMN held_value_minor INTEGER NOT NULL DEFAULT 0;
ALTER TABLE stock ADD COLUMN set_aside_quantity INTEGER NOT NULL DEFAULT 0;
ALTER TABLE stock ADD COLUMN set_aside_value_minor INTEGER NOT NULL DEFAULT 0;
DROP VIEW stock_value;
CREATE VIEW stock_value AS
SELECT node, item, grade, owner, shelf_life_class, currency, quantity, value_minor, pending_quantity,
       pending_value_minor, unreceived_quantity, unreceived_value_minor, held_quantity, held_value_minor,
       set_aside_quantity, set_aside_value_minor
FROM stock;
";

pub(super) fn migrate(connection: &Connection, from: i64) -> Result<(), StoreError> {
    let transaction = connection.unchecked_transaction()?;
    if from < 3 {
        transaction.execute_batch(TO_3)?;
        transaction.execute_batch(include_str!("schema_3.sql"))?;
    }
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()?;
    tracing::info!(from, to = FORMAT, "the books' file has the present format now");
    Ok(())
}
