//! The calls themselves, one function each, and lists read page by page.

use stockmesh_proto::coordinator::v1 as coordinator;
use stockmesh_proto::finance::v1 as finance;
use stockmesh_proto::node::v1 as node;
use tonic::Status;

use super::clients::{self, Clients};

/// Rows per page of long lists.
const PAGE: i32 = 1_000;
/// Orders per page: each may have 2,000 lines.
const ORDER_PAGE: i32 = 100;

macro_rules! coordinator_calls {
    ($($(#[$doc:meta])* $name:ident $service:ident $request:ident $response:ident,)*) => {
        impl Clients {
            $($(#[$doc])*
            ///
            /// # Errors
            /// The service's refusal, or the last failure when nobody answered in time.
            pub async fn $name(&self, request: coordinator::$request) -> Result<coordinator::$response, Status> {
                let request = &request;
                self.coordinator()
                    .call(|channel| async move { clients::$service(channel).$name(request.clone()).await })
                    .await
            })*
        }
    };
}

coordinator_calls! {
    /// Places an order.
    place_order orders PlaceOrderRequest PlaceOrderResponse,
    /// One order.
    get_order orders GetOrderRequest GetOrderResponse,
    /// A page of orders.
    list_orders orders ListOrdersRequest ListOrdersResponse,
    /// Cancels.
    cancel_order orders CancelOrderRequest CancelOrderResponse,
    /// Creates items.
    create_items catalog CreateItemsRequest CreateItemsResponse,
    /// Registers a node.
    register_node network RegisterNodeRequest RegisterNodeResponse,
    /// Nodes.
    list_nodes network ListNodesRequest ListNodesResponse,
    /// Ranges items.
    range_items network RangeItemsRequest RangeItemsResponse,
    /// ATP.
    get_availability availability GetAvailabilityRequest GetAvailabilityResponse,
    /// A page of cells.
    list_cells availability ListCellsRequest ListCellsResponse,
}

macro_rules! node_calls {
    ($($(#[$doc:meta])* $name:ident $request:ident $response:ident,)*) => {
        impl Clients {
            $($(#[$doc])*
            ///
            /// # Errors
            /// The node's refusal, or the last failure when it did not answer in time.
            pub async fn $name(&self, request: node::$request) -> Result<node::$response, Status> {
                let request = &request;
                self.node(&request.node)?
                    .call(|channel| async move { clients::node(channel).$name(request.clone()).await })
                    .await
            })*
        }
    };
}

node_calls! {
    /// Books goods in.
    receive_stock ReceiveStockRequest ReceiveStockResponse,
    /// Sells at the counter.
    sell_at_counter SellAtCounterRequest SellAtCounterResponse,
    /// A page of work.
    list_tasks ListTasksRequest ListTasksResponse,
    /// Picks.
    pick_items PickItemsRequest PickItemsResponse,
    /// Packs.
    pack_items PackItemsRequest PackItemsResponse,
    /// Ships.
    ship_items ShipItemsRequest ShipItemsResponse,
    /// Declines.
    decline_allocation DeclineAllocationRequest DeclineAllocationResponse,
    /// Takes goods back.
    receive_return ReceiveReturnRequest ReceiveReturnResponse,
    /// Decides on them.
    inspect_return InspectReturnRequest InspectReturnResponse,
    /// A page of stock.
    list_stock ListStockRequest ListStockResponse,
    /// Epoch, feed, links.
    get_node_status GetNodeStatusRequest GetNodeStatusResponse,
}

macro_rules! finance_calls {
    ($($(#[$doc:meta])* $name:ident $request:ident $response:ident,)*) => {
        impl Clients {
            $($(#[$doc])*
            ///
            /// # Errors
            /// Finance's refusal, or the last failure when it did not answer in time.
            pub async fn $name(&self, request: finance::$request) -> Result<finance::$response, Status> {
                let request = &request;
                self.finance()
                    .call(|channel| async move { clients::ledger(channel).$name(request.clone()).await })
                    .await
            })*
        }
    };
}

finance_calls! {
    /// Trial balance.
    get_trial_balance GetTrialBalanceRequest GetTrialBalanceResponse,
    /// A page of the journal.
    list_journal_entries ListJournalEntriesRequest ListJournalEntriesResponse,
    /// A page of suspense.
    list_suspense ListSuspenseRequest ListSuspenseResponse,
    /// A page of stock at cost.
    list_stock_values ListStockValuesRequest ListStockValuesResponse,
    /// How far feeds are posted.
    get_posting_status GetPostingStatusRequest GetPostingStatusResponse,
}

/// Reads a list to its end.
macro_rules! all_pages {
    ($clients:expr, $call:ident, $request:expr, $rows:ident) => {{
        let mut request = $request;
        let mut rows = Vec::new();
        loop {
            let page = $clients.$call(request.clone()).await?;
            rows.extend(page.$rows);
            if page.next_page_token.is_empty() {
                break Ok(rows);
            }
            request.page_token = page.next_page_token;
        }
    }};
}

impl Clients {
    /// Every order, in the order in which they were committed.
    ///
    /// # Errors
    /// As [`Self::list_orders`].
    pub async fn all_orders(&self) -> Result<Vec<coordinator::OrderStatus>, Status> {
        let request = coordinator::ListOrdersRequest { page_size: ORDER_PAGE, ..Default::default() };
        all_pages!(self, list_orders, request, orders)
    }

    /// Every cell.
    ///
    /// # Errors
    /// As [`Self::list_cells`].
    pub async fn all_cells(&self) -> Result<Vec<coordinator::Cell>, Status> {
        let request = coordinator::ListCellsRequest { page_size: PAGE, ..Default::default() };
        all_pages!(self, list_cells, request, cells)
    }

    /// Every node.
    ///
    /// # Errors
    /// As [`Self::list_nodes`].
    pub async fn all_nodes(&self) -> Result<Vec<coordinator::Node>, Status> {
        let request = coordinator::ListNodesRequest { page_size: PAGE, ..Default::default() };
        all_pages!(self, list_nodes, request, nodes)
    }

    /// All work of a node, or what is open.
    ///
    /// # Errors
    /// As [`Self::list_tasks`].
    pub async fn all_tasks(&self, node: &str, open_only: bool) -> Result<Vec<node::Task>, Status> {
        let request =
            node::ListTasksRequest { node: node.to_owned(), page_size: PAGE, open_only, ..Default::default() };
        all_pages!(self, list_tasks, request, tasks)
    }

    /// All stock of a node.
    ///
    /// # Errors
    /// As [`Self::list_stock`].
    pub async fn all_stock(&self, node: &str) -> Result<Vec<node::StockLevel>, Status> {
        let request = node::ListStockRequest { node: node.to_owned(), page_size: PAGE, ..Default::default() };
        all_pages!(self, list_stock, request, levels)
    }

    /// All stock at cost.
    ///
    /// # Errors
    /// As [`Self::list_stock_values`].
    pub async fn all_stock_values(&self) -> Result<Vec<finance::StockValue>, Status> {
        let request = finance::ListStockValuesRequest { page_size: PAGE, ..Default::default() };
        all_pages!(self, list_stock_values, request, values)
    }

    /// Every fact in suspense.
    ///
    /// # Errors
    /// As [`Self::list_suspense`].
    pub async fn all_suspense(&self) -> Result<Vec<finance::SuspenseItem>, Status> {
        let request = finance::ListSuspenseRequest { page_size: PAGE, ..Default::default() };
        all_pages!(self, list_suspense, request, items)
    }

    /// Every journal entry, handed to `each` in the order of their numbers: a long journal is never held whole.
    ///
    /// # Errors
    /// As [`Self::list_journal_entries`].
    pub async fn each_journal_entry(&self, mut each: impl FnMut(finance::JournalEntry)) -> Result<(), Status> {
        let mut request = finance::ListJournalEntriesRequest { page_size: PAGE, ..Default::default() };
        loop {
            let page = self.list_journal_entries(request.clone()).await?;
            page.entries.into_iter().for_each(&mut each);
            if page.next_page_token.is_empty() {
                return Ok(());
            }
            request.page_token = page.next_page_token;
        }
    }

    /// The books in beancount's format, or another, whole.
    ///
    /// # Errors
    /// Finance's refusal.
    pub async fn export_ledger(&self, format: finance::ExportFormat) -> Result<Vec<u8>, Status> {
        self.finance()
            .call(|channel| async move {
                let request = finance::ExportLedgerRequest { format: format.into(), entity: String::new() };
                let mut pieces = clients::ledger(channel).export_ledger(request).await?.into_inner();
                let mut file = Vec::new();
                while let Some(piece) = pieces.message().await? {
                    file.extend_from_slice(&piece.data);
                }
                Ok(tonic::Response::new(file))
            })
            .await
    }
}
