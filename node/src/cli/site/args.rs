//! Arguments of verbs about stock, expected receipts, counts and exceptions.
//!
//! Must not know: how a verb is carried out.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use stockmesh_proto::common::v1 as common;
use stockmesh_proto::feed::v1 as feed;
use stockmesh_proto::node::v1 as api;
use stockmesh_types::{Currency, StockKey};

use crate::cli::args::{Once, Target, values};
use crate::cli::lines::stock_key;

/// How many, and which of them.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct UnitArgs {
    /// The quantity counts packs of this name (case, pallet), not base units
    #[arg(long, value_name = "NAME")]
    pub(crate) pack: Option<String>,
    /// Lot of the units
    #[arg(long, default_value = "")]
    pub(crate) lot: String,
    /// Last day of use of the lot, like 2027-01-31
    #[arg(long, value_name = "DATE", default_value = "", requires = "lot")]
    pub(crate) expiry: String,
    /// Bin that the units are in, or go to on receipt
    #[arg(long, default_value = "")]
    pub(crate) bin: String,
    /// Serial number of a unit (may be repeated)
    #[arg(long = "serial", value_name = "NUMBER")]
    pub(crate) serials: Vec<String>,
}

impl UnitArgs {
    /// Base units, and packs, as requests take them.
    pub(crate) fn quantity(&self, given: i64) -> (i64, Option<common::EnteredQuantity>) {
        match &self.pack {
            None => (given, None),
            Some(pack) => (0, Some(common::EnteredQuantity { quantity: given, pack: pack.clone() })),
        }
    }

    /// The units that are meant; none: any. One group of all of them.
    pub(crate) fn groups(&self) -> Vec<common::UnitGroup> {
        let Self { pack: _, lot, expiry, bin, serials } = self;
        if lot.is_empty() && bin.is_empty() && serials.is_empty() {
            return Vec::new();
        }
        vec![common::UnitGroup {
            quantity: 0,
            lot: lot.clone(),
            expiry_date: expiry.clone(),
            bin: bin.clone(),
            serials: serials.clone(),
        }]
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum SiteVerb {
    /// Change the condition of units, or write them off
    ///
    /// Examples: move 85123A 2 --from sellable --to damaged --reason damage    move 85123A 2 --from damaged --reason write-off
    Move {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        once: Once,
        /// Item, or ITEM+refurbished+owner:NAME+life:CLASS
        #[arg(value_parser = stock_key)]
        item: StockKey,
        /// Units, or packs with --pack
        quantity: i64,
        /// Condition before
        #[arg(long, value_enum)]
        from: ConditionArg,
        /// Condition after; left out: the units leave
        #[arg(long, value_enum)]
        to: Option<ConditionArg>,
        /// Why
        #[arg(long, value_enum)]
        reason: MoveArg,
        /// Document or note
        #[arg(long, default_value = "")]
        reference: String,
        #[command(flatten)]
        units: UnitArgs,
    },
    /// Put units into a bin, or move them between bins
    ///
    /// Example: put-away 85123A 24 --to A-01-3    put-away 85123A 6 --bin A-01-3 --to B-02
    PutAway {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        once: Once,
        /// Item, or ITEM+refurbished+owner:NAME+life:CLASS
        #[arg(value_parser = stock_key)]
        item: StockKey,
        /// Units, or packs with --pack
        quantity: i64,
        /// Bin that they go to; left out: out of bins
        #[arg(long, default_value = "")]
        to: String,
        /// Condition of the units
        #[arg(long, value_enum, default_value_t = ConditionArg::Sellable)]
        condition: ConditionArg,
        #[command(flatten)]
        units: UnitArgs,
    },
    /// Bins of the site
    Bins {
        #[command(subcommand)]
        step: BinStep,
    },
    /// List units by lot and bin
    Holdings {
        #[command(flatten)]
        target: Target,
        /// Only this item
        #[arg(long, default_value = "")]
        item: String,
        /// Only what lies in this bin
        #[arg(long, default_value = "")]
        bin: String,
        /// At most this many
        #[arg(long, default_value_t = 1_000)]
        limit: usize,
    },
    /// List units with serial numbers
    Serials {
        #[command(flatten)]
        target: Target,
        /// Item
        item: String,
        /// Only this serial number
        #[arg(long, default_value = "")]
        serial: String,
        /// At most this many
        #[arg(long, default_value_t = 1_000)]
        limit: usize,
    },
    /// Say which units to take, first expired first out
    Propose {
        #[command(flatten)]
        target: Target,
        /// Item, or ITEM+refurbished+owner:NAME+life:CLASS
        #[arg(value_parser = stock_key)]
        item: StockKey,
        /// Units
        quantity: i64,
    },
    /// Say what a scanned code stands for: GTIN, GS1 element string, or any other code
    ///
    /// Example: scan '(01)04006381333931(10)L-7(17)270131'
    Scan {
        #[command(flatten)]
        target: Target,
        /// Code
        code: String,
    },
    /// Take lots that are past their last day out of sellable stock; the node does it by itself as well
    ExpireLots {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        once: Once,
    },
    /// List movements of units: who, when, what, why
    Movements {
        #[command(flatten)]
        target: Target,
        /// Only this item
        #[arg(long, default_value = "")]
        item: String,
        /// Begin after this entry of the feed
        #[arg(long, default_value_t = 0)]
        after: u64,
        /// At most this many
        #[arg(long, default_value_t = 1_000)]
        limit: usize,
    },
    /// Expected receipts
    Inbound {
        #[command(subcommand)]
        step: InboundStep,
    },
    /// Counts
    Count {
        #[command(subcommand)]
        step: CountStep,
    },
    /// What went wrong and waits for a person
    Exceptions {
        #[command(subcommand)]
        step: ExceptionStep,
    },
    /// The node's own feed
    Feed {
        #[command(subcommand)]
        step: FeedStep,
    },
    /// Book opening stock in from a CSV file
    ///
    /// The first line names the columns: item, quantity and cost must be there (cost of the whole row, tax excluded); pack, condition
    /// (sellable, quarantined, damaged), grade (new, refurbished), owner, life, lot, expiry, bin and serials (apart by blanks) may be.
    /// Try it with --dry-run first: it lists every row that would be refused, and why.
    ImportStock {
        #[command(flatten)]
        target: Target,
        /// CSV file
        file: PathBuf,
        /// Currency of the costs
        #[arg(long, value_name = "CODE", value_parser = Currency::new)]
        currency: Currency,
        /// Name of this import: receipts are numbered after it, so that a repeat books nothing twice
        #[arg(long)]
        name: String,
        /// Book nothing; list every bad row
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum BinStep {
    /// Set up or change a bin
    Set {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        once: Once,
        /// Bin
        bin: String,
        /// Zone
        #[arg(long, default_value = "")]
        zone: String,
        /// Open to customers
        #[arg(long)]
        accessible: bool,
        /// Place in the walk through the site
        #[arg(long, default_value_t = 0)]
        walk_order: u32,
    },
    /// Take an empty bin away
    Remove {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        once: Once,
        /// Bin
        bin: String,
    },
    /// List bins
    List {
        #[command(flatten)]
        target: Target,
        /// Only this zone
        #[arg(long, default_value = "")]
        zone: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum InboundStep {
    /// List what is expected
    List {
        #[command(flatten)]
        target: Target,
        /// Only this one, closed or not
        #[arg(long, default_value = "")]
        id: String,
    },
    /// Book goods in against an expected receipt: what is too much or damaged is held until `inbound resolve`
    ///
    /// Example: inbound receive po/7 1 24    inbound receive po/7 1 2 --pack case --lot L-7 --expiry 2027-01-31
    Receive {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        once: Once,
        /// Expected receipt
        id: String,
        /// Line of it
        line: u32,
        /// Units, or packs with --pack
        quantity: i64,
        /// Condition in which they arrived
        #[arg(long, value_enum, default_value_t = ConditionArg::Sellable)]
        condition: ConditionArg,
        /// Receipt number, unique at the node [default: the request id]
        #[arg(long, default_value = "")]
        receipt_id: String,
        #[command(flatten)]
        units: UnitArgs,
    },
    /// Say that no more comes; what is missing becomes an exception
    Close {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        once: Once,
        /// Expected receipt
        id: String,
    },
    /// Decide about units that are held in receiving
    ///
    /// Example: inbound resolve x1-7 --decision refuse --reference RMA-12
    Resolve {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        once: Once,
        /// Exception that holds them
        exception: String,
        /// What happens
        #[arg(long, value_enum)]
        decision: DecisionArg,
        /// Units [default: all that are held]
        #[arg(long, default_value_t = 0)]
        quantity: i64,
        /// Reference, like the supplier's return authorisation
        #[arg(long, default_value = "")]
        reference: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum CountStep {
    /// Ask for a count
    ///
    /// Example: count request --item 85123A --item 71053    count request --zone Z1
    Request {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        once: Once,
        /// Item, or ITEM+refurbished+owner:NAME+life:CLASS (may be repeated)
        #[arg(long = "item", value_parser = stock_key)]
        items: Vec<StockKey>,
        /// Bin (may be repeated)
        #[arg(long = "bin")]
        bins: Vec<String>,
        /// Zone
        #[arg(long, default_value = "")]
        zone: String,
        /// Counters see what is expected
        #[arg(long)]
        open: bool,
        /// Note
        #[arg(long, default_value = "")]
        reference: String,
    },
    /// Begin a count
    Start(CountTarget),
    /// Enter what was seen on a line
    ///
    /// Example: count record c1-7 1 23    count record c1-7 2 0
    Record {
        #[command(flatten)]
        count: CountTarget,
        /// Line; 0 with --item for something that nobody expected
        line: u32,
        /// Units seen, or packs with --pack
        quantity: i64,
        /// Item that nobody expected
        #[arg(long, value_parser = stock_key)]
        item: Option<StockKey>,
        /// Entry of the node's feed that was known when the shelf was seen [default: as of now]
        #[arg(long, value_name = "SEQ", default_value_t = 0)]
        position: u64,
        #[command(flatten)]
        units: UnitArgs,
    },
    /// Say that every line has a figure
    Finish(CountTarget),
    /// Decide about a count in review; not by who counted
    Review {
        #[command(flatten)]
        count: CountTarget,
        /// What happens
        #[arg(long, value_enum)]
        decision: CountDecisionArg,
        /// Line to count again [default: all that differ] (may be repeated)
        #[arg(long = "line")]
        lines: Vec<u32>,
        /// Note
        #[arg(long, default_value = "")]
        note: String,
    },
    /// Give a count up
    Cancel {
        #[command(flatten)]
        count: CountTarget,
        /// Note
        #[arg(long, default_value = "")]
        note: String,
    },
    /// List open counts
    List {
        #[command(flatten)]
        target: Target,
    },
    /// Show a count with its lines
    Show {
        #[command(flatten)]
        target: Target,
        /// Count
        count: String,
    },
    /// List what is due to be counted, by class
    Due {
        #[command(flatten)]
        target: Target,
        /// At most this many
        #[arg(long, default_value_t = 1_000)]
        limit: usize,
    },
}

/// One count at a node.
#[derive(Clone, Debug, Args)]
pub(crate) struct CountTarget {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) once: Once,
    /// Count, like c1-7
    pub(crate) count: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ExceptionStep {
    /// List open exceptions
    List {
        #[command(flatten)]
        target: Target,
        /// Only this code, like OVER_RECEIPT
        #[arg(long, default_value = "")]
        code: String,
    },
    /// Close one
    Resolve {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        once: Once,
        /// Exception
        exception: String,
        /// What was done
        #[arg(long)]
        resolution: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum FeedStep {
    /// Write a range of the feed to standard output
    Export {
        #[command(flatten)]
        target: Target,
        /// Begin after this entry; 0: with the first that is kept
        #[arg(long, default_value_t = 0)]
        after: u64,
        /// End with this entry; 0: with the last
        #[arg(long, default_value_t = 0)]
        upto: u64,
        /// Form
        #[arg(long, value_enum)]
        format: FeedFormat,
    },
}

/// Forms of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FeedFormat {
    /// One EPCIS 2.0 document in JSON-LD
    Epcis,
    /// A line of JSON for each movement of units
    Movements,
}

values!(ConditionArg => common::Condition {
    /// May be sold
    Sellable,
    /// Held for a decision
    Quarantined,
    /// Damaged
    Damaged,
    /// Held in receiving
    InReceiving,
});
values!(MoveArg => feed::MoveReason {
    /// Found damaged
    Damage,
    /// Held for a decision
    Quarantine,
    /// The decision was to sell
    Release,
    /// Repaired, cleaned or packed anew
    Rework,
    /// Past its last day
    Expired,
    /// Called back by maker or authority
    ProductRecall,
    /// Destroyed or given away
    WriteOff,
    /// Used by the site
    InternalUse,
    /// Corrects a movement made by mistake
    Correction,
});
values!(DecisionArg => feed::ReceiptDecision {
    /// They stay
    Accept,
    /// They go back
    Refuse,
});
values!(CountDecisionArg => api::CountDecision {
    /// Book the differences
    Approve,
    /// Count again
    Recount,
});
