//! Shape checks of requests, before anything is proposed. What is wrong is said by field path and reason.
//!
//! They need no state; `apply` checks again what safety needs. Must not know: the state, gRPC.

mod facts;
mod master_data;
mod orders;

pub use facts::{MAX_CELLS, cut_batch, facts};
pub(crate) use facts::{cells_of, writer};
pub(crate) use master_data::{MAX_ITEMS, check_item, check_node};
pub use master_data::{create_items, range_items, recall_rights, register_node, stock_keys};
pub(crate) use orders::{MAX_LINES, placed_time};
pub use orders::{cancel_order, order};
