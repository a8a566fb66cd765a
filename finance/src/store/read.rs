//! Queries: what the API, exports and checks read. Every one of them works on one snapshot of the file.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row, params};
use stockmesh_finance_core::journal::{LedgerHead, Source};
use stockmesh_finance_core::records::Meta;
use stockmesh_finance_core::{Entry, Posting};
use stockmesh_proto::entry::Head;
use stockmesh_types::{BusinessDate, Currency, FeedId, LegalEntity};

use super::{StoreError, hash, signed, unsigned};

/// Postings on one page of entries, one entry at least: some 2 MiB as a message.
const MAX_PAGE_POSTINGS: usize = 20_000;

/// A line of the trial balance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Legal entity.
    pub entity: String,
    /// Account.
    pub name: String,
    /// Currency.
    pub currency: Currency,
    /// Sum of debits, minor units.
    pub debit_minor: i64,
    /// Sum of credits, minor units.
    pub credit_minor: i64,
}

/// A fact in suspense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuspenseRow {
    /// Number.
    pub id: u64,
    /// Fact.
    pub source: Source,
    /// Machine-readable reason.
    pub reason: String,
    /// For people.
    pub description: String,
    /// When it arrived.
    pub arrived_time_ms: i64,
}

/// Stock of one stock key at one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StockRow {
    /// Node.
    pub node: String,
    /// Item.
    pub item: String,
    /// Grade, as numbered on the wire.
    pub grade: i32,
    /// Owner.
    pub owner: String,
    /// Shelf-life class.
    pub shelf_life_class: String,
    /// Currency code; empty: no cost known.
    pub currency: String,
    /// Units in layers.
    pub quantity: i64,
    /// Value, minor units.
    pub value_minor: i64,
    /// Units returned, not inspected.
    pub pending_quantity: i64,
    /// Value of those, minor units.
    pub pending_value_minor: i64,
    /// Units that left before their receipt.
    pub unreceived_quantity: i64,
    /// Provisional value of those, minor units.
    pub unreceived_value_minor: i64,
    /// Units held in receiving.
    pub held_quantity: i64,
    /// Value of those, minor units.
    pub held_value_minor: i64,
    /// Units that wait to be refurbished, sold off or sent back.
    pub set_aside_quantity: i64,
    /// What those are carried at, minor units.
    pub set_aside_value_minor: i64,
}

/// Where the books are.
#[derive(Clone, Debug)]
pub struct Place {
    /// Head and counts.
    pub meta: Meta,
    /// Feeds.
    pub cursors: BTreeMap<FeedId, Head>,
}

/// Rows of a list, and whether more follow.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// Rows.
    pub rows: Vec<T>,
    /// More follow.
    pub more: bool,
}

impl<T> Page<T> {
    /// Of one row more than asked for.
    pub(super) fn of(mut rows: Vec<T>, size: usize) -> Self {
        let more = rows.len() > size;
        rows.truncate(size);
        Self { rows, more }
    }
}

/// A connection for reading.
pub struct Reader {
    connection: Connection,
}

impl Reader {
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection }
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Does several reads on one snapshot.
    ///
    /// # Errors
    /// What `read` says, or the store.
    pub fn snapshot<T, E: From<StoreError>>(&self, read: impl FnOnce(&Self) -> Result<T, E>) -> Result<T, E> {
        let transaction = self.connection.unchecked_transaction().map_err(StoreError::from)?;
        let result = read(self);
        // Nothing was written: an end of either kind only lets the snapshot go.
        transaction.finish().map_err(StoreError::from)?;
        result
    }

    /// Where the books are.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn place(&self) -> Result<Place, StoreError> {
        Ok(Place { meta: meta(&self.connection)?, cursors: cursors(&self.connection)? })
    }

    /// Whose books they are.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn finance_id(&self) -> Result<String, StoreError> {
        Ok(self.connection.query_row("SELECT finance_id FROM meta", [], |row| row.get(0))?)
    }

    /// Bytes of all raw entries that are archived.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn archived_bytes(&self) -> Result<u64, StoreError> {
        let sum =
            self.connection.query_row("SELECT coalesce(sum(archived_bytes), 0) FROM feed", [], |row| row.get(0))?;
        Ok(unsigned(sum))
    }

    /// Balances by entity, account, currency; of one entity, or all when it is empty.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn balances(&self, entity: &str) -> Result<Vec<Account>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT entity, name, currency, debit_minor, credit_minor FROM account \
             WHERE ?1 = '' OR entity = ?1 ORDER BY entity, name, currency",
        )?;
        let mut rows = statement.query([entity])?;
        let mut accounts = Vec::new();
        while let Some(row) = rows.next()? {
            accounts.push(Account {
                entity: row.get(0)?,
                name: row.get(1)?,
                currency: currency(&row.get::<_, String>(2)?)?,
                debit_minor: row.get(3)?,
                credit_minor: row.get(4)?,
            });
        }
        Ok(accounts)
    }

    /// Entries after `after`, by number; of one order when `order_id` is not empty. Fewer than `size` when they are long.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn entries(&self, after: u64, size: usize, order_id: &str) -> Result<Page<Entry>, StoreError> {
        let sql = if order_id.is_empty() {
            "SELECT number FROM entry WHERE number > ?1 AND ?2 = '' ORDER BY number LIMIT ?3"
        } else {
            "SELECT entry FROM order_entry WHERE entry > ?1 AND order_id = ?2 ORDER BY entry LIMIT ?3"
        };
        let mut statement = self.connection.prepare_cached(sql)?;
        let numbers = statement
            .query_map(params![signed(after), order_id, limit(size)], |row| row.get::<_, i64>(0))?
            .collect::<Result<Vec<_>, _>>()?;
        let numbers = Page::of(numbers, size);
        let mut page = Page { rows: Vec::new(), more: numbers.more };
        let mut postings = 0;
        for number in numbers.rows {
            let missing = || StoreError::Damaged(format!("entry {number} is missing"));
            let entry = entry(&self.connection, unsigned(number))?.ok_or_else(missing)?;
            postings += entry.postings.len();
            if postings > MAX_PAGE_POSTINGS && !page.rows.is_empty() {
                page.more = true;
                break;
            }
            page.rows.push(entry);
        }
        Ok(page)
    }

    /// Facts in suspense after `after`, by number.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn suspense(&self, after: u64, size: usize) -> Result<Page<SuspenseRow>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT id, participant, destination, epoch, seq, reason, description, arrived_time_ms FROM suspense_list \
             WHERE id > ?1 ORDER BY id LIMIT ?2",
        )?;
        let rows = statement.query_map(params![signed(after), limit(size)], |row| {
            let feed = FeedId { participant: row.get(1)?, destination: row.get(2)?, epoch: unsigned(row.get(3)?) };
            Ok(SuspenseRow {
                id: unsigned(row.get(0)?),
                source: Source { feed, seq: unsigned(row.get(4)?) },
                reason: row.get(5)?,
                description: row.get(6)?,
                arrived_time_ms: row.get(7)?,
            })
        })?;
        Ok(Page::of(rows.collect::<Result<_, _>>()?, size))
    }

    /// Stock at cost behind the row `after`, by node and stock key; of one node, or all when it is empty.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn stock(&self, after: &StockRow, size: usize, node: &str) -> Result<Page<StockRow>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT node, item, grade, owner, shelf_life_class, currency, quantity, value_minor, pending_quantity, \
             pending_value_minor, unreceived_quantity, unreceived_value_minor, held_quantity, held_value_minor, \
             set_aside_quantity, set_aside_value_minor FROM stock \
             WHERE (node, item, grade, owner, shelf_life_class) > (?1, ?2, ?3, ?4, ?5) AND (?6 = '' OR node = ?6) \
             ORDER BY node, item, grade, owner, shelf_life_class LIMIT ?7",
        )?;
        let StockRow { node: after_node, item, grade, owner, shelf_life_class, .. } = after;
        // Within one node the range begins there, not at the start of the table.
        let from = if node > after_node.as_str() { node } else { after_node.as_str() };
        let rows =
            statement.query_map(params![from, item, grade, owner, shelf_life_class, node, limit(size)], stock_row)?;
        Ok(Page::of(rows.collect::<Result<_, _>>()?, size))
    }

    /// First and last posting date; none while there is no entry.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn posting_dates(&self) -> Result<Option<(BusinessDate, BusinessDate)>, StoreError> {
        let row: (Option<String>, Option<String>) =
            self.connection.query_row("SELECT min(posting_date), max(posting_date) FROM entry", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        match row {
            (Some(first), Some(last)) => Ok(Some((date(&first)?, date(&last)?))),
            _ => Ok(None),
        }
    }
}

/// One row more than asked for tells whether more follow.
pub(super) fn limit(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX - 1) + 1
}

fn stock_row(row: &Row<'_>) -> rusqlite::Result<StockRow> {
    Ok(StockRow {
        node: row.get(0)?,
        item: row.get(1)?,
        grade: row.get(2)?,
        owner: row.get(3)?,
        shelf_life_class: row.get(4)?,
        currency: row.get(5)?,
        quantity: row.get(6)?,
        value_minor: row.get(7)?,
        pending_quantity: row.get(8)?,
        pending_value_minor: row.get(9)?,
        unreceived_quantity: row.get(10)?,
        unreceived_value_minor: row.get(11)?,
        held_quantity: row.get(12)?,
        held_value_minor: row.get(13)?,
        set_aside_quantity: row.get(14)?,
        set_aside_value_minor: row.get(15)?,
    })
}

pub(super) fn currency(code: &str) -> Result<Currency, StoreError> {
    Currency::new(code).map_err(|reject| StoreError::Damaged(reject.message))
}

fn date(text: &str) -> Result<BusinessDate, StoreError> {
    BusinessDate::parse(text).map_err(|reject| StoreError::Damaged(reject.message))
}

pub(super) fn meta(connection: &Connection) -> Result<Meta, StoreError> {
    let (number, head_hash, first_entity, last_suspense, suspended) = connection.query_row(
        "SELECT head_number, head_hash, first_entity, last_suspense, suspended FROM meta",
        [],
        |row| {
            let texts = (row.get::<_, Vec<u8>>(1)?, row.get::<_, Option<String>>(2)?);
            Ok((row.get::<_, i64>(0)?, texts.0, texts.1, row.get::<_, i64>(3)?, row.get::<_, i64>(4)?))
        },
    )?;
    let first_entity = first_entity
        .map(|entity| LegalEntity::new(&entity).map_err(|reject| StoreError::Damaged(reject.message)))
        .transpose()?;
    Ok(Meta {
        head: LedgerHead { number: unsigned(number), hash: hash(&head_hash)? },
        first_entity,
        last_suspense: unsigned(last_suspense),
        suspended: unsigned(suspended),
    })
}

pub(super) fn cursors(connection: &Connection) -> Result<BTreeMap<FeedId, Head>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT participant, destination, epoch, seq, hash FROM feed")?;
    let mut rows = statement.query([])?;
    let mut cursors = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let feed = FeedId { participant: row.get(0)?, destination: row.get(1)?, epoch: unsigned(row.get(2)?) };
        let head = Head { seq: unsigned(row.get(3)?), hash: hash(&row.get::<_, Vec<u8>>(4)?)? };
        cursors.insert(feed, head);
    }
    Ok(cursors)
}

/// Entity, currency, sum of its balances.
pub(super) fn balance_sums(connection: &Connection) -> Result<Vec<(String, String, i64)>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT entity, currency, sum(debit_minor) - sum(credit_minor) FROM account GROUP BY 1, 2")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// One entry with its postings.
pub(super) fn entry(connection: &Connection, number: u64) -> Result<Option<Entry>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT entity, currency, effective_date, posting_date, rule, participant, destination, epoch, source_seq, \
         part, description, entry.hash FROM entry JOIN feed ON feed.id = entry.feed WHERE number = ?1",
    )?;
    let mut rows = statement.query([signed(number)])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let feed = FeedId { participant: row.get(5)?, destination: row.get(6)?, epoch: unsigned(row.get(7)?) };
    Ok(Some(Entry {
        number,
        entity: row.get(0)?,
        currency: currency(&row.get::<_, String>(1)?)?,
        effective_date: date(&row.get::<_, String>(2)?)?,
        posting_date: date(&row.get::<_, String>(3)?)?,
        rule: row.get(4)?,
        source: Source { feed, seq: unsigned(row.get(8)?) },
        part: row.get(9)?,
        description: row.get(10)?,
        postings: postings(connection, number)?,
        hash: hash(&row.get::<_, Vec<u8>>(11)?)?,
    }))
}

fn postings(connection: &Connection, entry: u64) -> Result<Vec<Posting>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT account.name, amount_minor, node, item, channel, order_id, jurisdiction, tax_rate_ppm FROM posting \
         JOIN account ON account.id = posting.account WHERE entry = ?1 ORDER BY line",
    )?;
    let rows = statement.query_map([signed(entry)], |row| {
        Ok(Posting {
            account: row.get(0)?,
            amount_minor: row.get(1)?,
            node: row.get(2)?,
            item: row.get(3)?,
            channel: row.get(4)?,
            order_id: row.get(5)?,
            jurisdiction: row.get(6)?,
            tax_rate_ppm: row.get(7)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
