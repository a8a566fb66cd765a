//! Compiles the `.proto` files with protox (pure Rust: no protoc on the machine).

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = [
        "stockmesh/common/v1/identity.proto",
        "stockmesh/common/v1/item.proto",
        "stockmesh/common/v1/order.proto",
        "stockmesh/common/v1/stock.proto",
        "stockmesh/feed/v1/feed.proto",
        "stockmesh/feed/v1/facts.proto",
        "stockmesh/feed/v1/stock_facts.proto",
        "stockmesh/feed/v1/supply_facts.proto",
        "stockmesh/node/v1/node.proto",
        "stockmesh/node/v1/store.proto",
        "stockmesh/node/v1/recovery.proto",
        "stockmesh/node/v1/stock.proto",
        "stockmesh/node/v1/inbound.proto",
        "stockmesh/node/v1/counts.proto",
        "stockmesh/node/v1/exceptions.proto",
        "stockmesh/feed/v1/outbound.proto",
        "stockmesh/node/v1/counter.proto",
        "stockmesh/node/v1/transfers.proto",
        "stockmesh/node/v1/fulfillment.proto",
        "stockmesh/node/v1/pickups.proto",
        "stockmesh/node/v1/returns.proto",
        "stockmesh/node/v1/kits.proto",
        "stockmesh/node/v1/labour.proto",
        "stockmesh/coordinator/v1/orders.proto",
        "stockmesh/coordinator/v1/order_stream.proto",
        "stockmesh/coordinator/v1/availability_stream.proto",
        "stockmesh/coordinator/v1/network.proto",
        "stockmesh/coordinator/v1/policy.proto",
        "stockmesh/coordinator/v1/recovery.proto",
        "stockmesh/coordinator/v1/items.proto",
        "stockmesh/coordinator/v1/supply.proto",
        "stockmesh/coordinator/v1/exceptions.proto",
        "stockmesh/coordinator/v1/transfers.proto",
        "stockmesh/coordinator/v1/refunds.proto",
        "stockmesh/finance/v1/finance.proto",
        "stockmesh/finance/v1/archive.proto",
        "stockmesh/finance/v1/heads.proto",
        "stockmesh/raft/v1/log.proto",
        "stockmesh/raft/v1/supply_log.proto",
        "stockmesh/raft/v1/recovery_log.proto",
        "stockmesh/raft/v1/transport.proto",
        "stockmesh/raft/v1/replica.proto",
        "stockmesh/coordinator/v1/members.proto",
    ];
    println!("cargo:rerun-if-changed=stockmesh");
    println!("cargo:rerun-if-changed=build.rs");
    let descriptors = protox::compile(files, ["."])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("stockmesh.fds"), prost::Message::encode_to_vec(&descriptors))?;
    // Services need tonic, messages only prost: the cores take the package without its grpc feature.
    let grpc_only = "#[cfg(feature = \"grpc\")]";
    tonic_prost_build::configure()
        .bytes(".stockmesh.feed.v1.FeedEntry.body")
        .bytes(".stockmesh.raft.v1.SendRequest.messages")
        .bytes(".stockmesh.raft.v1.SendSnapshotRequest.data")
        .client_mod_attribute(".", grpc_only)
        .server_mod_attribute(".", grpc_only)
        .compile_fds(descriptors)?;
    Ok(())
}
