//! ReceiveReturn and InspectReturn: a customer's goods come back, wait, and go on by a disposition.
//!
//! Any order's goods, bought anywhere. Units that go back to sale are granted by the policy like any others; those to be refurbished,
//! liquidated or sent back to the supplier are set aside until [`super::disposition`] says what became of them.
//!
//! Must not know: whether the goods may come back; finance and the coordinator judge that.

use stockmesh_proto::common::v1 as common;
use stockmesh_proto::feed::v1 as feed;
use stockmesh_proto::feed::v1::Disposition;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::node::v1::{InspectReturnResponse, ReceiveReturnResponse};
use stockmesh_types::{NodeId, OrderId, Quantity, Reason, Reject, StockKey};

use crate::change::{Document, DocumentKind};
use crate::documents::Waiting;
use crate::draft::Draft;
use crate::effects::Answer;
use crate::site::{Condition, TakeRule, UnitGroup};

/// Takes a customer's goods back.
#[derive(Clone, Debug, PartialEq)]
pub struct ReceiveReturn {
    /// Return number, unique at the node.
    pub return_id: OrderId,
    /// Where the goods were bought.
    pub bought_on: BoughtOn,
    /// What came back.
    pub stock_key: StockKey,
    /// Base units, positive.
    pub quantity: Quantity,
}

/// The document that goods were bought on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BoughtOn {
    /// A line of an order.
    Order {
        /// Order.
        order_id: OrderId,
        /// Line.
        line: u32,
    },
    /// A counter sale.
    Sale {
        /// Till document.
        sale_id: OrderId,
        /// Node of the till.
        node: NodeId,
    },
}

/// What more is known of goods that come back.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Origin {
    /// Return authorisation; may be empty.
    pub authorisation_id: String,
    /// Shipment that brought them to the customer; may be empty.
    pub shipment_id: String,
    /// Node of that shipment.
    pub shipment_node: String,
    /// Which units.
    pub units: Vec<common::UnitGroup>,
}

/// Takes goods back with what is known of them.
#[derive(Clone, Debug, PartialEq)]
pub struct ReceiveKnownReturn {
    /// The return.
    pub receive: ReceiveReturn,
    /// What more is known.
    pub origin: Origin,
}

impl ReceiveReturn {
    pub(super) fn execute(self, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        ReceiveKnownReturn { receive: self, origin: Origin::default() }.execute(draft)
    }
}

impl ReceiveKnownReturn {
    pub(super) fn execute(self, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let Self { receive: command, origin } = self;
        let (return_id, stock_key) = (command.return_id.to_string(), command.stock_key.clone());
        receive(draft, command, origin)?;
        let level = Some(draft.level(&stock_key));
        Ok(Answer::ReturnReceived(ReceiveReturnResponse { return_id, level }))
    }
}

pub(super) fn receive(draft: &mut Draft<'_>, command: ReceiveReturn, origin: Origin) -> Result<(), Reject> {
    let ReceiveReturn { return_id, bought_on, stock_key, quantity } = command;
    let Origin { authorisation_id, shipment_id, shipment_node, units } = origin;
    let document =
        Document::Return { stock_key: stock_key.clone(), quantity, inspected: 0, waiting: Waiting::default() };
    draft.new_document(DocumentKind::Return, &return_id, document, "return_id")?;
    draft.ranged(&stock_key.item).map_err(|reject| reject.field("stock_key.item"))?;
    draft.fits(&stock_key, quantity)?;
    let (order_id, line, sale_id, sale_node) = match bought_on {
        BoughtOn::Order { order_id, line } => (order_id.into(), line, String::new(), String::new()),
        BoughtOn::Sale { sale_id, node } => {
            returned_of_sale(draft, &sale_id, &node)?;
            (String::new(), 0, sale_id.into(), node.into())
        }
    };
    let known = groups(&units, quantity)?;
    draft.put_units(&stock_key, Condition::ReturnPending, &known)?;
    draft.cell(&stock_key).customer_returned_total += quantity;
    draft.say(Fact::ReturnReceived(feed::ReturnReceived {
        return_id: return_id.to_string(),
        order_id,
        line,
        stock_key: Some((&stock_key).into()),
        quantity,
        sale_id,
        sale_node,
        authorisation_id,
        shipment_id,
        shipment_node,
        units,
    }));
    Ok(())
}

/// Goods of a sale of this node come back: from now on it can't be voided. A voided one has no goods to give back.
fn returned_of_sale(draft: &mut Draft<'_>, sale_id: &OrderId, node: &NodeId) -> Result<(), Reject> {
    if node != draft.node() {
        return Ok(());
    }
    let Some(Document::Sale(mut sale)) = draft.document(DocumentKind::Sale, sale_id) else { return Ok(()) };
    if sale.voided {
        let message = format!("sale {sale_id} is voided: its goods never left");
        return Err(Reject::new(Reason::SaleIsVoided, message).field("sale_id"));
    }
    if !sale.returned {
        sale.returned = true;
        draft.put_document(DocumentKind::Sale, sale_id, Document::Sale(sale));
    }
    Ok(())
}

/// Decides what happens to returned goods.
#[derive(Clone, Debug, PartialEq)]
pub struct InspectReturn {
    /// Return.
    pub return_id: OrderId,
    /// Base units, positive.
    pub quantity: Quantity,
    /// Disposition.
    pub disposition: Disposition,
}

/// The same, with a number of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct InspectKnownReturn {
    /// The inspection.
    pub inspect: InspectReturn,
    /// Its number, unique at the node.
    pub inspection_id: OrderId,
    /// Which units.
    pub units: Vec<common::UnitGroup>,
}

impl InspectReturn {
    pub(super) fn execute(self, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let stock_key = decide(draft, self, String::new(), Vec::new())?;
        draft.settle();
        Ok(Answer::ReturnInspected(InspectReturnResponse { level: Some(draft.level(&stock_key)) }))
    }
}

impl InspectKnownReturn {
    pub(super) fn execute(self, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let Self { inspect: command, inspection_id, units } = self;
        let stock_key = inspect(draft, command, inspection_id, units)?;
        draft.settle();
        Ok(Answer::ReturnInspected(InspectReturnResponse { level: Some(draft.level(&stock_key)) }))
    }
}

/// Inspects under a number of its own; returns what was inspected.
pub(super) fn inspect(
    draft: &mut Draft<'_>,
    command: InspectReturn,
    inspection_id: OrderId,
    units: Vec<common::UnitGroup>,
) -> Result<StockKey, Reject> {
    draft.new_document(DocumentKind::Inspection, &inspection_id, Document::Taken, "inspection_id")?;
    decide(draft, command, inspection_id.to_string(), units)
}

fn decide(
    draft: &mut Draft<'_>,
    command: InspectReturn,
    inspection_id: String,
    units: Vec<common::UnitGroup>,
) -> Result<StockKey, Reject> {
    let InspectReturn { return_id, quantity, disposition } = command;
    let Some(Document::Return { stock_key, quantity: returned, inspected, mut waiting }) =
        draft.document(DocumentKind::Return, &return_id)
    else {
        let message = format!("node {} has no return {return_id}", draft.node());
        return Err(Reject::new(Reason::UnknownReturn, message).field("return_id"));
    };
    let left = returned - inspected;
    if quantity > left {
        let message = format!("return {return_id} has {left} units to inspect, {quantity} asked");
        return Err(Reject::new(Reason::ExceedsReturn, message).field("quantity"));
    }
    let named = if units.is_empty() { Vec::new() } else { groups(&units, quantity)? };
    let taken = draft.take_units(&stock_key, Condition::ReturnPending, quantity, &named, TakeRule::RECORDED)?;
    match disposition {
        Disposition::Resale => draft.put_units(&stock_key, Condition::Sellable, &taken)?,
        Disposition::WriteOff => draft.cell(&stock_key).disposed_total += quantity,
        Disposition::Refurbish | Disposition::Liquidate | Disposition::ReturnToVendor => {
            draft.cell(&stock_key).in_disposition += quantity;
            if let Some(waits) = waiting.of(disposition) {
                *waits += quantity;
            }
        }
        Disposition::Unspecified => {
            return Err(Reject::new(Reason::UnspecifiedEnum, "disposition is not stated").field("disposition"));
        }
    }
    let document =
        Document::Return { stock_key: stock_key.clone(), quantity: returned, inspected: inspected + quantity, waiting };
    draft.put_document(DocumentKind::Return, &return_id, document);
    draft.say(Fact::ReturnInspected(feed::ReturnInspected {
        return_id: return_id.to_string(),
        stock_key: Some((&stock_key).into()),
        quantity,
        disposition: disposition.into(),
        inspection_id,
        units: UnitGroup::to_wire(&taken),
    }));
    Ok(stock_key)
}

/// Units as they were named, or as many that nothing tells apart: customers don't know lots.
fn groups(units: &[common::UnitGroup], quantity: Quantity) -> Result<Vec<UnitGroup>, Reject> {
    let named = UnitGroup::of_wire(units, "units")?;
    Ok(if named.is_empty() { vec![UnitGroup::plain(quantity)] } else { named })
}
