//! Counter sales: revenue and cost at once, settled in cash or by card.

use stockmesh_proto::common::v1::Tender;
use stockmesh_proto::convert::{currency, specified};
use stockmesh_proto::feed::v1::{CounterSaleLine, SoldAtCounter};
use stockmesh_types::quantity::positive;
use stockmesh_types::{OrderId, Reason, Reject};

use super::shipments::{Leave, Leaving};
use super::{Incoming, Posted, fingerprint, own_key, price};
use crate::books::Books;
use crate::records::{Expense, Records, Sale, SaleLine, Settlement, Supply, counter_key};
use crate::rules::{COUNTER_COST, COUNTER_REVENUE, Line};

/// Channel of every counter sale.
const CHANNEL: &str = "store";

impl<R: Records> Books<R> {
    pub(super) fn sold_at_counter(&mut self, incoming: &Incoming<'_>, fact: &SoldAtCounter) -> Posted<(), R> {
        let (node, record) = self.writer(incoming)?;
        let id = OrderId::new(&fact.sale_id)?;
        let key = counter_key(node.as_str(), id.as_str());
        if !self.is_new_document(&key, fact)? {
            return Ok(());
        }
        let stamp = incoming.stamp_at(fact.sold_time_ms)?;
        let currency = currency(&fact.currency_code, "currency_code")?;
        let settlement = match specified::<Tender>(fact.tender, "tender")? {
            Tender::Unspecified | Tender::Cash => Settlement::Cash,
            Tender::Card => Settlement::Card,
        };
        if fact.lines.is_empty() {
            return Err(Reject::new(Reason::MissingField, "the sale has no lines").field("lines").into());
        }
        let line = |(n, wire): (usize, &CounterSaleLine)| {
            let quantity = positive(wire.quantity, &format!("lines[{n}].quantity"))?;
            Ok(SaleLine {
                stock_key: own_key(&wire.stock_key, &format!("lines[{n}].stock_key"))?,
                quantity,
                price: price(&wire.price, &format!("lines[{n}].price"))?,
                shipped: quantity,
                cancelled: 0,
                returned: 0,
                supplies: vec![Supply { issue: format!("{key}:{n}"), quantity }],
            })
        };
        let lines = fact.lines.iter().enumerate().map(line).collect::<Result<Vec<_>, Reject>>()?;

        let about = format!("counter sale {id} at {node}");
        let revenue: Vec<_> = lines
            .iter()
            .map(|line| Line {
                node: Some(&node),
                item: Some(&line.stock_key.item),
                channel: CHANNEL,
                order_id: id.as_str(),
                settlement: settlement.role(),
                price: line.price.clone(),
                ..Line::new()
            })
            .collect();
        self.enter(&COUNTER_REVENUE, &record.entity, currency, &stamp, &about, &revenue)?;
        let leaving: Vec<_> = lines
            .iter()
            .enumerate()
            .map(|(n, line)| Leaving {
                id: format!("{key}:{n}"),
                stock_key: line.stock_key.clone(),
                quantity: line.quantity,
            })
            .collect();
        let cost = Leave { rule: &COUNTER_COST, expense: Expense::CostOfGoodsSold, channel: CHANNEL, about: &about };
        self.leave(&cost, &node, &record.entity, id.as_str(), &leaving, &stamp)?;

        let mut numbers = Vec::with_capacity(lines.len());
        for (number, line) in (1..).zip(lines) {
            numbers.push(number);
            self.put_sale_line(key.clone(), number, line);
        }
        let channel = CHANNEL.to_owned();
        self.put_sale(key.clone(), Sale { entity: record.entity, channel, currency, settlement, lines: numbers });
        self.put_document(key.clone(), fingerprint(fact));
        self.known.push_back(key);
        Ok(())
    }
}
