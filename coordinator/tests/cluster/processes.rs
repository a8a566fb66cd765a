//! Real processes: leaders that are killed under load, and one that is stopped and goes on as if nothing had been.
//!
//! The long form: `STOCKMESH_KILLS=100 STOCKMESH_STOP_SECONDS=30 cargo test --release -p stockmesh-coordinator --test cluster
//! processes -- --nocapture --test-threads 1`. It prints how long it took until the next order was accepted.

use std::fmt::Write as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use stockmesh_proto::coordinator::v1::PlaceOrderRequest;
use stockmesh_proto::coordinator::v1::order_service_client::OrderServiceClient;
use stockmesh_service::Security;
use tokio::net::TcpListener;

use super::group::*;

struct Processes {
    group: Group,
    children: Vec<Option<Child>>,
}

impl Drop for Processes {
    fn drop(&mut self) {
        for child in self.children.iter_mut().flatten() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Processes {
    async fn start() -> Self {
        let mut listeners = Vec::new();
        for _ in 0..3 {
            listeners.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
        }
        let addresses: Vec<String> = listeners.iter().map(|one| one.local_addr().unwrap().to_string()).collect();
        drop(listeners);
        let group = Group {
            folder: tempfile::tempdir().unwrap(),
            addresses,
            replicas: (0..3).map(|_| None).collect(),
            snapshot_every: 2_000,
            ids: vec![1, 2, 3],
            joined: Vec::new(),
            security: Security::InsecureDev,
            asker: Security::InsecureDev,
        };
        let mut processes = Self { group, children: vec![None, None, None] };
        (0..3).for_each(|at| processes.spawn(at));
        processes.leader().await;
        processes
    }

    fn spawn(&mut self, at: usize) {
        let Group { folder, addresses, snapshot_every, .. } = &self.group;
        let mut config = format!(
            "replica_id = {}\nlisten = \"{}\"\ndata_dir = \"{}\"\nfinance = [\"main\"]\nsnapshot_every_entries = {snapshot_every}\n",
            at + 1,
            addresses[at],
            self.group.data_dir(at).display()
        );
        for (n, address) in addresses.iter().enumerate() {
            write!(config, "[[replicas]]\nid = {}\naddress = \"{address}\"\n", n + 1).unwrap();
        }
        let path = folder.path().join(format!("{at}.toml"));
        std::fs::write(&path, config).unwrap();
        let log = std::fs::File::options().create(true).append(true).open(folder.path().join(format!("{at}.log")));
        let child = Command::new(env!("CARGO_BIN_EXE_stockmesh-coordinator"))
            .args(["--insecure-dev", "serve", "--config"])
            .arg(path)
            .stdout(Stdio::null())
            .stderr(log.unwrap())
            .spawn();
        self.children[at] = Some(child.unwrap());
    }

    fn kill(&mut self, at: usize) {
        let mut child = self.children[at].take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn signal(&self, at: usize, signal: &str) {
        let pid = self.children[at].as_ref().expect("it runs").id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// A replica that leads, by its own word and by that of a majority.
    async fn leader(&self) -> usize {
        eventually("a leader", || async {
            let mut named = Vec::new();
            for at in 0..3 {
                if self.children[at].is_some() {
                    named.extend(self.group.status(at).await.map(|status| status.leader_id));
                }
            }
            let leader = *named.first()?;
            let agreed = named.iter().filter(|id| **id == leader).count() >= 2;
            let at = usize::try_from(leader).ok()?.checked_sub(1)?;
            (agreed && self.children[at].is_some()).then_some(at)
        })
        .await
    }

    async fn agree(&self) {
        eventually("all replicas to hold the same state", || async {
            let mut seen = Vec::new();
            for at in 0..3 {
                let status = self.group.status(at).await?;
                seen.push((status.applied_index, status.state_hash));
            }
            seen.windows(2).all(|two| two[0] == two[1]).then_some(())
        })
        .await;
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

async fn place_by(client: &stockmesh_service::Cluster, id: &str) -> bool {
    let order = order(id, "MUG-1", 1);
    let placed = client.call(|channel| {
        let request = PlaceOrderRequest { order: Some(order.clone()), incarnation: 0 };
        async move { OrderServiceClient::new(channel).place_order(request).await }
    });
    placed.await.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_leaders_are_replaced_and_nothing_acknowledged_is_lost() {
    const STOCK: i64 = 10_000_000;
    let mut processes = Processes::start().await;
    stock(&processes.group, &[("MUG-1", STOCK)]).await;
    let (acknowledged, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
    let load: Vec<_> = (0..4)
        .map(|task| {
            let (client, acknowledged, stop) = (processes.group.client(), acknowledged.clone(), stop.clone());
            tokio::spawn(async move {
                for n in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let id = format!("K-{task}-{n}");
                    if place_by(&client, &id).await {
                        acknowledged.lock().unwrap().push(id);
                    }
                }
            })
        })
        .collect();
    let mut until_next_ms = Vec::new();
    for round in 0..number("STOCKMESH_KILLS", 3) {
        let leader = processes.leader().await;
        let before = acknowledged.lock().unwrap().len();
        eventually("orders to flow", || async { (acknowledged.lock().unwrap().len() >= before + 20).then_some(()) })
            .await;
        processes.kill(leader);
        let killed = Instant::now();
        let id = format!("NEXT-{round}");
        assert!(place_by(&processes.group.client(), &id).await, "no order was accepted after round {round}");
        until_next_ms.push(killed.elapsed().as_millis());
        acknowledged.lock().unwrap().push(id);
        processes.spawn(leader);
    }
    stop.store(true, Ordering::SeqCst);
    for task in load {
        task.await.unwrap();
    }
    processes.leader().await;
    processes.agree().await;
    until_next_ms.sort_unstable();
    let at = |percent: usize| until_next_ms[(until_next_ms.len() - 1) * percent / 100];
    let acknowledged = acknowledged.lock().unwrap().clone();
    println!(
        "{} leaders killed, {} orders acknowledged; until the next was accepted: p50 {} ms, p99 {} ms, longest {} ms",
        until_next_ms.len(),
        acknowledged.len(),
        at(50),
        at(99),
        at(100)
    );
    for (n, id) in acknowledged.iter().enumerate().step_by(acknowledged.len() / 2_000 + 1) {
        assert_eq!(get(&processes.group, n % 3, id).await.lines[0].allocations.len(), 1, "{id}");
    }
    // Every unit that is not free is promised to exactly one order, and every order that was acknowledged is there.
    let status = processes.group.status(0).await.unwrap();
    assert!(
        status.orders >= acknowledged.len() as u64,
        "{} orders, {} acknowledged",
        status.orders,
        acknowledged.len()
    );
    let orders = i64::try_from(status.orders).unwrap();
    assert_eq!(available(&processes.group, 0, "MUG-1").await, STOCK - orders);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_was_stopped_serves_nothing_stale_when_it_goes_on() {
    let processes = Processes::start().await;
    stock(&processes.group, &[("MUG-1", 1_000)]).await;
    let leader = processes.leader().await;
    assert_eq!(available(&processes.group, leader, "MUG-1").await, 1_000);
    let reader = processes.group.channel(leader);
    processes.signal(leader, "-STOP");
    let stopped = Instant::now();
    let mut placed = 0;
    let others = stockmesh_service::Cluster::new(
        stockmesh_service::Dialer::new(Security::InsecureDev),
        (0..3).filter(|at| *at != leader).map(|at| processes.group.addresses[at].clone()).collect(),
        PATIENCE,
    );
    let long = Duration::from_secs(number("STOCKMESH_STOP_SECONDS", 2));
    while placed < 5 || stopped.elapsed() < long {
        assert!(place_by(&others, &format!("S{placed}")).await);
        placed += 1;
        tokio::time::sleep(long / 20).await;
    }
    // A read that waits at the stopped leader when it goes on, and others that come at once.
    let asking: Vec<_> = (0..20)
        .map(|_| {
            let (reader, key) = (reader.clone(), key("MUG-1"));
            tokio::spawn(async move { read(reader, key).await })
        })
        .collect();
    processes.signal(leader, "-CONT");
    let mut answered = 0;
    for asked in asking {
        // It may say that it can't tell; it must not say what was.
        if let Ok(free) = asked.await.unwrap() {
            assert_eq!(free, 1_000 - placed, "a stale read");
            answered += 1;
        }
    }
    println!("stopped for {:?}, {placed} orders placed meanwhile, {answered} reads answered", stopped.elapsed());
    assert_eq!(available(&processes.group, leader, "MUG-1").await, 1_000 - placed);
}

async fn read(
    channel: tonic::transport::Channel,
    key: stockmesh_proto::common::v1::StockKey,
) -> Result<i64, tonic::Status> {
    use stockmesh_proto::coordinator::v1::availability_service_client::AvailabilityServiceClient;
    use stockmesh_proto::coordinator::v1::{GetAvailabilityRequest, ReadConsistency};
    let request = GetAvailabilityRequest { stock_keys: vec![key], consistency: ReadConsistency::Linearizable.into() };
    let answer = AvailabilityServiceClient::new(channel).get_availability(request).await?;
    Ok(answer.into_inner().availability[0].available_to_fulfill)
}
