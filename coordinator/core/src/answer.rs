//! What `apply` gives back: one outcome per command, what was emitted to other participants, what a person should know.
//!
//! Must not know: gRPC, the log's storage, who waits for an answer.

use std::sync::Arc;

use stockmesh_proto::coordinator::v1 as api;
use stockmesh_proto::entry::Head;
use stockmesh_proto::feed::v1::FeedEntry;
use stockmesh_types::{AllocationId, Epoch, Group, Incarnation, NodeId, OrderId, Quantity, Reject};

/// What one log entry did.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// One per command, in the order of the entry.
    pub outcomes: Vec<Result<Answer, Reject>>,
    /// Entries of the coordinator's own feeds, in the order in which they were chained.
    pub emitted: Vec<Emitted>,
    /// Stock keys whose availability changed, by dense index, each at least once.
    pub touched: Vec<u32>,
    /// A node was fenced, or let go: the availability of whatever it has changed, beyond `touched`.
    pub touched_all: bool,
    /// Oddities that changed nothing in the outcome, for the log that people read.
    pub notices: Vec<Notice>,
}

/// An entry of the coordinator's feed to one destination.
#[derive(Clone, Debug, PartialEq)]
pub struct Emitted {
    /// `node/<id>` or `finance/<id>`.
    pub destination: Arc<str>,
    /// The entry, chained.
    pub entry: FeedEntry,
}

/// A command that was committed.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The group's life has begun; `existing` when the same command had been committed before.
    GroupInitialized {
        /// Group.
        group: Group,
        /// Incarnation.
        incarnation: Incarnation,
        /// It had been initialized alike before.
        existing: bool,
    },
    /// Items are in the catalog.
    ItemsCreated {
        /// New ones.
        created: u32,
        /// Those that existed alike.
        existing: u32,
    },
    /// The node is in the network, as it stands now.
    NodeRegistered {
        /// The node.
        node: api::Node,
    },
    /// Items may be handled at the node.
    ItemsRanged {
        /// Newly ranged.
        ranged: u32,
    },
    /// The order is accepted; [`crate::State::order`] has it as it stands.
    OrderPlaced {
        /// Order.
        order_id: OrderId,
        /// It had been placed before with the same body: nothing changed.
        already_placed: bool,
    },
    /// A node's history goes on in a new epoch.
    NodeEpochOpened {
        /// Node.
        node: NodeId,
        /// The new epoch.
        epoch: u64,
        /// UUID of the recovery.
        recovery_id: String,
    },
    /// Facts of an epoch that is over surfaced.
    LateFactsNoted {
        /// They were news.
        noted: bool,
    },
    /// A step of work that goes on by itself was done.
    WorkContinued {
        /// More of it waits.
        more: bool,
    },
    /// A step of a node's retirement was taken.
    NodeRetirement {
        /// The node, as it stands now; [`crate::State::retirement`] says how far it is.
        node: api::Node,
    },
    /// Grant policies are in force.
    PoliciesSet {
        /// Their version.
        version: u64,
    },
    /// Units of broken promises are reserved elsewhere.
    SubstitutesReserved {
        /// Units.
        reserved: Quantity,
        /// Substitutes that rights no longer covered.
        left_out: u32,
    },
    /// Units of the order are cancelled or asked back; [`crate::State::order`] has it as it stands.
    OrderCancelled {
        /// Order.
        order_id: OrderId,
        /// Units cancelled at once.
        cancelled: Quantity,
        /// Units that nodes were asked to cancel.
        requested: Quantity,
    },
    /// Waiting units are promised.
    BackordersAllocated {
        /// Units promised.
        promised: Quantity,
        /// Promises that the state no longer allowed; they stay in the queue.
        left_out: u32,
    },
    /// Facts took effect up to `cursor`.
    FactsApplied {
        /// The node's feed is applied up to here.
        cursor: Head,
        /// Entries that took effect now; repeats don't count.
        applied: u32,
        /// Why the entry after `cursor` was refused, when one was: the link should stop there.
        refused: Option<Reject>,
    },
    /// A consumer of one of our feeds has everything up to `cursor`.
    FeedAcknowledged {
        /// `node/<id>` or `finance/<id>`.
        destination: String,
        /// Acknowledged so far.
        cursor: Head,
    },
    /// Rights went back to the node.
    RightsRecalled {
        /// The cell as it stands now.
        cell: api::Cell,
    },
    /// What later releases can do is allowed.
    FeatureLevelRaised {
        /// Level in force.
        level: u32,
    },
    /// Items changed.
    ItemsUpdated {
        /// Changed ones.
        updated: u32,
        /// New ones.
        created: u32,
        /// Those that were alike already.
        unchanged: u32,
    },
    /// Nodes were told of items that changed.
    ItemsAnnounced {
        /// Facts that were told.
        told: u32,
    },
    /// The purchase order as it stands now.
    PurchaseOrder(Box<api::PurchaseOrder>),
    /// Exceptions were raised for supply that is late.
    LateSupplyFound {
        /// Documents.
        found: u32,
    },
    /// The transfer as it stands now.
    Transfer {
        /// Transfer.
        transfer: Box<api::Transfer>,
        /// Units cancelled at once.
        cancelled: Quantity,
        /// Units that the source was asked to cancel.
        requested: Quantity,
    },
    /// The refund is committed.
    Refunded(Box<api::Refund>),
    /// The return authorisation as it stands now.
    ReturnAuthorised(Box<api::ReturnAuthorisation>),
    /// A person closed an exception.
    ExceptionResolved {
        /// Number of the exception.
        number: u64,
    },
    /// Promises of cells in shortfall were asked back.
    ShortfallsWorkedOff {
        /// Units that nodes were asked to cancel.
        asked: Quantity,
    },
}

/// Something odd in a fact that was applied all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// An epoch was sealed with entries whose bodies exist nowhere any more: a gap of the feed, until a recount.
    HistoryLost {
        /// Node.
        node: NodeId,
        /// The epoch that ended.
        epoch: Epoch,
        /// First entry that is lost.
        from_seq: u64,
        /// Last one.
        to_seq: u64,
    },
    /// A node that was given up as lost had shipped units that two people signed to ship from elsewhere.
    ShippedTwice {
        /// Node.
        node: NodeId,
        /// Its allocation.
        allocation: AllocationId,
        /// Units beyond what was left of it.
        quantity: Quantity,
    },
    /// Facts of an epoch that is over surfaced: they had no effect.
    LateFacts {
        /// Node.
        node: NodeId,
        /// The epoch that was over.
        epoch: Epoch,
        /// Where the feed that surfaced ends.
        to_seq: u64,
    },
    /// A return names an order or line that this group does not have; finance judges it.
    UnmatchedReturn {
        /// Node that reported it.
        node: NodeId,
        /// Order as reported.
        order_id: String,
        /// Line as reported.
        line: u32,
        /// Units.
        quantity: Quantity,
    },
    /// More units of a line came back than are known to have shipped.
    ReturnBeyondShipped {
        /// Node that reported it.
        node: NodeId,
        /// Order.
        order_id: String,
        /// Line.
        line: u32,
        /// Units returned in all.
        returned: Quantity,
        /// Units known to have shipped.
        shipped: Quantity,
    },
    /// A node reported a shortfall, or that one is cured (level 0).
    Shortfall {
        /// Node.
        node: NodeId,
        /// Stock key, as text.
        stock_key: String,
        /// Units short.
        level: Quantity,
    },
    /// A node declined work: a short pick, damage, no capacity.
    Declined {
        /// Node.
        node: NodeId,
        /// Allocation.
        allocation: AllocationId,
        /// Units that will not ship from there.
        quantity: Quantity,
    },
    /// A node's first entry arrived: its epoch is known from here on.
    NodeConnected {
        /// Node.
        node: NodeId,
        /// Epoch of its store.
        epoch: Epoch,
    },
}

/// The replica must stop: going on would part it from the others, or from what the log says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The log goes on elsewhere than after what was applied.
    #[error("log entry {got} came where {expected} is next: state and log do not belong together")]
    OutOfOrder {
        /// Next index at the earliest.
        expected: u64,
        /// Index that came.
        got: u64,
    },
    /// The entry was written under a feature level that this build does not speak.
    #[error("log entry {index} needs feature level {needed}, and this build speaks {spoken}: upgrade this replica")]
    FeatureLevel {
        /// Log index.
        index: u64,
        /// Level of the entry.
        needed: u32,
        /// Highest level of this build.
        spoken: u32,
    },
    /// A command without a kind that this build knows.
    #[error("command {position} of log entry {index} is not known to this build: upgrade this replica")]
    UnknownCommand {
        /// Log index.
        index: u64,
        /// Number within the entry, from 0.
        position: usize,
    },
    /// A part of a command is missing or malformed that the proposer had checked.
    #[error("command {position} of log entry {index} is malformed: {what}")]
    Malformed {
        /// Log index.
        index: u64,
        /// Number within the entry, from 0.
        position: usize,
        /// What is wrong.
        what: String,
    },
    /// A fact of a node's feed that this build does not know or can't decode.
    #[error("entry {seq} of {feed} in log entry {index} holds a fact that this build does not know: {what}")]
    UnknownFact {
        /// Log index.
        index: u64,
        /// Feed.
        feed: String,
        /// Sequence number.
        seq: u64,
        /// What is wrong.
        what: String,
    },
    /// A count has outgrown its index: more than 4,294,967,294 of one kind.
    #[error("too many {what} for one coordinator group")]
    Full {
        /// Kind of record.
        what: &'static str,
    },
}
