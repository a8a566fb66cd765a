//! Posting: one fact in, entries and changed records out.
//!
//! A fact that lacks its partner (a shipment before its order), or that can't be posted as it is, goes to *suspense* and
//! never blocks its feed. It carries what it waits for; when that becomes known, facts that wait for it are tried again in
//! the order in which they arrived, each with all that it makes known in turn, before anything else is posted. What moved at a node takes effect in the order of that
//! node's feed: only what depends on other feeds waits (revenue on the order, a return's cost on its sale), so cost and
//! quantities don't depend on how feeds interleave. While a node is not registered, all of its facts wait together.
//!
//! One file for each kind of fact: `orders`, `shipments`, `counter`, `returns`, `inspections`, `refunds`, `stock`, `transfers`,
//! `conversions`, `epochs`.

mod conversions;
mod counter;
mod epochs;
mod inspections;
mod orders;
mod refunds;
mod returns;
mod shipments;
mod stock;
mod transfers;

use prost::Message;
use sha2::{Digest, Sha256};
use stockmesh_proto::convert;
use stockmesh_proto::feed::v1::EntryBody;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_types::{BusinessDate, LogTime, NodeId, Reason, Reject, StockKey};

use crate::books::{Books, Fault, Stamp};
use crate::journal::Source;
use crate::records::{Node, Price, Records, Stage, Suspended, Tax, spoken};

/// Why a fact can't be taken from its feed.
#[derive(Debug, thiserror::Error)]
pub enum PostError<E> {
    /// This build does not know the fact: the feed halts here until finance is upgraded.
    #[error("entry {} of {} holds a fact that this build does not know: upgrade finance", .0.seq, .0.feed)]
    UnknownFact(Source),
    /// The books failed.
    #[error(transparent)]
    Fault(#[from] Fault<E>),
}

/// A fact on its way into the books.
pub(crate) struct Incoming<'a> {
    source: &'a Source,
    body: &'a EntryBody,
}

/// Why a fact, or part of it, goes to suspense.
pub(crate) struct Wait {
    stage: Stage,
    reason: &'static str,
    waits_for: String,
    description: String,
}

impl Wait {
    /// For a partner.
    pub(crate) fn partner(stage: Stage, reason: &'static str, waits_for: String, description: String) -> Self {
        Self { stage, reason, waits_for, description }
    }

    /// For a person.
    pub(crate) fn person(stage: Stage, reason: &'static str, description: String) -> Self {
        Self { stage, reason, waits_for: String::new(), description }
    }
}

pub(crate) enum Stop<E> {
    Wait(Box<Wait>),
    Fault(Fault<E>),
}

impl<E> From<Fault<E>> for Stop<E> {
    fn from(fault: Fault<E>) -> Self {
        Self::Fault(fault)
    }
}

impl<E> From<Wait> for Stop<E> {
    fn from(wait: Wait) -> Self {
        Self::Wait(Box::new(wait))
    }
}

impl<E> From<Reject> for Stop<E> {
    /// What is wrong with a fact by itself: a person must look.
    fn from(reject: Reject) -> Self {
        Wait::person(Stage::Whole, reject.reason.code(), reject.to_string()).into()
    }
}

pub(crate) type Posted<T, R> = Result<T, Stop<<R as Records>::Error>>;

impl<R: Records> Books<R> {
    /// Posts the fact of a feed entry, and whatever waited for it. `bytes`: the body as received, kept while it waits.
    /// The caller sees to it that each entry of a feed comes once, and in order.
    ///
    /// # Errors
    /// See [`PostError`]; suspense is no error.
    pub fn post(
        &mut self,
        source: &Source,
        bytes: &[u8],
        body: &EntryBody,
        arrived_time_ms: i64,
    ) -> Result<(), PostError<R::Error>> {
        if body.fact.is_none() {
            return Err(PostError::UnknownFact(source.clone()));
        }
        if let Some(wait) = self.attempt(&Incoming { source, body }, Stage::Whole)? {
            let id = self.meta.last_suspense + 1;
            self.suspend(suspended(id, source, bytes, wait, arrived_time_ms));
        }
        self.note_entry(source);
        self.note_sealed(source)?;
        self.post_waiting()?;
        Ok(())
    }

    /// Tries facts again whose partner became known. What becomes known by one of them is worked off before the next one:
    /// a fact that waited longer for something else goes before a later one that waited for this.
    fn post_waiting(&mut self) -> Result<(), Fault<R::Error>> {
        let mut stack: Vec<(String, u64)> = Vec::new();
        loop {
            stack.extend(self.known.drain(..).rev().map(|key| (key, 0)));
            if self.meta.suspended == 0 {
                return Ok(());
            }
            let Some((key, after)) = stack.last().cloned() else { return Ok(()) };
            let Some(waiting) = self.next_waiting(&key, after)? else {
                stack.pop();
                continue;
            };
            if let Some(top) = stack.last_mut() {
                top.1 = waiting.id;
            }
            let body = EntryBody::decode(waiting.body.as_slice())
                .map_err(|error| Fault::Corrupt(format!("suspended fact {}: {error}", waiting.id)))?;
            match self.attempt(&Incoming { source: &waiting.source, body: &body }, waiting.stage)? {
                None => self.release(waiting.id),
                Some(wait) => {
                    let Suspended { id, source, body, arrived_time_ms, .. } = &waiting;
                    self.suspend(suspended(*id, source, body, wait, *arrived_time_ms));
                }
            }
        }
    }

    fn attempt(&mut self, fact: &Incoming<'_>, stage: Stage) -> Result<Option<Wait>, Fault<R::Error>> {
        self.begin_fact();
        match self.post_stage(fact, stage) {
            Ok(()) => Ok(None),
            Err(Stop::Wait(wait)) => Ok(Some(*wait)),
            Err(Stop::Fault(fault)) => Err(fault),
        }
    }

    fn post_stage(&mut self, incoming: &Incoming<'_>, stage: Stage) -> Posted<(), R> {
        let Some(fact) = &incoming.body.fact else { return Ok(()) };
        match fact {
            Fact::StockReceived(fact) => self.stock_received(incoming, fact),
            Fact::ShipmentDispatched(fact) => self.shipment_dispatched(incoming, fact, stage),
            Fact::AllocationDeclined(fact) => self.allocation_declined(incoming, fact),
            Fact::SoldAtCounter(fact) => self.sold_at_counter(incoming, fact),
            Fact::ReturnReceived(fact) => self.return_received(incoming, fact, stage),
            Fact::ReturnInspected(fact) => self.return_inspected(incoming, fact),
            Fact::StockAdjusted(fact) => self.stock_adjusted(incoming, fact),
            Fact::NodeRegistered(fact) => self.node_registered(incoming, fact),
            Fact::OrderPlaced(fact) => self.order_placed(incoming, fact),
            Fact::OrderLineCancelled(fact) => self.order_line_cancelled(incoming, fact),
            Fact::SaleRecorded(fact) => match &fact.sale {
                // A sale is a sale, whoever spoke first; what it took beyond the stock leaves at provisional cost.
                Some(sale) => self.sold_at_counter(incoming, sale),
                None => Err(Reject::new(Reason::MissingField, "the record names no sale").field("sale").into()),
            },
            Fact::SaleVoided(fact) => self.sale_voided(incoming, fact, stage),
            Fact::CounterRefundPaid(fact) => self.counter_refund_paid(incoming, fact),
            Fact::RefundPaidOffline(fact) => self.refund_paid_offline(incoming, fact),
            Fact::RefundCommitted(fact) => self.refund_committed(incoming, fact),
            Fact::DispositionFinished(fact) => self.disposition_finished(incoming, fact),
            Fact::TransferShipped(fact) => self.transfer_shipped(incoming, fact),
            Fact::TransferReceived(fact) => self.transfer_received(incoming, fact, stage),
            Fact::KitsConverted(fact) => self.kits_converted(incoming, fact, stage),
            Fact::StockMoved(fact) => self.stock_moved(incoming, fact),
            Fact::StockWrittenOff(fact) => self.stock_written_off(incoming, fact),
            Fact::ReceiptDifferenceResolved(fact) => self.receipt_difference_resolved(incoming, fact),
            Fact::NodeEpochOpened(fact) => self.node_epoch_opened(incoming, fact, stage),
            // Promises and work: nothing changes hands. The cursor moves on, and that is all.
            Fact::RightsGranted(_)
            | Fact::AllocationAccepted(_)
            | Fact::ItemPicked(_)
            | Fact::ItemPacked(_)
            | Fact::CancellationAnswered(_)
            | Fact::ShortfallReported(_)
            | Fact::ItemRanged(_)
            | Fact::AllocationOpened(_)
            | Fact::CancellationRequested(_)
            | Fact::RightsReturned(_)
            | Fact::RecallRequested(_)
            | Fact::GrantPolicySet(_)
            | Fact::FulfillmentHeld(_)
            | Fact::FulfillmentResumed(_)
            | Fact::WaveCreated(_)
            | Fact::CapacityReported(_)
            | Fact::PickupStaged(_)
            | Fact::PickupClosed(_) => Ok(()),
            // Units change place and keep their cost; a count's differences come as StockAdjusted, and what an expected
            // receipt lacks was never owed.
            Fact::StockPutAway(_)
            | Fact::InboundReceiptsClosed(_)
            | Fact::CountRequested(_)
            | Fact::StockCounted(_)
            | Fact::CountStateChanged(_)
            | Fact::BinsChanged(_)
            | Fact::ExceptionRaised(_)
            | Fact::ExceptionResolved(_) => Ok(()),
            // What nodes are told to expect and to allow, and what they ask for: nothing has moved yet.
            Fact::InboundAnnounced(_)
            | Fact::InboundClosed(_)
            | Fact::InboundClaimed(_)
            | Fact::RefundRequested(_)
            | Fact::RefundDecided(_)
            | Fact::ReturnAuthorised(_)
            | Fact::ReturnAuthorisationClosed(_) => Ok(()),
            // The node's side of a new epoch: what was sealed finance hears from the coordinator.
            Fact::EpochOpened(_) | Fact::RecoveryEnded(_) => Ok(()),
            // The stock of a lost node stays at its value until it is counted, or written off by people; what two people
            // signed for is a promise to customers, and moves no goods.
            Fact::NodeRetired(_) | Fact::DuplicatesAccepted(_) => Ok(()),
        }
    }

    /// The node that wrote a fact, once it is registered.
    fn writer(&mut self, incoming: &Incoming<'_>) -> Posted<(NodeId, Node), R> {
        let participant = &incoming.source.feed.participant;
        let Some(id) = participant.strip_prefix("node/") else {
            let message = format!("a node's fact came from {participant}");
            return Err(Reject::new(Reason::NotAllowed, message).into());
        };
        let id = NodeId::new(id)?;
        match self.node(&id)? {
            Some(node) => {
                self.check_epoch(incoming.source, &id, &node)?;
                Ok((id, node))
            }
            None => Err(Wait::partner(
                Stage::Whole,
                "NODE_NOT_REGISTERED",
                node_key(&id),
                format!("waits until the coordinator has registered node {id} with its legal entity"),
            )
            .into()),
        }
    }

    /// Refuses a coordinator's fact from anyone else.
    fn check_coordinator(incoming: &Incoming<'_>) -> Result<(), Reject> {
        let participant = &incoming.source.feed.participant;
        if participant.starts_with("coordinator/") {
            return Ok(());
        }
        Err(Reject::new(Reason::NotAllowed, format!("a coordinator's fact came from {participant}")))
    }

    /// Whether a business document is new: `false` for a repeat with the same content, whatever feed and epoch it comes
    /// from. Another content under the same id goes to suspense.
    fn is_new_document(&mut self, key: &str, fact: &impl Message) -> Posted<bool, R> {
        match self.document(key)? {
            None => Ok(true),
            Some(known) if known == fingerprint(fact) => Ok(false),
            Some(_) => Err(Reject::new(
                Reason::DocumentIdReused,
                format!("{} is in the books with another content; nothing of this one is posted", spoken(key)),
            )
            .into()),
        }
    }
}

fn suspended(id: u64, source: &Source, bytes: &[u8], wait: Wait, arrived_time_ms: i64) -> Suspended {
    let Wait { stage, reason, waits_for, description } = wait;
    Suspended {
        id,
        source: source.clone(),
        body: bytes.to_vec(),
        stage,
        reason: reason.to_owned(),
        waits_for,
        description,
        arrived_time_ms,
    }
}

impl Incoming<'_> {
    /// Dates of its entries, when it happened on the writer's business date.
    fn stamp(&self) -> Result<Stamp, Reject> {
        let posting = BusinessDate::parse(&self.body.business_date)?;
        plausible(posting)?;
        Ok(Stamp { source: self.source.clone(), effective: posting, posting })
    }

    /// Dates of its entries, when it says itself when it happened.
    fn stamp_at(&self, time_ms: i64) -> Result<Stamp, Reject> {
        let effective = LogTime(time_ms).date();
        plausible(effective)?;
        Ok(Stamp { effective, ..self.stamp()? })
    }
}

/// Refuses dates that no business of today has.
fn plausible(date: BusinessDate) -> Result<(), Reject> {
    let year = date.civil().0;
    if (1900..=9998).contains(&year) {
        return Ok(());
    }
    Err(Reject::new(Reason::InvalidDate, format!("the year {year} can't be: the fact is set apart")))
}

/// What facts wait for that need a node's registration.
fn node_key(node: &NodeId) -> String {
    format!("node:{node}")
}

/// What facts wait for that need any legal entity.
const ENTITY_KEY: &str = "entity";

/// A number of units, for people.
fn units(quantity: i64) -> String {
    if quantity == 1 { "1 unit".to_owned() } else { format!("{quantity} units") }
}

/// SHA-256 of a fact's own fields: what tells a repeat from another document under the same id.
fn fingerprint(fact: &impl Message) -> [u8; 32] {
    Sha256::digest(fact.encode_to_vec()).into()
}

/// A stock key whose goods are the retailer's own.
fn own_key(key: &Option<stockmesh_proto::common::v1::StockKey>, field: &str) -> Result<StockKey, Reject> {
    let key = convert::stock_key(key, field)?;
    if key.owner.is_empty() {
        return Ok(key);
    }
    Err(Reject::new(
        Reason::NotInThisRelease,
        format!("goods of another owner ({}) are not posted in this release", key.owner),
    )
    .field(field))
}

/// A checked price.
fn price(wire: &Option<stockmesh_proto::common::v1::LinePrice>, field: &str) -> Result<Price, Reject> {
    convert::check_price(wire, field)?;
    let wire = convert::required(wire, field)?;
    let vat = i32::from(stockmesh_proto::common::v1::TaxRegime::Vat);
    let taxes = wire.taxes.iter().map(|tax| Tax {
        jurisdiction: tax.jurisdiction.clone(),
        vat: tax.regime == vat,
        rate_ppm: tax.rate_ppm,
        tax_minor: tax.tax_minor,
    });
    Ok(Price {
        sales_minor: wire.sales_minor,
        discount_minor: wire.discount_minor,
        coupon_minor: wire.manufacturer_coupon_minor,
        taxes: taxes.collect(),
    })
}
