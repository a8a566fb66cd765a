//! ShipItems: one parcel of one order leaves, with all or part of what is left of its allocations.
//!
//! Needs `q <= quantity - shipped - cancelled` and `on_hand >= q`. Rights are consumed with the units. A substitute leaves of what the
//! node retained of it; the rights that are consumed are those of the goods that were promised. What goes to another node is a
//! transfer: in transit until it is booked there.

use std::collections::{BTreeMap, BTreeSet};

use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{PickupHandover, ShipmentDispatched, ShipmentLine, TransferLine, TransferShipped};
use stockmesh_proto::node::v1::{ShipItemsResponse, Task};
use stockmesh_types::{AllocationId, OrderId, Quantity, Reason, Reject, StockKey};

use crate::allocation::Handling;
use crate::change::{Document, DocumentKind};
use crate::draft::Draft;
use crate::effects::Answer;
use crate::site::{Condition, TakeRule, UnitGroup};

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

/// Ships, with what else there is to say about it.
#[derive(Clone, Debug, PartialEq)]
pub struct ShipParcel {
    /// The shipment.
    pub ship: ShipItems,
    /// What leaves in the place of an allocation's own goods.
    pub substitutes: BTreeMap<AllocationId, StockKey>,
    /// Which units leave, where they are named.
    pub units: BTreeMap<AllocationId, Vec<UnitGroup>>,
    /// Who fetched the goods; `None`: they were sent.
    pub pickup: Option<PickupHandover>,
}

impl ShipItems {
    pub(super) fn execute(self, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        ShipParcel { ship: self, substitutes: BTreeMap::new(), units: BTreeMap::new(), pickup: None }.execute(draft)
    }
}

impl ShipParcel {
    pub(super) fn execute(self, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let shipment_id = self.ship.shipment_id.to_string();
        let tasks = self.leave(draft)?;
        Ok(Answer::Shipped(ShipItemsResponse { shipment_id, tasks }))
    }

    /// Has the goods leave; returns the tasks after it.
    pub(super) fn leave(self, draft: &mut Draft<'_>) -> Result<Vec<Task>, Reject> {
        let Self { ship: ShipItems { shipment_id, lines, carrier, tracking }, substitutes, units, pickup } = self;
        draft.new_document(DocumentKind::Shipment, &shipment_id, Document::Taken, "shipment_id")?;
        let mut seen = BTreeSet::new();
        let mut order: Option<OrderId> = None;
        let mut handling = Handling::default();
        let mut shipped = Vec::with_capacity(lines.len());
        for (n, line) in lines.iter().enumerate() {
            let at = format!("lines[{n}]");
            if !seen.insert(line.allocation) {
                let message = format!("allocation {} stands twice in the shipment", line.allocation);
                return Err(Reject::new(Reason::DuplicateLine, message).field(at));
            }
            let allocation = draft.allocation(line.allocation).map_err(|reject| reject.within(&at))?;
            let order_id = allocation.order_id.clone();
            handling = allocation.handling.clone();
            let first = order.get_or_insert_with(|| order_id.clone());
            if *first != order_id {
                let message = format!("one shipment is of one order: {first} and {order_id} were given");
                return Err(Reject::new(Reason::MixedOrders, message).field(at));
            }
            check_may_leave(draft, line.allocation, &handling, pickup.as_ref()).map_err(|reject| reject.within(&at))?;
            let substitute = substitutes.get(&line.allocation);
            let named = units.get(&line.allocation).map_or(&[][..], Vec::as_slice);
            shipped.push(leave(draft, *line, substitute, named).map_err(|reject| reject.within(&at))?);
        }
        let shipment_id = shipment_id.to_string();
        draft.say(if handling.transfer_id.is_empty() {
            Fact::ShipmentDispatched(ShipmentDispatched {
                shipment_id,
                order_id: order.map(String::from).unwrap_or_default(),
                lines: shipped,
                carrier,
                tracking,
                pickup,
            })
        } else {
            Fact::TransferShipped(TransferShipped {
                shipment_id,
                transfer_id: handling.transfer_id,
                destination_node: handling.destination_node,
                lines: shipped.into_iter().map(transfer_line).collect(),
                carrier,
                tracking,
            })
        });
        draft.settle();
        lines.iter().map(|line| draft.task(line.allocation)).collect()
    }
}

/// The work does not wait, and goods that are set aside leave by their handover.
fn check_may_leave(
    draft: &mut Draft<'_>,
    id: AllocationId,
    handling: &Handling,
    pickup: Option<&PickupHandover>,
) -> Result<(), Reject> {
    draft.require_not_held(id)?;
    let set_aside = handling.pickup_id.as_str();
    if set_aside.is_empty() || pickup.is_some_and(|pickup| pickup.pickup_id == set_aside) {
        return Ok(());
    }
    let message = format!("the goods are set aside for pickup {set_aside}: hand it over, or expire it");
    Err(Reject::new(Reason::SetAside, message).field("allocation"))
}

fn leave(
    draft: &mut Draft<'_>,
    line: ShipLine,
    substitute: Option<&StockKey>,
    named: &[UnitGroup],
) -> Result<ShipmentLine, Reject> {
    let ShipLine { allocation: id, quantity } = line;
    let allocation = draft.allocation(id)?;
    if quantity > allocation.left() {
        return Err(exceeds(id, "left", allocation.left(), quantity));
    }
    allocation.shipped += quantity;
    // Units that leave were picked and packed, whether that was said before or not.
    allocation.packed = allocation.packed.max(allocation.shipped);
    allocation.picked = allocation.picked.max(allocation.packed);
    let (own, order_line, shipped_total) = (allocation.stock_key.clone(), allocation.line, allocation.shipped);
    let stock_key = match substitute {
        None => own.clone(),
        Some(other) => {
            check_substitute(draft, id, &own, other, quantity)?;
            // The units of the order stay, and no order holds them now: the policy may grant them again.
            draft.review(&own);
            other.clone()
        }
    };
    let rule = TakeRule::for_customer(draft.meta.time.date());
    let left = draft.take_units(&stock_key, Condition::Sellable, quantity, named, rule)?;
    draft.cell(&stock_key).shipped_total += quantity;
    // Rights are those of the goods that were promised, whatever left.
    let cell = draft.cell(&own);
    cell.consumed += quantity;
    cell.open -= quantity;
    Ok(ShipmentLine {
        allocation: Some(id.into()),
        line: order_line,
        substituted_for: (stock_key != own).then(|| (&own).into()),
        stock_key: Some((&stock_key).into()),
        quantity,
        shipped_total,
        units: UnitGroup::to_wire(&left),
    })
}

/// The order takes a substitute, the item names this one, and enough of it is not promised to others.
fn check_substitute(
    draft: &mut Draft<'_>,
    id: AllocationId,
    own: &StockKey,
    other: &StockKey,
    quantity: Quantity,
) -> Result<(), Reject> {
    if !draft.allocation(id)?.handling.allow_substitution {
        let message = format!("the order of {id} takes no substitute");
        return Err(Reject::new(Reason::SubstitutionNotAllowed, message).field("substitute"));
    }
    let named = draft
        .item_attributes(&own.item)
        .is_some_and(|known| known.substitutes.iter().any(|s| other.item.as_str() == s));
    let same = StockKey { item: own.item.clone(), ..other.clone() } == *own;
    if !named || !same {
        let message = format!("{other} is not named as a substitute of {own}");
        return Err(Reject::new(Reason::NotASubstitute, message).field("substitute"));
    }
    draft.ranged(&other.item).map_err(|reject| reject.field("substitute.item"))?;
    let cell = draft.cell(other);
    let retained = cell.retained().min(cell.on_hand).max(0);
    if retained < quantity {
        let message = format!("{retained} units of {other} are here and not promised, {quantity} asked");
        return Err(Reject::new(Reason::InsufficientRetained, message).field("quantity"));
    }
    Ok(())
}

fn transfer_line(line: ShipmentLine) -> TransferLine {
    let ShipmentLine { allocation, line, stock_key, quantity, shipped_total, substituted_for: _, units } = line;
    TransferLine { allocation, line, stock_key, quantity, shipped_total, units }
}

pub(super) fn exceeds(id: AllocationId, what: &str, left: Quantity, asked: Quantity) -> Reject {
    let message = format!("allocation {id} has {} units {what}, {asked} asked", left.max(0));
    Reject::new(Reason::ExceedsAllocation, message).field("quantity")
}
