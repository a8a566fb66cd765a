//! `CreateItems`: new items for the catalog, all or none.

use std::sync::Arc;

use stockmesh_proto::raft::v1::CreateItems;
use stockmesh_types::{ItemId, Reason, Reject};

use super::{Stop, Tx};
use crate::records::{ItemRecord, RememberedOutcome};
use crate::state::full;
use crate::validate::check_item;

impl Tx<'_> {
    pub(super) fn create_items(&mut self, command: &CreateItems) -> Result<RememberedOutcome, Stop> {
        let (mut fresh, mut existing) = (Vec::new(), 0);
        for (n, item) in command.items.iter().enumerate() {
            check_item(item).map_err(|reject| reject.within(&format!("items[{n}]")))?;
            let known = self.state.item_index.get(&item.item).map(|index| &self.state.items[index]);
            match known {
                None => fresh.push(item),
                Some(known) if *known.description == *item.description && known.weight_grams == item.weight_grams => {
                    existing += 1;
                }
                Some(known) => {
                    let message = format!(
                        "item {} exists with description {:?} and {} g",
                        known.id, known.description, known.weight_grams
                    );
                    return Err(Reject::new(Reason::ItemExists, message).field(format!("items[{n}]")).into());
                }
            }
        }
        let mut names: Vec<&str> = fresh.iter().map(|item| item.item.as_str()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            let message = format!("item {} stands twice", twice[0]);
            return Err(Reject::new(Reason::DuplicateLine, message).field("items").into());
        }
        let mut created = 0;
        for item in fresh {
            let id = ItemId::new(&item.item)?;
            let record = ItemRecord {
                id: id.clone(),
                description: Arc::from(item.description.as_str()),
                weight_grams: item.weight_grams,
                keys: Vec::new(),
            };
            let index = self.state.items.push(record).ok_or_else(|| full("items"))?;
            self.state.item_index.insert(id, index);
            self.effects.extend_from_slice(item.item.as_bytes());
            created += 1;
        }
        Ok(RememberedOutcome::ItemsCreated { created, existing })
    }
}
