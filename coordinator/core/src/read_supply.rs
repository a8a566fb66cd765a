//! Reads of the catalog's details, supply, transfers, refunds and exceptions: from the state to API messages.
//!
//! Must not know: gRPC, how fresh the caller wants it.

use stockmesh_proto::common::v1::ExceptionCode as WireCode;
use stockmesh_proto::coordinator::v1 as api;
use stockmesh_types::{OrderId, Reject, StockKey};

use crate::State;
use crate::apply::line_day;
use crate::apply::update_items::{Change, check_together};
use crate::read::{Page, page};
use crate::supply::{Document, Documents, Incident, day_of};

/// What a list of exceptions is narrowed down to.
#[derive(Clone, Debug, Default)]
pub struct ExceptionFilter {
    /// Number of the code; 0: any.
    pub code: u32,
    /// Empty: any.
    pub node: String,
    /// Resolved ones too.
    pub resolved: bool,
    /// Role that works it off; empty: any.
    pub owner_role: String,
}

/// What a list of purchase orders is narrowed down to.
#[derive(Clone, Debug, Default)]
pub struct PurchaseOrderFilter {
    /// Number of the state; 0: any.
    pub state: i32,
    /// Empty: any.
    pub node: String,
    /// Only those that are late.
    pub late: bool,
}

/// What a list of transfers is narrowed down to.
#[derive(Clone, Debug, Default)]
pub struct TransferFilter {
    /// Number of the state; 0: any.
    pub state: i32,
    /// Empty: any.
    pub source: String,
    /// Empty: any.
    pub destination: String,
}

fn documents<T: Document>(
    all: &Documents<T>,
    after: u64,
    limit: usize,
    message: impl Fn(u64, &T) -> Option<T>,
) -> Page<T> {
    page(limit, all.iter_from(after.saturating_add(1)).map(|(number, document)| (number, message(number, document))))
}

fn known<T: Document>(all: &Documents<T>, number: u64) -> Result<&T, Reject> {
    all.get(number).ok_or_else(|| Reject::new(T::UNKNOWN, format!("the {} is no longer kept", T::KIND)))
}

impl State {
    /// An item with its attributes and version, and the number of nodes that were not told of its latest version yet.
    #[must_use]
    pub fn item(&self, item: &str) -> Option<(api::Item, u32)> {
        let index = self.item_index.get(item)?;
        Some((self.item_message(index), self.nodes_to_tell(index)))
    }

    /// What an update of items would do, and everything that is wrong with it, at most `limit`. Nothing changes.
    #[must_use]
    pub fn item_problems(&self, items: &[api::Item], allow_missing: bool, limit: usize) -> api::UpdateItemsResponse {
        let mut answer = api::UpdateItemsResponse::default();
        let problem = |item: &str, reject: Reject| api::ItemProblem {
            item: item.to_owned(),
            reason: reject.reason.code().to_owned(),
            field: reject.field,
            message: reject.message,
        };
        for (n, item) in items.iter().enumerate() {
            match self.item_change(item, allow_missing) {
                Ok(Change::New) => answer.created += 1,
                Ok(Change::Changed(_)) => answer.updated += 1,
                Ok(Change::Alike) => answer.unchanged += 1,
                Err(reject) if answer.problems.len() < limit => {
                    answer.problems.push(problem(&item.item, reject.within(&format!("items[{n}]"))));
                }
                Err(_) => {}
            }
        }
        if let Err(reject) = check_together(items)
            && answer.problems.len() < limit
        {
            answer.problems.push(problem("", reject));
        }
        answer
    }

    fn purchase_order_message(&self, number: u64, order: &api::PurchaseOrder) -> api::PurchaseOrder {
        let mut message = order.clone();
        for line in &mut message.lines {
            let key = line.stock_key.as_ref().and_then(|key| self.wire_key_index(key));
            line.claimed = key.map_or(0, |key| self.claimed(key, line_day(order, line), number, line.line));
        }
        message
    }

    pub(crate) fn purchase_order_numbered(&self, number: u64) -> Result<api::PurchaseOrder, Reject> {
        Ok(self.purchase_order_message(number, known(&self.supply.purchase_orders, number)?))
    }

    /// A purchase order.
    ///
    /// # Errors
    /// [`stockmesh_types::Reason::UnknownPurchaseOrder`].
    pub fn purchase_order(&self, id: &str) -> Result<api::PurchaseOrder, Reject> {
        let (number, order) = self.supply.purchase_orders.known(id)?;
        Ok(self.purchase_order_message(number, order))
    }

    /// Purchase orders in the order of their creation, after number `after`.
    #[must_use]
    pub fn list_purchase_orders(
        &self,
        after: u64,
        limit: usize,
        filter: &PurchaseOrderFilter,
    ) -> Page<api::PurchaseOrder> {
        documents(&self.supply.purchase_orders, after, limit, |number, order| {
            let wanted = (filter.state == 0 || order.state == filter.state)
                && (filter.node.is_empty() || order.node == filter.node)
                && (!filter.late || (order.late && order.closed_time_ms == 0));
            wanted.then(|| self.purchase_order_message(number, order))
        })
    }

    /// What is expected of a stock key, earliest first, units that wait for it, and units that nobody lays claim to.
    #[must_use]
    pub fn supply_of(&self, key: &StockKey) -> api::GetSupplyResponse {
        let Some(key) = self.key_index(key) else { return api::GetSupplyResponse::default() };
        let supplies = self.supply_messages(key);
        let available_to_order = supplies.iter().map(|supply| supply.quantity - supply.claimed).sum();
        let backordered = self.keys[key].waiting_total;
        api::GetSupplyResponse { supplies, backordered, available_to_order }
    }

    fn transfer_message(&self, number: u64, transfer: &api::Transfer) -> api::Transfer {
        let mut message = transfer.clone();
        let day = day_of(&transfer.expected_date);
        for line in &mut message.lines {
            let key = line.stock_key.as_ref().and_then(|key| self.wire_key_index(key));
            line.claimed = key.map_or(0, |key| self.claimed(key, day, number, line.line));
        }
        message
    }

    pub(crate) fn transfer_numbered(&self, number: u64) -> Result<api::Transfer, Reject> {
        Ok(self.transfer_message(number, known(&self.supply.transfers, number)?))
    }

    /// A transfer.
    ///
    /// # Errors
    /// [`stockmesh_types::Reason::UnknownTransfer`].
    pub fn transfer(&self, id: &str) -> Result<api::Transfer, Reject> {
        let (number, transfer) = self.supply.transfers.known(id)?;
        Ok(self.transfer_message(number, transfer))
    }

    /// Transfers in the order of their creation, after number `after`.
    #[must_use]
    pub fn list_transfers(&self, after: u64, limit: usize, filter: &TransferFilter) -> Page<api::Transfer> {
        documents(&self.supply.transfers, after, limit, |number, transfer| {
            let wanted = (filter.state == 0 || transfer.state == filter.state)
                && (filter.source.is_empty() || transfer.source_node == filter.source)
                && (filter.destination.is_empty() || transfer.destination_node == filter.destination);
            wanted.then(|| self.transfer_message(number, transfer))
        })
    }

    /// Refunds of an order, and what of its lines may be refunded; `None` when there is no such order.
    #[must_use]
    pub fn refunds(&self, order: &OrderId) -> Option<api::GetRefundsResponse> {
        let record = self.orders.get(self.order_index.get(order.as_str())?)?;
        let mut answer = api::GetRefundsResponse {
            currency_code: Self::order_body(record).currency_code,
            ..api::GetRefundsResponse::default()
        };
        let lines = self.lines.iter_from(record.first_line as usize).take(record.lines as usize);
        for (index, line) in (record.first_line..).zip(lines) {
            let refunds = self.line_refunds(index);
            if refunds.is_none() && line.shipped == 0 && line.returned == 0 {
                continue;
            }
            let refunds = refunds.cloned().unwrap_or_default();
            answer.lines.push(api::LineRefunds {
                line: line.line,
                shipped: line.shipped,
                returned: line.returned,
                refunded_with_return: refunds.with_return,
                refunded_without_return: refunds.without_return,
                refunded_minor: refunds.minor,
                charged_minor: self.charged(index).minor,
            });
            answer.refunds.extend(refunds.refunds);
        }
        answer.refunds.sort_by_key(|refund| refund.committed_time_ms);
        Some(answer)
    }

    pub(crate) fn authorisation_numbered(&self, number: u64) -> Result<api::ReturnAuthorisation, Reject> {
        known(&self.supply.authorisations, number).cloned()
    }

    /// A return authorisation.
    ///
    /// # Errors
    /// [`stockmesh_types::Reason::UnknownAuthorisation`].
    pub fn authorisation(&self, id: &str) -> Result<api::ReturnAuthorisation, Reject> {
        self.supply.authorisations.known(id).map(|(_, authorisation)| authorisation.clone())
    }

    /// Return authorisations in the order of their creation, after number `after`; `state` 0 and an empty order: any.
    #[must_use]
    pub fn list_authorisations(
        &self,
        after: u64,
        limit: usize,
        state: i32,
        order_id: &str,
    ) -> Page<api::ReturnAuthorisation> {
        documents(&self.supply.authorisations, after, limit, |_, authorisation| {
            let wanted = (state == 0 || authorisation.state == state)
                && (order_id.is_empty() || authorisation.order_id == order_id);
            wanted.then(|| authorisation.clone())
        })
    }

    /// Labour that nodes reported, by node, then day, from position `after` on; an empty node: all.
    #[must_use]
    pub fn list_capacities(&self, after: u64, limit: usize, node: &str) -> Page<api::NodeCapacity> {
        let all = (1u64..).zip(self.supply.capacities.iter());
        let from = all.skip(usize::try_from(after).unwrap_or(usize::MAX));
        let wanted = |capacity: &api::NodeCapacity| node.is_empty() || capacity.node == node;
        page(limit, from.map(|(next, (_, capacity))| (next, wanted(capacity).then(|| (**capacity).clone()))))
    }

    /// An exception.
    #[must_use]
    pub fn exception(&self, number: u64) -> Option<api::NetworkException> {
        self.supply.incidents.get(number).map(|incident| exception_message(number, incident))
    }

    /// Exceptions in the order in which they were learned of, after number `after`, and how many open ones were forgotten.
    #[must_use]
    pub fn list_exceptions(
        &self,
        after: u64,
        limit: usize,
        filter: &ExceptionFilter,
    ) -> (Page<api::NetworkException>, u64) {
        let incidents = &self.supply.incidents;
        let list = incidents.iter_from(after.saturating_add(1)).map(|(number, incident)| {
            let wanted = (filter.code == 0 || incident.code == filter.code)
                && (filter.node.is_empty() || *incident.node == *filter.node)
                && (filter.resolved || incident.resolved_ms == 0)
                && (filter.owner_role.is_empty()
                    || incident.known_code().is_some_and(|code| code.owner_role() == filter.owner_role));
            (number, wanted.then(|| exception_message(number, incident)))
        });
        (page(limit, list), incidents.forgotten)
    }
}

fn exception_message(number: u64, incident: &Incident) -> api::NetworkException {
    let code = incident.known_code();
    let wire = i32::try_from(incident.code).ok().and_then(|code| WireCode::try_from(code).ok());
    api::NetworkException {
        exception_number: number,
        code: wire.unwrap_or(WireCode::Unspecified).into(),
        code_name: code.map_or_else(String::new, |code| code.code().to_owned()),
        severity: code.map_or_else(String::new, |code| code.severity().word().to_owned()),
        owner_role: code.map_or_else(String::new, |code| code.owner_role().to_owned()),
        closed_by: code.map_or_else(String::new, |code| code.closed_by().to_owned()),
        node: incident.node.to_string(),
        node_exception_id: incident.subject.exception_id.to_string(),
        document_kind: incident.subject.document_kind.to_string(),
        document_id: incident.subject.document_id.to_string(),
        line: incident.subject.line,
        stock_key: incident.stock_key.clone(),
        quantity: incident.quantity,
        description: incident.description.to_string(),
        raised_time_ms: incident.raised_ms,
        resolved_time_ms: incident.resolved_ms,
        resolution: incident.resolution.to_string(),
    }
}
