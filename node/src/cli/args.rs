//! The arguments of client verbs, as clap reads them and as `--help` shows them.
//!
//! Must not know: how a verb is carried out.

use clap::{Args, Subcommand};
use stockmesh_proto::common::v1 as common;
use stockmesh_proto::feed::v1 as feed;
use stockmesh_service::output::OutputFormat;
use stockmesh_service::request::new_request_id;
use stockmesh_types::{AllocationId, Currency, NodeId, StockKey};

use super::lines::{AllocationLine, GoodsLine, allocation_line, goods_line, stock_key};
use super::outbound_args::{CounterVerb, KitVerb, PickupVerb, RefundVerb, TransferVerb, WorkVerb};
use super::site::args::UnitArgs;

/// Which node, and how to reach it.
#[derive(Clone, Debug, Args)]
pub(crate) struct Target {
    /// Address of the node's process
    #[arg(long, value_name = "ADDRESS:PORT", env = "STOCKMESH_NODE_ADDRESS", default_value = "127.0.0.1:7201")]
    pub(crate) address: String,
    /// Node; may be left out when the process hosts only one
    #[arg(long, value_name = "ID", env = "STOCKMESH_NODE")]
    pub(crate) node: Option<NodeId>,
    /// Form of output
    #[arg(long, value_enum, default_value_t = OutputFormat::Table)]
    pub(crate) output: OutputFormat,
    /// Longest time to wait, seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) timeout: u64,
}

/// A request that changes something.
#[derive(Clone, Debug, Args)]
pub(crate) struct Once {
    /// Id of the request, a UUIDv7: a repeat with the same id takes effect once [default: a fresh one]
    #[arg(long, value_name = "UUID")]
    request_id: Option<String>,
}

impl Once {
    pub(crate) fn id(self) -> String {
        self.request_id.unwrap_or_else(new_request_id)
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum ClientVerb {
    /// Book goods in
    ///
    /// Example: receive --line 85123A=100@255.00 --line 71053=6@20.34:damaged --currency GBP --reference po-7
    Receive {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        once: Once,
        /// Goods: ITEM=QTY@COST, the cost of the whole line; with :damaged or :quarantined at the end for goods in that
        /// condition. An item may be ITEM+refurbished+owner:NAME+life:CLASS
        #[arg(long = "line", value_name = "ITEM=QTY@COST", required = true, value_parser = goods_line)]
        lines: Vec<GoodsLine>,
        /// Currency of the costs
        #[arg(long, value_name = "CODE", value_parser = Currency::new)]
        currency: Currency,
        /// Why goods arrive
        #[arg(long, value_enum, default_value_t = Kind::PurchaseOrder)]
        kind: Kind,
        /// Purchase order or other reference
        #[arg(long, default_value = "")]
        reference: String,
        /// Receipt number, unique at the node [default: the request id]
        #[arg(long, default_value = "")]
        receipt_id: String,
        #[command(flatten)]
        units: UnitArgs,
    },
    /// Sell at the counter, of what the node retained
    ///
    /// Example: sell --line 85123A=2@5.10 --currency GBP --tax GB:20 --tender card
    Sell {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        once: Once,
        /// Goods: ITEM=QTY@PRICE, the price of the whole line, tax excluded
        #[arg(long = "line", value_name = "ITEM=QTY@PRICE", required = true, value_parser = goods_line)]
        lines: Vec<GoodsLine>,
        /// Currency of the prices
        #[arg(long, value_name = "CODE", value_parser = Currency::new)]
        currency: Currency,
        /// Tax on every line: jurisdiction and rate in per cent, like GB:20; VAT unless --sales-tax is given
        #[arg(long, value_name = "JURISDICTION:RATE")]
        tax: Option<String>,
        /// The tax is a sales tax
        #[arg(long, requires = "tax")]
        sales_tax: bool,
        /// How the customer pays
        #[arg(long, value_enum, default_value_t = TenderArg::Card)]
        tender: TenderArg,
        /// Till document, unique at the node [default: the request id]
        #[arg(long, default_value = "")]
        sale_id: String,
    },
    /// List work
    Tasks {
        #[command(flatten)]
        target: Target,
        /// Only tasks with units left to ship
        #[arg(long)]
        open: bool,
        /// Only tasks of this order
        #[arg(long, default_value = "")]
        order: String,
        /// At most this many
        #[arg(long, default_value_t = 1_000)]
        limit: usize,
    },
    /// Pick units of an allocation
    Pick {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        once: Once,
        /// Allocation, like k1-153-0
        allocation: AllocationId,
        /// Units
        quantity: i64,
    },
    /// Pack units that were picked
    Pack {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        once: Once,
        /// Allocation, like k1-153-0
        allocation: AllocationId,
        /// Units
        quantity: i64,
    },
    /// Ship: one parcel of one order leaves
    ///
    /// Examples: ship --order o-1    ship --line k1-153-0=2 --line k1-153-1=1 --carrier DHL --tracking 42
    #[command(group = clap::ArgGroup::new("what").required(true))]
    Ship {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        once: Once,
        /// Units of an allocation
        #[arg(long = "line", value_name = "ALLOCATION=QTY", value_parser = allocation_line, group = "what")]
        lines: Vec<AllocationLine>,
        /// What leaves in the place of an allocation's own goods, where the order allows it (may be repeated)
        #[arg(long, value_name = "ALLOCATION=ITEM", value_parser = substitute)]
        substitute: Vec<(AllocationId, StockKey)>,
        /// Everything that is left of this order here
        #[arg(long, group = "what")]
        order: Option<String>,
        /// Carrier
        #[arg(long, default_value = "")]
        carrier: String,
        /// Tracking number
        #[arg(long, default_value = "")]
        tracking: String,
        /// Shipment number, unique at the node [default: the request id]
        #[arg(long, default_value = "")]
        shipment_id: String,
    },
    /// Decline work: the node will not ship these units
    Decline {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        once: Once,
        /// Allocation, like k1-153-0
        allocation: AllocationId,
        /// Units
        quantity: i64,
        /// Why; not-found and damaged take the units off sellable stock
        #[arg(long, value_enum)]
        reason: DeclineArg,
    },
    /// Correct recorded stock
    ///
    /// Example: adjust 85123A -3 --reason loss
    Adjust {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        once: Once,
        /// Item, or ITEM+refurbished+owner:NAME+life:CLASS
        #[arg(value_parser = stock_key)]
        item: StockKey,
        /// Change of sellable units
        #[arg(allow_negative_numbers = true)]
        delta: i64,
        /// Why; found needs a positive change, loss and damage a negative one
        #[arg(long, value_enum)]
        reason: AdjustArg,
        /// Document or note
        #[arg(long, default_value = "")]
        reference: String,
        #[command(flatten)]
        units: UnitArgs,
    },
    /// Customers' returns
    Return {
        #[command(subcommand)]
        step: ReturnStep,
    },
    /// The counter: sell with a recall, record, void, take back
    Counter {
        #[command(subcommand)]
        step: CounterVerb,
    },
    /// Transfers at their destination
    Transfer {
        #[command(subcommand)]
        step: TransferVerb,
    },
    /// Work for orders: holds, waves, pick lists, short picks, labels, labour
    Work {
        #[command(subcommand)]
        step: Box<WorkVerb>,
    },
    /// Goods that wait for customers
    Pickup {
        #[command(subcommand)]
        step: PickupVerb,
    },
    /// Kits
    Kit {
        #[command(subcommand)]
        step: KitVerb,
    },
    /// Refunds of orders' goods, and what became of returned goods
    Refund {
        #[command(subcommand)]
        step: RefundVerb,
    },
    /// List stock and rights
    Stock {
        #[command(flatten)]
        target: Target,
        /// Only this item
        #[arg(long, default_value = "")]
        item: String,
        /// At most this many stock keys
        #[arg(long, default_value_t = 1_000)]
        limit: usize,
    },
    /// Show epoch, feed and links
    Status {
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ReturnStep {
    /// Take a customer's goods back
    ///
    /// Examples: return receive 85123A 1 --order o-1 --line 2    return receive 85123A 1 --sale t-9 --sale-node store-1
    #[command(group = clap::ArgGroup::new("bought").required(true))]
    Receive {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        once: Once,
        /// Item, or ITEM+refurbished+owner:NAME+life:CLASS
        #[arg(value_parser = stock_key)]
        item: StockKey,
        /// Units
        quantity: i64,
        /// Order that the goods were bought on
        #[arg(long, group = "bought", requires = "line")]
        order: Option<String>,
        /// Line of that order
        #[arg(long, requires = "order")]
        line: Option<u32>,
        /// Counter sale that the goods were bought in
        #[arg(long, group = "bought")]
        sale: Option<String>,
        /// Node of that counter sale [default: this one]
        #[arg(long, requires = "sale")]
        sale_node: Option<NodeId>,
        /// Return number, unique at the node [default: the request id]
        #[arg(long, default_value = "")]
        return_id: String,
    },
    /// Decide what happens to returned goods
    ///
    /// Example: return inspect r-1 1 --disposition resale
    Inspect {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        once: Once,
        /// Return number
        return_id: String,
        /// Units
        quantity: i64,
        /// What happens; refurbish, liquidate and return-to-vendor set the goods aside until `refund disposition`
        #[arg(long, value_enum)]
        disposition: DispositionArg,
    },
}

fn substitute(text: &str) -> Result<(AllocationId, StockKey), stockmesh_types::Reject> {
    use stockmesh_types::{Reason, Reject};
    let form = || Reject::new(Reason::InvalidValue, format!("{text:?} is not of the form ALLOCATION=ITEM"));
    let (allocation, item) = text.split_once('=').ok_or_else(form)?;
    Ok((allocation.parse()?, stock_key(item)?))
}

/// Defines an argument's values and the wire values that they stand for.
macro_rules! values {
    ($name:ident => $wire:ty { $($(#[$doc:meta])* $value:ident,)* }) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
        pub(crate) enum $name { $($(#[$doc])* $value,)* }
        impl $name {
            pub(crate) fn wire(self) -> i32 {
                match self { $(Self::$value => <$wire>::$value.into(),)* }
            }
        }
    };
}

pub(crate) use values;

values!(Kind => feed::ReceiptKind {
    /// Against a purchase order
    PurchaseOrder,
    /// At migration
    OpeningStock,
});
values!(TenderArg => common::Tender {
    /// Cash
    Cash,
    /// Card
    Card,
});
values!(DeclineArg => feed::DeclineReason {
    /// Short pick
    NotFound,
    /// Damaged
    Damaged,
    /// There, but not to be done
    NoCapacity,
    /// There, and the site is closed
    Closed,
});
values!(AdjustArg => feed::AdjustReason {
    /// A count differed
    Count,
    /// Damaged: moved from sellable to damaged
    Damage,
    /// Stolen or lost
    Loss,
    /// Found
    Found,
});
values!(DispositionArg => feed::Disposition {
    /// Back to sellable stock
    Resale,
    /// Refurbish
    Refurbish,
    /// Liquidate
    Liquidate,
    /// Back to the supplier
    ReturnToVendor,
    /// Written off
    WriteOff,
});
