//! ReceiveReturn and InspectReturn: a customer's goods come back, wait, and go on by a disposition.
//!
//! Units that go back to sale are granted by the policy like any others.

use stockmesh_proto::feed::v1 as feed;
use stockmesh_proto::feed::v1::Disposition;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::node::v1::{InspectReturnResponse, ReceiveReturnResponse};
use stockmesh_types::{NodeId, OrderId, Quantity, Reason, Reject, StockKey};

use crate::change::{Document, DocumentKind};
use crate::draft::Draft;
use crate::effects::Answer;

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

impl ReceiveReturn {
    pub(super) fn execute(self, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let Self { return_id, bought_on, stock_key, quantity } = self;
        let document = Document::Return { stock_key: stock_key.clone(), quantity, inspected: 0 };
        draft.new_document(DocumentKind::Return, &return_id, document, "return_id")?;
        draft.ranged(&stock_key.item).map_err(|reject| reject.field("stock_key.item"))?;
        draft.fits(&stock_key, quantity)?;
        let cell = draft.cell(&stock_key);
        cell.return_pending += quantity;
        cell.customer_returned_total += quantity;
        let (order_id, line, sale_id, sale_node) = match bought_on {
            BoughtOn::Order { order_id, line } => (order_id.into(), line, String::new(), String::new()),
            BoughtOn::Sale { sale_id, node } => (String::new(), 0, sale_id.into(), node.into()),
        };
        draft.say(Fact::ReturnReceived(feed::ReturnReceived {
            return_id: return_id.to_string(),
            order_id,
            line,
            stock_key: Some((&stock_key).into()),
            quantity,
            sale_id,
            sale_node,
            ..feed::ReturnReceived::default()
        }));
        let level = Some(draft.level(&stock_key));
        Ok(Answer::ReturnReceived(ReceiveReturnResponse { return_id: return_id.to_string(), level }))
    }
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

impl InspectReturn {
    pub(super) fn execute(self, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let Self { return_id, quantity, disposition } = self;
        let Some(Document::Return { stock_key, quantity: returned, inspected }) =
            draft.document(DocumentKind::Return, &return_id)
        else {
            let message = format!("node {} has no return {return_id}", draft.state().identity().node);
            return Err(Reject::new(Reason::UnknownReturn, message).field("return_id"));
        };
        let left = returned - inspected;
        if quantity > left {
            let message = format!("return {return_id} has {left} units to inspect, {quantity} asked");
            return Err(Reject::new(Reason::ExceedsReturn, message).field("quantity"));
        }
        let cell = draft.cell(&stock_key);
        cell.return_pending -= quantity;
        match disposition {
            Disposition::Resale => cell.on_hand += quantity,
            Disposition::WriteOff => cell.disposed_total += quantity,
            Disposition::Refurbish
            | Disposition::Liquidate
            | Disposition::ReturnToVendor
            | Disposition::Unspecified => {
                let message = format!(
                    "disposition {} is not in this release: RESALE and WRITE_OFF are",
                    disposition.as_str_name()
                );
                return Err(Reject::new(Reason::NotInThisRelease, message).field("disposition"));
            }
        }
        let document =
            Document::Return { stock_key: stock_key.clone(), quantity: returned, inspected: inspected + quantity };
        draft.replace_document(DocumentKind::Return, &return_id, document);
        draft.say(Fact::ReturnInspected(feed::ReturnInspected {
            return_id: return_id.to_string(),
            stock_key: Some((&stock_key).into()),
            quantity,
            disposition: disposition.into(),
            ..feed::ReturnInspected::default()
        }));
        draft.settle();
        Ok(Answer::ReturnInspected(InspectReturnResponse { level: Some(draft.level(&stock_key)) }))
    }
}
