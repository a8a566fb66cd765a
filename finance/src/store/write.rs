//! One batch of changes, in one transaction.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, params};
use serde::Serialize;
use stockmesh_finance_core::books::{Balance, BalanceKey, Changes};
use stockmesh_finance_core::records::{Cell, CellKey, Meta, Suspended};
use stockmesh_finance_core::{Entry, Posting};
use stockmesh_proto::entry::Head;
use stockmesh_types::{Currency, FeedId, StockKey};

use super::records::grade_number;
use super::{Arrivals, Store, StoreError, signed};

/// What goes with a batch of changes.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// How far the feeds that moved are posted with it.
    pub cursors: BTreeMap<FeedId, Head>,
    /// The raw entries that it comes from.
    pub arrivals: Arrivals,
    /// When they arrived, milliseconds since 1970-01-01T00:00:00Z.
    pub arrived_time_ms: i64,
}

impl Store {
    /// Writes what changed, the raw entries that it comes from, and how far the feeds are posted with them. Durable when it
    /// returns; when it fails, nothing is written, and the books in memory are to be dropped.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn write(&mut self, changes: Changes, batch: &Batch) -> Result<(), StoreError> {
        let Changes {
            entries,
            balances,
            meta,
            nodes,
            sales,
            sale_lines,
            cells,
            issues,
            returns,
            passages,
            transits,
            helds,
            // The batch's cursors say the same, with their hashes.
            feeds: _,
            documents,
            suspense,
        } = changes;
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        for (feed, head) in &batch.cursors {
            self.write_cursor(feed, *head)?;
        }
        self.write_arrivals(&batch.arrivals, batch.arrived_time_ms)?;
        for (key, change) in &balances {
            self.write_balance(key, *change)?;
        }
        self.write_entries(&entries)?;
        for (id, suspended) in &suspense {
            self.write_suspense(*id, suspended.as_ref())?;
        }
        let connection = &self.connection;
        write_states(connection, "INSERT OR REPLACE INTO node (id, state) VALUES (?1, ?2)", &nodes, |id| id.as_str())?;
        write_states(connection, "INSERT OR REPLACE INTO sale (id, state) VALUES (?1, ?2)", &sales, String::as_str)?;
        write_states(connection, "INSERT OR REPLACE INTO issue (id, state) VALUES (?1, ?2)", &issues, String::as_str)?;
        write_states(
            connection,
            "INSERT OR REPLACE INTO customer_return (id, state) VALUES (?1, ?2)",
            &returns,
            String::as_str,
        )?;
        write_states(
            connection,
            "INSERT OR REPLACE INTO passage (id, state) VALUES (?1, ?2)",
            &passages,
            String::as_str,
        )?;
        write_states(
            connection,
            "INSERT OR REPLACE INTO transit (id, state) VALUES (?1, ?2)",
            &transits,
            String::as_str,
        )?;
        write_states(connection, "INSERT OR REPLACE INTO held (id, state) VALUES (?1, ?2)", &helds, String::as_str)?;
        let mut statement =
            connection.prepare_cached("INSERT OR REPLACE INTO sale_line (sale, line, state) VALUES (?1, ?2, ?3)")?;
        for ((sale, line), state) in &sale_lines {
            statement.execute(params![sale, line, serde_json::to_string(state)?])?;
        }
        let mut statement =
            connection.prepare_cached("INSERT OR REPLACE INTO document (key, fingerprint) VALUES (?1, ?2)")?;
        for (key, fingerprint) in &documents {
            statement.execute(params![key, fingerprint.as_slice()])?;
        }
        for (key, cell) in &cells {
            write_cell(connection, key, cell)?;
        }
        write_meta(connection, &meta)?;
        connection.execute_batch("COMMIT")?;
        Ok(())
    }

    /// Row id of a feed; a feed that is new gets a row at its start, which its cursor then moves.
    pub(super) fn feed_id(&mut self, feed: &FeedId) -> Result<i64, StoreError> {
        if let Some(id) = self.feeds.get(feed) {
            return Ok(*id);
        }
        let FeedId { participant, destination, epoch } = feed;
        let Head { seq, hash } = Head::START;
        self.connection.execute(
            "INSERT INTO feed (participant, destination, epoch, seq, hash) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![participant, destination, signed(*epoch), signed(seq), hash.0.as_slice()],
        )?;
        let id = self.connection.last_insert_rowid();
        self.feeds.insert(feed.clone(), id);
        Ok(id)
    }

    fn write_cursor(&mut self, feed: &FeedId, head: Head) -> Result<(), StoreError> {
        let id = self.feed_id(feed)?;
        let mut statement = self.connection.prepare_cached("UPDATE feed SET seq = ?2, hash = ?3 WHERE id = ?1")?;
        statement.execute(params![id, signed(head.seq), head.hash.0.as_slice()])?;
        Ok(())
    }

    fn account_id(&mut self, key: &BalanceKey) -> Result<i64, StoreError> {
        if let Some(id) = self.accounts.get(key) {
            return Ok(*id);
        }
        let (entity, name, currency) = key;
        self.connection.execute(
            "INSERT OR IGNORE INTO currency (code, digits) VALUES (?1, ?2)",
            params![currency.code(), currency.exponent()],
        )?;
        self.connection.execute(
            "INSERT INTO account (entity, name, currency, debit_minor, credit_minor) VALUES (?1, ?2, ?3, 0, 0)",
            params![entity, name, currency.code()],
        )?;
        let id = self.connection.last_insert_rowid();
        self.accounts.insert(key.clone(), id);
        Ok(id)
    }

    fn write_balance(&mut self, key: &BalanceKey, change: Balance) -> Result<(), StoreError> {
        let id = self.account_id(key)?;
        let mut statement = self.connection.prepare_cached(
            "UPDATE account SET debit_minor = debit_minor + ?2, credit_minor = credit_minor + ?3 WHERE id = ?1",
        )?;
        statement.execute(params![id, change.debit_minor, change.credit_minor])?;
        Ok(())
    }

    fn write_entries(&mut self, entries: &[Entry]) -> Result<(), StoreError> {
        for entry in entries {
            // Both know their rows already: the cursor's feed, or that of a fact which came from suspense.
            let feed = self.feed_id(&entry.source.feed)?;
            let mut statement = self.connection.prepare_cached(
                "INSERT INTO entry (number, entity, currency, effective_date, posting_date, rule, feed, source_seq, \
                 part, description, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )?;
            statement.execute(params![
                signed(entry.number),
                entry.entity,
                entry.currency.code(),
                entry.effective_date.to_string(),
                entry.posting_date.to_string(),
                entry.rule,
                feed,
                signed(entry.source.seq),
                entry.part,
                entry.description,
                entry.hash.0.as_slice(),
            ])?;
            drop(statement);
            self.write_postings(entry)?;
        }
        Ok(())
    }

    fn write_postings(&mut self, entry: &Entry) -> Result<(), StoreError> {
        let mut orders = BTreeSet::new();
        let mut key: BalanceKey = (entry.entity.clone(), String::new(), entry.currency);
        let Self { connection, accounts, .. } = self;
        let mut statement = connection.prepare_cached(
            "INSERT INTO posting (entry, line, account, amount_minor, node, item, channel, order_id, jurisdiction, \
             tax_rate_ppm) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?;
        for (line, posting) in (0_i64..).zip(&entry.postings) {
            let Posting { account, amount_minor, node, item, channel, order_id, jurisdiction, tax_rate_ppm } = posting;
            key.1.clone_from(account);
            // Its balance was written before, with the same key.
            let id = accounts
                .get(&key)
                .ok_or_else(|| StoreError::Damaged(format!("account {account} has postings and no balance")))?;
            let number = signed(entry.number);
            statement.execute(params![
                number,
                line,
                id,
                amount_minor,
                node,
                item,
                channel,
                order_id,
                jurisdiction,
                tax_rate_ppm
            ])?;
            if !order_id.is_empty() {
                orders.insert(order_id);
            }
        }
        let mut statement = connection.prepare_cached("INSERT INTO order_entry (order_id, entry) VALUES (?1, ?2)")?;
        for order_id in orders {
            statement.execute(params![order_id, signed(entry.number)])?;
        }
        Ok(())
    }

    fn write_suspense(&mut self, id: u64, suspended: Option<&Suspended>) -> Result<(), StoreError> {
        let Some(suspended) = suspended else {
            self.connection.prepare_cached("DELETE FROM suspense WHERE id = ?1")?.execute([signed(id)])?;
            return Ok(());
        };
        let feed = self.feed_id(&suspended.source.feed)?;
        let Suspended { id: _, source, body, stage, reason, waits_for, description, arrived_time_ms } = suspended;
        let mut statement = self.connection.prepare_cached(
            "INSERT OR REPLACE INTO suspense (id, feed, seq, stage, reason, waits_for, description, body, arrived_time_ms) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?;
        let (id, seq, stage) = (signed(id), signed(source.seq), stage.word());
        statement.execute(params![id, feed, seq, stage, reason, waits_for, description, body, arrived_time_ms])?;
        Ok(())
    }
}

fn write_states<K, V: Serialize>(
    connection: &Connection,
    sql: &str,
    records: &[(K, V)],
    id: impl Fn(&K) -> &str,
) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    for (key, record) in records {
        statement.execute(params![id(key), serde_json::to_string(record)?])?;
    }
    Ok(())
}

fn write_cell(connection: &Connection, key: &CellKey, cell: &Cell) -> Result<(), StoreError> {
    let CellKey { node, stock_key: StockKey { item, grade, owner, shelf_life_class } } = key;
    let unreceived: i64 = cell.unreceived.iter().map(|span| span.to - span.from).sum();
    let unreceived_value: i64 = cell.unreceived.iter().map(|span| span.value_minor).sum();
    let mut statement = connection.prepare_cached(
        "INSERT OR REPLACE INTO stock (node, item, grade, owner, shelf_life_class, currency, quantity, value_minor, \
         pending_quantity, pending_value_minor, unreceived_quantity, unreceived_value_minor, state, held_quantity, \
         held_value_minor, set_aside_quantity, set_aside_value_minor) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
    )?;
    statement.execute(params![
        node.as_str(),
        item.as_str(),
        grade_number(*grade),
        owner,
        shelf_life_class,
        cell.currency.as_ref().map_or("", Currency::code),
        cell.quantity,
        cell.value_minor,
        cell.pending_quantity,
        cell.pending_value_minor,
        unreceived,
        unreceived_value,
        serde_json::to_string(cell)?,
        cell.held_quantity,
        cell.held_value_minor,
        cell.set_aside_quantity,
        cell.set_aside_value_minor,
    ])?;
    Ok(())
}

fn write_meta(connection: &Connection, meta: &Meta) -> Result<(), StoreError> {
    let Meta { head, first_entity, last_suspense, suspended } = meta;
    let mut statement = connection.prepare_cached(
        "UPDATE meta SET head_number = ?1, head_hash = ?2, first_entity = ?3, last_suspense = ?4, suspended = ?5",
    )?;
    statement.execute(params![
        signed(head.number),
        head.hash.0.as_slice(),
        first_entity.as_ref().map(|entity| entity.as_str()),
        signed(*last_suspense),
        signed(*suspended),
    ])?;
    Ok(())
}
