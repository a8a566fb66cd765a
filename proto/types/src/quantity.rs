//! Quantities: whole base units of an item.

use crate::reject::{Reason, Reject};

/// Base units. Signed, so that differences and shortfalls are ordinary values; bounded where it enters.
pub type Quantity = i64;

/// The largest quantity of one line or one cell that any request may name.
pub const MAX_QUANTITY: Quantity = 1_000_000_000;

/// Checks a quantity of a request: 1 to [`MAX_QUANTITY`].
///
/// # Errors
/// [`Reason::QuantityNotPositive`] or [`Reason::QuantityTooLarge`], naming `field`.
pub fn positive(quantity: Quantity, field: &str) -> Result<Quantity, Reject> {
    if quantity <= 0 {
        return Err(Reject::new(Reason::QuantityNotPositive, format!("{field} is {quantity}, and must be 1 or more"))
            .field(field));
    }
    at_most(quantity, field)
}

/// Checks a change of stock: any sign, not 0, at most [`MAX_QUANTITY`] either way.
///
/// # Errors
/// [`Reason::QuantityNotPositive`] for 0, [`Reason::QuantityTooLarge`] beyond the bound.
pub fn change(delta: Quantity, field: &str) -> Result<Quantity, Reject> {
    if delta == 0 {
        return Err(
            Reject::new(Reason::QuantityNotPositive, format!("{field} is 0: nothing would change")).field(field)
        );
    }
    at_most(delta, field)
}

fn at_most(quantity: Quantity, field: &str) -> Result<Quantity, Reject> {
    if quantity.unsigned_abs() > MAX_QUANTITY.unsigned_abs() {
        return Err(Reject::new(
            Reason::QuantityTooLarge,
            format!("{field} is {quantity}, and must be at most {MAX_QUANTITY}"),
        )
        .field(field));
    }
    Ok(quantity)
}
