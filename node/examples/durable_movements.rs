//! How many movements a node makes durable in a second, through its actor, its real store and its marker.
//!
//! `cargo run --release -p stockmesh-node --example durable_movements -- [DIR]`; DIR should be on the disk that nodes will use.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use std::sync::Arc;

use stockmesh_node::actor::{NodeHandle, start};
use stockmesh_node::engine::open;
use stockmesh_node::store::space::disk;
use stockmesh_node::store::{MarkerFile, SledStore, Store};
use stockmesh_node::writer::{self, Parts};
use stockmesh_node_core::command::{Command, ReceiptLine, ReceiveStock, ReceivedCondition};
use stockmesh_node_core::{BodyHash, GrantPolicy, Identity, RequestStamp};
use stockmesh_proto::entry::Head;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{EntryBody, ItemRanged, ReceiptKind};
use stockmesh_types::{
    Currency, Epoch, FeedId, Group, ItemId, LogTime, Money, NodeId, OrderId, Principal, RequestId, StockKey,
};

const ITEMS: usize = 1_000;
const RUN: Duration = Duration::from_secs(5);

fn now() -> LogTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    LogTime(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn main() -> anyhow::Result<()> {
    let base = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    actix_rt::System::with_tokio_rt(|| {
        // A start-up failure of the runtime is this program's end.
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
    })
    .block_on(async {
        for callers in [1, 16, 64, 256] {
            let dir = base.join(format!("stockmesh-durable-movements-{}-{callers}", std::process::id()));
            std::fs::create_dir_all(&dir)?;
            let measured = measure(&dir, callers).await;
            std::fs::remove_dir_all(&dir)?;
            let (count, elapsed) = measured?;
            println!("{callers:>4} callers: {:>8.0} movements/s", count as f64 / elapsed.as_secs_f64());
        }
        Ok(())
    })
}

async fn measure(dir: &std::path::Path, callers: usize) -> anyhow::Result<(usize, Duration)> {
    let node = NodeId::new("bench")?;
    let identity = Identity { group: Group(1), node, epoch: Epoch(1) };
    let (marker, mark) = MarkerFile::open(&dir.join("bench.marker"))?;
    let store: Arc<dyn Store> = Arc::new(SledStore::open(&dir.join("bench"))?);
    let opened = open(Arc::clone(&store), identity, GrantPolicy::default(), mark)?;
    let parts = Parts {
        name: "bench".into(),
        opened,
        store,
        marker,
        gauge: disk(dir.to_owned()),
        clock: Box::new(now),
        peers: Vec::new(),
        keep_ms: 0,
        on_fault: Arc::new(|error: &stockmesh_node::store::StoreError| eprintln!("{error}")),
    };
    let (writer, tail, _thread) = writer::spawn(parts);
    let arbiter = actix::Arbiter::new();
    let node = start(&arbiter.handle(), writer, tail);
    range_items(&node).await?;
    let begun = Instant::now();
    let runs = (0..callers).map(|caller| tokio::spawn(call(node.clone(), caller, begun)));
    let mut count = 0;
    for run in runs.collect::<Vec<_>>() {
        count += run.await.context("a caller ended early")??;
    }
    let elapsed = begun.elapsed();
    arbiter.stop();
    Ok((count, elapsed))
}

async fn range_items(node: &NodeHandle) -> anyhow::Result<()> {
    let feed = FeedId { participant: "coordinator/1".into(), destination: "node/bench".into(), epoch: 1 };
    let mut head = Head::START;
    let entries = (0..ITEMS).map(|n| {
        let ranged = ItemRanged { item: format!("I{n}"), ..ItemRanged::default() };
        head.append(&feed, &EntryBody { fact: Some(Fact::ItemRanged(ranged)), ..EntryBody::default() })
    });
    let entries = entries.collect();
    node.follow(feed, entries).await?;
    Ok(())
}

async fn call(node: NodeHandle, caller: usize, begun: Instant) -> anyhow::Result<usize> {
    let mut count = 0;
    while begun.elapsed() < RUN {
        let id = RequestId::new(&uuid::Uuid::now_v7().to_string())?;
        let command = Command::ReceiveStock(ReceiveStock {
            receipt_id: OrderId::new(&id.to_string())?,
            kind: ReceiptKind::PurchaseOrder,
            reference: String::new(),
            lines: vec![ReceiptLine::plain(
                StockKey::of(ItemId::new(&format!("I{}", (caller * 7_919 + count) % ITEMS))?),
                1,
                ReceivedCondition::Sellable,
                Money { currency: Currency::new("EUR")?, minor: 100 },
            )],
            inbound: None,
        });
        let stamp = RequestStamp { id, body: BodyHash([0; 16]) };
        node.command(Principal::insecure(), Some(stamp), command).await?;
        count += 1;
    }
    Ok(count)
}
