//! The contract of Stockmesh: generated messages, gRPC services, and checked conversions.
//!
//! The `.proto` files beside this package are the source; protox compiles them, so that no protoc is needed. Messages are
//! plain data (prost) and may be imported by the cores; clients and servers come with the feature `grpc`, for the shells.
//!
//! ```text
//!   stockmesh/common/v1   identities, money, orders          imported by all others
//!   stockmesh/feed/v1     feed entries, links, facts         how parts tell each other what happened
//!   stockmesh/node/v1     what people do at a site
//!   stockmesh/coordinator/v1   orders, master data, rights, cluster
//!   stockmesh/finance/v1  the books
//!   stockmesh/raft/v1     the log's commands, replica transport
//! ```
//!
//! [`convert`] turns wire values into those of `stockmesh-types` and says by name what is wrong with them; [`entry`]
//! makes and checks feed entries.

pub mod convert;
pub mod entry;

/// Identities, money, orders.
pub mod common {
    /// Version 1.
    #[allow(missing_docs, clippy::all, clippy::pedantic)]
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/stockmesh.common.v1.rs"));
    }
}

/// Feed entries, links and facts.
pub mod feed {
    /// Version 1.
    #[allow(missing_docs, clippy::all, clippy::pedantic)]
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/stockmesh.feed.v1.rs"));
    }
}

/// The node's API.
pub mod node {
    /// Version 1.
    #[allow(missing_docs, clippy::all, clippy::pedantic)]
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/stockmesh.node.v1.rs"));
    }
}

/// The coordinator's API.
pub mod coordinator {
    /// Version 1.
    #[allow(missing_docs, clippy::all, clippy::pedantic)]
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/stockmesh.coordinator.v1.rs"));
    }
}

/// Finance's API.
pub mod finance {
    /// Version 1.
    #[allow(missing_docs, clippy::all, clippy::pedantic)]
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/stockmesh.finance.v1.rs"));
    }
}

/// The coordinator's log and replica transport.
pub mod raft {
    /// Version 1.
    #[allow(missing_docs, clippy::all, clippy::pedantic)]
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/stockmesh.raft.v1.rs"));
    }
}

/// The encoded `google.protobuf.FileDescriptorSet` of every file here, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/stockmesh.fds"));

/// Highest feature level that this build speaks. 1: the first release. 2: everything that came with log commands beyond 20.
pub const FEATURE_LEVEL: u32 = 2;
