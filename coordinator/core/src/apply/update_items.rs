//! `UpdateItems` and `AnnounceItems`: items change, and nodes where they are ranged are told in steps.

use stockmesh_proto::common::v1::ItemAttributes;
use stockmesh_proto::coordinator::v1::Item;
use stockmesh_proto::feed::v1::ItemRanged;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::raft::v1::{AnnounceItems, CreateItems, UpdateItems};
use stockmesh_types::{ItemId, Reason, Reject};

use super::{Stop, Tx};
use crate::State;
use crate::answer::Answer;
use crate::records::{ItemRecord, RememberedOutcome};
use crate::state::full;
use crate::supply::Details;
use crate::validate::{MAX_CELLS, MAX_ITEMS, check_item};

/// Nodes that one step looks at.
const NODES_AT_ONCE: usize = 4_096;

/// Facts that one step may tell.
pub(crate) const MAX_TOLD: u32 = 256;

/// What an item of a request means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    New,
    Changed(u32),
    Alike,
}

impl State {
    /// An item as the API tells it.
    pub(crate) fn item_message(&self, index: u32) -> Item {
        let record = &self.items[index];
        Item {
            item: record.id.to_string(),
            description: record.description.to_string(),
            weight_grams: record.weight_grams,
            attributes: self.supply.items.attributes(index).cloned(),
            version: self.supply.items.version(index),
        }
    }

    /// What one item of an update would do, or why it can't.
    pub(crate) fn item_change(&self, given: &Item, allow_missing: bool) -> Result<Change, Reject> {
        check_item(given)?;
        self.check_references(given)?;
        let Some(index) = self.item_index.get(&given.item) else {
            if allow_missing {
                return Ok(Change::New);
            }
            let message = format!("item {} is not in the catalog: create it, or allow missing items", given.item);
            return Err(Reject::new(Reason::UnknownItem, message).field("item"));
        };
        let known = self.item_message(index);
        if given.version != 0 && given.version != known.version {
            let message =
                format!("item {} has version {} by now, and not {}", given.item, known.version, given.version);
            return Err(Reject::new(Reason::ItemChanged, message).field("version"));
        }
        if alike(&known, given) {
            return Ok(Change::Alike);
        }
        let weighed = |item: &Item| item.attributes.as_ref().is_some_and(|attributes| attributes.weighed);
        if weighed(&known) != weighed(given) && !self.items[index].keys.is_empty() {
            let message = format!("item {} was granted or ordered: its base unit can't change any more", given.item);
            return Err(Reject::new(Reason::ItemInUse, message).field("attributes.weighed"));
        }
        Ok(Change::Changed(index))
    }

    /// Codes belong to nobody else; parts of kits are no kits.
    fn check_references(&self, given: &Item) -> Result<(), Reject> {
        let Some(attributes) = &given.attributes else { return Ok(()) };
        for (n, code) in attributes.scan_codes.iter().enumerate() {
            let owner = self.supply.items.item_of_code(&code.code).map(|index| &self.items[index].id);
            if let Some(owner) = owner.filter(|owner| owner.as_str() != given.item) {
                let message = format!("code {} belongs to item {owner}", code.code);
                return Err(Reject::new(Reason::CodeInUse, message).field(format!("attributes.scan_codes[{n}].code")));
            }
        }
        for (n, part) in attributes.kit_components.iter().enumerate() {
            let field = format!("attributes.kit_components[{n}].item");
            let index = self.known_item(&part.item, &field)?;
            let of_part = self.supply.items.attributes(index);
            if of_part.is_some_and(|attributes| !attributes.kit_components.is_empty()) {
                let message = format!("item {} is a kit itself: name its parts", part.item);
                return Err(Reject::new(Reason::InvalidValue, message).field(field));
            }
        }
        for (n, other) in attributes.substitutes.iter().enumerate() {
            self.known_item(other, &format!("attributes.substitutes[{n}]"))?;
        }
        Ok(())
    }

    /// What a node is told of an item.
    pub(crate) fn item_ranged(&self, item: u32) -> ItemRanged {
        let Item { item: name, description, weight_grams, attributes, version } = self.item_message(item);
        // Entries of the first feature level keep their bytes.
        let version = if self.feature_level >= 2 { version } else { 0 };
        ItemRanged { item: name, description, weight_grams, attributes, version }
    }

    /// Nodes where an item is ranged that were not told of its latest version yet.
    pub(crate) fn nodes_to_tell(&self, item: u32) -> u32 {
        let Some(from) = self.supply.items.to_tell.get(&item) else { return 0 };
        let nodes = self.nodes.iter_from(*from as usize).filter(|node| node.ranged.get(&item).is_some());
        u32::try_from(nodes.count()).unwrap_or(u32::MAX)
    }
}

/// Nothing but the version differs. Unset attributes and empty ones are alike.
pub(crate) fn alike(known: &Item, given: &Item) -> bool {
    let attributes = |item: &Item| item.attributes.clone().unwrap_or_default();
    known.description == given.description
        && known.weight_grams == given.weight_grams
        && attributes(known) == attributes(given)
}

impl Tx<'_> {
    pub(super) fn update_items(&mut self, command: &UpdateItems) -> Result<RememberedOutcome, Stop> {
        let UpdateItems { items, allow_missing } = command;
        if items.is_empty() || items.len() > MAX_ITEMS {
            let message = format!("{} items, and one call holds 1 to {MAX_ITEMS}", items.len());
            return Err(Reject::new(Reason::TooManyLines, message).field("items").into());
        }
        check_together(items)?;
        let mut changes = Vec::with_capacity(items.len());
        for (n, item) in items.iter().enumerate() {
            let change = self.state.item_change(item, *allow_missing);
            changes.push(change.map_err(|reject| reject.within(&format!("items[{n}]")))?);
        }
        let (mut updated, mut created, mut unchanged) = (0, 0, 0);
        for (item, change) in items.iter().zip(changes) {
            match change {
                Change::Alike => unchanged += 1,
                Change::New => {
                    self.create_item(item)?;
                    created += 1;
                }
                Change::Changed(index) => {
                    let version = self.state.supply.items.version(index) + 1;
                    let record = &mut self.state.items[index];
                    record.description = item.description.as_str().into();
                    record.weight_grams = item.weight_grams;
                    self.state.supply.items.set(index, Details { version, attributes: item.attributes.clone() });
                    self.state.supply.items.to_tell.insert(index, 0);
                    self.effects.extend_from_slice(item.item.as_bytes());
                    self.effects.extend_from_slice(&version.to_be_bytes());
                    updated += 1;
                }
            }
        }
        Ok(RememberedOutcome::ItemsUpdated { updated, created, unchanged })
    }

    /// Adds an item that was checked.
    pub(super) fn create_item(&mut self, item: &Item) -> Result<(), Stop> {
        let id = ItemId::new(&item.item)?;
        let record = ItemRecord {
            id: id.clone(),
            description: item.description.as_str().into(),
            weight_grams: item.weight_grams,
            keys: Vec::new(),
        };
        let index = self.state.items.push(record).ok_or_else(|| full("items"))?;
        self.state.item_index.insert(id, index);
        let attributes = item.attributes.clone().filter(|attributes| *attributes != ItemAttributes::default());
        if attributes.is_some() {
            self.state.supply.items.set(index, Details { version: 1, attributes });
        }
        self.effects.extend_from_slice(item.item.as_bytes());
        Ok(())
    }

    /// What new items say of each other and of those that there are; shapes were checked.
    pub(super) fn check_new_items(&self, command: &CreateItems) -> Result<(), Reject> {
        if command.items.iter().all(|item| item.attributes.is_none()) {
            return Ok(());
        }
        check_together(&command.items)?;
        for (n, item) in command.items.iter().enumerate() {
            self.state.check_references(item).map_err(|reject| reject.within(&format!("items[{n}]")))?;
        }
        Ok(())
    }

    /// Goes on telling nodes of items that changed: in the order of items, then nodes.
    pub(super) fn announce_items(&mut self, command: &AnnounceItems) -> Result<Answer, Stop> {
        let limit = command.limit.clamp(1, MAX_TOLD) as usize;
        let (mut told, mut looked) = (0u32, 0);
        while let Some((item, from)) = self.state.supply.items.to_tell.first().copied() {
            let mut next = from;
            let mut nodes = Vec::new();
            for node in self.state.nodes.iter_from(from as usize) {
                if looked >= NODES_AT_ONCE || told as usize + nodes.len() >= limit.min(MAX_CELLS) {
                    break;
                }
                if node.ranged.get(&item).is_some() {
                    nodes.push(node.destination);
                }
                looked += 1;
                next += 1;
            }
            told += u32::try_from(nodes.len()).unwrap_or(u32::MAX);
            for destination in nodes {
                let fact = self.state.item_ranged(item);
                self.emit(destination, Fact::ItemRanged(fact));
            }
            if next as usize >= self.state.nodes.len() {
                self.state.supply.items.to_tell.remove(&item);
            } else {
                self.state.supply.items.to_tell.insert(item, next);
                break;
            }
            if looked >= NODES_AT_ONCE || told as usize >= limit {
                break;
            }
            looked += 1;
        }
        Ok(Answer::ItemsAnnounced { told })
    }
}

/// Names and codes of one request stand once, and a kit's part is not made a kit beside it.
pub(crate) fn check_together(items: &[Item]) -> Result<(), Reject> {
    let twice = |mut all: Vec<&str>, what: &str| {
        all.sort_unstable();
        all.windows(2).find(|pair| pair[0] == pair[1]).map_or(Ok(()), |pair| {
            let message = format!("{what} {} stands twice", pair[0]);
            Err(Reject::new(Reason::DuplicateLine, message).field("items"))
        })
    };
    let attributes = || items.iter().filter_map(|item| item.attributes.as_ref());
    twice(items.iter().map(|item| item.item.as_str()).collect(), "item")?;
    twice(attributes().flat_map(|all| &all.scan_codes).map(|code| code.code.as_str()).collect(), "code")?;
    let mut kits: Vec<&str> = items
        .iter()
        .filter(|item| item.attributes.as_ref().is_some_and(|all| !all.kit_components.is_empty()))
        .map(|item| item.item.as_str())
        .collect();
    kits.sort_unstable();
    let part =
        attributes().flat_map(|all| &all.kit_components).find(|part| kits.binary_search(&part.item.as_str()).is_ok());
    part.map_or(Ok(()), |part| {
        let message = format!("item {} is a kit in this very request: name its parts", part.item);
        Err(Reject::new(Reason::InvalidValue, message).field("items"))
    })
}
