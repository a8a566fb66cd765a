//! What the plain-text formats share: names of accounts with their entity, and the lines of an entry.

use std::collections::BTreeMap;

use stockmesh_finance_core::Entry;
use stockmesh_finance_core::accounts::part;

use crate::store::Account;

/// The second part of account names, by entity, each another one.
pub(super) fn entity_parts(accounts: &[Account]) -> BTreeMap<String, String> {
    let mut parts: BTreeMap<String, String> = BTreeMap::new();
    for Account { entity, .. } in accounts {
        if parts.contains_key(entity) {
            continue;
        }
        let name = part(entity);
        let taken = |candidate: &str| parts.values().any(|known| known == candidate);
        let numbered = (2..).map(|n| format!("{name}-{n}"));
        let free = std::iter::once(name.clone()).chain(numbered).find(|candidate| !taken(candidate));
        parts.insert(entity.clone(), free.unwrap_or(name));
    }
    parts
}

/// A line of a transaction: postings of an entry to one account, and of one tax rate where they have one, summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub account: &'a str,
    /// Parts per million, of postings that have a jurisdiction.
    pub tax_rate_ppm: Option<u32>,
    pub amount_minor: i64,
}

/// The lines of an entry, in the order in which their first postings stand.
pub(super) fn lines(entry: &Entry) -> Vec<Line<'_>> {
    let mut lines: Vec<Line<'_>> = Vec::new();
    for posting in &entry.postings {
        let tax_rate_ppm = (!posting.jurisdiction.is_empty()).then_some(posting.tax_rate_ppm);
        let (account, amount_minor) = (posting.account.as_str(), posting.amount_minor);
        match lines.iter_mut().find(|line| line.account == account && line.tax_rate_ppm == tax_rate_ppm) {
            Some(line) => line.amount_minor += amount_minor,
            None => lines.push(Line { account, tax_rate_ppm, amount_minor }),
        }
    }
    lines
}

/// The order or till document of an entry, when all of its postings are about one.
pub(super) fn order_of(entry: &Entry) -> Option<&str> {
    let first = entry.postings.first()?.order_id.as_str();
    (!first.is_empty() && entry.postings.iter().all(|posting| posting.order_id == first)).then_some(first)
}

#[cfg(test)]
mod tests {
    use stockmesh_types::Currency;

    use super::*;

    #[test]
    fn entities_keep_apart() {
        let account = |entity: &str| Account {
            entity: entity.into(),
            name: "Assets:X".into(),
            currency: Currency::new("GBP").unwrap(),
            debit_minor: 0,
            credit_minor: 0,
        };
        let parts = entity_parts(&[account("Acme"), account("acme"), account("acme"), account("uk")]);
        let parts: Vec<_> = parts.iter().map(|(entity, part)| (entity.as_str(), part.as_str())).collect();
        assert_eq!(parts, [("Acme", "Acme"), ("acme", "Acme-2"), ("uk", "Uk")]);
    }
}
