//! Facts of goods that are held, set aside, sent to other nodes, converted or refunded, made briefly.

use stockmesh_proto::common::v1 as wire;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{self as feed};

use super::{key, money, received, sold};

/// A receipt whose goods exception `exception` holds in receiving.
pub fn received_held(id: &str, item: &str, quantity: i64, cost: i64, exception: &str) -> Fact {
    let Fact::StockReceived(mut fact) = received(id, item, quantity, cost) else { unreachable!("a receipt") };
    fact.lines[0].condition = wire::Condition::InReceiving.into();
    fact.lines[0].exception_id = exception.into();
    Fact::StockReceived(fact)
}

pub fn decided(exception: &str, part: u32, item: &str, quantity: i64, decision: feed::ReceiptDecision) -> Fact {
    Fact::ReceiptDifferenceResolved(feed::ReceiptDifferenceResolved {
        exception_id: exception.into(),
        part,
        receipt_id: "R1".into(),
        stock_key: key(item),
        quantity,
        decision: decision.into(),
        ..Default::default()
    })
}

pub fn written_off(id: &str, item: &str, quantity: i64, reason: feed::MoveReason) -> Fact {
    Fact::StockWrittenOff(feed::StockWrittenOff {
        movement_id: id.into(),
        stock_key: key(item),
        quantity,
        from: wire::Condition::Damaged.into(),
        reason: reason.into(),
        ..Default::default()
    })
}

pub fn moved(id: &str, item: &str, quantity: i64, from: wire::Condition, to: wire::Condition) -> Fact {
    Fact::StockMoved(feed::StockMoved {
        movement_id: id.into(),
        stock_key: key(item),
        quantity,
        from: from.into(),
        to: to.into(),
        reason: feed::MoveReason::Damage.into(),
        ..Default::default()
    })
}

pub fn transfer_shipped(id: &str, transfer: &str, destination: &str, lines: &[(u32, &str, i64)]) -> Fact {
    let lines = lines.iter().map(|(line, item, quantity)| feed::TransferLine {
        line: *line,
        stock_key: key(item),
        quantity: *quantity,
        ..Default::default()
    });
    Fact::TransferShipped(feed::TransferShipped {
        shipment_id: id.into(),
        transfer_id: transfer.into(),
        destination_node: destination.into(),
        lines: lines.collect(),
        ..Default::default()
    })
}

/// Units of one line of a transfer in order, damaged and missing, behind those that were booked before.
pub fn transfer_received(
    id: &str,
    transfer: &str,
    source: &str,
    (line, item): (u32, &str),
    [quantity, damaged, short]: [i64; 3],
    before: [i64; 3],
) -> Fact {
    let line = feed::TransferReceivedLine {
        line,
        stock_key: key(item),
        quantity,
        damaged,
        short,
        received_total: before[0] + quantity,
        damaged_total: before[1] + damaged,
        short_total: before[2] + short,
        units: Vec::new(),
    };
    Fact::TransferReceived(feed::TransferReceived {
        receipt_id: id.into(),
        transfer_id: transfer.into(),
        source_node: source.into(),
        lines: vec![line],
    })
}

pub fn converted(id: &str, kit: &str, kits: i64, components: &[(&str, i64)]) -> Fact {
    let components = components
        .iter()
        .map(|(item, quantity)| feed::KitComponent { stock_key: key(item), quantity: *quantity })
        .collect();
    Fact::KitsConverted(feed::KitsConverted { conversion_id: id.into(), kit: key(kit), kits, components })
}

/// Takes a sale of the same arguments back.
pub fn voided(id: &str, sale: &str, tender: wire::Tender, lines: &[(&str, i64, Option<wire::LinePrice>)]) -> Fact {
    let Fact::SoldAtCounter(sale) = sold(sale, tender, lines) else { unreachable!("a sale") };
    Fact::SaleVoided(feed::SaleVoided { void_id: id.into(), sale: Some(sale), reason: "wrong item".into() })
}

pub fn recorded(id: &str, tender: wire::Tender, lines: &[(&str, i64, Option<wire::LinePrice>)]) -> Fact {
    let Fact::SoldAtCounter(sale) = sold(id, tender, lines) else { unreachable!("a sale") };
    Fact::SaleRecorded(feed::SaleRecorded { sale: Some(sale), beyond: Vec::new() })
}

pub fn finished(
    id: &str,
    returned: &str,
    item: &str,
    quantity: i64,
    (disposition, outcome): (feed::Disposition, feed::DispositionOutcome),
) -> Fact {
    let refurbished =
        wire::StockKey { grade: wire::Grade::Refurbished.into(), item: item.into(), ..Default::default() };
    Fact::DispositionFinished(feed::DispositionFinished {
        finish_id: id.into(),
        return_id: returned.into(),
        stock_key: key(item),
        quantity,
        disposition: disposition.into(),
        outcome: outcome.into(),
        sellable_as: (outcome == feed::DispositionOutcome::Refurbished).then_some(refurbished),
        units: Vec::new(),
    })
}

/// Units of line 1 of an order refunded, `net` and VAT of 20 %.
pub fn committed(id: &str, order: &str, quantity: i64, total: i64, (net, vat): (i64, i64), with_return: bool) -> Fact {
    let tax = wire::TaxLine {
        jurisdiction: "GB".into(),
        regime: wire::TaxRegime::Vat.into(),
        rate_ppm: 200_000,
        taxable_minor: net,
        tax_minor: vat,
    };
    Fact::RefundCommitted(feed::RefundCommitted {
        refund_id: id.into(),
        node: "st-1".into(),
        order_id: order.into(),
        line: 1,
        stock_key: key("A"),
        quantity,
        with_return,
        return_id: String::new(),
        amount: money(net + vat),
        net_minor: net,
        taxes: vec![tax],
        refunded_total: total,
    })
}

pub fn paid_offline(id: &str, order: &str, amount: i64, tender: wire::Tender) -> Fact {
    Fact::RefundPaidOffline(feed::RefundPaidOffline {
        refund_id: id.into(),
        order_id: order.into(),
        line: 1,
        quantity: 1,
        reason: feed::RefundReason::Defective.into(),
        return_id: String::new(),
        amount_minor: amount,
        currency_code: "GBP".into(),
        tender: tender.into(),
    })
}

pub fn paid_at_counter(id: &str, node: &str, sale: &str, amount: i64) -> Fact {
    Fact::CounterRefundPaid(feed::CounterRefundPaid {
        refund_id: id.into(),
        sale_id: sale.into(),
        sale_node: node.into(),
        return_ids: vec!["T1".into()],
        amount_minor: amount,
        currency_code: "GBP".into(),
        tender: wire::Tender::Cash.into(),
    })
}

pub fn epoch_opened(node: &str, epoch: u64, sealed_seq: u64, lost_from_seq: u64) -> Fact {
    Fact::NodeEpochOpened(feed::NodeEpochOpened {
        node: node.into(),
        epoch,
        sealed_epoch: epoch - 1,
        sealed_seq,
        sealed_hash: vec![0; 32],
        lost_from_seq,
        recovery_id: String::new(),
    })
}
