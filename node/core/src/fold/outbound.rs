//! The fold of facts of the way out: transfers, sales that tills reported, voids, kits, dispositions, waves and pickups.
//!
//! Must not know: commands.

use stockmesh_proto::common::v1 as common;
use stockmesh_proto::convert;
use stockmesh_proto::feed::v1 as feed;
use stockmesh_proto::feed::v1::{Disposition, DispositionOutcome};
use stockmesh_types::{OrderId, Quantity, StockKey};

use super::{Base, Fold, FoldError, id, key};
use crate::change::{Document, DocumentKind};
use crate::command::sale_content;
use crate::documents::{SaleDocument, TransferDocument, TransferLine};

impl<B: Base> Fold<B> {
    /// Units that were sold before they were booked in go with the first that come: after each fact, as after each command.
    pub(super) fn cover_what_was_sold_ahead(&mut self) {
        for cell in self.cells.values_mut().filter(|cell| cell.sold_ahead > 0) {
            let owed = cell.sold_ahead.min(cell.on_hand);
            cell.sold_ahead -= owed;
            cell.on_hand -= owed;
        }
    }

    /// One line that left: its units, and the rights of what was promised.
    pub(super) fn left(
        &mut self,
        allocation: &Option<common::AllocationId>,
        left: &StockKey,
        promised: &StockKey,
        quantity: Quantity,
        shipped_total: Quantity,
    ) -> Result<(), FoldError> {
        let allocation = self.allocation(id(allocation)?)?;
        allocation.shipped = shipped_total;
        allocation.packed = allocation.packed.max(allocation.shipped);
        allocation.picked = allocation.picked.max(allocation.packed);
        let cell = self.cell(left);
        cell.on_hand -= quantity;
        cell.shipped_total += quantity;
        let cell = self.cell(promised);
        cell.consumed += quantity;
        cell.open -= quantity;
        Ok(())
    }

    pub(super) fn transfer_shipped(&mut self, fact: &feed::TransferShipped) -> Result<(), FoldError> {
        self.document(DocumentKind::Shipment, &fact.shipment_id, Document::Taken)?;
        for line in &fact.lines {
            let stock_key = key(&line.stock_key)?;
            self.left(&line.allocation, &stock_key, &stock_key, line.quantity, line.shipped_total)?;
        }
        Ok(())
    }

    pub(super) fn transfer_received(&mut self, fact: &feed::TransferReceived) -> Result<(), FoldError> {
        self.document(DocumentKind::Receipt, &fact.receipt_id, Document::Taken)?;
        let transfer_id = OrderId::new(&fact.transfer_id)?;
        let mut progress = match self.known(DocumentKind::Transfer, &transfer_id) {
            Some(Document::Transfer(progress)) => progress,
            _ => TransferDocument { source_node: fact.source_node.clone(), lines: Vec::new() },
        };
        for line in &fact.lines {
            let cell = self.cell(&key(&line.stock_key)?);
            cell.on_hand += line.quantity;
            cell.damaged += line.damaged;
            cell.transferred_in_total += line.quantity + line.damaged;
            let now = TransferLine {
                line: line.line,
                stock_key: line.stock_key.clone(),
                received: line.received_total,
                damaged: line.damaged_total,
                short: line.short_total,
            };
            match progress.lines.iter_mut().find(|known| known.line == line.line) {
                Some(known) => *known = now,
                None => progress.lines.push(now),
            }
        }
        self.document(DocumentKind::Transfer, &fact.transfer_id, Document::Transfer(progress))
    }

    pub(super) fn sold(&mut self, sale: &feed::SoldAtCounter) -> Result<(), FoldError> {
        self.document(DocumentKind::Sale, &sale.sale_id, Document::Sale(SaleDocument::of(sale_content(sale))))?;
        for line in &sale.lines {
            let cell = self.cell(&key(&line.stock_key)?);
            let here = line.quantity.min(cell.on_hand);
            cell.on_hand -= here;
            cell.sold_ahead += line.quantity - here;
            cell.sold_total += line.quantity;
        }
        Ok(())
    }

    pub(super) fn voided(&mut self, fact: &feed::SaleVoided) -> Result<(), FoldError> {
        let sale = convert::required(&fact.sale, "sale")?;
        self.document(DocumentKind::Void, &fact.void_id, Document::Taken)?;
        let document = SaleDocument { voided: true, ..SaleDocument::of(sale_content(sale)) };
        self.document(DocumentKind::Sale, &sale.sale_id, Document::Sale(document))?;
        for line in &sale.lines {
            let cell = self.cell(&key(&line.stock_key)?);
            let owed = line.quantity.min(cell.sold_ahead);
            cell.sold_ahead -= owed;
            cell.on_hand += line.quantity - owed;
            cell.sold_total -= line.quantity;
        }
        Ok(())
    }

    pub(super) fn kits_converted(&mut self, fact: &feed::KitsConverted) -> Result<(), FoldError> {
        self.document(DocumentKind::Conversion, &fact.conversion_id, Document::Taken)?;
        let kit = self.cell(&key(&fact.kit)?);
        kit.on_hand += fact.kits;
        kit.converted_total += fact.kits;
        let direction = if fact.kits > 0 { -1 } else { 1 };
        for part in &fact.components {
            let cell = self.cell(&key(&part.stock_key)?);
            cell.on_hand += direction * part.quantity;
            cell.converted_total += direction * part.quantity;
        }
        Ok(())
    }

    /// Units that an inspection set aside.
    pub(super) fn set_aside(&mut self, fact: &feed::ReturnInspected) -> Result<(), FoldError> {
        self.cell(&key(&fact.stock_key)?).in_disposition += fact.quantity;
        self.wait(&fact.return_id, fact.disposition(), fact.quantity)
    }

    /// More, or fewer, units of a return wait for a disposition.
    fn wait(&mut self, return_id: &str, disposition: Disposition, more: Quantity) -> Result<(), FoldError> {
        let id = OrderId::new(return_id)?;
        if let Some(Document::Return { stock_key, quantity, inspected, mut waiting }) =
            self.known(DocumentKind::Return, &id)
        {
            if let Some(waits) = waiting.of(disposition) {
                *waits += more;
            }
            let document = Document::Return { stock_key, quantity, inspected, waiting };
            self.documents.insert((DocumentKind::Return, id), document);
        }
        Ok(())
    }

    pub(super) fn disposition_finished(&mut self, fact: &feed::DispositionFinished) -> Result<(), FoldError> {
        self.document(DocumentKind::Disposition, &fact.finish_id, Document::Taken)?;
        let stock_key = key(&fact.stock_key)?;
        self.cell(&stock_key).in_disposition -= fact.quantity;
        if fact.outcome() == DispositionOutcome::Refurbished {
            let sellable_as = key(&fact.sellable_as)?;
            self.cell(&stock_key).converted_total -= fact.quantity;
            let cell = self.cell(&sellable_as);
            cell.converted_total += fact.quantity;
            cell.on_hand += fact.quantity;
        } else {
            self.cell(&stock_key).disposed_total += fact.quantity;
        }
        self.wait(&fact.return_id, fact.disposition(), -fact.quantity)
    }

    pub(super) fn wave_created(&mut self, fact: &feed::WaveCreated) -> Result<(), FoldError> {
        for line in &fact.lines {
            self.allocation(id(&line.allocation)?)?.handling.wave = fact.wave;
        }
        Ok(())
    }

    pub(super) fn pickup_staged(&mut self, fact: &feed::PickupStaged) -> Result<(), FoldError> {
        self.document(DocumentKind::Pickup, &fact.pickup_id, Document::Taken)?;
        for line in &fact.lines {
            self.allocation(id(&line.allocation)?)?.handling.pickup_id = fact.pickup_id.clone();
        }
        Ok(())
    }

    /// A document as the facts so far left it.
    fn known(&self, kind: DocumentKind, id: &OrderId) -> Option<Document> {
        let said = self.documents.get(&(kind, id.clone())).cloned();
        said.or_else(|| self.base.document(kind, id))
    }
}
