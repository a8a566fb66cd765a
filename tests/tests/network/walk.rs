//! The walk of an order through the whole: master data, goods in, promise, work, shipment, counter, return, books.

use stockmesh_proto::common::v1::Tender;
use stockmesh_proto::coordinator::v1::{CancelOrderRequest, OrderState};
use stockmesh_proto::feed::v1::{CounterSaleLine, Disposition};
use stockmesh_proto::node::v1::{
    InspectReturnRequest, PackItemsRequest, PickItemsRequest, ReceiveReturnRequest, SellAtCounterRequest, TaskState,
};
use stockmesh_service::request::new_request_id;

use crate::world::{STORE_RESERVE, World, balance, create_items, key_of, price, shipment, web_order};

const MUG: &str = "MUG-1";
const LAMP: &str = "LAMP-1";

#[tokio::test(flavor = "multi_thread")]
async fn an_order_walks_through_the_network_into_the_books() {
    let world = World::start().await;
    let clients = &world.clients;

    // Master data; a repeat with the same id is answered the same.
    let items = create_items(&[MUG, LAMP]);
    let first = clients.create_items(items.clone()).await.unwrap();
    assert_eq!((first.created, first.existing), (2, 0));
    assert_eq!(clients.create_items(items).await.unwrap(), first);
    world.master_data(&[MUG, LAMP]).await;

    // Goods in: 100 mugs and 10 lamps at the center, 20 mugs at the store. 6 stay with the counter.
    world.receive("dc-1", MUG, 100, 250).await;
    world.receive("dc-1", LAMP, 10, 900).await;
    world.receive("store-1", MUG, 20, 250).await;
    world.wait_until_available(MUG, 100 + 20 - STORE_RESERVE).await;
    world.wait_until_available(LAMP, 10).await;

    // An order is promised at once, and placed once however often it is sent.
    let order = web_order("WALK-1", &[(MUG, 3), (LAMP, 2)]);
    let placed = world.place(&order).await.unwrap();
    assert_eq!(placed.state(), OrderState::Promised);
    assert_eq!(world.place(&order).await.unwrap().lines, placed.lines);
    world.wait_until_available(MUG, 100 + 20 - STORE_RESERVE - 3).await;

    // Work arrives at nodes; one mug is picked, packed and shipped first, then the rest without picking each.
    let work = world.work_of("WALK-1", 5).await;
    let (node, mugs) = work.iter().find(|(_, task)| task.stock_key == Some(key_of(MUG))).expect("mugs are allocated");
    let (node, allocation) = (node.clone(), mugs.allocation);
    let pick = PickItemsRequest { node: node.clone(), request_id: new_request_id(), allocation, quantity: 1 };
    assert_eq!(clients.pick_items(pick).await.unwrap().task.unwrap().picked, 1);
    let pack = PackItemsRequest { node: node.clone(), request_id: new_request_id(), allocation, quantity: 1 };
    assert_eq!(clients.pack_items(pack).await.unwrap().task.unwrap().packed, 1);
    let ship = shipment(&node, mugs, 1);
    let shipped = clients.ship_items(ship.clone()).await.unwrap();
    assert_eq!(clients.ship_items(ship).await.unwrap(), shipped, "a repeat ships nothing more");
    let partial = world.wait_until_order("WALK-1", OrderState::PartiallyShipped).await;
    assert_eq!(partial.lines.iter().map(|line| line.shipped).sum::<i64>(), 1);
    for (node, task) in world.work_of("WALK-1", 5).await {
        let left = task.quantity - task.shipped;
        if left > 0 {
            let shipped = clients.ship_items(shipment(&node, &task, left)).await.unwrap();
            assert!(shipped.tasks.iter().all(|task| task.state() == TaskState::Shipped));
        }
    }
    world.wait_until_order("WALK-1", OrderState::Shipped).await;

    // An order that is cancelled before it ships gives its units back.
    world.place(&web_order("WALK-2", &[(LAMP, 4)])).await.unwrap();
    world.wait_until_available(LAMP, 10 - 2 - 4).await;
    let cancel = CancelOrderRequest { request_id: new_request_id(), order_id: "WALK-2".into(), lines: vec![] };
    clients.cancel_order(cancel).await.unwrap();
    let cancelled = world.wait_until_order("WALK-2", OrderState::Cancelled).await;
    assert_eq!(cancelled.lines[0].cancelled, 4);
    world.wait_until_available(LAMP, 10 - 2).await;

    // An order beyond the stock waits for the rest of it.
    let short = world.place(&web_order("WALK-3", &[(LAMP, 9)])).await.unwrap();
    assert_eq!((short.state(), short.lines[0].backordered), (OrderState::PartiallyPromised, 1));
    world.receive("dc-1", LAMP, 1, 900).await;
    let filled = world.wait_until_order("WALK-3", OrderState::Promised).await;
    assert_eq!(filled.lines[0].backordered, 0);

    // The counter sells what the store kept.
    let sale = SellAtCounterRequest {
        node: "store-1".into(),
        request_id: new_request_id(),
        sale_id: "TILL-1".into(),
        currency_code: "GBP".into(),
        lines: vec![CounterSaleLine {
            stock_key: Some(key_of(MUG)),
            quantity: 2,
            price: Some(price(2, 1100)),
            ..Default::default()
        }],
        tender: Tender::Cash.into(),
        sold_time_ms: 0,
    };
    clients.sell_at_counter(sale).await.unwrap();

    // A mug comes back, is looked at, and is sellable again.
    let on_hand = world.level("dc-1", MUG).await.on_hand;
    let back = ReceiveReturnRequest {
        node: "dc-1".into(),
        request_id: new_request_id(),
        return_id: "RET-1".into(),
        order_id: "WALK-1".into(),
        line: 1,
        stock_key: Some(key_of(MUG)),
        quantity: 1,
        ..Default::default()
    };
    clients.receive_return(back).await.unwrap();
    assert_eq!(world.level("dc-1", MUG).await.return_pending, 1);
    let inspect = InspectReturnRequest {
        node: "dc-1".into(),
        request_id: new_request_id(),
        return_id: "RET-1".into(),
        quantity: 1,
        disposition: Disposition::Resale.into(),
        ..Default::default()
    };
    clients.inspect_return(inspect).await.unwrap();
    assert_eq!(world.level("dc-1", MUG).await.on_hand, on_hand + 1);
    world.settle().await;
    assert_eq!(world.order("WALK-1").await.lines[0].returned, 1);

    the_books_say_so(&world).await;
    let complaints = world.log_lines(&["WARN", "ERROR"]);
    assert!(complaints.is_empty(), "nothing went wrong, and logs complain: {complaints:#?}");
}

/// Shipped: 3 mugs, 2 lamps on the web; sold: 2 mugs at the counter; returned: 1 mug. Minor units.
async fn the_books_say_so(world: &World) {
    let balances = world.trial_balance().await;
    let sum = |name: &str| balance(&balances, name);
    assert_eq!(balances.iter().map(|one| one.debit_minor - one.credit_minor).sum::<i64>(), 0);
    assert_eq!(sum("Income:Sales"), -(5 * 1000 + 2 * 1100));
    assert_eq!(sum("Income:SalesReturns"), 1000);
    assert_eq!(sum("Liabilities:TaxPayable"), -(1000 + 440 - 200));
    assert_eq!(sum("Expenses:CostOfGoodsSold"), (3 + 2 - 1) * 250 + 2 * 900);
    assert_eq!(sum("Assets:Inventory"), (120 - 5 + 1) * 250 + (11 - 2) * 900);
    assert_eq!(sum("Liabilities:Grni"), -(120 * 250 + 11 * 900));
    assert_eq!(sum("Assets:ReturnsPending"), 0);
    let values = world.clients.all_stock_values().await.unwrap();
    assert_eq!(values.iter().map(|value| value.value_minor).sum::<i64>(), sum("Assets:Inventory"));
    for value in values {
        let level = world.level(&value.node, &value.item).await;
        assert_eq!(value.quantity, level.on_hand + level.quarantined + level.damaged, "{} {}", value.node, value.item);
    }
    // Of the prepaid orders, WALK-3 is still to be supplied: 9 lamps with VAT.
    assert_eq!(sum("Liabilities:CustomerDeposits"), -(9 * 1000 * 12 / 10));
}
