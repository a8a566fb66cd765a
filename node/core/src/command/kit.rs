//! AssembleKits and DisassembleKits: components become kits, kits become components, in one movement.
//!
//! A kit has a stock key of its own; its components have its grade, owner and shelf-life class. What is used up must be retained:
//! nothing that was promised to orders is taken apart or put into something else.
//!
//! Must not know: what a kit costs; its cost is that of its components.

use std::collections::BTreeMap;

use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{KitComponent, KitsConverted};
use stockmesh_proto::node::v1::{AssembleKitsResponse, DisassembleKitsResponse};
use stockmesh_types::{ItemId, MAX_QUANTITY, OrderId, Quantity, Reason, Reject, StockKey};

use crate::change::{Document, DocumentKind};
use crate::draft::Draft;
use crate::effects::Answer;

/// Puts kits together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssembleKits {
    /// Business id.
    pub conversion_id: OrderId,
    /// The kit.
    pub kit: StockKey,
    /// Kits, positive.
    pub kits: Quantity,
    /// Codes that were scanned, each as often as it was read; empty: not confirmed by scans.
    pub scans: Vec<String>,
}

impl AssembleKits {
    pub(super) fn execute(self, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let Self { conversion_id, kit, kits, scans } = self;
        draft.new_document(DocumentKind::Conversion, &conversion_id, Document::Taken, "conversion_id")?;
        let components = components(draft, &kit, kits)?;
        check_scans(draft, &components, &scans)?;
        for (key, quantity) in &components {
            take_retained(draft, key, *quantity)?;
        }
        gain(draft, &kit, kits)?;
        say(draft, &conversion_id, &kit, kits, &components);
        draft.settle();
        let keys = std::iter::once(&kit).chain(components.iter().map(|(key, _)| key));
        Ok(Answer::KitsAssembled(AssembleKitsResponse { levels: draft.levels(keys) }))
    }
}

/// Takes kits apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisassembleKits {
    /// Business id.
    pub conversion_id: OrderId,
    /// The kit.
    pub kit: StockKey,
    /// Kits, positive.
    pub kits: Quantity,
}

impl DisassembleKits {
    pub(super) fn execute(self, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let Self { conversion_id, kit, kits } = self;
        draft.new_document(DocumentKind::Conversion, &conversion_id, Document::Taken, "conversion_id")?;
        let components = components(draft, &kit, kits)?;
        take_retained(draft, &kit, kits)?;
        for (key, quantity) in &components {
            gain(draft, key, *quantity)?;
        }
        say(draft, &conversion_id, &kit, -kits, &components);
        draft.settle();
        let keys = std::iter::once(&kit).chain(components.iter().map(|(key, _)| key));
        Ok(Answer::KitsDisassembled(DisassembleKitsResponse { levels: draft.levels(keys) }))
    }
}

/// What so many kits are made of.
fn components(draft: &Draft<'_>, kit: &StockKey, kits: Quantity) -> Result<Vec<(StockKey, Quantity)>, Reject> {
    draft.ranged(&kit.item).map_err(|reject| reject.field("kit.item"))?;
    let parts =
        draft.item_attributes(&kit.item).map(|attributes| attributes.kit_components.clone()).unwrap_or_default();
    if parts.is_empty() {
        let message = format!("{} is no kit: its item names no components", kit.item);
        return Err(Reject::new(Reason::NotAKit, message).field("kit.item"));
    }
    let mut found = Vec::with_capacity(parts.len());
    for part in parts {
        let item = ItemId::new(&part.item)?;
        draft.ranged(&item).map_err(|reject| reject.field("kit.item"))?;
        let quantity = part.units_per_kit.checked_mul(kits).filter(|units| (1..=MAX_QUANTITY).contains(units));
        let quantity = quantity.ok_or_else(|| {
            let message = format!("{kits} kits need more than {MAX_QUANTITY} units of {item}");
            Reject::new(Reason::QuantityTooLarge, message).field("kits")
        })?;
        found.push((StockKey { item, ..kit.clone() }, quantity));
    }
    Ok(found)
}

fn take_retained(draft: &mut Draft<'_>, key: &StockKey, quantity: Quantity) -> Result<(), Reject> {
    let cell = draft.cell(key);
    let retained = cell.retained().min(cell.on_hand).max(0);
    if retained < quantity {
        let message = format!("{retained} units of {key} are here and not promised, {quantity} are needed");
        return Err(Reject::new(Reason::InsufficientRetained, message).field("kits"));
    }
    cell.on_hand -= quantity;
    cell.converted_total -= quantity;
    Ok(())
}

fn gain(draft: &mut Draft<'_>, key: &StockKey, quantity: Quantity) -> Result<(), Reject> {
    draft.fits(key, quantity).map_err(|reject| reject.field("kits"))?;
    let cell = draft.cell(key);
    cell.on_hand += quantity;
    cell.converted_total += quantity;
    Ok(())
}

fn say(draft: &mut Draft<'_>, id: &OrderId, kit: &StockKey, kits: Quantity, components: &[(StockKey, Quantity)]) {
    let component =
        |(key, quantity): &(StockKey, Quantity)| KitComponent { stock_key: Some(key.into()), quantity: *quantity };
    draft.say(Fact::KitsConverted(KitsConverted {
        conversion_id: id.to_string(),
        kit: Some(kit.into()),
        kits,
        components: components.iter().map(component).collect(),
    }));
}

/// Scans, where there are any, must be of exactly the components: a code counts for the base units of its pack.
fn check_scans(draft: &Draft<'_>, components: &[(StockKey, Quantity)], scans: &[String]) -> Result<(), Reject> {
    if scans.is_empty() {
        return Ok(());
    }
    let differ = |message: String| Err(Reject::new(Reason::KitScansDiffer, message).field("scans"));
    let mut scanned: BTreeMap<&ItemId, Quantity> = BTreeMap::new();
    for code in scans {
        let found = components.iter().find_map(|(key, _)| Some((&key.item, base_units(draft, &key.item, code)?)));
        let Some((item, units)) = found else {
            return differ(format!("code {code:?} is of no component of the kit"));
        };
        *scanned.entry(item).or_default() += units;
    }
    for (key, quantity) in components {
        let units = scanned.get(&key.item).copied().unwrap_or(0);
        if units != *quantity {
            return differ(format!("{units} units of {} were scanned, {quantity} are needed", key.item));
        }
    }
    Ok(())
}

/// Base units that a code of an item stands for.
fn base_units(draft: &Draft<'_>, item: &ItemId, code: &str) -> Option<Quantity> {
    let attributes = draft.item_attributes(item)?;
    let found = attributes.scan_codes.iter().find(|known| known.code == code)?;
    if found.pack.is_empty() {
        return Some(1);
    }
    attributes.packs.iter().find(|pack| pack.name == found.pack).map(|pack| pack.base_units)
}
