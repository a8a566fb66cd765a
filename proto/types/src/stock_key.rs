//! Stock keys: what makes units interchangeable for promising.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::ItemId;
use crate::reject::{Reason, Reject};

/// Grade of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grade {
    /// As made.
    New,
    /// Used, and brought back to a sellable state.
    Refurbished,
}

/// Item, grade, owner and shelf-life class.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StockKey {
    /// Item.
    pub item: ItemId,
    /// Grade.
    pub grade: Grade,
    /// Owner, when it is not the retailer; empty otherwise.
    pub owner: String,
    /// Shelf-life class; empty: none.
    pub shelf_life_class: String,
}

impl StockKey {
    /// The retailer's own new units of an item.
    #[must_use]
    pub fn of(item: ItemId) -> Self {
        Self { item, grade: Grade::New, owner: String::new(), shelf_life_class: String::new() }
    }

    /// Checks the optional parts.
    ///
    /// # Errors
    /// [`Reason::InvalidId`] when owner or shelf-life class is longer than 32 characters or has others than A-Z a-z 0-9 -.
    pub fn new(item: ItemId, grade: Grade, owner: String, shelf_life_class: String) -> Result<Self, Reject> {
        for (name, text) in [("owner", &owner), ("shelf_life_class", &shelf_life_class)] {
            if text.len() > 32 || !text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
                let shown: String = text.chars().take(80).collect();
                return Err(Reject::new(
                    Reason::InvalidId,
                    format!("{name} {shown:?} is not at most 32 characters of A-Z a-z 0-9 -"),
                ));
            }
        }
        Ok(Self { item, grade, owner, shelf_life_class })
    }
}

impl fmt::Display for StockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.item)?;
        if self.grade == Grade::Refurbished {
            write!(f, "+refurbished")?;
        }
        if !self.owner.is_empty() {
            write!(f, "+owner:{}", self.owner)?;
        }
        if !self.shelf_life_class.is_empty() {
            write!(f, "+life:{}", self.shelf_life_class)?;
        }
        Ok(())
    }
}

impl fmt::Debug for StockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
