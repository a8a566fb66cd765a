//! How books are kept, where that is a choice of who runs the service.
//!
//! Settings decide accounts of facts, so a change of them is recorded with the place in the stream of facts from which on it
//! holds: the books can be recomputed from the facts with the settings of each time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use stockmesh_types::LegalEntity;

/// Choices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Legal entity that holds customers' deposits on prepaid orders, of channels that have none of their own. None: that of
    /// the first node that was registered.
    pub deposit_entity: Option<LegalEntity>,
    /// The same, by sales channel.
    pub deposit_entities: BTreeMap<String, LegalEntity>,
    /// Net realisable value of returned goods that are to be sold off, parts per million of their cost: what is above it is
    /// written down when they are set aside.
    pub liquidation_value_ppm: u32,
}

/// Goods are carried at their cost, unless the settings state less.
pub const WHOLE_PPM: u32 = 1_000_000;

impl Default for Settings {
    fn default() -> Self {
        Self { deposit_entity: None, deposit_entities: BTreeMap::new(), liquidation_value_ppm: WHOLE_PPM }
    }
}

impl Settings {
    /// Who holds the deposits of a channel, when the settings say so.
    #[must_use]
    pub fn deposit_entity(&self, channel: &str) -> Option<&LegalEntity> {
        self.deposit_entities.get(channel).or(self.deposit_entity.as_ref())
    }
}
