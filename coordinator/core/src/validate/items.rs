//! Items and their attributes.

use std::collections::BTreeSet;

use stockmesh_proto::common::v1::{ItemAttributes, KitComponent, Pack, ScanCode};
use stockmesh_proto::coordinator::v1::{Item, UpdateItemsRequest};
use stockmesh_types::{ItemId, Reason, Reject, RequestId};

use super::master_data::{MAX_WEIGHT_GRAMS, count};

const MAX_PACKS: usize = 16;
const MAX_CODES: usize = 64;
const MAX_COMPONENTS: usize = 64;
const MAX_SUBSTITUTES: usize = 16;
const MAX_PACK_UNITS: i64 = 1_000_000;
const MAX_UNITS_PER_KIT: i64 = 10_000;
const MAX_SHELF_LIFE_DAYS: u32 = 36_500;
const MAX_AGE_YEARS: u32 = 99;

/// Checks the shape of a change of items: the number of items, and the request id unless it only validates. The items
/// themselves are checked one by one: see [`crate::State::item_problems`].
///
/// # Errors
/// [`Reason::InvalidRequestId`], [`Reason::MissingField`], [`Reason::TooManyLines`].
pub fn update_items(request: &UpdateItemsRequest) -> Result<(), Reject> {
    if !request.validate_only {
        RequestId::new(&request.request_id).map_err(|reject| reject.field("request_id"))?;
    }
    count(request.items.len(), "items")
}

pub(crate) fn check_item(item: &Item) -> Result<(), Reject> {
    ItemId::new(&item.item).map_err(|reject| reject.field("item"))?;
    if item.description.chars().count() > 200 {
        return Err(Reject::new(Reason::TextTooLong, "description is longer than 200 characters").field("description"));
    }
    if !(1..=MAX_WEIGHT_GRAMS).contains(&item.weight_grams) {
        let message = format!("weight_grams is {}, and must be 1 to {MAX_WEIGHT_GRAMS}", item.weight_grams);
        return Err(Reject::new(Reason::InvalidValue, message).field("weight_grams"));
    }
    let Some(attributes) = &item.attributes else { return Ok(()) };
    check_attributes(item, attributes).map_err(|reject| reject.within("attributes"))
}

fn check_attributes(item: &Item, attributes: &ItemAttributes) -> Result<(), Reject> {
    let ItemAttributes {
        packs,
        scan_codes,
        track_lots: _,
        track_serials,
        shelf_life_days,
        weighed,
        minimum_age_years,
        kit_components,
        abc_class,
        substitutes,
    } = attributes;
    let invalid = |field: &str, message: String| Err(Reject::new(Reason::InvalidValue, message).field(field));
    at_most(packs.len(), MAX_PACKS, "packs")?;
    at_most(scan_codes.len(), MAX_CODES, "scan_codes")?;
    at_most(kit_components.len(), MAX_COMPONENTS, "kit_components")?;
    at_most(substitutes.len(), MAX_SUBSTITUTES, "substitutes")?;
    each(packs, "packs", |pack| pack.name.as_str(), check_pack)?;
    each(scan_codes, "scan_codes", |code| code.code.as_str(), |code| check_code(code, packs))?;
    each(kit_components, "kit_components", |part| part.item.as_str(), |part| check_component(item, part))?;
    each(substitutes, "substitutes", String::as_str, |other| {
        ItemId::new(other)?;
        if *other == item.item {
            return Err(Reject::new(Reason::InvalidValue, "an item is no substitute for itself"));
        }
        Ok(())
    })?;
    if *weighed && *track_serials {
        return invalid("weighed", "an item is either weighed or has serial numbers".to_owned());
    }
    if *weighed && item.weight_grams != 1 {
        return invalid("weighed", "the base unit of a weighed item is the gram: its weight_grams is 1".to_owned());
    }
    if *shelf_life_days > MAX_SHELF_LIFE_DAYS {
        return invalid(
            "shelf_life_days",
            format!("shelf_life_days is {shelf_life_days}, and at most {MAX_SHELF_LIFE_DAYS}"),
        );
    }
    if *minimum_age_years > MAX_AGE_YEARS {
        return invalid(
            "minimum_age_years",
            format!("minimum_age_years is {minimum_age_years}, and at most {MAX_AGE_YEARS}"),
        );
    }
    if !["", "A", "B", "C"].contains(&abc_class.as_str()) {
        let shown: String = abc_class.chars().take(20).collect();
        return invalid("abc_class", format!("abc_class is {shown:?}, and must be A, B, C or empty"));
    }
    Ok(())
}

fn at_most(given: usize, most: usize, field: &str) -> Result<(), Reject> {
    if given <= most {
        return Ok(());
    }
    Err(Reject::new(Reason::TooManyLines, format!("{given} {field}, and an item has at most {most}")).field(field))
}

/// Checks every element of a list, and that each name stands once.
fn each<T>(
    list: &[T],
    field: &str,
    name: impl Fn(&T) -> &str,
    check: impl Fn(&T) -> Result<(), Reject>,
) -> Result<(), Reject> {
    let mut names = BTreeSet::new();
    for (n, element) in list.iter().enumerate() {
        let path = format!("{field}[{n}]");
        check(element).map_err(|reject| reject.within(&path))?;
        if !names.insert(name(element)) {
            let message = format!("{} stands twice", name(element));
            return Err(Reject::new(Reason::DuplicateLine, message).field(path));
        }
    }
    Ok(())
}

fn check_pack(pack: &Pack) -> Result<(), Reject> {
    let Pack { name, base_units } = pack;
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 16 || !name.chars().all(good) || name == "each" {
        let shown: String = name.chars().take(40).collect();
        let message = format!("pack {shown:?} is not 1 to 16 characters of a-z 0-9 -, other than each");
        return Err(Reject::new(Reason::InvalidId, message).field("name"));
    }
    if !(2..=MAX_PACK_UNITS).contains(base_units) {
        let message = format!("base_units is {base_units}, and must be 2 to {MAX_PACK_UNITS}");
        return Err(Reject::new(Reason::InvalidValue, message).field("base_units"));
    }
    Ok(())
}

fn check_code(code: &ScanCode, packs: &[Pack]) -> Result<(), Reject> {
    let ScanCode { code, pack } = code;
    let wrong = |message: String| Err(Reject::new(Reason::InvalidScanCode, message).field("code"));
    let length = code.chars().count();
    if length == 0 || length > 48 || code.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return wrong("a code is 1 to 48 characters without spaces".to_owned());
    }
    let is_gtin = matches!(code.len(), 8 | 12 | 13 | 14) && code.bytes().all(|byte| byte.is_ascii_digit());
    if is_gtin && !has_check_digit(code) {
        return wrong(format!("{code} has the form of a GTIN, and its check digit is wrong"));
    }
    if !pack.is_empty() && packs.iter().all(|known| known.name != *pack) {
        let shown: String = pack.chars().take(40).collect();
        return Err(Reject::new(Reason::InvalidValue, format!("there is no pack {shown:?}")).field("pack"));
    }
    Ok(())
}

/// GS1's check digit: digits from the right weigh 1, 3, 1, 3, …, and their sum ends in 0.
fn has_check_digit(digits: &str) -> bool {
    let weighed = digits.bytes().rev().zip([1u32, 3].into_iter().cycle());
    weighed.map(|(digit, weight)| u32::from(digit - b'0') * weight).sum::<u32>().is_multiple_of(10)
}

fn check_component(kit: &Item, part: &KitComponent) -> Result<(), Reject> {
    let KitComponent { item, units_per_kit } = part;
    ItemId::new(item).map_err(|reject| reject.field("item"))?;
    if *item == kit.item {
        return Err(Reject::new(Reason::InvalidValue, "a kit is no part of itself").field("item"));
    }
    if !(1..=MAX_UNITS_PER_KIT).contains(units_per_kit) {
        let message = format!("units_per_kit is {units_per_kit}, and must be 1 to {MAX_UNITS_PER_KIT}");
        return Err(Reject::new(Reason::InvalidValue, message).field("units_per_kit"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_digits() {
        // Published examples: an ISBN, an EAN-8, a UPC-A, a GTIN-14.
        for good in ["9780201379624", "96385074", "036000291452", "10614141543219"] {
            assert!(has_check_digit(good), "{good}");
        }
        for wrong in ["9780201379625", "96385075", "036000291453", "10614141543210"] {
            assert!(!has_check_digit(wrong), "{wrong}");
        }
    }

    #[test]
    fn which_attributes_are_refused() {
        fn good() -> Item {
            let pack = |name: &str, base_units| Pack { name: name.into(), base_units };
            let code = |code: &str, pack: &str| ScanCode { code: code.into(), pack: pack.into() };
            let attributes = ItemAttributes {
                packs: vec![pack("case", 12), pack("pallet", 480)],
                scan_codes: vec![code("96385074", ""), code("10614141543219", "case"), code("ABC-1", "")],
                kit_components: vec![KitComponent { item: "PART".into(), units_per_kit: 2 }],
                substitutes: vec!["OTHER".into()],
                abc_class: "A".into(),
                shelf_life_days: 30,
                minimum_age_years: 18,
                ..ItemAttributes::default()
            };
            Item { item: "KIT".into(), weight_grams: 1, attributes: Some(attributes), ..Item::default() }
        }
        check_item(&good()).unwrap();
        type Spoil = fn(&mut ItemAttributes);
        let cases: [(&str, Reason, Spoil); 15] = [
            ("packs[1]", Reason::DuplicateLine, |a| a.packs[1].name = "case".into()),
            ("packs[0].name", Reason::InvalidId, |a| a.packs[0].name = "Case".into()),
            ("packs[0].name", Reason::InvalidId, |a| a.packs[0].name = "each".into()),
            ("packs[0].base_units", Reason::InvalidValue, |a| a.packs[0].base_units = 1),
            ("scan_codes[0].code", Reason::InvalidScanCode, |a| a.scan_codes[0].code = "96385075".into()),
            ("scan_codes[2].code", Reason::InvalidScanCode, |a| a.scan_codes[2].code = "A B".into()),
            ("scan_codes[1].pack", Reason::InvalidValue, |a| a.scan_codes[1].pack = "box".into()),
            ("scan_codes[1]", Reason::DuplicateLine, |a| a.scan_codes[1].code = "96385074".into()),
            ("kit_components[0].item", Reason::InvalidValue, |a| a.kit_components[0].item = "KIT".into()),
            ("kit_components[0].units_per_kit", Reason::InvalidValue, |a| a.kit_components[0].units_per_kit = 0),
            ("substitutes[0]", Reason::InvalidValue, |a| a.substitutes[0] = "KIT".into()),
            ("weighed", Reason::InvalidValue, |a| (a.weighed, a.track_serials) = (true, true)),
            ("shelf_life_days", Reason::InvalidValue, |a| a.shelf_life_days = 40_000),
            ("minimum_age_years", Reason::InvalidValue, |a| a.minimum_age_years = 100),
            ("abc_class", Reason::InvalidValue, |a| a.abc_class = "D".into()),
        ];
        for (field, reason, spoil) in cases {
            let mut item = good();
            spoil(item.attributes.as_mut().unwrap());
            let reject = check_item(&item).unwrap_err();
            assert_eq!((reject.reason, reject.field), (reason, format!("attributes.{field}")));
        }
        let mut heavy = good();
        heavy.weight_grams = 2;
        heavy.attributes.as_mut().unwrap().weighed = true;
        assert_eq!(check_item(&heavy).unwrap_err().field, "attributes.weighed");
    }
}
