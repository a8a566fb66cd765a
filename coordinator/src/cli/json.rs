//! Answers as JSON: field names as in the `.proto` files, enums in their words.

use serde_json::{Value, json};
use stockmesh_proto::common::v1::{AllocationId, Grade, NodeKind, StockKey};
use stockmesh_proto::coordinator::v1::{
    Allocation, Availability, Cell, GetClusterStatusResponse, Item, Node, OrderLineStatus, OrderState, OrderStatus,
    SourcingSummary,
};

fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_ascii_lowercase().replace('_', "-")
}

/// `promised`, `partially-shipped`, …
pub(super) fn state(state: i32) -> String {
    OrderState::try_from(state).map_or_else(|_| state.to_string(), |state| word(state.as_str_name(), "ORDER_STATE_"))
}

/// `distribution-center`, `store`, …
pub(super) fn node_kind(kind: i32) -> String {
    NodeKind::try_from(kind).map_or_else(|_| kind.to_string(), |kind| word(kind.as_str_name(), "NODE_KIND_"))
}

/// `k1-153-0`.
pub(super) fn allocation_id(allocation: &Allocation) -> String {
    let AllocationId { incarnation, log_index, n } = allocation.id.unwrap_or_default();
    format!("k{incarnation}-{log_index}-{n}")
}

/// The item, and what else makes the key where it is not the usual.
pub(super) fn stock_key_text(key: &StockKey) -> String {
    let mut text = key.item.clone();
    if key.grade == i32::from(Grade::Refurbished) {
        text.push_str(" (refurbished)");
    }
    for (name, value) in [("owner", &key.owner), ("class", &key.shelf_life_class)] {
        if !value.is_empty() {
            text.push_str(&format!(" ({name} {value})"));
        }
    }
    text
}

pub(super) fn stock_key(key: &StockKey) -> Value {
    let StockKey { item, grade, owner, shelf_life_class } = key;
    let grade = if *grade == i32::from(Grade::Refurbished) { "refurbished" } else { "new" };
    json!({ "item": item, "grade": grade, "owner": owner, "shelf_life_class": shelf_life_class })
}

pub(super) fn order_status(status: &OrderStatus) -> Value {
    let order = status.order.clone().unwrap_or_default();
    let sourcing = status.sourcing.clone().unwrap_or_default();
    json!({
        "order_id": order.order_id,
        "channel": order.channel,
        "placed_time_ms": order.placed_time_ms,
        "committed_time_ms": status.committed_time_ms,
        "currency_code": order.currency_code,
        "state": state(status.state),
        "lines": status.lines.iter().map(order_line).collect::<Vec<_>>(),
        "sourcing": self::sourcing(&sourcing),
    })
}

pub(super) fn sourcing(sourcing: &SourcingSummary) -> Value {
    json!({
        "chosen": sourcing.chosen.iter().map(|cost| json!({
            "node": cost.node,
            "units": cost.units,
            "shipment_minor": cost.shipment_minor,
            "handling_minor": cost.handling_minor,
            "distance_km": cost.distance_km,
        })).collect::<Vec<_>>(),
        "total_minor": sourcing.total_minor,
        "proven_optimal": sourcing.proven_optimal,
        "gap_ppm": sourcing.gap_ppm,
        "short_units": sourcing.short_units,
        "candidates": sourcing.candidates,
    })
}

fn order_line(line: &OrderLineStatus) -> Value {
    json!({
        "line": line.line,
        "stock_key": line.stock_key.as_ref().map(stock_key),
        "ordered": line.ordered,
        "cancelled": line.cancelled,
        "backordered": line.backordered,
        "shipped": line.shipped,
        "returned": line.returned,
        "allocations": line.allocations.iter().map(|allocation| json!({
            "id": allocation_id(allocation),
            "node": allocation.node,
            "quantity": allocation.quantity,
            "shipped": allocation.shipped,
            "cancelled": allocation.cancelled,
            "lost": allocation.lost,
            "cancel_requested": allocation.cancel_requested,
        })).collect::<Vec<_>>(),
    })
}

pub(super) fn item(item: &Item) -> Value {
    let Item { item, description, weight_grams, attributes: _, version: _ } = item;
    json!({ "item": item, "description": description, "weight_grams": weight_grams })
}

pub(super) fn node(node: &Node) -> Value {
    let (place, costs) = (node.place.clone().unwrap_or_default(), node.costs.unwrap_or_default());
    json!({
        "node": node.node,
        "kind": node_kind(node.kind),
        "legal_entity": node.legal_entity,
        "place": {
            "country_code": place.country_code,
            "postal_code": place.postal_code,
            "latitude_e7": place.latitude_e7,
            "longitude_e7": place.longitude_e7,
        },
        "costs": {
            "handling_per_shipment_minor": costs.handling_per_shipment_minor,
            "handling_per_unit_minor": costs.handling_per_unit_minor,
            "parcel_fixed_minor": costs.parcel_fixed_minor,
            "parcel_per_kg_minor": costs.parcel_per_kg_minor,
            "parcel_per_kg_1000km_minor": costs.parcel_per_kg_1000km_minor,
        },
        "epoch": node.epoch,
        "feed_seq": node.feed_seq,
        "work_acknowledged_seq": node.work_acknowledged_seq,
        "work_seq": node.work_seq,
        "standing": super::recovery::standing_word(node.standing),
    })
}

pub(super) fn availability(availability: &Availability) -> Value {
    json!({
        "stock_key": availability.stock_key.as_ref().map(stock_key),
        "available_to_fulfill": availability.available_to_fulfill,
        "backordered": availability.backordered,
        "nodes": availability.nodes.iter().map(|node| json!({
            "node": node.node, "available": node.available,
        })).collect::<Vec<_>>(),
    })
}

pub(super) fn cell(cell: &Cell) -> Value {
    let id = cell.id.clone().unwrap_or_default();
    json!({
        "group": id.group,
        "node": id.node,
        "stock_key": id.stock_key.as_ref().map(stock_key),
        "epoch": cell.epoch,
        "granted": cell.granted,
        "returned": cell.returned,
        "shipped": cell.shipped,
        "open": cell.open,
        "held": cell.held,
        "free": cell.free,
        "shortfall_level": cell.shortfall_level,
        "fenced": cell.fenced,
    })
}

pub(super) fn cluster(status: &GetClusterStatusResponse) -> Value {
    json!({
        "group": status.group,
        "incarnation": status.incarnation,
        "replica_id": status.replica_id,
        "leader_id": status.leader_id,
        "term": status.term,
        "commit_index": status.commit_index,
        "applied_index": status.applied_index,
        "first_index": status.first_index,
        "log_time_ms": status.log_time_ms,
        "state_hash": status.state_hash,
        "feature_level": status.feature_level,
        "replicas": status.replicas.iter().map(|replica| json!({
            "replica_id": replica.replica_id, "address": replica.address, "voter": replica.voter,
        })).collect::<Vec<_>>(),
        "backordered_units": status.backordered_units,
        "open_orders": status.open_orders,
        "orders": status.orders,
    })
}
