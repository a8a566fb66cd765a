//! The arguments of client verbs of the way out: counter, transfers, work, pickups, kits, labour, refunds.
//!
//! Must not know: how a verb is carried out.

use clap::{Args, Subcommand};
use stockmesh_proto::feed::v1 as feed;
use stockmesh_proto::node::v1 as api;
use stockmesh_types::{AllocationId, Currency, NodeId, StockKey};

use super::args::{DeclineArg, DispositionArg, Once, Target, TenderArg, values};
use super::lines::{AllocationLine, GoodsLine, allocation_line, goods_line, stock_key};

/// A counter sale as people type it.
#[derive(Clone, Debug, Args)]
pub(crate) struct SaleArgs {
    /// Goods: ITEM=QTY@PRICE, the price of the whole line, tax excluded
    #[arg(long = "line", value_name = "ITEM=QTY@PRICE", required = true, value_parser = goods_line)]
    pub(crate) lines: Vec<GoodsLine>,
    /// Currency of the prices
    #[arg(long, value_name = "CODE", value_parser = Currency::new)]
    pub(crate) currency: Currency,
    /// Tax on every line: jurisdiction and rate in per cent, like GB:20; VAT unless --sales-tax is given
    #[arg(long, value_name = "JURISDICTION:RATE")]
    pub(crate) tax: Option<String>,
    /// The tax is a sales tax
    #[arg(long, requires = "tax")]
    pub(crate) sales_tax: bool,
    /// How the customer pays
    #[arg(long, value_enum, default_value_t = TenderArg::Card)]
    pub(crate) tender: TenderArg,
}

/// What happens at a counter beside selling.
#[derive(Debug, Subcommand)]
pub(crate) enum CounterVerb {
    /// Sell, and ask the coordinator for free units when too few are kept here
    ///
    /// Example: counter sell --line 85123A=2@5.10 --currency GBP --recall
    Sell {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        once: Once,
        #[command(flatten)]
        sale: SaleArgs,
        /// Till document, unique at the node [default: the request id]
        #[arg(long, default_value = "")]
        sale_id: String,
        /// When too few units are kept, ask for those that no order holds; sell again in a moment
        #[arg(long)]
        recall: bool,
    },
    /// Record a sale that has happened: always booked, whatever the stock says
    ///
    /// Example: counter record t-77 --time 1795262400000 --line 85123A=2@5.10 --currency GBP
    Record {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        once: Once,
        /// Till document: it takes effect once, however often it is sent
        sale_id: String,
        /// When it took place, milliseconds since 1970-01-01T00:00:00Z
        #[arg(long, value_name = "MS")]
        time: i64,
        #[command(flatten)]
        sale: SaleArgs,
    },
    /// Take a whole sale back, as if it had not been; give its lines again
    ///
    /// Example: counter void t-77 --line 85123A=2@5.10 --currency GBP --reason "wrong customer"
    Void {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        once: Once,
        /// Till document
        sale_id: String,
        #[command(flatten)]
        sale: SaleArgs,
        /// Why
        #[arg(long)]
        reason: String,
    },
    /// Take goods of a counter sale back, and pay
    ///
    /// Example: counter return t-77 --line 85123A=1 --disposition resale --refund 6.12 --currency GBP --tender cash
    Return {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        once: Once,
        /// Till document that the goods were bought on
        sale_id: String,
        /// Node of that till [default: this one]
        #[arg(long)]
        sale_node: Option<NodeId>,
        /// Goods: ITEM=QTY
        #[arg(long = "line", value_name = "ITEM=QTY", required = true, value_parser = goods_line)]
        lines: Vec<GoodsLine>,
        /// What happens to all of them [default: they wait for inspection]
        #[arg(long, value_enum)]
        disposition: Option<DispositionArg>,
        /// Amount paid back, tax included
        #[arg(long, requires = "currency")]
        refund: Option<String>,
        /// Currency of the refund
        #[arg(long, value_name = "CODE", value_parser = Currency::new)]
        currency: Option<Currency>,
        /// How it is paid
        #[arg(long, value_enum, default_value_t = TenderArg::Card)]
        tender: TenderArg,
        /// Return number, unique at the node [default: the request id]
        #[arg(long, default_value = "")]
        return_id: String,
    },
}

/// Transfers at their destination.
#[derive(Debug, Subcommand)]
pub(crate) enum TransferVerb {
    /// Book goods of a transfer in
    ///
    /// Example: transfer receive tr-7 --from dc-1 --line 1:85123A=10 --damaged 1:85123A=1 --short 2:71053=3
    Receive {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        once: Once,
        /// Transfer
        transfer_id: String,
        /// Node that the goods came from
        #[arg(long)]
        from: NodeId,
        /// What arrived in order: LINE:ITEM=QTY
        #[arg(long = "line", value_name = "LINE:ITEM=QTY", value_parser = transfer_line)]
        lines: Vec<TransferGoods>,
        /// What arrived damaged
        #[arg(long, value_name = "LINE:ITEM=QTY", value_parser = transfer_line)]
        damaged: Vec<TransferGoods>,
        /// What was shipped and will not come
        #[arg(long, value_name = "LINE:ITEM=QTY", value_parser = transfer_line)]
        short: Vec<TransferGoods>,
        /// Receipt number, unique at the node [default: the request id]
        #[arg(long, default_value = "")]
        receipt_id: String,
    },
    /// List what was booked of transfers
    List {
        #[command(flatten)]
        target: Target,
        /// At most this many
        #[arg(long, default_value_t = 1_000)]
        limit: usize,
    },
}

/// Goods of a line of a transfer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TransferGoods {
    pub(crate) line: u32,
    pub(crate) goods: GoodsLine,
}

fn transfer_line(text: &str) -> Result<TransferGoods, stockmesh_types::Reject> {
    use stockmesh_types::{Reason, Reject};
    let wrong = || Reject::new(Reason::InvalidValue, format!("{text:?} is not of the form LINE:ITEM=QTY"));
    let (line, goods) = text.split_once(':').ok_or_else(wrong)?;
    Ok(TransferGoods { line: line.parse().map_err(|_| wrong())?, goods: goods_line(goods)? })
}

/// What a node ships for orders.
#[derive(Debug, Subcommand)]
pub(crate) enum WorkVerb {
    /// Show what the node ships for an order
    Show {
        #[command(flatten)]
        target: Target,
        /// Order
        order: String,
    },
    /// Have the work for an order wait: it is not picked, packed or shipped
    Hold {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        once: Once,
        /// Order
        order: String,
        /// Why
        #[arg(long)]
        reason: String,
    },
    /// Have it go on
    Resume {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        once: Once,
        /// Order
        order: String,
    },
    /// Give all that is left of it back
    Reject {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        once: Once,
        /// Order
        order: String,
        /// Why; no-capacity and closed are accepted within the node's time only
        #[arg(long, value_enum)]
        reason: DeclineArg,
    },
    /// Say that fewer units were found than are to pick
    ///
    /// Example: work short k1-153-0 --found 1 --reason some-missing
    Short {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        once: Once,
        /// Allocation, like k1-153-0
        allocation: AllocationId,
        /// Units found; they are picked by this
        #[arg(long, default_value_t = 0)]
        found: i64,
        /// What is wrong with the rest
        #[arg(long, value_enum)]
        reason: ShortArg,
    },
    /// Pick all that is left of a weighed item
    Weigh {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        once: Once,
        /// Allocation, like k1-153-0
        allocation: AllocationId,
        /// Weight on the scales, grams
        grams: i64,
    },
    /// Put open work together for one walk
    Wave {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        once: Once,
        /// When its parcels must have left, milliseconds since 1970-01-01T00:00:00Z
        #[arg(long, value_name = "MS")]
        cut_off: i64,
        /// Only work taken on until this time, milliseconds [default: all]
        #[arg(long, value_name = "MS", default_value_t = 0)]
        accepted_until: i64,
        /// At most this many allocations
        #[arg(long, default_value_t = 0)]
        max: u32,
    },
    /// List waves with units to pick
    Waves {
        #[command(flatten)]
        target: Target,
        /// At most this many
        #[arg(long, default_value_t = 1_000)]
        limit: usize,
    },
    /// Show or print a pick list
    ///
    /// Examples: work pick-list --wave 3    work pick-list --order o-1 --file pick.pdf
    #[command(group = clap::ArgGroup::new("of").required(true))]
    PickList {
        #[command(flatten)]
        target: Target,
        /// Wave
        #[arg(long, group = "of", default_value_t = 0, hide_default_value = true)]
        wave: u64,
        /// Order
        #[arg(long, group = "of", default_value = "", hide_default_value = true)]
        order: String,
        /// Write it to this file, as PDF or text by its name's ending
        #[arg(long)]
        file: Option<std::path::PathBuf>,
    },
    /// Print the packing slip of an order, as PDF or text by the file's ending
    PackingSlip {
        #[command(flatten)]
        target: Target,
        /// Order
        order: String,
        /// File
        #[arg(long)]
        file: std::path::PathBuf,
    },
    /// Have a carrier take a parcel on, and print its label: as PDF, ZPL or text by the file's ending
    ///
    /// Example: work label s-1 --order o-1 --file s-1.zpl
    Label {
        #[command(flatten)]
        target: Target,
        /// Shipment number that `ship` will use
        shipment_id: String,
        /// Order
        #[arg(long)]
        order: String,
        /// Carrier [default: the node's first]
        #[arg(long, default_value = "")]
        carrier: String,
        /// Weight, grams [default: that of what is packed]
        #[arg(long, default_value_t = 0, hide_default_value = true)]
        grams: i64,
        /// File
        #[arg(long)]
        file: std::path::PathBuf,
    },
    /// Set how much can be picked on a day; without --day-units: list days
    ///
    /// Example: work capacity --date 2026-11-21 --day-units 900 --hour 9=120 --hour 10=120
    Capacity {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        once: Once,
        /// Day, by UTC
        #[arg(long, requires = "day_units")]
        date: Option<String>,
        /// Units on the whole day
        #[arg(long, requires = "date")]
        day_units: Option<i64>,
        /// Units in an hour, by UTC: HOUR=UNITS
        #[arg(long = "hour", value_name = "HOUR=UNITS", value_parser = hour, requires = "date")]
        hours: Vec<(u32, i64)>,
    },
}

fn hour(text: &str) -> Result<(u32, i64), String> {
    let wrong = || format!("{text:?} is not of the form HOUR=UNITS");
    let (hour, units) = text.split_once('=').ok_or_else(wrong)?;
    Ok((hour.parse().map_err(|_| wrong())?, units.parse().map_err(|_| wrong())?))
}

values!(ShortArg => api::ShortPickReason {
    /// Nothing was there: all are lost
    NothingThere,
    /// Some were there: the others are lost
    SomeMissing,
    /// They are there, and damaged
    Damaged,
});

/// Goods that wait for customers.
#[derive(Debug, Subcommand)]
pub(crate) enum PickupVerb {
    /// Set everything picked of an order aside
    ///
    /// Example: pickup stage o-1 --code 493027
    Stage {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        once: Once,
        /// Order
        order: String,
        /// Code that the customer will bring: 6 to 12 digits
        #[arg(long)]
        code: String,
        /// Pickup, unique at the node [default: the request id]
        #[arg(long, default_value = "")]
        pickup_id: String,
        /// From when the customer may come, milliseconds since 1970-01-01T00:00:00Z [default: now]
        #[arg(long, value_name = "MS", default_value_t = 0, hide_default_value = true)]
        ready: i64,
        /// Until when the goods wait, milliseconds [default: the node's usual time]
        #[arg(long, value_name = "MS", default_value_t = 0, hide_default_value = true)]
        expires: i64,
    },
    /// Give a pickup another code
    Recode {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        once: Once,
        /// Pickup
        pickup_id: String,
        /// The new code
        #[arg(long)]
        code: String,
    },
    /// Hand goods over
    ///
    /// Example: pickup hand-over p-1 --code 493027 --age-checked
    HandOver {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        once: Once,
        /// Pickup
        pickup_id: String,
        /// The code that was brought
        #[arg(long)]
        code: String,
        /// Units of an allocation [default: everything]
        #[arg(long = "line", value_name = "ALLOCATION=QTY", value_parser = allocation_line)]
        lines: Vec<AllocationLine>,
        /// Someone else fetches it for the customer
        #[arg(long)]
        proxy: bool,
        /// The age of whoever fetches it was checked
        #[arg(long)]
        age_checked: bool,
        /// Shipment number, unique at the node [default: the request id]
        #[arg(long, default_value = "")]
        shipment_id: String,
    },
    /// Put what nobody fetched in time back to stock
    Expire {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        once: Once,
    },
    /// List what waits
    List {
        #[command(flatten)]
        target: Target,
        /// Only what nobody fetched in time
        #[arg(long)]
        overdue: bool,
        /// At most this many
        #[arg(long, default_value_t = 1_000)]
        limit: usize,
    },
}

/// Kits.
#[derive(Debug, Subcommand)]
pub(crate) enum KitVerb {
    /// Put kits together, of components that are kept here
    ///
    /// Example: kit assemble GIFT-1 10 --scan 4006381333931 --scan 4006381333948
    Assemble {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        once: Once,
        /// The kit
        #[arg(value_parser = stock_key)]
        kit: StockKey,
        /// Kits
        kits: i64,
        /// A code that was scanned, as often as it was read [default: not confirmed by scans]
        #[arg(long = "scan")]
        scans: Vec<String>,
    },
    /// Take kits apart
    Disassemble {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        once: Once,
        /// The kit
        #[arg(value_parser = stock_key)]
        kit: StockKey,
        /// Kits
        kits: i64,
    },
}

/// Refunds of orders' goods.
#[derive(Debug, Subcommand)]
pub(crate) enum RefundVerb {
    /// Ask the coordinator for a refund, or pay one within the node's limit
    ///
    /// Examples: refund request --order o-1 --line 2 --units 1 --reason return --return-id r-1
    ///           refund request --order o-1 --line 2 --units 1 --reason goodwill --amount 5.00 --currency EUR --pay cash
    Request {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        once: Once,
        /// Order
        #[arg(long)]
        order: String,
        /// Line of that order
        #[arg(long)]
        line: u32,
        /// Units that it is for
        #[arg(long)]
        units: i64,
        /// Why
        #[arg(long, value_enum)]
        reason: RefundArg,
        /// Return of this node that brought the goods back
        #[arg(long, default_value = "")]
        return_id: String,
        /// Amount, tax included [default: the units' share of what was charged]
        #[arg(long, requires = "currency")]
        amount: Option<String>,
        /// Currency of the amount
        #[arg(long, value_name = "CODE", value_parser = Currency::new)]
        currency: Option<Currency>,
        /// Pay at once without asking, this way
        #[arg(long, value_enum, requires = "amount")]
        pay: Option<TenderArg>,
        /// Refund, unique at the node [default: the request id]
        #[arg(long, default_value = "")]
        refund_id: String,
    },
    /// Show where a refund stands
    Show {
        #[command(flatten)]
        target: Target,
        /// Refund
        refund_id: String,
    },
    /// Carry out what an inspection decided
    ///
    /// Example: refund disposition r-1 2 --disposition refurbish --outcome refurbished
    Disposition {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        once: Once,
        /// Return number
        return_id: String,
        /// Units
        quantity: i64,
        /// What the inspection had decided
        #[arg(long, value_enum)]
        disposition: DispositionArg,
        /// What became of them
        #[arg(long, value_enum)]
        outcome: OutcomeArg,
    },
    /// Show how far a return got
    Return {
        #[command(flatten)]
        target: Target,
        /// Return number
        return_id: String,
    },
}

values!(RefundArg => feed::RefundReason {
    /// Goods came back
    Return,
    /// Defective, damaged or wrong, and kept by the customer
    Defective,
    /// Never arrived
    NotDelivered,
    /// Goodwill, or a price that was adjusted
    Goodwill,
});
values!(OutcomeArg => feed::DispositionOutcome {
    /// Sellable again, as refurbished goods
    Refurbished,
    /// Sold off
    Liquidated,
    /// Sent back to the supplier
    ReturnedToVendor,
    /// Destroyed
    WrittenOff,
});
