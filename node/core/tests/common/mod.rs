//! What the tests of the core share: a node in memory whose written keys are kept, so that it can be reloaded at any time.

#![allow(dead_code, missing_docs)]

use std::collections::BTreeMap;

use stockmesh_node_core::command::*;
use stockmesh_node_core::{
    Allocation, Answer, Archive, BodyHash, Cell, Change, Context, CorruptValue, GrantPolicy, Identity, Key, NodeState,
    RequestStamp,
};
use stockmesh_proto::common::v1 as common;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{AdjustReason, DeclineReason, Disposition, EntryBody, ReceiptKind};
use stockmesh_types::{
    AllocationId, Currency, Epoch, Group, Incarnation, ItemId, LogTime, Money, NodeId, OrderId, Principal, Quantity,
    Reason, Reject, RequestId, StockKey,
};

/// 2026-11-21T12:00:00Z.
pub const NOON: i64 = 1_795_262_400_000;

pub struct TestNode {
    pub state: NodeState,
    pub policy: GrantPolicy,
    pub stored: BTreeMap<Vec<u8>, Vec<u8>>,
    pub entries: Vec<EntryBody>,
    pub now: i64,
    pub principal: Principal,
    pub requests: u64,
}

/// What a node wrote, as its archive.
pub struct Kept<'a>(pub &'a BTreeMap<Vec<u8>, Vec<u8>>);

impl Archive for Kept<'_> {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.get(key).cloned()
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) {
        let _ = self.0.range(from.to_vec()..to.to_vec()).all(|(key, value)| visit(key, value));
    }

    fn damaged(&self, what: &CorruptValue) {
        panic!("{what}");
    }
}

pub fn key(item: &str) -> StockKey {
    StockKey::of(ItemId::new(item).unwrap())
}

pub fn doc(id: &str) -> OrderId {
    OrderId::new(id).unwrap()
}

pub fn allocation(n: u64) -> AllocationId {
    AllocationId { incarnation: Incarnation(1), log_index: n, n: 0 }
}

pub fn request_id(time_ms: i64, n: u64) -> RequestId {
    RequestId::new(&format!("{time_ms:012x}70008000{n:012x}")).unwrap()
}

fn identity() -> Identity {
    Identity { group: Group(1), node: NodeId::new("dc-1").unwrap(), epoch: Epoch(1) }
}

impl TestNode {
    pub fn new(policy: GrantPolicy) -> Self {
        Self {
            state: NodeState::new(identity(), policy),
            policy,
            stored: BTreeMap::new(),
            entries: Vec::new(),
            now: NOON,
            principal: Principal::insecure(),
            requests: 0,
        }
    }

    /// A node with items A and B ranged and the policy of a warehouse.
    pub fn warehouse() -> Self {
        let mut node = Self::new(GrantPolicy::default());
        node.range("A");
        node.range("B");
        node
    }

    pub fn context(&self, request: Option<RequestStamp>) -> Context {
        let now = LogTime(self.now);
        Context { now, business_date: now.date(), principal: self.principal.clone(), request }
    }

    /// Handles a command and keeps what it wrote. On a reject nothing may have changed.
    pub fn handle(&mut self, request: Option<RequestStamp>, command: Command) -> Result<Answer, Reject> {
        let before = self.state.clone();
        let context = self.context(request);
        match self.state.handle(&context, command, &Kept(&self.stored)) {
            Ok(effects) => {
                for change in &effects.changes {
                    match change.encode() {
                        (key, Some(value)) => self.stored.insert(key, value),
                        (key, None) => self.stored.remove(&key),
                    };
                }
                self.entries.extend(effects.entries);
                Ok(effects.answer)
            }
            Err(reject) => {
                assert_eq!(self.state, before, "a reject changed something");
                Err(reject)
            }
        }
    }

    /// With a fresh request id.
    pub fn ask(&mut self, command: Command) -> Result<Answer, Reject> {
        self.requests += 1;
        let stamp = RequestStamp { id: request_id(self.now, self.requests), body: BodyHash([0; 16]) };
        self.handle(Some(stamp), command)
    }

    pub fn reason(&mut self, command: Command) -> Option<Reason> {
        self.ask(command).err().map(|reject| reject.reason)
    }

    pub fn follow(&mut self, work: Work) -> Result<Answer, Reject> {
        self.handle(None, Command::FollowCoordinator(CoordinatorFact { incarnation: Incarnation(1), work }))
    }

    pub fn range(&mut self, item: &str) {
        let details =
            stockmesh_node_core::Item { description: format!("Item {item}"), weight_grams: 100, ..Default::default() };
        self.follow(Work::RangeItem { item: ItemId::new(item).unwrap(), details }).unwrap();
    }

    pub fn open(&mut self, n: u64, item: &str, quantity: Quantity) -> Result<Answer, Reject> {
        self.follow(opened(n, &format!("o-{n}"), item, quantity))
    }

    pub fn receive(&mut self, id: &str, item: &str, quantity: Quantity) {
        self.ask(receipt(id, &[(item, quantity, ReceivedCondition::Sellable)])).unwrap();
    }

    pub fn cell(&self, item: &str) -> Cell {
        self.state.cell(&key(item)).copied().unwrap_or_default()
    }

    /// An allocation, open or closed.
    pub fn known(&self, n: u64) -> Option<Allocation> {
        (&Kept(&self.stored) as &dyn Archive).allocation(allocation(n))
    }

    pub fn propose(
        &self,
        item: &str,
        quantity: Quantity,
        today: stockmesh_types::BusinessDate,
    ) -> stockmesh_proto::node::v1::ProposeUnitsResponse {
        self.state.propose(&Kept(&self.stored), &key(item), quantity, today)
    }

    /// The state as a restart would find it.
    pub fn reloaded(&self) -> NodeState {
        let mut state = NodeState::new(identity(), self.policy);
        for (bytes, value) in &self.stored {
            let key = Key::decode(bytes).expect("a key that was written");
            state.absorb(Change::decode(key, value).unwrap().expect("a key of the core"));
        }
        state.set_position(self.entries.len() as u64);
        state
    }

    pub fn facts(&self) -> Vec<&Fact> {
        self.entries.iter().filter_map(|entry| entry.fact.as_ref()).collect()
    }

    /// Facts said since entry `n`, by name and main number.
    pub fn said_since(&self, n: usize) -> Vec<String> {
        self.facts()[n..].iter().map(|fact| brief(fact)).collect()
    }
}

pub fn brief(fact: &Fact) -> String {
    match fact {
        Fact::StockReceived(_) => "received".into(),
        Fact::RightsGranted(f) => format!("granted {}", f.granted_total),
        Fact::AllocationAccepted(_) => "accepted".into(),
        Fact::ItemPicked(f) => format!("picked {}", f.picked_total),
        Fact::ItemPacked(f) => format!("packed {}", f.packed_total),
        Fact::ShipmentDispatched(f) => format!("shipped {}", f.lines[0].shipped_total),
        Fact::AllocationDeclined(f) => {
            format!("declined {} lost {} now {}", f.cancelled_total, f.lost_total, f.lost_quantity)
        }
        Fact::CancellationAnswered(f) => {
            format!("cancel asked {} cancelled {} lost {}", f.requested_total, f.cancelled_total, f.lost_total)
        }
        Fact::ShortfallReported(f) => format!("shortfall {} at returned {}", f.level, f.returned_total),
        Fact::SoldAtCounter(_) => "sold".into(),
        Fact::ReturnReceived(_) => "return received".into(),
        Fact::ReturnInspected(_) => "return inspected".into(),
        Fact::StockAdjusted(f) => format!("adjusted {}", f.delta),
        other => format!("not a node's fact: {other:?}"),
    }
}

pub fn opened(n: u64, order: &str, item: &str, quantity: Quantity) -> Work {
    Work::Open {
        id: allocation(n),
        epoch: Epoch(1),
        order_id: doc(order),
        line: 1,
        stock_key: key(item),
        quantity,
        ship_to: Some(common::Place { country_code: "GB".into(), ..Default::default() }),
        handling: stockmesh_node_core::allocation::Handling::default(),
    }
}

pub fn receipt(id: &str, lines: &[(&str, Quantity, ReceivedCondition)]) -> Command {
    let cost = Money { currency: Currency::new("EUR").unwrap(), minor: 100 };
    let line = |(item, quantity, condition): &(&str, Quantity, ReceivedCondition)| {
        ReceiptLine::plain(key(item), *quantity, *condition, cost)
    };
    Command::ReceiveStock(ReceiveStock {
        receipt_id: doc(id),
        kind: ReceiptKind::PurchaseOrder,
        reference: "po-1".into(),
        lines: lines.iter().map(line).collect(),
        inbound: None,
    })
}

pub fn sale(id: &str, lines: &[(&str, Quantity)]) -> Command {
    let line = |(item, quantity): &(&str, Quantity)| SaleLine {
        stock_key: key(item),
        quantity: *quantity,
        price: common::LinePrice { sales_minor: 500, ..Default::default() },
    };
    Command::SellAtCounter(SellAtCounter {
        sale_id: doc(id),
        currency: Currency::new("EUR").unwrap(),
        lines: lines.iter().map(line).collect(),
        tender: common::Tender::Cash,
        sold_time_ms: None,
    })
}

pub fn pick(n: u64, quantity: Quantity) -> Command {
    Command::PickItems(PickItems { allocation: allocation(n), quantity })
}

pub fn pack(n: u64, quantity: Quantity) -> Command {
    Command::PackItems(PackItems { allocation: allocation(n), quantity })
}

pub fn ship(id: &str, lines: &[(u64, Quantity)]) -> Command {
    let lines =
        lines.iter().map(|(n, quantity)| ShipLine { allocation: allocation(*n), quantity: *quantity }).collect();
    Command::ShipItems(ShipItems { shipment_id: doc(id), lines, carrier: "DHL".into(), tracking: String::new() })
}

pub fn decline(n: u64, quantity: Quantity, reason: DeclineReason) -> Command {
    Command::DeclineAllocation(DeclineAllocation { allocation: allocation(n), quantity, reason })
}

pub fn adjust(item: &str, delta: Quantity, reason: AdjustReason) -> Command {
    Command::AdjustStock(AdjustStock::plain(doc("adj"), key(item), delta, reason))
}

pub fn return_goods(id: &str, item: &str, quantity: Quantity) -> Command {
    let bought_on = BoughtOn::Order { order_id: doc("o-1"), line: 1 };
    Command::ReceiveReturn(ReceiveReturn { return_id: doc(id), bought_on, stock_key: key(item), quantity })
}

pub fn inspect(id: &str, quantity: Quantity, disposition: Disposition) -> Command {
    Command::InspectReturn(InspectReturn { return_id: doc(id), quantity, disposition })
}

pub fn cancel(n: u64, requested_total: Quantity) -> Work {
    Work::Cancel { id: allocation(n), requested_total }
}

pub fn take_back(item: &str, returned_total: Quantity) -> Work {
    Work::TakeBackRights { epoch: Epoch(1), stock_key: key(item), returned_total }
}
