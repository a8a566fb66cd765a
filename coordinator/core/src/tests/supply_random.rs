//! Random histories of orders, purchase orders, transfers and receipts against nodes that keep the rules: after every step
//! all invariants hold, claims follow the queue, and a snapshot is read to the same state.

use proptest::prelude::*;
use stockmesh_proto::common::v1::ShortagePolicy::{Backorder, Cancel};
use stockmesh_proto::feed::v1 as feed;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::raft::v1 as log;
use stockmesh_proto::raft::v1::command::Kind;

use super::audit::audit;
use super::supply::{create, day, line, purchase, receipt};
use super::transfers::{draft, opened, received, release, shipped};
use super::world::{World, item_name, key, order};

const ITEMS: usize = 2;
const NODES: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    Order {
        item: usize,
        units: i64,
        waits: bool,
    },
    CancelOrder {
        nth: usize,
    },
    Purchase {
        item: usize,
        node: usize,
        units: i64,
        days: i64,
    },
    Amend {
        nth: usize,
        units: i64,
        days: i64,
    },
    Close {
        nth: usize,
    },
    Receive {
        nth: usize,
        units: i64,
    },
    Grant {
        item: usize,
        node: usize,
        units: i64,
    },
    Transfer {
        item: usize,
        from: usize,
        units: i64,
        partial: bool,
    },
    CancelTransfer {
        nth: usize,
    },
    /// A node ships, declines or answers its nth allocation.
    Ship {
        node: usize,
        nth: usize,
        units: i64,
    },
    Decline {
        node: usize,
        nth: usize,
        lost: bool,
    },
    Book {
        nth: usize,
        good: i64,
        damaged: i64,
        short: i64,
    },
    Settle,
}

fn step() -> impl Strategy<Value = Step> {
    let (item, node, nth) = (|| 0..ITEMS, || 0..NODES, || 0usize..6);
    prop_oneof![
        3 => (item(), 1i64..8, any::<bool>()).prop_map(|(item, units, waits)| Step::Order { item, units, waits }),
        1 => nth().prop_map(|nth| Step::CancelOrder { nth }),
        2 => (item(), node(), 1i64..12, 0i64..9)
            .prop_map(|(item, node, units, days)| Step::Purchase { item, node, units, days }),
        1 => (nth(), 1i64..12, 0i64..9).prop_map(|(nth, units, days)| Step::Amend { nth, units, days }),
        1 => nth().prop_map(|nth| Step::Close { nth }),
        2 => (nth(), 1i64..9).prop_map(|(nth, units)| Step::Receive { nth, units }),
        3 => (item(), node(), 1i64..9).prop_map(|(item, node, units)| Step::Grant { item, node, units }),
        2 => (item(), node(), 1i64..7, any::<bool>())
            .prop_map(|(item, from, units, partial)| Step::Transfer { item, from, units, partial }),
        1 => nth().prop_map(|nth| Step::CancelTransfer { nth }),
        3 => (node(), nth(), 1i64..6).prop_map(|(node, nth, units)| Step::Ship { node, nth, units }),
        1 => (node(), nth(), any::<bool>()).prop_map(|(node, nth, lost)| Step::Decline { node, nth, lost }),
        2 => (nth(), 0i64..5, 0i64..2, 0i64..2)
            .prop_map(|(nth, good, damaged, short)| Step::Book { nth, good, damaged, short }),
        2 => Just(Step::Settle),
    ]
}

#[derive(Default)]
struct Totals {
    granted: std::collections::BTreeMap<(usize, usize), i64>,
    orders: usize,
    purchases: Vec<(String, usize, usize)>,
    transfers: Vec<(String, usize, usize, usize)>,
    /// By allocation: shipped and cancelled.
    work: std::collections::BTreeMap<(usize, usize), (i64, i64)>,
    booked: std::collections::BTreeMap<usize, (i64, i64, i64)>,
}

fn pick<T>(all: &[T], nth: usize) -> Option<(usize, &T)> {
    let at = nth.checked_rem(all.len())?;
    Some((at, &all[at]))
}

fn act(world: &mut World, totals: &mut Totals, step: &Step) {
    let name = |n: usize| format!("n{n}");
    match *step {
        Step::Order { item, units, waits } => {
            totals.orders += 1;
            let policy = if waits { Backorder } else { Cancel };
            world.place(&order(&format!("o{}", totals.orders), policy, &[(&item_name(item), units)])).unwrap();
        }
        Step::CancelOrder { nth } if totals.orders > 0 => {
            let order_id = format!("o{}", nth % totals.orders + 1);
            // Nothing may be left of it.
            let _ = world.write(Kind::CancelOrder(log::CancelOrder { order_id, lines: vec![] }));
        }
        Step::CancelOrder { .. } => {}
        Step::Purchase { item, node, units, days } => {
            let id = format!("p{}", totals.purchases.len());
            world.write(create(purchase(&id, &name(node), days, &[line(1, &item_name(item), units)]))).unwrap();
            totals.purchases.push((id, node, item));
        }
        Step::Amend { nth, units, days } => {
            let Some((_, (id, _, item))) = pick(&totals.purchases, nth) else { return };
            let lines = vec![line(1, &item_name(*item), units)];
            let amend =
                log::AmendPurchaseOrder { purchase_order_id: id.clone(), revision: 0, expected_date: day(days), lines };
            // It may have ended, or more may have arrived.
            let _ = world.write(Kind::AmendPurchaseOrder(amend));
        }
        Step::Close { nth } => {
            let Some((_, (id, ..))) = pick(&totals.purchases, nth) else { return };
            let close = log::ClosePurchaseOrder { purchase_order_id: id.clone(), cancel: false };
            let _ = world.write(Kind::ClosePurchaseOrder(close));
        }
        Step::Receive { nth, units } => {
            let Some((_, (id, node, item))) = pick(&totals.purchases, nth) else { return };
            let fact = receipt("r", id, &[(1, &item_name(*item), units)]);
            world.fact(&name(*node), fact).unwrap();
        }
        Step::Grant { item, node, units } => {
            let total = totals.granted.entry((item, node)).or_default();
            *total += units;
            world.grant(&name(node), &item_name(item), *total);
        }
        Step::Transfer { item, from, units, partial } => {
            let (id, to) = (format!("t{}", totals.transfers.len()), (from + 1) % NODES);
            world.write(draft(&id, &name(from), &name(to), &[(&item_name(item), units)])).unwrap();
            // It may find nothing free.
            let _ = world.write(release(&id, partial));
            totals.transfers.push((id, from, to, item));
        }
        Step::CancelTransfer { nth } => {
            let Some((_, (id, ..))) = pick(&totals.transfers, nth) else { return };
            let _ = world.write(Kind::CancelTransfer(log::CancelTransfer { transfer_id: id.clone() }));
        }
        Step::Ship { node, nth, units } => {
            let all = opened(world, &name(node));
            let Some((at, of)) = pick(&all, nth) else { return };
            let (shipped_before, cancelled) = totals.work.entry((node, at)).or_default();
            let units = units.min(of.quantity - *shipped_before - *cancelled);
            if units <= 0 {
                return;
            }
            *shipped_before += units;
            let fact = match &of.transfer {
                Some(to) => shipped(&to.transfer_id, &to.destination_node, &[(of, units, *shipped_before)]),
                None => Fact::ShipmentDispatched(feed::ShipmentDispatched {
                    shipment_id: "s".into(),
                    order_id: of.order_id.clone(),
                    lines: vec![feed::ShipmentLine {
                        allocation: of.allocation,
                        line: of.line,
                        stock_key: of.stock_key.clone(),
                        quantity: units,
                        shipped_total: *shipped_before,
                        ..Default::default()
                    }],
                    ..Default::default()
                }),
            };
            world.fact(&name(node), fact).unwrap();
        }
        Step::Decline { node, nth, lost } => {
            let all = opened(world, &name(node));
            let Some((at, of)) = pick(&all, nth) else { return };
            let (shipped_before, cancelled) = totals.work.entry((node, at)).or_default();
            let left = of.quantity - *shipped_before - *cancelled;
            if left <= 0 {
                return;
            }
            *cancelled += left;
            let fact = feed::AllocationDeclined {
                allocation: of.allocation,
                cancelled_total: *cancelled,
                lost_total: if lost { left } else { 0 },
                reason: feed::DeclineReason::NotFound.into(),
                stock_key: Some(key("A")),
                lost_quantity: 0,
            };
            world.fact(&name(node), Fact::AllocationDeclined(fact)).unwrap();
        }
        Step::Book { nth, good, damaged, short } => {
            let Some((at, (id, from, to, item))) = pick(&totals.transfers, nth) else { return };
            let booked = totals.booked.entry(at).or_default();
            *booked = (booked.0 + good, booked.1 + damaged, booked.2 + short);
            let fact = received(id, &name(*from), 1, &item_name(*item), booked.0, booked.1, booked.2);
            world.fact(&name(*to), fact).unwrap();
        }
        Step::Settle => world.settle(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn every_history_keeps_the_invariants(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::with(ITEMS, NODES);
        let mut totals = Totals::default();
        for step in &steps {
            act(&mut world, &mut totals, step);
            audit(&world.state);
        }
        world.settle();
        audit(&world.state);
        // The same log gives the same bytes.
        let mut again = crate::State::new();
        for (index, entry) in &world.log {
            again.apply(*index, entry).unwrap();
        }
        prop_assert_eq!(again.digest(), world.state.digest());
        // Whatever was shipped of a transfer is in transit or accounted for, and never both.
        for (id, ..) in &totals.transfers {
            for line in world.state.transfer(id).unwrap().lines {
                prop_assert!(line.shipped + line.cancelled <= line.quantity);
            }
        }
    }
}
