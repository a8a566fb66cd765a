//! Items, nodes, assortments, recalls, availability.

use std::collections::BTreeSet;

use super::items::check_item;
use stockmesh_proto::common::v1 as wire;
use stockmesh_proto::convert;
use stockmesh_proto::coordinator::v1::{
    CreateItemsRequest, Node, NodeCosts, RangeItemsRequest, RecallRightsRequest, RegisterNodeRequest,
};
use stockmesh_types::{ItemId, LegalEntity, NodeId, Reason, Reject, RequestId, StockKey, quantity};

/// Items or stock keys of one call at most.
pub const MAX_ITEMS: usize = 1_000;

/// Heaviest base unit.
pub const MAX_WEIGHT_GRAMS: i64 = 10_000_000;

/// Highest rate of a node's costs, minor units.
pub const MAX_COST_MINOR: i64 = 1_000_000_000;

pub(super) fn count(given: usize, field: &str) -> Result<(), Reject> {
    if given == 0 {
        return Err(Reject::new(Reason::MissingField, format!("{field} is empty")).field(field));
    }
    if given > MAX_ITEMS {
        let message = format!("{field} has {given} entries, and one call holds at most {MAX_ITEMS}");
        return Err(Reject::new(Reason::TooManyLines, message).field(field));
    }
    Ok(())
}

/// Checks the shape of new items.
///
/// # Errors
/// Whatever field is missing or wrong, with its path.
pub fn create_items(request: &CreateItemsRequest) -> Result<RequestId, Reject> {
    let id = RequestId::new(&request.request_id).map_err(|reject| reject.field("request_id"))?;
    count(request.items.len(), "items")?;
    let mut names = BTreeSet::new();
    for (n, item) in request.items.iter().enumerate() {
        check_item(item).map_err(|reject| reject.within(&format!("items[{n}]")))?;
        if !names.insert(item.item.as_str()) {
            let message = format!("item {} stands twice", item.item);
            return Err(Reject::new(Reason::DuplicateLine, message).field(format!("items[{n}].item")));
        }
    }
    Ok(id)
}

/// Checks the shape of a node.
///
/// # Errors
/// Whatever field is missing or wrong, with its path.
pub fn register_node(request: &RegisterNodeRequest) -> Result<RequestId, Reject> {
    let id = RequestId::new(&request.request_id).map_err(|reject| reject.field("request_id"))?;
    check_node(convert::required(&request.node, "node")?).map_err(|reject| reject.within("node"))?;
    Ok(id)
}

pub(crate) fn check_node(node: &Node) -> Result<(), Reject> {
    NodeId::new(&node.node).map_err(|reject| reject.field("node"))?;
    convert::specified::<wire::NodeKind>(node.kind, "kind")?;
    convert::check_place(&node.place, "place")?;
    LegalEntity::new(&node.legal_entity).map_err(|reject| reject.field("legal_entity"))?;
    let NodeCosts {
        handling_per_shipment_minor,
        handling_per_unit_minor,
        parcel_fixed_minor,
        parcel_per_kg_minor,
        parcel_per_kg_1000km_minor,
    } = convert::required(&node.costs, "costs")?;
    for (rate, field) in [
        (handling_per_shipment_minor, "handling_per_shipment_minor"),
        (handling_per_unit_minor, "handling_per_unit_minor"),
        (parcel_fixed_minor, "parcel_fixed_minor"),
        (parcel_per_kg_minor, "parcel_per_kg_minor"),
        (parcel_per_kg_1000km_minor, "parcel_per_kg_1000km_minor"),
    ] {
        if !(0..=MAX_COST_MINOR).contains(rate) {
            let message = format!("{field} is {rate}, and must be 0 to {MAX_COST_MINOR}");
            return Err(Reject::new(Reason::InvalidValue, message).field(format!("costs.{field}")));
        }
    }
    Ok(())
}

/// Checks the shape of an assortment.
///
/// # Errors
/// Whatever field is missing or wrong, with its path.
pub fn range_items(request: &RangeItemsRequest) -> Result<RequestId, Reject> {
    let id = RequestId::new(&request.request_id).map_err(|reject| reject.field("request_id"))?;
    NodeId::new(&request.node).map_err(|reject| reject.field("node"))?;
    count(request.items.len(), "items")?;
    for (n, item) in request.items.iter().enumerate() {
        ItemId::new(item).map_err(|reject| reject.field(format!("items[{n}]")))?;
    }
    Ok(id)
}

/// Checks the shape of a recall.
///
/// # Errors
/// Whatever field is missing or wrong, with its path.
pub fn recall_rights(request: &RecallRightsRequest) -> Result<RequestId, Reject> {
    let id = RequestId::new(&request.request_id).map_err(|reject| reject.field("request_id"))?;
    NodeId::new(&request.node).map_err(|reject| reject.field("node"))?;
    convert::stock_key(&request.stock_key, "stock_key")?;
    quantity::positive(request.quantity, "quantity")?;
    Ok(id)
}

/// Reads the stock keys of an availability request.
///
/// # Errors
/// Whatever key is wrong, with its path; none, or more than [`MAX_ITEMS`].
pub fn stock_keys(keys: &[wire::StockKey]) -> Result<Vec<StockKey>, Reject> {
    count(keys.len(), "stock_keys")?;
    let read = |(n, key): (usize, &wire::StockKey)| convert::stock_key(&Some(key.clone()), &format!("stock_keys[{n}]"));
    keys.iter().enumerate().map(read).collect()
}
