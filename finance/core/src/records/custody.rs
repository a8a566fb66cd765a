//! What is remembered of units whose cost follows units that left elsewhere: returns and what becomes of them, transfers,
//! conversions, voided sales; and of units that are held in receiving.

use serde::{Deserialize, Serialize};
use stockmesh_types::{LegalEntity, NodeId, StockKey};

use super::{CellKey, IssueId, Supply};
use crate::accounts::Role;
use crate::settings::WHOLE_PPM;

/// A return: `return:<node>:<id>`.
pub type ReturnId = String;

/// Names the id of a return.
#[must_use]
pub fn return_key(node: &str, return_id: &str) -> ReturnId {
    format!("return:{node}:{return_id}")
}

/// Units of an issue that a return brought back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Issue.
    pub issue: IssueId,
    /// First of its units.
    pub from: i64,
    /// End of its units.
    pub to: i64,
    /// Cost posted, minor units.
    pub value_minor: i64,
}

/// What an inspection decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Disposal {
    /// Sellable.
    Resale,
    /// Destroyed.
    WriteOff,
    /// To be refurbished.
    Refurbish,
    /// To be sold off.
    Liquidate,
    /// To be sent back.
    ReturnToVendor,
}

impl Disposal {
    /// Where goods wait for it; none when it is done at once.
    #[must_use]
    pub fn set_aside(self) -> Option<Role> {
        match self {
            Self::Resale | Self::WriteOff => None,
            Self::Refurbish => Some(Role::Refurbishment),
            Self::Liquidate => Some(Role::LiquidationStock),
            Self::ReturnToVendor => Some(Role::VendorReturns),
        }
    }
}

/// What became of goods that were set aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Sellable again, under this stock key.
    Refurbished(StockKey),
    /// Sold off.
    Liquidated,
    /// Sent back.
    ReturnedToVendor,
    /// Destroyed.
    WrittenOff,
}

/// Units of a return that were inspected alike, and had the same fate since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspection {
    /// First of the return's units.
    pub from: i64,
    /// End of the return's units.
    pub to: i64,
    /// The layer that they are, or were, when they became sellable.
    pub layer: Option<u64>,
    /// Cost posted, minor units.
    pub value_minor: i64,
    /// What was decided. None: written by an earlier release, which knew resale (with a layer) and writing off.
    #[serde(default)]
    pub disposal: Option<Disposal>,
    /// Net realisable value, parts per million of the cost, as stated when they were set aside.
    #[serde(default = "whole_ppm")]
    pub carried_ppm: u32,
    /// What they are carried at, minor units.
    #[serde(default)]
    pub carried_minor: i64,
    /// What became of them, when they were set aside and are no longer.
    #[serde(default)]
    pub outcome: Option<Outcome>,
}

impl Inspection {
    /// What was decided.
    #[must_use]
    pub fn decided(&self) -> Disposal {
        self.disposal.unwrap_or(if self.layer.is_some() { Disposal::Resale } else { Disposal::WriteOff })
    }

    /// Whether they wait for something.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.outcome.is_none() && self.decided().set_aside().is_some()
    }
}

fn whole_ppm() -> u32 {
    WHOLE_PPM
}

/// Goods that came back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Return {
    /// Node that took them in.
    pub node: NodeId,
    /// Entity of that node.
    pub entity: LegalEntity,
    /// Stock key.
    pub stock_key: StockKey,
    /// Units.
    pub quantity: i64,
    /// Where they came from; empty until the sale is known.
    pub segments: Vec<Segment>,
    /// Whether the cost was posted; it is once the issues' currency is known.
    pub costed: bool,
    /// Cost posted, minor units: the sum of the segments'.
    pub value_minor: i64,
    /// Whether that is final.
    pub settled: bool,
    /// Units inspected.
    pub inspected: i64,
    /// Inspections.
    pub inspections: Vec<Inspection>,
}

/// What made units come from elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PassageKind {
    /// Another node sent them.
    Transfer,
    /// They were made of others, or others of them.
    Conversion,
    /// Their sale was taken back.
    Void,
}

/// A passage: `passage:<kind>:<node>:<document>:<n>`.
pub type PassageId = String;

/// Names the id of a passage. No kind is that of a return's id.
#[must_use]
pub fn passage_key(kind: &str, node: &str, document: &str, line: usize) -> PassageId {
    format!("passage:{kind}:{node}:{document}:{line}")
}

/// Units that a passage brought somewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassagePart {
    /// What they are there.
    pub stock_key: StockKey,
    /// Start of their share of the value, of the passage's whole.
    pub from: i64,
    /// End of it.
    pub to: i64,
    /// The layer that they are; none: they were lost on the way.
    pub layer: Option<u64>,
    /// Value posted, minor units.
    pub value_minor: i64,
}

/// Units that left stock and arrived in stock, with their value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passage {
    /// What.
    pub kind: PassageKind,
    /// Node where they arrived.
    pub node: NodeId,
    /// Entity of that node.
    pub entity: LegalEntity,
    /// Node that they left.
    pub source_node: NodeId,
    /// Entity of that node; that of `node` while it is not known.
    pub source_entity: LegalEntity,
    /// Lane; empty: none.
    pub lane: String,
    /// Channel of a voided sale; empty: none.
    pub channel: String,
    /// Document of a voided sale; empty: none.
    pub order_id: String,
    /// Where they came from; empty until that is known.
    pub segments: Vec<Segment>,
    /// What shares are of: units, or weights.
    pub whole: i64,
    /// Where they are.
    pub parts: Vec<PassagePart>,
    /// Whether the value was posted; it is once the issues' currency is known.
    pub costed: bool,
    /// Value posted, minor units: the sum of the segments'.
    pub value_minor: i64,
    /// Whether that is final.
    pub settled: bool,
}

/// A line of a transfer: `<source node>:<transfer>:<line>`.
pub type TransitId = String;

/// Names the id of a line of a transfer.
#[must_use]
pub fn transit_key(source: &NodeId, transfer_id: &str, line: u32) -> TransitId {
    format!("{source}:{transfer_id}:{line}")
}

/// What left for a line of a transfer, and how much of it was booked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transit {
    /// Lane.
    pub lane: String,
    /// Supplies, in the order of the source's feed.
    pub supplies: Vec<Supply>,
    /// Units that the destination has booked: arrived, damaged, missing.
    pub booked: i64,
}

/// Goods held in receiving: `<node>:<exception>`.
pub type HeldId = String;

/// Names the id of held goods.
#[must_use]
pub fn held_key(node: &NodeId, exception_id: &str) -> HeldId {
    format!("{node}:{exception_id}")
}

/// Goods that are held in receiving.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The stock that they would become.
    pub cell: CellKey,
    /// Units that are still held.
    pub quantity: i64,
    /// Their value, minor units.
    pub value_minor: i64,
}
