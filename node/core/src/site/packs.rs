//! Quantities in packs: 4 cases become 48 base units, exactly, and stay known as 4 cases.
//!
//! Must not know: what a quantity is for.

use stockmesh_proto::common::v1 as common;
use stockmesh_types::{MAX_QUANTITY, Quantity, Reason, Reject};

use crate::change::Item;

/// A quantity as a request gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Base units, when they were given.
    pub base: Option<Quantity>,
    /// Packs, when they were given.
    pub entered: Option<common::EnteredQuantity>,
}

/// A quantity in base units, and as it was entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted {
    /// Base units.
    pub base: Quantity,
    /// As entered.
    pub entered: Option<common::EnteredQuantity>,
}

impl Asked {
    /// Base units.
    #[must_use]
    pub fn base(quantity: Quantity) -> Self {
        Self { base: Some(quantity), entered: None }
    }

    /// Reads the two fields of a request: 0 base units mean that only packs were given.
    ///
    /// # Errors
    /// [`Reason::QuantityNotPositive`], [`Reason::QuantityTooLarge`].
    pub fn of_wire(quantity: Quantity, entered: &Option<common::EnteredQuantity>) -> Result<Self, Reject> {
        use stockmesh_types::quantity::positive;
        let entered_too = |entered: &common::EnteredQuantity| -> Result<common::EnteredQuantity, Reject> {
            positive(entered.quantity, "quantity").map_err(|reject| reject.within("entered"))?;
            Ok(entered.clone())
        };
        let entered = entered.as_ref().map(entered_too).transpose()?;
        if quantity == 0 && entered.is_some() {
            return Ok(Self { base: None, entered });
        }
        Ok(Self { base: Some(positive(quantity, "quantity")?), entered })
    }

    /// Converts by the item's packs.
    ///
    /// # Errors
    /// [`Reason::UnknownPack`], [`Reason::QuantityTooLarge`], [`Reason::PackMismatch`], [`Reason::MissingField`].
    pub fn convert(self, item: &Item) -> Result<Converted, Reject> {
        let Self { base, entered } = self;
        let Some(packed) = &entered else {
            let missing = || Reject::new(Reason::MissingField, "quantity is missing").field("quantity");
            return Ok(Converted { base: base.ok_or_else(missing)?, entered: None });
        };
        let units = base_units(item, &packed.pack).map_err(|reject| reject.within("entered"))?;
        let converted = packed.quantity.checked_mul(units).filter(|base| *base <= MAX_QUANTITY).ok_or_else(|| {
            let message = format!("{} packs of {units} are more than {MAX_QUANTITY}", packed.quantity);
            Reject::new(Reason::QuantityTooLarge, message).field("entered.quantity")
        })?;
        if let Some(base) = base.filter(|base| *base != converted) {
            let message = format!("quantity is {base}, and {} of {units} are {converted}", packed.quantity);
            return Err(Reject::new(Reason::PackMismatch, message).field("quantity"));
        }
        Ok(Converted { base: converted, entered })
    }
}

/// Base units in a pack of an item; 1 for the base unit itself.
///
/// # Errors
/// [`Reason::UnknownPack`].
pub fn base_units(item: &Item, pack: &str) -> Result<Quantity, Reject> {
    if pack.is_empty() {
        return Ok(1);
    }
    let packs = item.attributes.iter().flat_map(|attributes| &attributes.packs);
    let found = packs.clone().find(|known| known.name == pack).map(|known| known.base_units);
    found.filter(|units| *units > 0).ok_or_else(|| {
        let known: Vec<_> = packs.map(|pack| pack.name.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        Reject::new(Reason::UnknownPack, format!("pack {pack:?} is not one of the item's: {known}")).field("pack")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item() -> Item {
        let pack = |name: &str, base_units| common::Pack { name: name.into(), base_units };
        let attributes = common::ItemAttributes {
            packs: vec![pack("inner", 6), pack("case", 12), pack("pallet", 1_000_000)],
            ..Default::default()
        };
        Item { attributes: Some(attributes), ..Item::default() }
    }

    #[test]
    fn conversions_are_exact_or_refused() {
        let entered = |quantity, pack: &str| Some(common::EnteredQuantity { quantity, pack: pack.into() });
        let cases = [
            (5, None, Ok(5)),
            (0, entered(4, "case"), Ok(48)),
            (48, entered(4, "case"), Ok(48)),
            (0, entered(7, ""), Ok(7)),
            (47, entered(4, "case"), Err((Reason::PackMismatch, "quantity"))),
            (0, entered(1, "box"), Err((Reason::UnknownPack, "entered.pack"))),
            (0, entered(1_001, "pallet"), Err((Reason::QuantityTooLarge, "entered.quantity"))),
            (0, entered(0, "case"), Err((Reason::QuantityNotPositive, "entered.quantity"))),
            (0, None, Err((Reason::QuantityNotPositive, "quantity"))),
            (-1, entered(4, "case"), Err((Reason::QuantityNotPositive, "quantity"))),
        ];
        for (quantity, entered, expected) in cases {
            let got = Asked::of_wire(quantity, &entered).and_then(|asked| asked.convert(&item()));
            let got = got.map(|converted| converted.base).map_err(|reject| (reject.reason, reject.field));
            assert_eq!(got, expected.map_err(|(reason, field)| (reason, field.to_owned())), "{quantity} {entered:?}");
        }
    }
}
