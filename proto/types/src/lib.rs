//! Ids, quantities, money and time of Stockmesh, and the hash chain of its feeds.
//!
//! Everything here is a value: no I/O, no clock, no randomness. The three cores speak in these types; the wire's
//! strings and integers become them once, at the boundary, where what is wrong with them is said by name.
//!
//! ```text
//!   bytes on the wire --stockmesh-proto::convert--> values of this package --> cores
//! ```
//!
//! Reading order: [`ids`], [`stock_key`], [`quantity`], [`money`], [`time`], [`chain`], [`principal`], [`reject`], [`exception`].

pub mod chain;
pub mod exception;
pub mod ids;
pub mod money;
pub mod principal;
pub mod quantity;
pub mod reject;
pub mod stock_key;
pub mod time;

pub use chain::{ChainHash, FeedId, chain_hash};
pub use exception::{ExceptionCode, Severity};
pub use ids::{AllocationId, Epoch, Group, Incarnation, ItemId, LegalEntity, NodeId, OrderId, PartyId, RequestId};
pub use money::{Currency, Money, share};
pub use principal::{Principal, PrincipalKind};
pub use quantity::{MAX_QUANTITY, Quantity};
pub use reject::{Reason, Reject, RejectKind};
pub use stock_key::{Grade, StockKey};
pub use time::{BusinessDate, LogTime};
