//! Movements of units, as the feed's facts tell them: who moved what, when, why, from which condition to which.
//!
//! Must not know: state. A feed alone is enough.

use stockmesh_proto::common::v1 as common;
use stockmesh_proto::common::v1::Condition;
use stockmesh_proto::convert;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{
    AdjustReason, CounterSaleLine, DeclineReason, Disposition, DispositionOutcome, EntryBody, ReceiptDecision,
};
use stockmesh_proto::node::v1::Movement;
use stockmesh_types::{ItemId, StockKey};

/// Which movements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only this item.
    pub item: Option<ItemId>,
    /// Only this stock key.
    pub key: Option<StockKey>,
}

impl Filter {
    /// Whether it is wanted.
    #[must_use]
    pub fn wants(&self, movement: &Movement) -> bool {
        let Self { item, key } = self;
        let Ok(of) = convert::stock_key(&movement.stock_key, "stock_key") else { return false };
        item.as_ref().is_none_or(|item| of.item == *item) && key.as_ref().is_none_or(|key| of == *key)
    }
}

/// The movements of one entry; none for what moves no units.
#[must_use]
pub fn of_entry(seq: u64, body: &EntryBody) -> Vec<Movement> {
    let mut movements = body.fact.as_ref().map(of_fact).unwrap_or_default();
    for movement in &mut movements {
        movement.seq = seq;
        movement.time_ms = body.time_ms;
        movement.principal = body.principal.clone();
    }
    movements
}

const NOWHERE: Condition = Condition::Unspecified;

fn moved(
    fact: &str,
    document: &str,
    key: &Option<common::StockKey>,
    quantity: i64,
    (from, to): (Condition, Condition),
) -> Movement {
    Movement {
        fact: fact.to_owned(),
        document_id: document.to_owned(),
        stock_key: key.clone(),
        quantity: if to == NOWHERE { -quantity } else { quantity },
        from: from.into(),
        to: to.into(),
        ..Movement::default()
    }
}

fn condition(number: i32) -> Condition {
    Condition::try_from(number).unwrap_or(NOWHERE)
}

/// What an enumeration's value is called, without its prefix.
fn word(name: &str, prefix: &str) -> String {
    name.trim_start_matches(prefix).to_owned()
}

fn sale_lines(fact: &str, document: &str, lines: &[CounterSaleLine], way: (Condition, Condition)) -> Vec<Movement> {
    let line = |line: &CounterSaleLine| Movement {
        units: line.units.clone(),
        ..moved(fact, document, &line.stock_key, line.quantity, way)
    };
    lines.iter().map(line).collect()
}

fn of_fact(fact: &Fact) -> Vec<Movement> {
    use Condition::{Damaged, InReceiving, Quarantined, ReturnPending, Sellable};
    match fact {
        Fact::StockReceived(f) => {
            let line = |line: &stockmesh_proto::feed::v1::ReceiptLine| Movement {
                reference: f.reference.clone(),
                entered: line.entered.clone(),
                units: line.units.clone(),
                ..moved(
                    "stock_received",
                    &f.receipt_id,
                    &line.stock_key,
                    line.quantity,
                    (NOWHERE, condition(line.condition)),
                )
            };
            f.lines.iter().map(line).collect()
        }
        Fact::ShipmentDispatched(f) => {
            let line = |line: &stockmesh_proto::feed::v1::ShipmentLine| Movement {
                reference: f.order_id.clone(),
                units: line.units.clone(),
                ..moved("shipment_dispatched", &f.shipment_id, &line.stock_key, line.quantity, (Sellable, NOWHERE))
            };
            f.lines.iter().map(line).collect()
        }
        Fact::TransferShipped(f) => {
            let line = |line: &stockmesh_proto::feed::v1::TransferLine| Movement {
                reference: f.transfer_id.clone(),
                units: line.units.clone(),
                ..moved("transfer_shipped", &f.shipment_id, &line.stock_key, line.quantity, (Sellable, NOWHERE))
            };
            f.lines.iter().map(line).collect()
        }
        Fact::TransferReceived(f) => f.lines.iter().flat_map(|line| transfer_line(f, line)).collect(),
        Fact::SoldAtCounter(f) => sale_lines("sold_at_counter", &f.sale_id, &f.lines, (Sellable, NOWHERE)),
        Fact::SaleRecorded(f) => f
            .sale
            .as_ref()
            .map_or_else(Vec::new, |sale| sale_lines("sale_recorded", &sale.sale_id, &sale.lines, (Sellable, NOWHERE))),
        Fact::SaleVoided(f) => f.sale.as_ref().map_or_else(Vec::new, |sale| {
            let lines = sale_lines("sale_voided", &f.void_id, &sale.lines, (NOWHERE, Sellable));
            lines.into_iter().map(|line| Movement { reference: sale.sale_id.clone(), ..line }).collect()
        }),
        Fact::AllocationDeclined(f) if f.lost_quantity > 0 => {
            let reason = f.reason();
            let to = if reason == DeclineReason::Damaged { Damaged } else { NOWHERE };
            let allocation = convert::allocation_id(&f.allocation, "allocation");
            let document = allocation.map(|id| id.to_string()).unwrap_or_default();
            let reason = word(reason.as_str_name(), "DECLINE_REASON_");
            vec![Movement {
                reason,
                ..moved("allocation_declined", &document, &f.stock_key, f.lost_quantity, (Sellable, to))
            }]
        }
        Fact::ReturnReceived(f) => {
            let reference = if f.order_id.is_empty() { f.sale_id.clone() } else { f.order_id.clone() };
            let way = (NOWHERE, ReturnPending);
            let units = f.units.clone();
            vec![Movement { reference, units, ..moved("return_received", &f.return_id, &f.stock_key, f.quantity, way) }]
        }
        Fact::ReturnInspected(f) => {
            let to = match f.disposition() {
                Disposition::Resale => Sellable,
                Disposition::WriteOff | Disposition::Unspecified => NOWHERE,
                // Set apart until the disposition is carried out.
                Disposition::Refurbish | Disposition::Liquidate | Disposition::ReturnToVendor => Quarantined,
            };
            let document = if f.inspection_id.is_empty() { &f.return_id } else { &f.inspection_id };
            let reason = word(f.disposition().as_str_name(), "DISPOSITION_");
            let (reference, units) = (f.return_id.clone(), f.units.clone());
            let base = moved("return_inspected", document, &f.stock_key, f.quantity, (ReturnPending, to));
            vec![Movement { reason, reference, units, ..base }]
        }
        Fact::StockAdjusted(f) => {
            let reason = f.reason();
            let way = match reason {
                AdjustReason::Damage => (Sellable, Damaged),
                _ if f.delta < 0 => (Sellable, NOWHERE),
                _ => (NOWHERE, Sellable),
            };
            vec![Movement {
                reason: word(reason.as_str_name(), "ADJUST_REASON_"),
                reference: if f.count_id.is_empty() { f.reference.clone() } else { f.count_id.clone() },
                entered: f.entered.clone(),
                units: f.units.clone(),
                ..moved("stock_adjusted", &f.adjustment_id, &f.stock_key, f.delta.abs(), way)
            }]
        }
        Fact::StockMoved(f) => vec![Movement {
            reason: word(f.reason().as_str_name(), "MOVE_REASON_"),
            reference: f.reference.clone(),
            entered: f.entered.clone(),
            units: f.units.clone(),
            ..moved("stock_moved", &f.movement_id, &f.stock_key, f.quantity, (condition(f.from), condition(f.to)))
        }],
        Fact::StockWrittenOff(f) => vec![Movement {
            reason: word(f.reason().as_str_name(), "MOVE_REASON_"),
            reference: f.reference.clone(),
            entered: f.entered.clone(),
            units: f.units.clone(),
            ..moved("stock_written_off", &f.movement_id, &f.stock_key, f.quantity, (condition(f.from), NOWHERE))
        }],
        Fact::StockPutAway(f) => vec![Movement {
            reference: f.to_bin.clone(),
            entered: f.entered.clone(),
            units: f.units.clone(),
            ..moved(
                "stock_put_away",
                &f.movement_id,
                &f.stock_key,
                f.quantity,
                (condition(f.condition), condition(f.condition)),
            )
        }],
        Fact::ReceiptDifferenceResolved(f) => {
            let to = if f.decision() == ReceiptDecision::Accept { condition(f.to) } else { NOWHERE };
            let document = format!("{}/{}", f.exception_id, f.part);
            vec![Movement {
                reason: word(f.decision().as_str_name(), "RECEIPT_DECISION_"),
                reference: f.reference.clone(),
                units: f.units.clone(),
                ..moved("receipt_difference_resolved", &document, &f.stock_key, f.quantity, (InReceiving, to))
            }]
        }
        Fact::KitsConverted(f) => {
            let way = |made: bool| if made { (NOWHERE, Sellable) } else { (Sellable, NOWHERE) };
            let made = f.kits > 0;
            let kit = moved("kits_converted", &f.conversion_id, &f.kit, f.kits.abs(), way(made));
            let parts = f
                .components
                .iter()
                .map(|part| moved("kits_converted", &f.conversion_id, &part.stock_key, part.quantity, way(!made)));
            std::iter::once(kit).chain(parts).collect()
        }
        Fact::DispositionFinished(f) => {
            let back = f.outcome() == DispositionOutcome::Refurbished;
            let reason = word(f.outcome().as_str_name(), "DISPOSITION_OUTCOME_");
            let way = (Quarantined, if back { Sellable } else { NOWHERE });
            let units = f.units.clone();
            let base = moved("disposition_finished", &f.finish_id, &f.stock_key, f.quantity, way);
            vec![Movement { reason, units, ..base }]
        }
        // Promises, work, counts as such, exceptions, money: no unit changes condition or place.
        Fact::AllocationDeclined(_)
        | Fact::RightsGranted(_)
        | Fact::AllocationAccepted(_)
        | Fact::ItemPicked(_)
        | Fact::ItemPacked(_)
        | Fact::CancellationAnswered(_)
        | Fact::ShortfallReported(_)
        | Fact::InboundReceiptsClosed(_)
        | Fact::CountRequested(_)
        | Fact::StockCounted(_)
        | Fact::CountStateChanged(_)
        | Fact::BinsChanged(_)
        | Fact::ExceptionRaised(_)
        | Fact::ExceptionResolved(_)
        | Fact::RefundRequested(_)
        | Fact::RefundPaidOffline(_)
        | Fact::CounterRefundPaid(_)
        | Fact::FulfillmentHeld(_)
        | Fact::FulfillmentResumed(_)
        | Fact::WaveCreated(_)
        | Fact::CapacityReported(_)
        | Fact::PickupStaged(_)
        | Fact::PickupClosed(_)
        | Fact::EpochOpened(_)
        | Fact::RecoveryEnded(_)
        | Fact::RecallRequested(_) => Vec::new(),
        // Not a node's.
        _ => Vec::new(),
    }
}

fn transfer_line(
    fact: &stockmesh_proto::feed::v1::TransferReceived,
    line: &stockmesh_proto::feed::v1::TransferReceivedLine,
) -> Vec<Movement> {
    let came = |quantity: i64, to: Condition| Movement {
        reference: fact.transfer_id.clone(),
        units: line.units.clone(),
        ..moved("transfer_received", &fact.receipt_id, &line.stock_key, quantity, (NOWHERE, to))
    };
    let parts = [(line.quantity, Condition::Sellable), (line.damaged, Condition::Damaged)];
    parts.into_iter().filter(|(quantity, _)| *quantity > 0).map(|(quantity, to)| came(quantity, to)).collect()
}

#[cfg(test)]
mod tests {
    use stockmesh_proto::feed::v1 as feed;

    use super::*;

    #[test]
    fn a_movement_says_who_moved_what_from_where_to_where() {
        let key = Some(common::StockKey { item: "A".into(), ..Default::default() });
        let entered = Some(common::EnteredQuantity { quantity: 4, pack: "case".into() });
        let adjusted = |delta, reason: AdjustReason| {
            Fact::StockAdjusted(feed::StockAdjusted {
                stock_key: key.clone(),
                delta,
                reason: reason.into(),
                ..Default::default()
            })
        };
        let line =
            feed::ReceiptLine { stock_key: key.clone(), quantity: 48, condition: 1, entered, ..Default::default() };
        let kits = feed::KitsConverted {
            kit: key.clone(),
            kits: -2,
            components: vec![feed::KitComponent { stock_key: key.clone(), quantity: 6 }],
            ..Default::default()
        };
        // condition before, condition after, quantity
        let cases = [
            (Fact::StockReceived(feed::StockReceived { lines: vec![line], ..Default::default() }), vec![(0, 1, 48)]),
            (adjusted(-3, AdjustReason::Damage), vec![(1, 3, 3)]),
            (adjusted(-3, AdjustReason::Loss), vec![(1, 0, -3)]),
            (adjusted(3, AdjustReason::Count), vec![(0, 1, 3)]),
            (Fact::KitsConverted(kits), vec![(1, 0, -2), (0, 1, 6)]),
            (Fact::ItemPicked(feed::ItemPicked::default()), vec![]),
        ];
        for (fact, expected) in cases {
            let principal = Some(common::Principal { kind: 1, id: "ann".into() });
            let body = EntryBody { time_ms: 7, principal, fact: Some(fact), ..Default::default() };
            let found = of_entry(9, &body);
            let ways: Vec<_> = found.iter().map(|movement| (movement.from, movement.to, movement.quantity)).collect();
            assert_eq!(ways, expected);
            assert!(
                found.iter().all(|movement| movement.seq == 9 && movement.time_ms == 7 && movement.principal.is_some())
            );
        }
    }
}
