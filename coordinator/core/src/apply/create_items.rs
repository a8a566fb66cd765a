//! `CreateItems`: new items for the catalog, all or none.

use stockmesh_proto::raft::v1::CreateItems;
use stockmesh_types::{Reason, Reject};

use super::update_items::alike;
use super::{Stop, Tx};
use crate::records::RememberedOutcome;
use crate::validate::check_item;

impl Tx<'_> {
    pub(super) fn create_items(&mut self, command: &CreateItems) -> Result<RememberedOutcome, Stop> {
        let (mut fresh, mut existing) = (Vec::new(), 0);
        for (n, item) in command.items.iter().enumerate() {
            check_item(item).map_err(|reject| reject.within(&format!("items[{n}]")))?;
            let known = self.state.item_index.get(&item.item).map(|index| self.state.item_message(index));
            match known {
                None => fresh.push(item),
                Some(known) if alike(&known, item) => {
                    existing += 1;
                }
                Some(known) => {
                    let message = format!(
                        "item {} exists with description {:?}, {} g or attributes that differ: update it instead",
                        known.item, known.description, known.weight_grams
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
        self.check_new_items(command)?;
        let mut created = 0;
        for item in fresh {
            self.create_item(item)?;
            created += 1;
        }
        Ok(RememberedOutcome::ItemsCreated { created, existing })
    }
}
