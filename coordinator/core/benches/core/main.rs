//! What decide, apply, codec and snapshot cost, along both axes of size, and what large work costs beside new orders.
//!
//! `cargo bench -p stockmesh-coordinator-core [-- [--quick] [--json FILE] [orders|bounded]]`
//!
//! Processor time of one thread, so that other processes count little; they still take caches away.

mod bounded;
mod world;

use std::time::Duration;

use prost::Message;
use sha2::{Digest, Sha256};
use stockmesh_coordinator_core::decide::{self, OrderDecision, Overlay};
use stockmesh_coordinator_core::{SnapshotChunk, State};
use stockmesh_proto::common::v1 as wire;
use stockmesh_proto::raft::v1::LogEntry;
use stockmesh_proto::raft::v1::command::Kind;

use world::{World, internal, processor_time, resident_bytes};

/// Commands that share a log entry.
const BATCH: usize = 64;

/// What two-line orders cost in one setting.
#[derive(Debug)]
struct Row {
    nodes: usize,
    items: usize,
    hot: bool,
    orders: usize,
    proven: usize,
    decide: Duration,
    apply: Duration,
    encode: Duration,
    decode: Duration,
    entry_bytes: usize,
    resident: u64,
}

impl Row {
    fn us(&self, time: Duration) -> f64 {
        time.as_secs_f64() * 1e6 / self.orders as f64
    }
}

/// Decides and applies orders, batch by batch, as a leader does.
fn measure(nodes: usize, items: usize, count: usize, hot: bool) -> (Row, World) {
    let mut world = World::new(nodes, items, 1_000_000);
    let list = world.orders("ORD", count, hot);
    let resident = resident_bytes();
    let mut row = Row {
        nodes,
        items,
        hot,
        orders: 0,
        proven: 0,
        decide: Duration::ZERO,
        apply: Duration::ZERO,
        encode: Duration::ZERO,
        decode: Duration::ZERO,
        entry_bytes: 0,
        resident: 0,
    };
    let mut overlay = Overlay::new();
    for (proposal, batch) in list.chunks(BATCH).enumerate() {
        let hash = |order: &wire::Order| -> [u8; 32] { Sha256::digest(order.encode_to_vec()).into() };
        let hashes: Vec<[u8; 32]> = batch.iter().map(hash).collect();
        let mut commands = Vec::with_capacity(BATCH);
        let start = processor_time();
        for (order, hash) in batch.iter().zip(hashes) {
            let decision =
                decide::order(&world.state, &overlay, order, hash, 0, order.placed_time_ms).expect("a decision");
            let OrderDecision::Commit(commit) = decision else { continue };
            row.proven += usize::from(commit.sourcing.as_ref().is_some_and(|sourcing| sourcing.proven_optimal));
            let kind = Kind::CommitOrder(commit);
            overlay.add(proposal as u64, &world.state, &kind);
            commands.push(internal(kind));
        }
        row.decide += processor_time() - start;
        let entry = world.entry(commands);
        let start = processor_time();
        let bytes = entry.encode_to_vec();
        let encoded = processor_time();
        let entry = LogEntry::decode(bytes.as_slice()).expect("what was encoded");
        row.encode += encoded - start;
        row.decode += processor_time() - encoded;
        row.entry_bytes += bytes.len();
        let (outcomes, took) = world.apply(entry.commands);
        row.apply += took;
        row.orders += outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        overlay.remove(proposal as u64);
    }
    row.resident = resident_bytes().saturating_sub(resident);
    (row, world)
}

fn print(rows: &[Row]) {
    println!(
        "nodes    items      orders/s: decide     apply      both   us: decide  apply  encode  decode  B/order  proven"
    );
    for row in rows {
        let rate = |time: Duration| row.orders as f64 / time.as_secs_f64();
        println!(
            "{:<8} {:<10} {:>17.0} {:>9.0} {:>9.0} {:>12.2} {:>6.2} {:>7.2} {:>7.2} {:>8} {:>6.1}%{}",
            row.nodes,
            row.items,
            rate(row.decide),
            rate(row.apply),
            rate(row.decide + row.apply),
            row.us(row.decide),
            row.us(row.apply),
            row.us(row.encode),
            row.us(row.decode),
            row.resident / row.orders.max(1) as u64,
            row.proven as f64 * 100.0 / row.orders.max(1) as f64,
            if row.hot { "  one hot item" } else { "" },
        );
    }
}

fn json(rows: &[Row], snapshot: &str, bounded: &[String]) -> String {
    let row = |row: &Row| {
        format!(
            "{{\"nodes\":{},\"items\":{},\"hot\":{},\"orders\":{},\"decide_us\":{:.3},\"apply_us\":{:.3},\
             \"encode_us\":{:.3},\"decode_us\":{:.3},\"entry_bytes\":{},\"resident_bytes\":{},\"proven\":{}}}",
            row.nodes,
            row.items,
            row.hot,
            row.orders,
            row.us(row.decide),
            row.us(row.apply),
            row.us(row.encode),
            row.us(row.decode),
            row.entry_bytes / row.orders.max(1),
            row.resident / row.orders.max(1) as u64,
            row.proven
        )
    };
    let rows: Vec<String> = rows.iter().map(row).collect();
    let snapshot = if snapshot.is_empty() { "null" } else { snapshot };
    format!("{{\"orders\":[{}],\"snapshot\":{snapshot},\"bounded\":[{}]}}\n", rows.join(","), bounded.join(","))
}

/// Takes, encodes and restores a snapshot.
fn snapshot(world: &World) -> String {
    let start = processor_time();
    let snapshot = world.state.snapshot();
    let taken = processor_time() - start;
    let chunks: Vec<SnapshotChunk> = snapshot.chunks().collect();
    let encoded = processor_time() - start;
    let bytes: usize = chunks.iter().map(|chunk| chunk.bytes.len()).sum();
    let restored = processor_time();
    let state = State::restore(chunks).expect("what was taken");
    let restored = processor_time() - restored;
    assert_eq!(state.digest(), world.state.digest());
    println!(
        "\nsnapshot of {} orders: taken in {taken:?}, {bytes} bytes encoded in {encoded:?}, restored in {restored:?}",
        world.state.counters().orders
    );
    format!(
        "{{\"taken_us\":{},\"bytes\":{bytes},\"encoded_ms\":{},\"restored_ms\":{}}}",
        taken.as_micros(),
        encoded.as_millis(),
        restored.as_millis()
    )
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if args.iter().any(|arg| arg == "--help") {
        println!(
            "orders: along nodes and items; bounded: large work beside new orders. --quick: small sizes. --json FILE"
        );
        return;
    }
    let quick = args.iter().any(|arg| arg == "--quick");
    let wants =
        |part: &str| !args.iter().any(|arg| arg == "orders" || arg == "bounded") || args.iter().any(|arg| arg == part);
    let (mut rows, mut snapshot_json, mut large) = (Vec::new(), String::new(), Vec::new());
    if wants("orders") {
        let count = if quick { 20_000 } else { 200_000 };
        let mut settings = vec![(50, 10_000, false), (50, 10_000, true)];
        let nodes: &[usize] = if quick { &[10, 1_000] } else { &[10, 100, 1_000, 10_000] };
        settings.extend(nodes.iter().map(|nodes| (*nodes, if quick { 100 } else { 1_000 }, false)));
        let items: &[usize] = if quick { &[1_000, 10_000] } else { &[1_000, 10_000, 100_000, 1_000_000] };
        settings.extend(items.iter().map(|items| (10, *items, false)));
        for (n, (nodes, items, hot)) in settings.into_iter().enumerate() {
            let (row, world) = measure(nodes, items, count, hot);
            eprintln!("{row:?}");
            rows.push(row);
            if n == 0 {
                snapshot_json = snapshot(&world);
            }
        }
        print(&rows);
    }
    if wants("bounded") {
        large = bounded::run(if quick { 10_000 } else { 100_000 }, if quick { 20_000 } else { 1_000_000 });
    }
    if let Some(at) = args.iter().position(|arg| arg == "--json") {
        let file = args.get(at + 1).expect("--json names a file");
        std::fs::write(file, json(&rows, &snapshot_json, &large)).expect("the file can be written");
    }
}
