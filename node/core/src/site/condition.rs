//! Conditions of units, and where a cell counts them.
//!
//! Must not know: why units change from one to another.

use stockmesh_proto::common::v1 as common;
use stockmesh_types::Quantity;

use crate::cell::Cell;

/// Condition of units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// May be sold and promised.
    Sellable,
    /// Held for a decision.
    Quarantined,
    /// Damaged.
    Damaged,
    /// Returned by a customer, not inspected.
    ReturnPending,
    /// Arrived, and held until a difference is decided.
    InReceiving,
}

impl Condition {
    /// Every condition.
    pub const ALL: [Self; 5] =
        [Self::Sellable, Self::Quarantined, Self::Damaged, Self::ReturnPending, Self::InReceiving];

    /// The number that the store keeps; the same as on the wire.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Sellable => 1,
            Self::Quarantined => 2,
            Self::Damaged => 3,
            Self::ReturnPending => 4,
            Self::InReceiving => 5,
        }
    }

    /// Reads [`Self::number`].
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|condition| condition.number() == number)
    }

    /// As on the wire.
    #[must_use]
    pub fn wire(self) -> common::Condition {
        match self {
            Self::Sellable => common::Condition::Sellable,
            Self::Quarantined => common::Condition::Quarantined,
            Self::Damaged => common::Condition::Damaged,
            Self::ReturnPending => common::Condition::ReturnPending,
            Self::InReceiving => common::Condition::InReceiving,
        }
    }

    /// From the wire; `None` when it is not stated.
    #[must_use]
    pub fn of_wire(wire: common::Condition) -> Option<Self> {
        match wire {
            common::Condition::Unspecified => None,
            common::Condition::Sellable => Some(Self::Sellable),
            common::Condition::Quarantined => Some(Self::Quarantined),
            common::Condition::Damaged => Some(Self::Damaged),
            common::Condition::ReturnPending => Some(Self::ReturnPending),
            common::Condition::InReceiving => Some(Self::InReceiving),
        }
    }

    /// What people call it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Sellable => "sellable",
            Self::Quarantined => "quarantined",
            Self::Damaged => "damaged",
            Self::ReturnPending => "return pending",
            Self::InReceiving => "in receiving",
        }
    }

    /// Units of a cell in this condition.
    #[must_use]
    pub fn of(self, cell: &Cell) -> Quantity {
        match self {
            Self::Sellable => cell.on_hand,
            Self::Quarantined => cell.quarantined,
            Self::Damaged => cell.damaged,
            Self::ReturnPending => cell.return_pending,
            Self::InReceiving => cell.in_receiving,
        }
    }

    /// The counter of a cell for this condition.
    pub(crate) fn counter(self, cell: &mut Cell) -> &mut Quantity {
        match self {
            Self::Sellable => &mut cell.on_hand,
            Self::Quarantined => &mut cell.quarantined,
            Self::Damaged => &mut cell.damaged,
            Self::ReturnPending => &mut cell.return_pending,
            Self::InReceiving => &mut cell.in_receiving,
        }
    }
}
