//! The actor: nothing is answered or shown before it is durable, what waits becomes one group, and bounds hold.

mod common;

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::*;
use stockmesh_node::actor::{NodeHandle, start};
use stockmesh_node::engine::Opened;
use stockmesh_node::links::NodeFeed;
use stockmesh_node::store::{Batch, MarkerFile, Store, StoreError};
use stockmesh_node::writer::{self, Parts, WriterHandle};
use stockmesh_node_core::Answer;
use stockmesh_proto::entry::Head;
use stockmesh_service::link::{FeedSource, LinkError};
use stockmesh_types::{ChainHash, LogTime, Principal, Reason};

/// A store whose syncs wait until the test lets them through.
struct GatedStore {
    inner: LossyStore,
    gate: Mutex<mpsc::Receiver<()>>,
}

impl Store for GatedStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get(key)
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), StoreError> {
        self.inner.scan(from, to, visit)
    }

    fn write(&self, batch: &Batch) -> Result<(), StoreError> {
        self.inner.write(batch)
    }

    fn sync(&self) -> Result<(), StoreError> {
        // A closed gate lets everything through.
        let _ = self.gate.lock().unwrap().recv();
        self.inner.sync()
    }
}

struct TestNode {
    node: NodeHandle,
    store: WriterHandle,
    disk: LossyStore,
    gate: Option<mpsc::Sender<()>>,
    faults: Arc<Mutex<Vec<String>>>,
    room: Arc<AtomicU64>,
    _dir: tempfile::TempDir,
}

/// Starts a node on a disk; with `gated`, its syncs wait for the gate.
fn node_on(disk: &LossyStore, gated: bool) -> TestNode {
    let dir = tempfile::tempdir().unwrap();
    let (marker, _) = MarkerFile::open(&dir.path().join("marker")).unwrap();
    let opened = Opened::Ready(Box::new(ready(disk, Some(mark_of(disk)))));
    start_node(disk, gated, dir, marker, opened)
}

fn mark_of(disk: &LossyStore) -> stockmesh_node::store::Mark {
    match opened(disk, None) {
        Opened::Ready(engine) | Opened::Recovering(engine, _) => {
            stockmesh_node::store::Mark { epoch: 1, head: engine.head() }
        }
    }
}

fn start_node(disk: &LossyStore, gated: bool, dir: tempfile::TempDir, marker: MarkerFile, opened: Opened) -> TestNode {
    let (gate, gated_by) = mpsc::channel();
    let faults = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&faults);
    let on_fault = Arc::new(move |error: &StoreError| heard.lock().unwrap().push(error.to_string()));
    let room = Arc::new(AtomicU64::new(u64::MAX));
    let read = Arc::clone(&room);
    let parts = Parts {
        name: "dc-1".into(),
        opened,
        store: Arc::new(GatedStore { inner: disk.clone(), gate: Mutex::new(gated_by) }),
        marker,
        gauge: Box::new(move || Ok(read.load(Ordering::Relaxed))),
        clock: Box::new(|| LogTime(NOON)),
        peers: vec!["coordinator/1".to_owned()],
        keep_ms: 0,
        on_fault,
    };
    let (store, tail, _) = writer::spawn(parts);
    let node = start(&actix::Arbiter::current(), store.clone(), tail);
    let gate = gated.then_some(gate);
    TestNode { node, store, disk: disk.clone(), gate, faults, room, _dir: dir }
}

impl TestNode {
    fn open_gate(&self) {
        self.gate.as_ref().unwrap().send(()).unwrap();
    }

    async fn range(&self, coordinator: &Coordinator) -> Head {
        self.node.follow(coordinator.feed.clone(), coordinator.entries.clone()).await.unwrap()
    }

    fn receive(&self, n: u64) -> impl Future<Output = Result<Answer, stockmesh_types::Reject>> + 'static {
        let node = self.node.clone();
        async move { node.command(Principal::insecure(), Some(stamp(n)), receipt(&format!("r-{n}"), "A", 1)).await }
    }
}

fn run(test: impl Future<Output = ()>) {
    actix_rt::System::new().block_on(test);
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[test]
fn nothing_is_answered_or_shown_before_it_is_durable() {
    run(async {
        let disk = LossyStore::default();
        let mut coordinator = Coordinator::default();
        coordinator.range("A");
        node_on(&disk, false).range(&coordinator).await;
        let node = node_on(&disk, true);
        let written = |disk: &LossyStore| disk.0.lock().unwrap().visible.len();
        let before = written(&disk);
        let first = actix_rt::spawn(node.receive(1));
        until("the first write", || written(&disk) > before).await;
        // All of these come while the first group waits for its sync.
        let others: Vec<_> = (2..=40).map(|n| actix_rt::spawn(node.receive(n))).collect();
        let read = actix_rt::spawn({
            let node = node.node.clone();
            async move { node.read(|view| Ok((view.head.seq, view.state.cell(&key("A")).unwrap().on_hand))).await }
        });
        tokio::task::yield_now().await;
        assert!(!first.is_finished() && !read.is_finished());
        assert_eq!(node.node.tail().head(), Head::START, "an entry showed before it was durable");
        let syncs = disk.0.lock().unwrap().syncs;
        node.open_gate();
        first.await.unwrap().unwrap();
        node.open_gate();
        for other in others {
            other.await.unwrap().unwrap();
        }
        // The read saw the state as it was when its turn came, all of it durable.
        assert_eq!(read.await.unwrap().unwrap(), (80, 40));
        assert_eq!(disk.0.lock().unwrap().syncs - syncs, 2, "39 requests that waited are one group");
        assert_eq!(node.node.tail().head().seq, 80);
    });
}

#[test]
fn a_repeat_gets_the_first_answer_even_from_the_same_group_and_after_a_restart() {
    run(async {
        let disk = LossyStore::default();
        let mut coordinator = Coordinator::default();
        coordinator.range("A");
        let node = node_on(&disk, false);
        node.range(&coordinator).await;
        let (first, second) = tokio::join!(node.receive(1), node.receive(1));
        let first = first.unwrap();
        assert_eq!(first, second.unwrap());
        node.receive(2).await.unwrap();
        assert_eq!(node.receive(1).await.unwrap(), first, "the first answer, not a new one");
        drop(node);
        disk.crash();
        let node = node_on(&disk, false);
        assert_eq!(node.receive(1).await.unwrap(), first);
        let on_hand = node.node.read(|view| Ok(view.state.cell(&key("A")).unwrap().on_hand)).await.unwrap();
        assert_eq!(on_hand, 2);
    });
}

#[test]
fn a_fault_of_the_store_stops_it_and_nobody_is_told_yes() {
    run(async {
        let disk = LossyStore::default();
        let mut coordinator = Coordinator::default();
        coordinator.range("A");
        let node = node_on(&disk, false);
        node.range(&coordinator).await;
        disk.0.lock().unwrap().fail_next_sync = true;
        assert_eq!(node.receive(1).await.map_err(|reject| reject.reason).err(), Some(Reason::ShuttingDown));
        until("the fault", || !node.faults.lock().unwrap().is_empty()).await;
        assert!(node.faults.lock().unwrap()[0].contains("on fire"));
        assert_eq!(node.node.tail().head(), Head::START);
        disk.crash();
        disk.0.lock().unwrap().fail_next_sync = false;
        let node = node_on(&disk, false);
        node.receive(1).await.unwrap();
    });
}

#[test]
fn a_full_queue_is_said_and_nothing_is_lost() {
    run(async {
        let disk = LossyStore::default();
        let mut coordinator = Coordinator::default();
        coordinator.range("A");
        node_on(&disk, false).range(&coordinator).await;
        let node = node_on(&disk, true);
        let asks: Vec<_> = (0..12_000).map(|n| actix_rt::spawn(node.receive(n))).collect();
        // Let the first groups through, however many there are.
        (0..100).for_each(|_| node.open_gate());
        let (mut done, mut refused) = (0, 0);
        for ask in asks {
            match ask.await.unwrap() {
                Ok(_) => done += 1,
                Err(reject) => {
                    assert_eq!(reject.reason, Reason::Overloaded);
                    refused += 1;
                }
            }
        }
        assert!(refused > 0 && done >= 1_024, "{done} done, {refused} refused");
        let on_hand = node.node.read(|view| Ok(view.state.cell(&key("A")).unwrap().on_hand)).await.unwrap();
        assert_eq!(on_hand, done);
        assert_eq!(node.disk.0.lock().unwrap().durable.keys().filter(|key| key[0] == b'd').count(), done as usize);
    });
}

#[test]
fn a_recovering_node_shows_and_changes_nothing() {
    run(async {
        let disk = LossyStore::default();
        let mut coordinator = Coordinator::default();
        coordinator.range("A");
        let node = node_on(&disk, false);
        node.range(&coordinator).await;
        node.receive(1).await.unwrap();
        drop(node);
        let dir = tempfile::tempdir().unwrap();
        let (marker, _) = MarkerFile::open(&dir.path().join("marker")).unwrap();
        let recovering = opened(&disk, None);
        let node = start_node(&disk, false, dir, marker, recovering);
        assert_eq!(node.receive(2).await.unwrap_err().reason, Reason::Recovering);
        let sold = node.node.command(Principal::insecure(), Some(stamp(3)), sale("s-1", "A", 1)).await;
        assert_eq!(sold.unwrap_err().reason, Reason::Recovering);
        coordinator.open(1, "A", 1);
        let followed = node.node.follow(coordinator.feed.clone(), coordinator.entries.clone()).await;
        assert_eq!(followed.unwrap_err().reason, Reason::Recovering);
        let seen = node.node.read(|view| Ok((view.recovering.is_some(), view.state.stock_keys()))).await;
        assert_eq!(seen.unwrap(), (true, 1));
    });
}

#[test]
fn the_feed_is_read_from_memory_and_from_the_store_and_forks_are_refused() {
    run(async {
        let disk = LossyStore::default();
        let mut coordinator = Coordinator::default();
        coordinator.range("A");
        let node = node_on(&disk, false);
        node.range(&coordinator).await;
        for n in 0..20 {
            node.receive(n).await.unwrap();
        }
        drop(node);
        let node = node_on(&disk, false);
        for n in 20..30 {
            node.receive(n).await.unwrap();
        }
        let source = NodeFeed::new(&node.node, node.store.clone());
        let mut reader = Head::START;
        while reader.seq < 60 {
            let entries = source.read(reader.seq, 1_000).await.unwrap();
            assert!(!entries.is_empty() && entries.len() < 15);
            for entry in &entries {
                assert!(reader.accept(&feed(), entry).unwrap().is_some());
            }
        }
        assert_eq!(reader, source.head());
        assert_eq!(source.read(60, 1_000).await.unwrap(), []);
        let refused = |result: Result<(), LinkError>| match result {
            Err(LinkError::Rejected(reject)) => Some(reject.reason),
            Err(LinkError::Fault(fault)) => panic!("{fault}"),
            Ok(()) => None,
        };
        let peer = "coordinator/1";
        assert_eq!(refused(source.acknowledged(peer, reader).await), None);
        assert_eq!(refused(source.acknowledged(peer, Head::START).await), None);
        for seq in [5, 55] {
            let other = Head { seq, hash: ChainHash([1; 32]) };
            assert_eq!(refused(source.acknowledged(peer, other).await), Some(Reason::FeedForked));
        }
        let beyond = Head { seq: 61, ..reader };
        assert_eq!(refused(source.acknowledged(peer, beyond).await), Some(Reason::FeedForked));
        assert_eq!(node.node.tail().acknowledged()[peer], 60);
    });
}

#[test]
fn work_takes_effect_once_however_often_it_is_sent() {
    run(async {
        let disk = LossyStore::default();
        let mut coordinator = Coordinator::default();
        coordinator.range("A");
        let node = node_on(&disk, false);
        node.range(&coordinator).await;
        for n in 1..=5 {
            node.receive(n).await.unwrap();
        }
        coordinator.open(1, "A", 2);
        coordinator.take_back("A", 1);
        coordinator.open(2, "A", 2);
        for _ in 0..3 {
            assert_eq!(node.range(&coordinator).await, coordinator.head);
        }
        drop(node);
        disk.crash();
        let node = node_on(&disk, false);
        assert_eq!(node.node.cursor(coordinator.feed.clone()).await.unwrap(), coordinator.head);
        assert_eq!(node.range(&coordinator).await, coordinator.head);
        // More than was granted halts the link at that entry; what came before it took effect.
        coordinator.range("B");
        coordinator.open(3, "A", 1);
        let refused = node.node.follow(coordinator.feed.clone(), coordinator.entries.clone()).await.unwrap_err();
        assert_eq!(refused.reason, Reason::InsufficientRights);
        assert_eq!(node.node.cursor(coordinator.feed.clone()).await.unwrap().seq, coordinator.head.seq - 1);
        let open = node.node.read(|view| Ok((view.state.open_tasks(), *view.state.cell(&key("A")).unwrap()))).await;
        let (tasks, cell) = open.unwrap();
        assert_eq!((tasks, cell.open, cell.returned, cell.granted), (2, 4, 1, 5));
    });
}

#[test]
fn a_nearly_full_disk_is_read_only_until_there_is_room_again() {
    run(async {
        let disk = LossyStore::default();
        let mut coordinator = Coordinator::default();
        coordinator.range("A");
        let node = node_on(&disk, false);
        node.range(&coordinator).await;
        node.room.store(1_000_000, Ordering::Relaxed);
        node.receive(1).await.unwrap();
        for n in 2..5 {
            assert_eq!(node.receive(n).await.unwrap_err().reason, Reason::ReadOnly);
        }
        let followed = node.node.follow(coordinator.feed.clone(), coordinator.entries.clone()).await;
        assert_eq!(followed.unwrap_err().reason, Reason::ReadOnly);
        let on_hand = node.node.read(|view| Ok(view.state.cell(&key("A")).unwrap().on_hand)).await.unwrap();
        assert_eq!(on_hand, 1);
        node.room.store(u64::MAX, Ordering::Relaxed);
        // Found at the next look, which a refused request causes.
        let _ = node.receive(2).await;
        node.receive(2).await.unwrap();
    });
}
