//! Records, read by key for the core.

use rusqlite::{CachedStatement, Params, params};
use serde::de::DeserializeOwned;
use stockmesh_finance_core::journal::Source;
use stockmesh_finance_core::records::{
    Cell, CellKey, Held, HeldId, Issue, IssueId, Meta, Node, Passage, PassageId, Records, Return, ReturnId, Sale,
    SaleId, SaleLine, Stage, Suspended, Transit, TransitId,
};
use stockmesh_types::{FeedId, Grade, NodeId, StockKey};

use super::{Store, StoreError, optional, read, signed, unsigned};

impl Store {
    fn statement(&self, sql: &str) -> Result<CachedStatement<'_>, StoreError> {
        Ok(self.connection.prepare_cached(sql)?)
    }

    fn state<T: DeserializeOwned>(&self, sql: &str, params: impl Params) -> Result<Option<T>, StoreError> {
        let mut statement = self.statement(sql)?;
        let mut rows = statement.query(params)?;
        let Some(row) = rows.next()? else { return Ok(None) };
        Ok(Some(serde_json::from_str(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)?))
    }
}

/// Number of a grade in `stockmesh.common.v1.Grade`.
pub(super) fn grade_number(grade: Grade) -> i64 {
    match grade {
        Grade::New => 1,
        Grade::Refurbished => 2,
    }
}

impl Records for Store {
    type Error = StoreError;

    fn meta(&self) -> Result<Meta, StoreError> {
        read::meta(&self.connection)
    }

    fn node(&self, node: &NodeId) -> Result<Option<Node>, StoreError> {
        self.state("SELECT state FROM node WHERE id = ?1", [node.as_str()])
    }

    fn sale(&self, id: &SaleId) -> Result<Option<Sale>, StoreError> {
        self.state("SELECT state FROM sale WHERE id = ?1", [id])
    }

    fn sale_line(&self, id: &(SaleId, u32)) -> Result<Option<SaleLine>, StoreError> {
        self.state("SELECT state FROM sale_line WHERE sale = ?1 AND line = ?2", params![id.0, id.1])
    }

    fn cell(&self, key: &CellKey) -> Result<Option<Cell>, StoreError> {
        let CellKey { node, stock_key: StockKey { item, grade, owner, shelf_life_class } } = key;
        self.state(
            "SELECT state FROM stock WHERE node = ?1 AND item = ?2 AND grade = ?3 AND owner = ?4 AND shelf_life_class = ?5",
            params![node.as_str(), item.as_str(), grade_number(*grade), owner, shelf_life_class],
        )
    }

    fn issue(&self, id: &IssueId) -> Result<Option<Issue>, StoreError> {
        self.state("SELECT state FROM issue WHERE id = ?1", [id])
    }

    fn return_of(&self, id: &ReturnId) -> Result<Option<Return>, StoreError> {
        self.state("SELECT state FROM customer_return WHERE id = ?1", [id])
    }

    fn passage(&self, id: &PassageId) -> Result<Option<Passage>, StoreError> {
        self.state("SELECT state FROM passage WHERE id = ?1", [id])
    }

    fn transit(&self, id: &TransitId) -> Result<Option<Transit>, StoreError> {
        self.state("SELECT state FROM transit WHERE id = ?1", [id])
    }

    fn held(&self, id: &HeldId) -> Result<Option<Held>, StoreError> {
        self.state("SELECT state FROM held WHERE id = ?1", [id])
    }

    fn feed_seq(&self, feed: &FeedId) -> Result<u64, StoreError> {
        let mut statement =
            self.statement("SELECT seq FROM feed WHERE participant = ?1 AND destination = ?2 AND epoch = ?3")?;
        let key = params![feed.participant, feed.destination, signed(feed.epoch)];
        Ok(optional(statement.query_row(key, |row| row.get(0)))?.map_or(0, unsigned))
    }

    fn document(&self, key: &str) -> Result<Option<[u8; 32]>, StoreError> {
        let mut statement = self.statement("SELECT fingerprint FROM document WHERE key = ?1")?;
        optional(statement.query_row([key], |row| row.get::<_, [u8; 32]>(0)))
    }

    fn waiting(&self, key: &str, after: u64) -> Result<Option<Suspended>, StoreError> {
        let mut statement = self.statement(
            "SELECT suspense.id, participant, destination, epoch, suspense.seq, body, stage, reason, waits_for, \
             description, arrived_time_ms FROM suspense JOIN feed ON feed.id = suspense.feed \
             WHERE waits_for = ?1 AND suspense.id > ?2 ORDER BY suspense.id LIMIT 1",
        )?;
        let mut rows = statement.query(params![key, signed(after)])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let word: String = row.get(6)?;
        let stage = Stage::from_word(&word)
            .ok_or_else(|| StoreError::Damaged(format!("a suspended fact is at stage {word:?}")))?;
        let feed = FeedId { participant: row.get(1)?, destination: row.get(2)?, epoch: unsigned(row.get(3)?) };
        Ok(Some(Suspended {
            id: unsigned(row.get(0)?),
            source: Source { feed, seq: unsigned(row.get(4)?) },
            body: row.get(5)?,
            stage,
            reason: row.get(7)?,
            waits_for: row.get(8)?,
            description: row.get(9)?,
            arrived_time_ms: row.get(10)?,
        }))
    }
}
