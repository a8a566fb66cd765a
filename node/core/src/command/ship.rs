//! ShipItems: one parcel of one order leaves, with all or part of what is left of its allocations.
//!
//! Needs `q <= quantity - shipped - cancelled` and `on_hand >= q`. Rights are consumed with the units.

use std::collections::BTreeSet;

use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{ShipmentDispatched, ShipmentLine};
use stockmesh_proto::node::v1::ShipItemsResponse;
use stockmesh_types::{AllocationId, OrderId, Quantity, Reason, Reject};

use crate::change::{Document, DocumentKind};
use crate::draft::Draft;
use crate::effects::Answer;

/// Ships.
#[derive(Clone, Debug, PartialEq)]
pub struct ShipItems {
    /// Shipment number, unique at the node.
    pub shipment_id: OrderId,
    /// Lines, 1 or more, all of one order.
    pub lines: Vec<ShipLine>,
    /// Carrier; may be empty.
    pub carrier: String,
    /// Tracking number; may be empty.
    pub tracking: String,
}

/// Units of one allocation in a shipment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShipLine {
    /// Allocation.
    pub allocation: AllocationId,
    /// Units, positive.
    pub quantity: Quantity,
}

impl ShipItems {
    pub(super) fn execute(self, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let Self { shipment_id, lines, carrier, tracking } = self;
        draft.new_document(DocumentKind::Shipment, &shipment_id, Document::Taken, "shipment_id")?;
        let mut seen = BTreeSet::new();
        let mut order: Option<OrderId> = None;
        let mut shipped = Vec::with_capacity(lines.len());
        for (n, line) in lines.iter().enumerate() {
            let at = format!("lines[{n}]");
            if !seen.insert(line.allocation) {
                let message = format!("allocation {} stands twice in the shipment", line.allocation);
                return Err(Reject::new(Reason::DuplicateLine, message).field(at));
            }
            let order_id = draft.allocation(line.allocation).map_err(|reject| reject.within(&at))?.order_id.clone();
            let first = order.get_or_insert_with(|| order_id.clone());
            if *first != order_id {
                let message = format!("one shipment is of one order: {first} and {order_id} were given");
                return Err(Reject::new(Reason::MixedOrders, message).field(at));
            }
            shipped.push(leave(draft, *line).map_err(|reject| reject.within(&at))?);
        }
        draft.say(Fact::ShipmentDispatched(ShipmentDispatched {
            shipment_id: shipment_id.to_string(),
            order_id: order.map(String::from).unwrap_or_default(),
            lines: shipped,
            carrier,
            tracking,
            pickup: None,
        }));
        draft.settle();
        let tasks = lines.iter().map(|line| draft.task(line.allocation)).collect::<Result<_, _>>()?;
        Ok(Answer::Shipped(ShipItemsResponse { shipment_id: shipment_id.to_string(), tasks }))
    }
}

fn leave(draft: &mut Draft<'_>, line: ShipLine) -> Result<ShipmentLine, Reject> {
    let ShipLine { allocation: id, quantity } = line;
    let allocation = draft.allocation(id)?;
    if quantity > allocation.left() {
        return Err(exceeds(id, "left", allocation.left(), quantity));
    }
    allocation.shipped += quantity;
    // Units that leave were picked and packed, whether that was said before or not.
    allocation.packed = allocation.packed.max(allocation.shipped);
    allocation.picked = allocation.picked.max(allocation.packed);
    let (stock_key, order_line, shipped_total) = (allocation.stock_key.clone(), allocation.line, allocation.shipped);
    draft.take_on_hand(&stock_key, quantity)?;
    let cell = draft.cell(&stock_key);
    cell.consumed += quantity;
    cell.shipped_total += quantity;
    cell.open -= quantity;
    Ok(ShipmentLine {
        allocation: Some(id.into()),
        line: order_line,
        stock_key: Some((&stock_key).into()),
        quantity,
        shipped_total,
        substituted_for: None,
        units: Vec::new(),
    })
}

pub(super) fn exceeds(id: AllocationId, what: &str, left: Quantity, asked: Quantity) -> Reject {
    let message = format!("allocation {id} has {} units {what}, {asked} asked", left.max(0));
    Reject::new(Reason::ExceedsAllocation, message).field("quantity")
}
