//! What is known of items beside name, description and weight, and which nodes are still to be told of a change.

use std::sync::Arc;

use stockmesh_proto::common::v1::ItemAttributes;

use crate::cow::CowMap;

/// Attributes and version of an item. An item without an entry has version 1 and no attributes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Details {
    /// From 1.
    pub version: u64,
    pub attributes: Option<ItemAttributes>,
}

/// Details of all items that have any.
#[derive(Clone, Debug, Default)]
pub(crate) struct ItemBook {
    /// By dense index of the item.
    details: CowMap<u32, Arc<Details>, 64>,
    /// Item that a scan code belongs to.
    codes: CowMap<Arc<str>, u32, 64>,
    /// Items that changed, and the first node that was not looked at yet.
    pub to_tell: CowMap<u32, u32, 64>,
}

impl ItemBook {
    pub fn version(&self, item: u32) -> u64 {
        self.details.get(&item).map_or(1, |details| details.version)
    }

    pub fn attributes(&self, item: u32) -> Option<&ItemAttributes> {
        self.details.get(&item).and_then(|details| details.attributes.as_ref())
    }

    pub fn item_of_code(&self, code: &str) -> Option<u32> {
        self.codes.get(&Arc::from(code)).copied()
    }

    /// Sets the details of an item, whose codes belong to nobody else.
    pub fn set(&mut self, item: u32, details: Details) {
        let codes = |details: &Details| -> Vec<Arc<str>> {
            let codes = details.attributes.iter().flat_map(|attributes| &attributes.scan_codes);
            codes.map(|code| Arc::from(code.code.as_str())).collect()
        };
        if let Some(before) = self.details.get(&item).cloned() {
            for code in codes(&before) {
                self.codes.remove(&code);
            }
        }
        for code in codes(&details) {
            self.codes.insert(code, item);
        }
        self.details.insert(item, Arc::new(details));
    }

    /// All details, by dense index of the item.
    pub fn iter(&self) -> impl Iterator<Item = &(u32, Arc<Details>)> {
        self.details.iter()
    }
}
