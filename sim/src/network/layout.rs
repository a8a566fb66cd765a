//! Which nodes there are, where they stand, what they cost, and which share a process.

use std::collections::BTreeMap;

use stockmesh_proto::common::v1::{NodeKind, Place};
use stockmesh_proto::coordinator::v1::{Node, NodeCosts};

use crate::streams::model::StreamStore;

/// A node of the network.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeSpec {
    /// Node.
    pub node: String,
    /// Kind.
    pub kind: NodeKind,
    /// Where it stands.
    pub place: Place,
    /// Costs.
    pub costs: NodeCosts,
    /// Units of each stock key that are never granted.
    pub floor: i64,
    /// Units of each stock key that are kept for the counter.
    pub walk_in_reserve: i64,
    /// Nodes of the same host share a process.
    pub host: String,
}

/// The nodes.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// In the order of their registration.
    pub nodes: Vec<NodeSpec>,
    /// Legal entity of all of them.
    pub legal_entity: String,
}

/// Stores of one process, when a stream has many.
const STORES_PER_PROCESS: usize = 4;

fn place(country_code: &str, latitude_e2: i32, longitude_e2: i32) -> Place {
    Place {
        country_code: country_code.to_owned(),
        postal_code: String::new(),
        latitude_e7: latitude_e2 * 100_000,
        longitude_e7: longitude_e2 * 100_000,
    }
}

fn spec(node: &str, kind: NodeKind, place: Place) -> NodeSpec {
    // Minor units: a warehouse handles cheaply, a store picks by hand, a 3PL charges per shipment.
    let (handling_per_shipment_minor, handling_per_unit_minor) = match kind {
        NodeKind::Store | NodeKind::DarkStore => (300, 12),
        NodeKind::ThirdPartyLogistics => (220, 6),
        _ => (150, 4),
    };
    let costs = NodeCosts {
        handling_per_shipment_minor,
        handling_per_unit_minor,
        parcel_fixed_minor: 350,
        parcel_per_kg_minor: 45,
        parcel_per_kg_1000km_minor: 60,
    };
    let walk_in_reserve = if matches!(kind, NodeKind::Store) { 10 } else { 0 };
    NodeSpec { node: node.to_owned(), kind, place, costs, floor: 0, walk_in_reserve, host: node.to_owned() }
}

impl Layout {
    /// Two distribution centers, three stores, one 3PL, in and near the United Kingdom.
    #[must_use]
    pub fn european() -> Self {
        use NodeKind::{DistributionCenter, Store, ThirdPartyLogistics};
        Self {
            nodes: vec![
                spec("dc-1", DistributionCenter, place("GB", 5226, -116)),
                spec("dc-2", DistributionCenter, place("NL", 5137, 617)),
                spec("store-1", Store, place("GB", 5151, -14)),
                spec("store-2", Store, place("GB", 5348, -224)),
                spec("store-3", Store, place("GB", 5595, -319)),
                spec("tpl-1", ThirdPartyLogistics, place("GB", 5345, -153)),
            ],
            legal_entity: "retail".into(),
        }
    }

    /// The same two kinds of warehouses in the United States, and the stores of a stream, several to a process.
    #[must_use]
    pub fn with_stores(stores: &[StreamStore]) -> Self {
        use NodeKind::{DistributionCenter, Store, ThirdPartyLogistics};
        let mut nodes = vec![
            spec("dc-1", DistributionCenter, place("US", 3825, -8576)),
            spec("dc-2", DistributionCenter, place("US", 3278, -9680)),
            spec("tpl-1", ThirdPartyLogistics, place("US", 3996, -8300)),
        ];
        for (n, store) in stores.iter().enumerate() {
            let mut node = spec(&store.node, Store, store.place.clone());
            node.host = format!("stores-{}", n / STORES_PER_PROCESS + 1);
            // Grocery baskets are small: few of an item are bought at one counter.
            node.walk_in_reserve = 2;
            nodes.push(node);
        }
        Self { nodes, legal_entity: "retail".into() }
    }

    /// Nodes by host, in the order of the layout.
    #[must_use]
    pub fn processes(&self) -> Vec<(String, Vec<&NodeSpec>)> {
        let mut order = Vec::new();
        let mut hosts: BTreeMap<&str, Vec<&NodeSpec>> = BTreeMap::new();
        for node in &self.nodes {
            let hosted = hosts.entry(&node.host).or_default();
            if hosted.is_empty() {
                order.push(node.host.clone());
            }
            hosted.push(node);
        }
        order
            .into_iter()
            .map(|host| {
                let nodes = hosts.remove(host.as_str()).unwrap_or_default();
                (host, nodes)
            })
            .collect()
    }

    /// The stores, in the order of the layout: counters of a stream are counted from 0 over them.
    #[must_use]
    pub fn stores(&self) -> Vec<&NodeSpec> {
        self.nodes.iter().filter(|node| node.kind == NodeKind::Store).collect()
    }
}

impl NodeSpec {
    /// As the coordinator registers it.
    #[must_use]
    pub fn registration(&self, legal_entity: &str) -> Node {
        Node {
            node: self.node.clone(),
            kind: self.kind.into(),
            place: Some(self.place.clone()),
            legal_entity: legal_entity.to_owned(),
            costs: Some(self.costs),
            ..Node::default()
        }
    }
}
