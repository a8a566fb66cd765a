//! `kill -9` of each process in turn while orders are placed and shipped: what was acknowledged stays, and everybody catches up.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::Signal;
use stockmesh_proto::coordinator::v1::OrderState;
use stockmesh_sim::network::Clients;
use tokio::task::JoinHandle;

use crate::world::{NODES, STORE_RESERVE, World, balance, eventually, place, shipment, web_order};

const ITEM: &str = "MUG-1";
/// Units received at the center and the store.
const RECEIVED: [i64; 2] = [5000, 500];
/// Orders that must be acknowledged while one process is away, and again after it is back; another number in each round, so that
/// kills meet other moments.
const ORDERS_PER_STEP: [usize; 3] = [8, 3, 1];

/// What the services acknowledged.
#[derive(Default)]
struct Acknowledged {
    /// Units by order.
    orders: Mutex<BTreeMap<String, i64>>,
    /// Units by shipment.
    shipments: Mutex<BTreeMap<String, i64>>,
    placed: AtomicUsize,
    enough_placed: AtomicBool,
    everything_shipped: AtomicBool,
}

/// Places orders of 1 to 3 units, one after the other.
async fn place_orders(clients: Clients, done: Arc<Acknowledged>) {
    let mut n = 0;
    while !done.enough_placed.load(Ordering::Relaxed) {
        n += 1;
        let (order_id, units) = (format!("KILL-{n}"), 1 + n % 3);
        place(&clients, &web_order(&order_id, &[(ITEM, units)])).await.expect("an order is placed in the end");
        done.orders.lock().unwrap().insert(order_id, units);
        done.placed.fetch_add(1, Ordering::Relaxed);
    }
}

/// Ships what one node has to ship; a request is repeated as it is until it is answered.
async fn ship_everything(clients: Clients, node: &'static str, done: Arc<Acknowledged>) {
    while !done.everything_shipped.load(Ordering::Relaxed) {
        for task in clients.all_tasks(node, true).await.expect("tasks are listed in the end") {
            let left = task.quantity - task.shipped - task.cancelled;
            let answer = clients.ship_items(shipment(node, &task, left)).await.expect("units are shipped in the end");
            done.shipments.lock().unwrap().insert(format!("{node} {}", answer.shipment_id), left);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn more_orders(done: &Acknowledged, count: usize, when: &str) {
    let wanted = done.placed.load(Ordering::Relaxed) + count;
    eventually(&format!("orders go on {when}"), || async {
        let placed = done.placed.load(Ordering::Relaxed);
        if placed >= wanted { Ok(()) } else { Err(format!("{placed} of {wanted}")) }
    })
    .await;
}

/// Orders that are placed and shipped in the background.
struct Work {
    done: Arc<Acknowledged>,
    placing: JoinHandle<()>,
    shipping: [JoinHandle<()>; 2],
}

impl Work {
    /// Receives goods and begins.
    async fn begin(world: &World) -> Self {
        world.master_data(&[ITEM]).await;
        for (node, units) in NODES.into_iter().zip(RECEIVED) {
            world.receive(node, ITEM, units, 250).await;
        }
        world.wait_until_available(ITEM, RECEIVED.iter().sum::<i64>() - STORE_RESERVE).await;
        let done = Arc::new(Acknowledged::default());
        let placing = tokio::spawn(place_orders(world.clients.clone(), Arc::clone(&done)));
        let shipping = NODES.map(|node| tokio::spawn(ship_everything(world.clients.clone(), node, Arc::clone(&done))));
        Self { done, placing, shipping }
    }

    /// Ends placing, lets everything ship, and compares what all parts say.
    async fn end(self, world: &mut World) {
        let Self { done, placing, shipping } = self;
        done.enough_placed.store(true, Ordering::Relaxed);
        placing.await.expect("placing went well");
        orders_are_shipped(world, &done).await;
        done.everything_shipped.store(true, Ordering::Relaxed);
        for task in shipping {
            task.await.expect("shipping went well");
        }
        world.settle().await;
        records_agree(world, &done).await;
        replicas_agree(world).await;
        assert_eq!(world.network.died_by_themselves(), Vec::<String>::new());
        let errors = world.log_lines(&["ERROR"]);
        assert!(errors.is_empty(), "kills are no errors of those that stay: {errors:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_process_is_killed_at_work_and_nothing_acknowledged_is_lost() {
    let mut world = World::start().await;
    let work = Work::begin(&world).await;
    let names: Vec<String> = world.network.process_names().map(str::to_owned).collect();
    assert_eq!(names.len(), 6, "three replicas, two nodes, finance: {names:?}");
    more_orders(&work.done, 8, "before the first kill").await;
    for count in ORDERS_PER_STEP {
        for name in &names {
            world.network.kill(name).await.unwrap();
            more_orders(&work.done, count, &format!("while {name} is away")).await;
            world.network.restart(name).await.unwrap();
            more_orders(&work.done, count, &format!("after {name} is back")).await;
        }
        let leader = world.network.wait_for_leader(None).await.unwrap();
        world.network.kill(&leader).await.unwrap();
        more_orders(&work.done, count, "under another leader").await;
        world.network.restart(&leader).await.unwrap();
    }
    work.end(&mut world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_of_everything_at_work_loses_nothing_acknowledged() {
    let mut world = World::start().await;
    let work = Work::begin(&world).await;
    let names: Vec<String> = world.network.process_names().map(str::to_owned).collect();
    for round in 1..=2 {
        more_orders(&work.done, 10, &format!("before power cut {round}")).await;
        for name in &names {
            world.network.process(name).unwrap().signal(Signal::SIGKILL).unwrap();
        }
        for name in &names {
            world.network.kill(name).await.unwrap();
        }
        for name in &names {
            world.network.restart(name).await.unwrap();
        }
        more_orders(&work.done, 5, &format!("after power cut {round}")).await;
    }
    work.end(&mut world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_hangs_is_replaced_and_does_no_harm_when_it_goes_on() {
    let mut world = World::start().await;
    let work = Work::begin(&world).await;
    more_orders(&work.done, 5, "before the leader hangs").await;
    let leader = world.network.wait_for_leader(None).await.unwrap();
    world.network.process(&leader).unwrap().signal(Signal::SIGSTOP).unwrap();
    let next = world.network.wait_for_leader(Some(&leader)).await.unwrap();
    assert_ne!(next, leader);
    more_orders(&work.done, 5, "while the old leader hangs").await;
    world.network.process(&leader).unwrap().signal(Signal::SIGCONT).unwrap();
    more_orders(&work.done, 5, "after it goes on").await;
    work.end(&mut world).await;
}

/// Every acknowledged order is there once, whole, and ships; no other order is.
async fn orders_are_shipped(world: &World, done: &Acknowledged) {
    let acknowledged = done.orders.lock().unwrap().clone();
    eventually("every acknowledged order is shipped", || async {
        let orders = world.clients.all_orders().await.expect("orders are listed");
        let mut found = BTreeMap::new();
        for status in &orders {
            let order_id = status.order.as_ref().expect("an order").order_id.clone();
            if found.insert(order_id.clone(), status.lines[0].ordered).is_some() {
                return Err(format!("{order_id} is listed twice"));
            }
        }
        if found != acknowledged {
            return Err(format!("{} orders are there, {} were acknowledged", found.len(), acknowledged.len()));
        }
        let waiting = orders.iter().filter(|status| status.state() != OrderState::Shipped).count();
        if waiting == 0 { Ok(()) } else { Err(format!("{waiting} are not shipped")) }
    })
    .await;
}

/// Orders, shipments, stock, rights and books all count the same units.
async fn records_agree(world: &World, done: &Acknowledged) {
    let units: i64 = done.orders.lock().unwrap().values().sum();
    assert_eq!(done.shipments.lock().unwrap().values().sum::<i64>(), units, "acknowledged shipments");
    let mut shipped = 0;
    for (node, received) in NODES.into_iter().zip(RECEIVED) {
        let level = world.level(node, ITEM).await;
        assert_eq!(level.on_hand + level.shipped_total, received, "{node}: {level:?}");
        shipped += level.shipped_total;
    }
    assert_eq!(shipped, units, "units that left the nodes");
    let cells = world.clients.all_cells().await.expect("cells are listed");
    assert_eq!(cells.iter().map(|cell| cell.shipped).sum::<i64>(), units, "units that left, as the coordinator knows");
    assert!(cells.iter().all(|cell| cell.open == 0 && cell.free >= 0), "{cells:?}");

    let balances = world.trial_balance().await;
    let sum = |name: &str| balance(&balances, name);
    assert_eq!(balances.iter().map(|one| one.debit_minor - one.credit_minor).sum::<i64>(), 0);
    assert_eq!(sum("Income:Sales"), -1000 * units);
    assert_eq!(sum("Liabilities:TaxPayable"), -200 * units);
    assert_eq!(sum("Expenses:CostOfGoodsSold"), 250 * units);
    assert_eq!(sum("Assets:Inventory"), 250 * (RECEIVED.iter().sum::<i64>() - units));
    assert_eq!(sum("Liabilities:CustomerDeposits"), 0);
}

/// Every replica comes to the same state.
async fn replicas_agree(world: &World) {
    eventually("replicas have the same state", || async {
        let statuses = world.clients.replica_statuses().await;
        let states: Vec<_> = statuses
            .iter()
            .map(|(_, status)| status.as_ref().map(|status| (status.applied_index, status.state_hash.clone())))
            .collect();
        let same = states.len() == 3 && states[0].is_some() && states.iter().all(|state| *state == states[0]);
        if same { Ok(()) } else { Err(format!("{states:?}")) }
    })
    .await;
}
