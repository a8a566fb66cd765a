//! beancount 3: a file that `bean-check` accepts, and that a missing or changed entry breaks.
//!
//! Traps, and what is done about them:
//! - Amounts are checked with a tolerance of half a last digit unless `tolerance_multiplier` is 0: it is 0.
//! - A balance assertion holds at the *start* of its day: every account is asserted on the day after the last posting date,
//!   so that a missing entry does not go unseen.
//! - Account parts match `[A-Z0-9][A-Za-z0-9-]*`: names are made so, with the legal entity as the second part. Two entities
//!   whose names would become the same part get a number behind it.
//! - beancount has one list of transactions: entries of several entities stand side by side, each balanced by itself.
//! - Transactions stand on their posting date: that of the writer's books. What happened earlier (an order placed long before
//!   it was recorded) has its `effective-date` as metadata, so that reports by date don't show the business of another year.
//! - Transactions are sorted by date when read; entry number, rule and order travel as metadata, the source as a link.
//!   The narration is for people; there is no payee.
//! - Postings of one entry to one account are summed, so that large books stay readable, but for those of different tax rates,
//!   which have theirs as metadata. Other dimensions are in the CSV export.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use stockmesh_finance_core::Entry;
use stockmesh_finance_core::accounts::with_entity;
use stockmesh_types::{BusinessDate, FeedId};

use super::plain::{entity_parts, lines, order_of};
use super::{CHUNK, ExportError, Pieces};
use crate::money::decimal;
use crate::store::Reader;

const HEADER: &str = "\
;; Books of Stockmesh, exported for beancount 3. Check with: bean-check FILE
;; Dates are posting dates; effective-date says when it happened, where that is another day. Amounts are exact: the
;; tolerance is zero. Every account is asserted on the day after the last entry (assertions hold at the start of a day).
;; Postings of an entry to the same account, at the same tax rate, are summed; the CSV export has every dimension.
option \"title\" \"Stockmesh\"
option \"tolerance_multiplier\" \"0\"
";

pub(super) fn write<F: FnMut(Vec<u8>) -> Result<(), ExportError>>(
    reader: &Reader,
    entity: &str,
    pieces: &mut Pieces<F>,
) -> Result<(), ExportError> {
    let accounts = reader.balances(entity)?;
    let parts = entity_parts(&accounts);
    pieces.push(HEADER)?;
    for currency in accounts.iter().map(|account| account.currency).collect::<std::collections::BTreeSet<_>>() {
        pieces.push(&format!("option \"operating_currency\" \"{currency}\"\n"))?;
    }
    let place = reader.place()?;
    pieces.push(&format!(";; Ledger: {} entries, chain hash {}\n\n", place.meta.head.number, place.meta.head.hash))?;
    let Some((first, last)) = reader.posting_dates()? else { return Ok(()) };
    let mut currencies: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for account in &accounts {
        let name = with_entity(&account.name, &parts[&account.entity]);
        currencies.entry(name).or_default().push(account.currency.to_string());
    }
    for (name, currencies) in &currencies {
        pieces.push(&format!("{first} open {name} {}\n", currencies.join(",")))?;
    }
    pieces.push("\n")?;
    let mut after = 0;
    loop {
        let page = reader.entries(after, CHUNK, "")?;
        for entry in &page.rows {
            after = entry.number;
            if let Some(part) = parts.get(&entry.entity) {
                pieces.push(&transaction(entry, part))?;
            }
        }
        if !page.more {
            break;
        }
    }
    let day_after = BusinessDate::from_days(last.days() + 1);
    for account in &accounts {
        let name = with_entity(&account.name, &parts[&account.entity]);
        let balance = decimal(account.debit_minor - account.credit_minor, account.currency);
        pieces.push(&format!("{day_after} balance {name} {balance} {}\n", account.currency))?;
    }
    Ok(())
}

fn transaction(entry: &Entry, entity_part: &str) -> String {
    let mut text = format!(
        "{} * \"{}\" ^{}\n  number: {}\n  rule: \"{}\"\n",
        entry.posting_date,
        escaped(&entry.description),
        link(&entry.source.feed, entry.source.seq),
        entry.number,
        escaped(&entry.rule),
    );
    // Writing to a String can't fail.
    if let Some(order_id) = order_of(entry) {
        let _ = writeln!(text, "  order: \"{}\"", escaped(order_id));
    }
    if entry.effective_date != entry.posting_date {
        let _ = writeln!(text, "  effective-date: {}", entry.effective_date);
    }
    for line in lines(entry) {
        let (account, amount) = (with_entity(line.account, entity_part), decimal(line.amount_minor, entry.currency));
        let _ = writeln!(text, "  {account}  {amount} {}", entry.currency);
        if let Some(rate) = line.tax_rate_ppm {
            let _ = writeln!(text, "    tax-rate-ppm: {rate}");
        }
    }
    text.push('\n');
    text
}

/// The source as a link: beancount's links have letters, digits and `-_/.`.
fn link(feed: &FeedId, seq: u64) -> String {
    format!("{}/{}/{seq}", feed.participant, feed.epoch)
}

fn escaped(text: &str) -> String {
    text.chars()
        .flat_map(|c| match c {
            '"' | '\\' => vec!['\\', c],
            c if c.is_control() => vec![' '],
            c => vec![c],
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped() {
        assert_eq!(escaped("PO \"7\"\\\n"), "PO \\\"7\\\"\\\\ ");
    }
}
