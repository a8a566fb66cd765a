//! ReturnAtCounter: goods of a counter sale come back over a counter, and the money goes back at once.
//!
//! Each line is a return of its own, inspected at once where the condition is plain.
//!
//! Must not know: what was paid for the goods; the till does, and says the amount.

use stockmesh_proto::common::v1 as common;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{CounterRefundPaid, Disposition};
use stockmesh_proto::node::v1::ReturnAtCounterResponse;
use stockmesh_types::{Money, NodeId, OrderId, Quantity, Reject, StockKey};

use super::returns::{BoughtOn, InspectReturn, ReceiveReturn};
use crate::change::{Document, DocumentKind};
use crate::documents::RefundDocument;
use crate::draft::Draft;
use crate::effects::Answer;

/// Takes goods of a counter sale back.
#[derive(Clone, Debug, PartialEq)]
pub struct ReturnAtCounter {
    /// Return number; its lines are numbered below it.
    pub return_id: OrderId,
    /// Till document.
    pub sale_id: OrderId,
    /// Node of the till.
    pub sale_node: NodeId,
    /// Lines, 1 or more.
    pub lines: Vec<CounterReturnLine>,
    /// Amount paid back, positive, and how.
    pub refund: Option<(Money, common::Tender)>,
}

/// One line of it.
#[derive(Clone, Debug, PartialEq)]
pub struct CounterReturnLine {
    /// What came back.
    pub stock_key: StockKey,
    /// Base units, positive.
    pub quantity: Quantity,
    /// What happens to them; `None`: they wait for inspection.
    pub disposition: Option<Disposition>,
    /// Which units.
    pub units: Vec<common::UnitGroup>,
}

impl ReturnAtCounter {
    pub(super) fn execute(self, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let Self { return_id, sale_id, sale_node, lines, refund } = self;
        let keys: Vec<StockKey> = lines.iter().map(|line| line.stock_key.clone()).collect();
        let mut return_ids = Vec::with_capacity(lines.len());
        for (n, line) in lines.into_iter().enumerate() {
            let id = OrderId::new(&format!("{return_id}/{}", n + 1)).map_err(|reject| reject.field("return_id"))?;
            take_back(draft, &id, &sale_id, &sale_node, line).map_err(|reject| {
                if reject.field == "return_id" { reject } else { reject.within(&format!("lines[{n}]")) }
            })?;
            return_ids.push(id.to_string());
        }
        let mut refund_id = String::new();
        if let Some((amount, tender)) = refund {
            refund_id = return_id.to_string();
            let document = RefundDocument::paid(amount);
            draft.new_document(DocumentKind::Refund, &return_id, Document::Refund(document), "return_id")?;
            draft.say(Fact::CounterRefundPaid(CounterRefundPaid {
                refund_id: refund_id.clone(),
                sale_id: sale_id.to_string(),
                sale_node: sale_node.to_string(),
                return_ids: return_ids.clone(),
                amount_minor: amount.minor,
                currency_code: amount.currency.code().to_owned(),
                tender: tender.into(),
            }));
        }
        draft.settle();
        let levels = draft.levels(keys.iter());
        Ok(Answer::ReturnedAtCounter(ReturnAtCounterResponse { return_ids, refund_id, levels }))
    }
}

fn take_back(
    draft: &mut Draft<'_>,
    id: &OrderId,
    sale_id: &OrderId,
    sale_node: &NodeId,
    line: CounterReturnLine,
) -> Result<(), Reject> {
    let CounterReturnLine { stock_key, quantity, disposition, units } = line;
    let bought_on = BoughtOn::Sale { sale_id: sale_id.clone(), node: sale_node.clone() };
    let (return_id, origin) = (id.clone(), super::returns::Origin { units: units.clone(), ..Default::default() });
    super::returns::receive(draft, ReceiveReturn { return_id, bought_on, stock_key, quantity }, origin)?;
    if let Some(disposition) = disposition {
        let inspect = InspectReturn { return_id: id.clone(), quantity, disposition };
        super::returns::inspect(draft, inspect, id.clone(), units)?;
    }
    Ok(())
}
