//! Facts as EPCIS 2.0 events in JSON-LD, by the table of business steps and dispositions.
//!
//! | fact | event | business step | disposition |
//! |---|---|---|---|
//! | StockReceived, TransferReceived | ObjectEvent | receiving | in_progress (damaged: damaged) |
//! | StockPutAway | ObjectEvent | stocking | sellable_accessible or sellable_not_accessible |
//! | ItemPicked, ItemPacked | ObjectEvent | picking, packing | in_progress |
//! | ShipmentDispatched, TransferShipped | ObjectEvent | shipping (a pickup: retail_selling) | in_transit (retail_sold) |
//! | SoldAtCounter, SaleRecorded | ObjectEvent | retail_selling | retail_sold |
//! | ReturnReceived, ReturnInspected, StockMoved | ObjectEvent | receiving, inspecting | returned, damaged, non_sellable_other, sellable_accessible |
//! | StockCounted | ObjectEvent | cycle_counting | mismatch_quantity where it differs |
//! | StockWrittenOff | ObjectEvent, DELETE | destroying | destroyed |
//! | KitsConverted | TransformationEvent | assembling, disassembling | in_progress |
//!
//! Other facts are no visibility events and are left out. Identities are URNs of this network, because a GTIN is not known for every
//! item; a receiver maps them.
//!
//! Must not know: where entries come from.

use serde_json::{Value, json};
use stockmesh_node_core::movements;
use stockmesh_proto::common::v1 as common;
use stockmesh_proto::common::v1::Condition;
use stockmesh_proto::convert;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{EntryBody, FeedEntry};
use stockmesh_proto::node::v1::Movement;
use stockmesh_types::LogTime;

/// A document in the making.
pub(super) struct Document {
    node: String,
    created_ms: i64,
    events: Vec<Value>,
}

/// What an event says beside its goods.
struct Step {
    action: &'static str,
    step: &'static str,
    disposition: &'static str,
}

impl Document {
    pub(super) fn new(node: &str) -> Self {
        Self { node: node.to_owned(), created_ms: 0, events: Vec::new() }
    }

    /// Adds the events of an entry; none for what is not visible goods.
    pub(super) fn add(&mut self, epoch: u64, entry: &FeedEntry, body: &EntryBody) {
        self.created_ms = body.time_ms;
        let Some(fact) = &body.fact else { return };
        let goods: Vec<(Value, Step, Vec<Value>)> = match fact {
            Fact::ItemPicked(f) => vec![task(&f.allocation, f.picked_total, "picking")],
            Fact::ItemPacked(f) => vec![task(&f.allocation, f.packed_total, "packing")],
            Fact::StockCounted(f) => {
                let step = Step {
                    action: "OBSERVE",
                    step: "cycle_counting",
                    disposition: if f.counted == f.expected { "sellable_accessible" } else { "mismatch_quantity" },
                };
                let group = common::UnitGroup {
                    quantity: f.counted,
                    lot: f.lot.clone(),
                    serials: f.serials.clone(),
                    ..Default::default()
                };
                vec![(quantities(&f.stock_key, f.counted, &[group]), step, vec![transaction("count", &f.count_id)])]
            }
            Fact::KitsConverted(_) => return self.transformation(epoch, entry, body),
            _ => movements::of_entry(entry.seq, body).iter().filter_map(|moved| object(fact, moved)).collect(),
        };
        for (n, (lists, Step { action, step, disposition }, transactions)) in goods.into_iter().enumerate() {
            let mut event = self.head("ObjectEvent", epoch, entry, body, n);
            event["action"] = json!(action);
            event["bizStep"] = json!(step);
            event["disposition"] = json!(disposition);
            merge(&mut event, lists);
            if !transactions.is_empty() {
                event["bizTransactionList"] = Value::Array(transactions);
            }
            self.events.push(event);
        }
    }

    fn transformation(&mut self, epoch: u64, entry: &FeedEntry, body: &EntryBody) {
        let moved = movements::of_entry(entry.seq, body);
        let list = |came: bool| -> Vec<Value> {
            let of_way = moved.iter().filter(|movement| (movement.quantity > 0) == came);
            of_way.map(|movement| class(&movement.stock_key, movement.quantity.abs(), "")).collect()
        };
        let mut event = self.head("TransformationEvent", epoch, entry, body, 0);
        let kits = matches!(&body.fact, Some(Fact::KitsConverted(f)) if f.kits > 0);
        event["bizStep"] = json!(if kits { "assembling" } else { "disassembling" });
        event["disposition"] = json!("in_progress");
        event["inputQuantityList"] = Value::Array(list(false));
        event["outputQuantityList"] = Value::Array(list(true));
        self.events.push(event);
    }

    fn head(&self, kind: &str, epoch: u64, entry: &FeedEntry, body: &EntryBody, n: usize) -> Value {
        let place = json!({ "id": format!("urn:stockmesh:node:{}", self.node) });
        json!({
            "type": kind,
            "eventID": format!("urn:stockmesh:event:{}:{epoch}:{}:{n}", self.node, entry.seq),
            "eventTime": timestamp(body.time_ms),
            "eventTimeZoneOffset": "+00:00",
            "readPoint": place,
            "bizLocation": place,
        })
    }

    /// The document with all of its events.
    pub(super) fn finish(self) -> Value {
        json!({
            "@context": ["https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld"],
            "type": "EPCISDocument",
            "schemaVersion": "2.0",
            "creationDate": timestamp(self.created_ms),
            "epcisBody": { "eventList": self.events },
        })
    }
}

fn merge(event: &mut Value, lists: Value) {
    if let (Value::Object(event), Value::Object(lists)) = (event, lists) {
        event.extend(lists);
    }
}

/// Progress of work: the units of an allocation, whose stock key the fact does not name.
fn task(allocation: &Option<common::AllocationId>, total: i64, step: &'static str) -> (Value, Step, Vec<Value>) {
    let id = convert::allocation_id(allocation, "allocation").map(|id| id.to_string()).unwrap_or_default();
    let quantity = json!([{ "epcClass": format!("urn:stockmesh:allocation:{id}"), "quantity": total }]);
    let step = Step { action: "OBSERVE", step, disposition: "in_progress" };
    (json!({ "quantityList": quantity }), step, vec![transaction("allocation", &id)])
}

fn object(fact: &Fact, moved: &Movement) -> Option<(Value, Step, Vec<Value>)> {
    let to = Condition::try_from(moved.to).unwrap_or(Condition::Unspecified);
    let lies = match to {
        Condition::Sellable => "sellable_accessible",
        Condition::Damaged => "damaged",
        Condition::Quarantined => "non_sellable_other",
        Condition::ReturnPending => "returned",
        Condition::InReceiving => "in_progress",
        Condition::Unspecified => "destroyed",
    };
    let came = if to == Condition::Damaged { "damaged" } else { "in_progress" };
    let (step, disposition) = match fact {
        Fact::StockReceived(_) | Fact::TransferReceived(_) => ("receiving", came),
        Fact::StockPutAway(f) if to == Condition::Sellable && !f.accessible => ("stocking", "sellable_not_accessible"),
        Fact::StockPutAway(_) => ("stocking", lies),
        Fact::ShipmentDispatched(f) if f.pickup.is_some() => ("retail_selling", "retail_sold"),
        Fact::ShipmentDispatched(_) | Fact::TransferShipped(_) => ("shipping", "in_transit"),
        Fact::SoldAtCounter(_) | Fact::SaleRecorded(_) => ("retail_selling", "retail_sold"),
        Fact::ReturnReceived(_) => ("receiving", "returned"),
        Fact::StockWrittenOff(_) => ("destroying", "destroyed"),
        // A loss or find is what a count or a look at the shelf said.
        Fact::StockAdjusted(_) => {
            ("cycle_counting", if to == Condition::Damaged { "damaged" } else { "mismatch_quantity" })
        }
        Fact::ReceiptDifferenceResolved(_) if to == Condition::Unspecified => ("shipping", "returned"),
        Fact::ReturnInspected(_)
        | Fact::StockMoved(_)
        | Fact::ReceiptDifferenceResolved(_)
        | Fact::DispositionFinished(_)
        | Fact::AllocationDeclined(_)
        | Fact::SaleVoided(_) => ("inspecting", lies),
        _ => return None,
    };
    let action = if disposition == "destroyed" { "DELETE" } else { "OBSERVE" };
    let mut transactions = vec![transaction(&moved.fact, &moved.document_id)];
    if !moved.reference.is_empty() {
        transactions.push(transaction("reference", &moved.reference));
    }
    let lists = quantities(&moved.stock_key, moved.quantity.abs(), &moved.units);
    Some((lists, Step { action, step, disposition }, transactions))
}

/// Goods by class, and by serial number where they have them.
fn quantities(key: &Option<common::StockKey>, quantity: i64, units: &[common::UnitGroup]) -> Value {
    let item = key.as_ref().map(|key| key.item.clone()).unwrap_or_default();
    let serials: Vec<Value> = units
        .iter()
        .flat_map(|group| &group.serials)
        .map(|serial| json!(format!("urn:stockmesh:unit:{}:{}", escape(&item), escape(serial))))
        .collect();
    let plain: i64 = units.iter().filter(|group| group.serials.is_empty()).map(|group| group.quantity).sum();
    let mut lists = serde_json::Map::new();
    if !serials.is_empty() {
        lists.insert("epcList".to_owned(), Value::Array(serials));
    }
    if units.is_empty() {
        lists.insert("quantityList".to_owned(), json!([class(key, quantity, "")]));
    } else if plain > 0 {
        let rows: Vec<Value> = units
            .iter()
            .filter(|group| group.serials.is_empty())
            .map(|group| class(key, group.quantity, &group.lot))
            .collect();
        lists.insert("quantityList".to_owned(), Value::Array(rows));
    }
    Value::Object(lists)
}

fn class(key: &Option<common::StockKey>, quantity: i64, lot: &str) -> Value {
    let name = convert::stock_key(key, "stock_key").map(|key| key.to_string()).unwrap_or_default();
    let lot = if lot.is_empty() { String::new() } else { format!(":lot:{}", escape(lot)) };
    json!({ "epcClass": format!("urn:stockmesh:class:{}{lot}", escape(&name)), "quantity": quantity })
}

fn transaction(kind: &str, id: &str) -> Value {
    json!({
        "type": format!("urn:stockmesh:document-type:{}", escape(kind)),
        "bizTransaction": format!("urn:stockmesh:document:{}", escape(id)),
    })
}

/// Characters that a URN may hold stay, others are written in per cent.
fn escape(text: &str) -> String {
    let write = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'+' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(write).collect()
}

/// ISO 8601 in UTC, to the millisecond.
fn timestamp(time_ms: i64) -> String {
    let in_day = time_ms.rem_euclid(86_400_000);
    let (hours, minutes, seconds, millis) =
        (in_day / 3_600_000, in_day / 60_000 % 60, in_day / 1_000 % 60, in_day % 1_000);
    format!("{}T{hours:02}:{minutes:02}:{seconds:02}.{millis:03}Z", LogTime(time_ms).date())
}

#[cfg(test)]
mod tests {
    use stockmesh_proto::feed::v1 as feed;

    use super::*;

    fn events(facts: Vec<Fact>) -> Vec<Value> {
        let mut document = Document::new("dc-1");
        for (seq, fact) in (1..).zip(facts) {
            let body = EntryBody { time_ms: 1_795_262_400_123, fact: Some(fact), ..Default::default() };
            document.add(1, &FeedEntry { seq, ..Default::default() }, &body);
        }
        let document = document.finish();
        assert_eq!(document["schemaVersion"], "2.0");
        assert_eq!(document["type"], "EPCISDocument");
        document["epcisBody"]["eventList"].as_array().unwrap().clone()
    }

    /// The standard's words that the table uses (CBV 2.0).
    const STEPS: [&str; 12] = [
        "receiving",
        "stocking",
        "picking",
        "packing",
        "shipping",
        "retail_selling",
        "inspecting",
        "cycle_counting",
        "destroying",
        "assembling",
        "disassembling",
        "storing",
    ];
    const DISPOSITIONS: [&str; 12] = [
        "in_progress",
        "sellable_accessible",
        "sellable_not_accessible",
        "in_transit",
        "retail_sold",
        "returned",
        "damaged",
        "non_sellable_other",
        "mismatch_quantity",
        "destroyed",
        "expired",
        "recalled",
    ];

    #[test]
    fn every_event_has_what_the_standard_asks_for_and_the_table_says() {
        let key = Some(common::StockKey { item: "A/1".into(), ..Default::default() });
        let groups = vec![
            common::UnitGroup { quantity: 2, lot: "L 1".into(), ..Default::default() },
            common::UnitGroup { quantity: 1, serials: vec!["s#1".into()], ..Default::default() },
        ];
        let line = feed::ReceiptLine {
            stock_key: key.clone(),
            quantity: 3,
            condition: 1,
            units: groups,
            ..Default::default()
        };
        let counted =
            |counted| feed::StockCounted { stock_key: key.clone(), counted, expected: 3, ..Default::default() };
        let away = feed::StockPutAway { stock_key: key.clone(), quantity: 3, condition: 1, ..Default::default() };
        let off = feed::StockWrittenOff { stock_key: key.clone(), quantity: 1, from: 3, ..Default::default() };
        let moved = feed::StockMoved { stock_key: key.clone(), quantity: 1, from: 1, to: 3, ..Default::default() };
        let kits = feed::KitsConverted {
            kit: key.clone(),
            kits: 1,
            components: vec![feed::KitComponent { stock_key: key.clone(), quantity: 2 }],
            ..Default::default()
        };
        let shipped = feed::ShipmentLine { stock_key: key.clone(), quantity: 1, ..Default::default() };
        let parcel = feed::ShipmentDispatched { lines: vec![shipped], ..Default::default() };
        let found = events(vec![
            Fact::StockReceived(feed::StockReceived {
                receipt_id: "r-1".into(),
                lines: vec![line],
                ..Default::default()
            }),
            Fact::StockPutAway(away),
            Fact::ItemPicked(feed::ItemPicked::default()),
            Fact::RightsGranted(feed::RightsGranted::default()),
            Fact::ShipmentDispatched(parcel),
            Fact::StockMoved(moved),
            Fact::StockCounted(counted(3)),
            Fact::StockCounted(counted(2)),
            Fact::StockWrittenOff(off),
            Fact::KitsConverted(kits),
        ]);
        let words: Vec<_> = found
            .iter()
            .map(|event| {
                let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
                (text("action"), text("bizStep"), text("disposition"))
            })
            .collect();
        let expected = [
            ("OBSERVE", "receiving", "in_progress"),
            ("OBSERVE", "stocking", "sellable_not_accessible"),
            ("OBSERVE", "picking", "in_progress"),
            ("OBSERVE", "shipping", "in_transit"),
            ("OBSERVE", "inspecting", "damaged"),
            ("OBSERVE", "cycle_counting", "sellable_accessible"),
            ("OBSERVE", "cycle_counting", "mismatch_quantity"),
            ("DELETE", "destroying", "destroyed"),
            ("", "assembling", "in_progress"),
        ];
        let expected: Vec<_> =
            expected.iter().map(|(a, b, c)| ((*a).to_owned(), (*b).to_owned(), (*c).to_owned())).collect();
        assert_eq!(words, expected);
        let mut ids = std::collections::BTreeSet::new();
        for event in &found {
            assert_eq!(event["eventTime"], "2026-11-21T12:00:00.123Z");
            assert_eq!(event["eventTimeZoneOffset"], "+00:00");
            assert!(ids.insert(event["eventID"].to_string()), "an id twice");
            assert!(STEPS.contains(&event["bizStep"].as_str().unwrap()), "{event}");
            assert!(DISPOSITIONS.contains(&event["disposition"].as_str().unwrap()), "{event}");
            assert!(event["readPoint"]["id"].as_str().unwrap().starts_with("urn:"));
            let goods = ["epcList", "quantityList", "inputQuantityList"].iter().any(|list| event.get(list).is_some());
            assert!(goods, "an event without goods: {event}");
        }
        assert_eq!(found[0]["epcList"][0], "urn:stockmesh:unit:A%2F1:s%231");
        assert_eq!(found[0]["quantityList"][0]["epcClass"], "urn:stockmesh:class:A%2F1:lot:L%201");
        assert_eq!(found[0]["bizTransactionList"][0]["bizTransaction"], "urn:stockmesh:document:r-1");
    }
}
