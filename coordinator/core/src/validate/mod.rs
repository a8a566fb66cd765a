//! Shape checks of requests, before anything is proposed. What is wrong is said by field path and reason.
//!
//! They need no state; `apply` checks again what safety needs. Must not know: the state, gRPC.

mod facts;
mod items;
mod master_data;
mod orders;
mod supply;

pub use facts::{MAX_CELLS, cut_batch, facts};
pub(crate) use facts::{cells_of, writer};
pub(crate) use items::check_item;
pub use items::update_items;
pub(crate) use master_data::{MAX_ITEMS, check_node};
pub use master_data::{create_items, range_items, recall_rights, register_node, stock_keys};
pub(crate) use orders::{MAX_LINES, placed_time};
pub use orders::{cancel_order, order};
pub use supply::{
    MAX_DOCUMENT_LINES, amend_purchase_order, authorise_return, change_transfer_date, create_purchase_order,
    create_transfer, document_request, record_ship_notice, request_refund,
};
pub(crate) use supply::{
    check_authorisation, check_purchase_line, check_purchase_order, check_ship_notice, check_transfer,
};
