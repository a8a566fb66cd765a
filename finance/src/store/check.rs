//! What is checked each time the books are opened, in time that does not grow with them: whose they are, that the chain's
//! head is the last entry, unchanged, and that balances sum to zero. `verify` checks everything.

use rusqlite::Connection;
use stockmesh_finance_core::journal::LedgerHead;
use stockmesh_types::ChainHash;

use super::{StoreError, read};

/// The books are those of the service that opens them.
pub(super) fn check_id(connection: &Connection, finance_id: &str) -> Result<(), StoreError> {
    let found: String = connection.query_row("SELECT finance_id FROM meta", [], |row| row.get(0))?;
    if found == finance_id {
        return Ok(());
    }
    Err(StoreError::Damaged(format!("they belong to finance/{found}, and finance/{finance_id} opened them")))
}

pub(super) fn check_whole(connection: &Connection) -> Result<(), StoreError> {
    let head = read::meta(connection)?.head;
    let last: u64 = connection
        .query_row("SELECT coalesce(max(number), 0) FROM entry", [], |row| row.get(0))
        .map(super::unsigned)?;
    if last != head.number {
        return Err(StoreError::Damaged(format!("the chain ends at entry {}, the journal at {last}", head.number)));
    }
    if head != LedgerHead::START {
        check_last(connection, head)?;
    }
    for (entity, currency, sum) in read::balance_sums(connection)? {
        if sum != 0 {
            return Err(StoreError::Damaged(format!("the balances of {entity} in {currency} sum to {sum}")));
        }
    }
    Ok(())
}

fn check_last(connection: &Connection, head: LedgerHead) -> Result<(), StoreError> {
    let entry = |number| read::entry(connection, number);
    let missing = || StoreError::Damaged(format!("entry {} or the one before it is missing", head.number));
    let previous = match head.number {
        1 => ChainHash::START,
        number => entry(number - 1)?.ok_or_else(missing)?.hash,
    };
    let last = entry(head.number)?.ok_or_else(missing)?;
    if last.hash != head.hash || last.chain_hash(&previous) != head.hash {
        return Err(StoreError::Damaged(format!("entry {} does not have the hash of the chain's head", head.number)));
    }
    Ok(())
}
