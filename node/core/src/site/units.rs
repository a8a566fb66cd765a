//! Lots, serial numbers and bins: what tells units of one stock key apart.
//!
//! Must not know: commands, feeds.

use std::fmt;
use std::sync::Arc;

use stockmesh_proto::common::v1 as common;
use stockmesh_types::quantity::positive;
use stockmesh_types::{BusinessDate, Quantity, Reason, Reject, StockKey};

use super::condition::Condition;

/// Longest lot, serial number or bin.
pub const MAX_LABEL: usize = 48;

/// A lot, a serial number or a bin, as it is written on the thing; empty: none.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Label(Arc<str>);

impl Label {
    /// No label.
    #[must_use]
    pub fn none() -> Self {
        Self(Arc::from(""))
    }

    /// Checks a label: at most [`MAX_LABEL`] printable ASCII characters without spaces. `what` names it in the refusal.
    ///
    /// # Errors
    /// [`Reason::InvalidId`].
    pub fn new(text: &str, what: &str) -> Result<Self, Reject> {
        if text.len() <= MAX_LABEL && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(Self(Arc::from(text)));
        }
        let shown: String = text.chars().take(60).collect();
        let message = format!("{what} {shown:?} is not at most {MAX_LABEL} printable ASCII characters without spaces");
        Err(Reject::new(Reason::InvalidId, message).field(what))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// It is none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// Where units of a stock key in one condition stand: their lot and their bin. Units with neither are what the cell counts beyond
/// its holdings.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HoldingKey {
    /// Stock key.
    pub stock_key: StockKey,
    /// Condition.
    pub condition: Condition,
    /// Lot, or none.
    pub lot: Label,
    /// Bin, or none.
    pub bin: Label,
}

/// Some units that share lot and bin; in a command, those that are meant, and in a fact, those that moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitGroup {
    /// Base units, positive.
    pub quantity: Quantity,
    /// Lot, or none.
    pub lot: Label,
    /// Last day of use of the lot, where it is stated.
    pub expiry: Option<BusinessDate>,
    /// Bin, or none.
    pub bin: Label,
    /// Serial numbers: as many as units, or none.
    pub serials: Vec<Label>,
}

impl UnitGroup {
    /// Units without lot, bin or serial numbers.
    #[must_use]
    pub fn plain(quantity: Quantity) -> Self {
        Self { quantity, lot: Label::none(), expiry: None, bin: Label::none(), serials: Vec::new() }
    }

    /// Nothing tells them apart from others.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.lot.is_none() && self.bin.is_none() && self.serials.is_empty()
    }

    /// Reads groups of a request or fact, each by itself: labels, dates, a quantity above 0, serial numbers as many as units and
    /// none twice. At most 500 serial numbers and 100 groups.
    ///
    /// # Errors
    /// What is wrong with a field, by its path below `field`.
    pub fn of_wire(groups: &[common::UnitGroup], field: &str) -> Result<Vec<Self>, Reject> {
        let serials: usize = groups.iter().map(|group| group.serials.len()).sum();
        if groups.len() > 100 || serials > 500 {
            let message = format!("{} groups with {serials} serial numbers: at most 100 and 500", groups.len());
            return Err(Reject::new(Reason::TooManyLines, message).field(field));
        }
        let mut seen = std::collections::BTreeSet::new();
        let read = |(n, group): (usize, &common::UnitGroup)| {
            let group =
                Self::read(group, groups.len() == 1).map_err(|reject| reject.within(&format!("{field}[{n}]")))?;
            match group.serials.iter().find(|serial| !seen.insert((*serial).clone())) {
                Some(twice) => Err(Reject::new(Reason::DuplicateLine, format!("serial number {twice} stands twice"))
                    .field(format!("{field}[{n}].serials"))),
                None => Ok(group),
            }
        };
        groups.iter().enumerate().map(read).collect()
    }

    fn read(group: &common::UnitGroup, only: bool) -> Result<Self, Reject> {
        let common::UnitGroup { quantity, lot, expiry_date, bin, serials } = group;
        let read = Self {
            quantity: if only && *quantity == 0 { 0 } else { positive(*quantity, "quantity")? },
            lot: Label::new(lot, "lot")?,
            expiry: match expiry_date.as_str() {
                "" => None,
                text => Some(BusinessDate::parse(text).map_err(|reject| reject.field("expiry_date"))?),
            },
            bin: Label::new(bin, "bin")?,
            serials: serials.iter().map(|serial| Label::new(serial, "serials")).collect::<Result<_, _>>()?,
        };
        if read.serials.iter().any(Label::is_none) {
            return Err(Reject::new(Reason::MissingField, "a serial number is empty").field("serials"));
        }
        if read.quantity > 0 && !read.serials.is_empty() && i64::try_from(read.serials.len()) != Ok(read.quantity) {
            let message = format!("{} serial numbers for {} units", read.serials.len(), read.quantity);
            return Err(Reject::new(Reason::UnitsMismatch, message).field("serials"));
        }
        if read.expiry.is_some() && read.lot.is_none() {
            let message = "an expiry date is a lot's: name the lot";
            return Err(Reject::new(Reason::MissingField, message).field("lot"));
        }
        Ok(read)
    }

    /// As facts carry them: nothing when all are plain.
    #[must_use]
    pub fn to_wire(groups: &[Self]) -> Vec<common::UnitGroup> {
        if groups.iter().all(Self::is_plain) {
            return Vec::new();
        }
        let wire = |group: &Self| common::UnitGroup {
            quantity: group.quantity,
            lot: group.lot.to_string(),
            expiry_date: group.expiry.map(|date| date.to_string()).unwrap_or_default(),
            bin: group.bin.to_string(),
            serials: group.serials.iter().map(ToString::to_string).collect(),
        };
        groups.iter().map(wire).collect()
    }

    /// The only group of a request may leave its quantity out: it is then of all units.
    ///
    /// # Errors
    /// [`Reason::UnitsMismatch`] when the groups are not as many units, or serial numbers, as the quantity.
    pub(crate) fn fill(groups: &mut [Self], quantity: Quantity) -> Result<(), Reject> {
        if let [only] = groups
            && only.quantity == 0
        {
            only.quantity = quantity;
        }
        let serials = groups
            .iter()
            .any(|group| !group.serials.is_empty() && Quantity::try_from(group.serials.len()) != Ok(group.quantity));
        if !groups.is_empty() && (Self::total(groups) != quantity || serials) {
            let named = if serials { "serial numbers" } else { "units" };
            let message = format!("quantity is {quantity}, and not as many {named} are named");
            return Err(Reject::new(Reason::UnitsMismatch, message).field("units"));
        }
        Ok(())
    }

    /// Units in all groups.
    #[must_use]
    pub fn total(groups: &[Self]) -> Quantity {
        groups.iter().fold(0, |sum, group| sum.saturating_add(group.quantity))
    }
}

/// What is known of a lot of a stock key. Kept while units of it are here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lot {
    /// Last day of use.
    pub expiry: Option<BusinessDate>,
}

/// A unit with a serial number. Kept while it is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serial {
    /// Stock key.
    pub stock_key: StockKey,
    /// Condition.
    pub condition: Condition,
    /// Lot, or none.
    pub lot: Label,
    /// Bin, or none.
    pub bin: Label,
}

/// A place where units lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bin {
    /// Zone, or none.
    pub zone: Label,
    /// Open to customers.
    pub accessible: bool,
    /// Place in the walk through the site.
    pub walk_order: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(quantity: i64, lot: &str, expiry: &str, serials: &[&str]) -> common::UnitGroup {
        common::UnitGroup {
            quantity,
            lot: lot.into(),
            expiry_date: expiry.into(),
            bin: "A-1".into(),
            serials: serials.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn groups_are_checked_one_by_one() {
        let cases = [
            (vec![group(2, "L", "2026-11-21", &["a", "b"])], None),
            (vec![group(0, "", "", &[])], None),
            (vec![group(1, "", "", &[]), group(0, "", "", &[])], Some((Reason::QuantityNotPositive, "u[1].quantity"))),
            (vec![group(-1, "", "", &[])], Some((Reason::QuantityNotPositive, "u[0].quantity"))),
            (vec![group(1, "a b", "", &[])], Some((Reason::InvalidId, "u[0].lot"))),
            (vec![group(1, "L", "21.11.2026", &[])], Some((Reason::InvalidDate, "u[0].expiry_date"))),
            (vec![group(1, "", "2026-11-21", &[])], Some((Reason::MissingField, "u[0].lot"))),
            (vec![group(2, "", "", &["a"])], Some((Reason::UnitsMismatch, "u[0].serials"))),
            (vec![group(2, "", "", &["a", "a"])], Some((Reason::DuplicateLine, "u[0].serials"))),
            (vec![group(1, "", "", &["a"]), group(1, "", "", &["a"])], Some((Reason::DuplicateLine, "u[1].serials"))),
            (vec![group(1, "", "", &[]); 101], Some((Reason::TooManyLines, "u"))),
        ];
        for (groups, wrong) in cases {
            match (UnitGroup::of_wire(&groups, "u"), wrong) {
                (Ok(read), None) => assert_eq!(UnitGroup::to_wire(&read), groups),
                (Err(reject), Some((reason, field))) => {
                    assert_eq!((reject.reason, reject.field.as_str()), (reason, field), "{groups:?}");
                }
                (got, wrong) => panic!("{groups:?}: {got:?}, {wrong:?}"),
            }
        }
        assert_eq!(UnitGroup::to_wire(&[UnitGroup::plain(3)]), Vec::new());
    }
}
