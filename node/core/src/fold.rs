//! The fold of a node's feed: what its facts alone say of stock, work and documents.
//!
//! Two uses. Verification folds the facts and compares the outcome with the state, which commands wrote: a fact that says another
//! thing than what happened shows. Recovery folds the facts that a restored store has lost, and takes the outcome over.
//!
//! What a node's feed does not say: which items are ranged, rights that came back, and what stands in bins: the first two are in the
//! coordinator's feed.
//!
//! Must not know: commands, where facts are kept.

use std::collections::{BTreeMap, BTreeSet};

use stockmesh_proto::common::v1 as common;
use stockmesh_proto::convert;
use stockmesh_proto::feed::v1 as feed;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{AdjustReason, DeclineReason, Disposition, EntryBody, ReceiptDecision};
use stockmesh_types::{AllocationId, LogTime, OrderId, Quantity, Reject, StockKey};

use crate::allocation::Allocation;
use crate::cell::Cell;
use crate::change::{Change, Document, DocumentKind};
use crate::site::Condition;

mod outbound;

/// What a fold begins with.
pub trait Base {
    /// A cell; the default for one that is not there.
    fn cell(&self, key: &StockKey) -> Cell;
    /// An allocation.
    fn allocation(&self, id: AllocationId) -> Option<Allocation>;
    /// A document.
    fn document(&self, kind: DocumentKind, id: &OrderId) -> Option<Document>;
}

/// The beginning of a feed: nothing.
#[derive(Clone, Copy, Debug)]
pub struct Nothing;

impl Base for Nothing {
    fn cell(&self, _: &StockKey) -> Cell {
        Cell::default()
    }

    fn allocation(&self, _: AllocationId) -> Option<Allocation> {
        None
    }

    fn document(&self, _: DocumentKind, _: &OrderId) -> Option<Document> {
        None
    }
}

/// An entry that can't be folded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// It is malformed.
    #[error("a fact can't be read: {0}")]
    Malformed(Reject),
    /// It speaks of work that was never taken on.
    #[error("a fact names allocation {0}, which the feed did not take on")]
    UnknownAllocation(AllocationId),
    /// It is no node's fact, or one of a later version.
    #[error("an entry holds no fact of a node that this build knows")]
    UnknownFact,
}

impl From<Reject> for FoldError {
    fn from(reject: Reject) -> Self {
        Self::Malformed(reject)
    }
}

/// See the module.
pub struct Fold<B> {
    base: B,
    cells: BTreeMap<StockKey, Cell>,
    allocations: BTreeMap<AllocationId, Allocation>,
    documents: BTreeMap<(DocumentKind, OrderId), Document>,
    /// Facts whose effect on stock is not folded, by name.
    passed_over: BTreeSet<&'static str>,
    accepted: u64,
}

impl<B> std::fmt::Debug for Fold<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fold")
            .field("cells", &self.cells)
            .field("allocations", &self.allocations)
            .finish_non_exhaustive()
    }
}

fn key(stock_key: &Option<common::StockKey>) -> Result<StockKey, FoldError> {
    Ok(convert::stock_key(stock_key, "stock_key")?)
}

fn id(allocation: &Option<common::AllocationId>) -> Result<AllocationId, FoldError> {
    Ok(convert::allocation_id(allocation, "allocation")?)
}

impl<B: Base> Fold<B> {
    /// Begins with `base`. `accepted`: allocations that were taken on before.
    #[must_use]
    pub fn new(base: B, accepted: u64) -> Self {
        Self {
            base,
            cells: BTreeMap::new(),
            allocations: BTreeMap::new(),
            documents: BTreeMap::new(),
            passed_over: BTreeSet::new(),
            accepted,
        }
    }

    /// What it began with.
    #[must_use]
    pub fn base(&self) -> &B {
        &self.base
    }

    /// Has the outcome hold a cell and an allocation that facts may not have spoken of.
    pub fn include(&mut self, cells: impl Iterator<Item = StockKey>, work: impl Iterator<Item = AllocationId>) {
        for key in cells {
            self.cell(&key);
        }
        for id in work {
            // One that is missing shows as such when it is compared.
            let _ = self.allocation(id);
        }
    }

    /// Cells that facts spoke of.
    #[must_use]
    pub fn cells(&self) -> &BTreeMap<StockKey, Cell> {
        &self.cells
    }

    /// Allocations that facts spoke of.
    #[must_use]
    pub fn allocations(&self) -> &BTreeMap<AllocationId, Allocation> {
        &self.allocations
    }

    /// Names of facts whose effect on stock was not folded: cells may differ by them.
    #[must_use]
    pub fn passed_over(&self) -> &BTreeSet<&'static str> {
        &self.passed_over
    }

    /// Allocations taken on, those before the fold too.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Forgets allocations with nothing left to ship, and hands them out: no fact speaks of them again.
    pub fn take_closed(&mut self) -> Vec<(AllocationId, Allocation)> {
        self.allocations.extract_if(.., |_, allocation| allocation.left() == 0).collect()
    }

    /// The outcome, as key values.
    #[must_use]
    pub fn into_changes(self) -> Vec<Change> {
        let cells = self.cells.into_iter().map(|(key, cell)| Change::Cell(key, cell));
        let documents = self.documents.into_iter().map(|((kind, id), document)| Change::Document(kind, id, document));
        let work = self.allocations.into_iter().map(|(id, allocation)| Change::Allocation(id, allocation));
        cells.chain(documents).chain(work).collect()
    }

    fn cell(&mut self, key: &StockKey) -> &mut Cell {
        let Self { base, cells, .. } = self;
        cells.entry(key.clone()).or_insert_with(|| base.cell(key))
    }

    fn allocation(&mut self, id: AllocationId) -> Result<&mut Allocation, FoldError> {
        if !self.allocations.contains_key(&id) {
            let known = self.base.allocation(id).ok_or(FoldError::UnknownAllocation(id))?;
            self.allocations.insert(id, known);
        }
        self.allocations.get_mut(&id).ok_or(FoldError::UnknownAllocation(id))
    }

    fn document(&mut self, kind: DocumentKind, id: &str, document: Document) -> Result<(), FoldError> {
        self.documents.insert((kind, OrderId::new(id)?), document);
        Ok(())
    }

    /// Takes the next entry.
    ///
    /// # Errors
    /// [`FoldError`].
    pub fn hear(&mut self, body: &EntryBody) -> Result<(), FoldError> {
        self.fold(body)?;
        self.cover_what_was_sold_ahead();
        Ok(())
    }

    fn fold(&mut self, body: &EntryBody) -> Result<(), FoldError> {
        match body.fact.as_ref().ok_or(FoldError::UnknownFact)? {
            Fact::StockReceived(fact) => self.stock_received(fact),
            Fact::RightsGranted(fact) => {
                self.cell(&key(&fact.stock_key)?).granted = fact.granted_total;
                Ok(())
            }
            Fact::AllocationAccepted(fact) => self.accepted_work(fact, LogTime(body.time_ms)),
            Fact::ItemPicked(fact) => {
                self.allocation(id(&fact.allocation)?)?.picked = fact.picked_total;
                Ok(())
            }
            Fact::ItemPacked(fact) => {
                self.allocation(id(&fact.allocation)?)?.packed = fact.packed_total;
                Ok(())
            }
            Fact::ShipmentDispatched(fact) => self.shipment_dispatched(fact),
            Fact::AllocationDeclined(fact) => self.declined(fact),
            Fact::CancellationAnswered(fact) => {
                self.cancelled(id(&fact.allocation)?, fact.cancelled_total, fact.lost_total)
            }
            Fact::ShortfallReported(fact) => {
                let cell = self.cell(&key(&fact.stock_key)?);
                cell.reported_shortfall = fact.level;
                cell.returned = cell.returned.max(fact.returned_total);
                Ok(())
            }
            Fact::SoldAtCounter(fact) => self.sold(fact),
            Fact::SaleRecorded(fact) => self.sold(convert::required(&fact.sale, "sale")?),
            Fact::SaleVoided(fact) => self.voided(fact),
            Fact::TransferShipped(fact) => self.transfer_shipped(fact),
            Fact::TransferReceived(fact) => self.transfer_received(fact),
            Fact::KitsConverted(fact) => self.kits_converted(fact),
            Fact::DispositionFinished(fact) => self.disposition_finished(fact),
            Fact::WaveCreated(fact) => self.wave_created(fact),
            Fact::PickupStaged(fact) => self.pickup_staged(fact),
            Fact::ReturnReceived(fact) => self.return_received(fact),
            Fact::ReturnInspected(fact) => self.return_inspected(fact),
            Fact::StockAdjusted(fact) => {
                let damage = fact.reason() == AdjustReason::Damage;
                let cell = self.cell(&key(&fact.stock_key)?);
                cell.on_hand += fact.delta;
                if damage {
                    cell.damaged -= fact.delta;
                } else {
                    cell.adjusted_total += fact.delta;
                }
                Ok(())
            }
            Fact::StockMoved(fact) => {
                let (from, to) = (fact.from(), fact.to());
                self.units(&fact.stock_key, from, -fact.quantity)?;
                self.units(&fact.stock_key, to, fact.quantity)
            }
            Fact::StockWrittenOff(fact) => {
                let from = fact.from();
                self.units(&fact.stock_key, from, -fact.quantity)?;
                self.cell(&key(&fact.stock_key)?).disposed_total += fact.quantity;
                Ok(())
            }
            Fact::ReceiptDifferenceResolved(fact) => {
                self.units(&fact.stock_key, common::Condition::InReceiving, -fact.quantity)?;
                if fact.decision() == ReceiptDecision::Accept {
                    let to = fact.to();
                    return self.units(&fact.stock_key, to, fact.quantity);
                }
                self.cell(&key(&fact.stock_key)?).disposed_total += fact.quantity;
                Ok(())
            }
            // A new epoch's counters of rights begin anew; what they begin with is the coordinator's to say.
            Fact::EpochOpened(_)
            // Nothing moves.
            | Fact::RecoveryEnded(_)
            | Fact::ExceptionRaised(_)
            | Fact::ExceptionResolved(_)
            | Fact::StockPutAway(_)
            | Fact::InboundReceiptsClosed(_)
            | Fact::CountRequested(_)
            | Fact::StockCounted(_)
            | Fact::CountStateChanged(_)
            | Fact::BinsChanged(_)
            | Fact::RecallRequested(_)
            | Fact::RefundRequested(_)
            | Fact::RefundPaidOffline(_)
            | Fact::CounterRefundPaid(_)
            | Fact::FulfillmentHeld(_)
            | Fact::FulfillmentResumed(_)
            | Fact::CapacityReported(_)
            | Fact::PickupClosed(_) => Ok(()),
            _ => Err(FoldError::UnknownFact),
        }
    }

    fn stock_received(&mut self, fact: &feed::StockReceived) -> Result<(), FoldError> {
        self.document(DocumentKind::Receipt, &fact.receipt_id, Document::Taken)?;
        for line in &fact.lines {
            let condition = line.condition();
            self.cell(&key(&line.stock_key)?).received_total += line.quantity;
            self.units(&line.stock_key, condition, line.quantity)?;
        }
        Ok(())
    }

    /// Adds units in a condition, or takes them away.
    fn units(
        &mut self,
        stock_key: &Option<common::StockKey>,
        condition: common::Condition,
        more: Quantity,
    ) -> Result<(), FoldError> {
        let condition = Condition::of_wire(condition).ok_or(FoldError::UnknownFact)?;
        *condition.counter(self.cell(&key(stock_key)?)) += more;
        Ok(())
    }

    fn accepted_work(&mut self, fact: &feed::AllocationAccepted, time: LogTime) -> Result<(), FoldError> {
        let id = id(&fact.allocation)?;
        self.accepted += 1;
        if fact.stock_key.is_none() {
            // Entries of the first release name the allocation only.
            self.passed_over.insert("AllocationAccepted without its work");
            return Ok(());
        }
        let stock_key = key(&fact.stock_key)?;
        self.cell(&stock_key).open += fact.quantity;
        let allocation = Allocation::taken_on(
            OrderId::new(&fact.order_id)?,
            fact.line,
            stock_key,
            fact.quantity,
            time,
            self.accepted,
        );
        self.allocations.insert(id, allocation);
        Ok(())
    }

    fn shipment_dispatched(&mut self, fact: &feed::ShipmentDispatched) -> Result<(), FoldError> {
        self.document(DocumentKind::Shipment, &fact.shipment_id, Document::Taken)?;
        for line in &fact.lines {
            let stock_key = key(&line.stock_key)?;
            let promised = if line.substituted_for.is_some() { key(&line.substituted_for)? } else { stock_key.clone() };
            self.left(&line.allocation, &stock_key, &promised, line.quantity, line.shipped_total)?;
        }
        Ok(())
    }

    fn declined(&mut self, fact: &feed::AllocationDeclined) -> Result<(), FoldError> {
        let (lost, reason) = (fact.lost_quantity, fact.reason());
        self.cancelled(id(&fact.allocation)?, fact.cancelled_total, fact.lost_total)?;
        let cell = self.cell(&key(&fact.stock_key)?);
        cell.on_hand -= lost;
        if reason == DeclineReason::Damaged {
            cell.damaged += lost;
        } else {
            cell.adjusted_total -= lost;
        }
        Ok(())
    }

    fn cancelled(&mut self, id: AllocationId, cancelled: Quantity, lost: Quantity) -> Result<(), FoldError> {
        let allocation = self.allocation(id)?;
        let more = cancelled - allocation.cancelled;
        allocation.cancelled = cancelled;
        allocation.lost = lost;
        let stock_key = allocation.stock_key.clone();
        self.cell(&stock_key).open -= more;
        Ok(())
    }

    fn return_received(&mut self, fact: &feed::ReturnReceived) -> Result<(), FoldError> {
        let stock_key = key(&fact.stock_key)?;
        let cell = self.cell(&stock_key);
        cell.return_pending += fact.quantity;
        cell.customer_returned_total += fact.quantity;
        let document = Document::returned(stock_key, fact.quantity);
        self.document(DocumentKind::Return, &fact.return_id, document)
    }

    fn return_inspected(&mut self, fact: &feed::ReturnInspected) -> Result<(), FoldError> {
        let return_id = OrderId::new(&fact.return_id)?;
        let known = self.documents.get(&(DocumentKind::Return, return_id.clone())).cloned();
        if let Some(mut document) = known.or_else(|| self.base.document(DocumentKind::Return, &return_id)) {
            document.inspect(fact.quantity);
            self.documents.insert((DocumentKind::Return, return_id), document);
        }
        let disposition = fact.disposition();
        let cell = self.cell(&key(&fact.stock_key)?);
        cell.return_pending -= fact.quantity;
        match disposition {
            Disposition::Resale => cell.on_hand += fact.quantity,
            Disposition::WriteOff => cell.disposed_total += fact.quantity,
            _ => return self.set_aside(fact),
        }
        Ok(())
    }
}

/// What differs between a cell as the facts say it and as the state has it, in words. Rights that came back, and when units were
/// counted last, are not in the node's feed: they are not compared.
#[must_use]
pub fn difference(said: &Cell, is: &Cell) -> Option<String> {
    let same = Cell { returned: is.returned, last_counted_ms: is.last_counted_ms, ..*said };
    (same != *is).then(|| format!("the feed says {said:?}, the state {is:?}"))
}
