//! hledger: a journal that `hledger check --strict` accepts, and that a missing or changed entry breaks.
//!
//! Traps, and what is done about them:
//! - hledger balances a transaction at the precision at which its commodity is *displayed*: every currency is declared with all
//!   of its digits.
//! - Accounts and commodities that are not declared fail a strict check: all are declared.
//! - A balance assertion holds behind the postings of its own transaction and of those before it: every account is asserted by
//!   one last transaction of zero amounts on the last posting date, in this same file.
//! - `;` begins a comment, `|` parts payee and note, a first `*`, `!` or `(` of a description says something else: descriptions
//!   have none of them. Tags end at a comma.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use stockmesh_finance_core::Entry;
use stockmesh_finance_core::accounts::with_entity;
use stockmesh_types::Currency;

use super::plain::{entity_parts, lines, order_of};
use super::{CHUNK, ExportError, Pieces};
use crate::money::decimal;
use crate::store::Reader;

const HEADER: &str = "\
; Books of Stockmesh, exported for hledger. Check with: hledger -f FILE check --strict
; Dates are posting dates; the tag effective says when it happened, where that is another day.
; Postings of an entry to the same account, at the same tax rate, are summed; the CSV export has every dimension.
";

pub(super) fn write<F: FnMut(Vec<u8>) -> Result<(), ExportError>>(
    reader: &Reader,
    entity: &str,
    pieces: &mut Pieces<F>,
) -> Result<(), ExportError> {
    let accounts = reader.balances(entity)?;
    let parts = entity_parts(&accounts);
    pieces.push(HEADER)?;
    let place = reader.place()?;
    pieces.push(&format!("; Ledger: {} entries, chain hash {}\n\n", place.meta.head.number, place.meta.head.hash))?;
    for currency in accounts.iter().map(|account| account.currency).collect::<BTreeSet<_>>() {
        pieces.push(&format!("commodity {}\n", amount(1_000 * minor_units(currency), currency)))?;
    }
    for name in
        accounts.iter().map(|account| with_entity(&account.name, &parts[&account.entity])).collect::<BTreeSet<_>>()
    {
        pieces.push(&format!("account {name}\n"))?;
    }
    pieces.push("\n")?;
    let Some((_, last)) = reader.posting_dates()? else { return Ok(()) };
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
    pieces.push(&format!("{last} * Balances\n"))?;
    for account in &accounts {
        let name = with_entity(&account.name, &parts[&account.entity]);
        let balance = amount(account.debit_minor - account.credit_minor, account.currency);
        pieces.push(&format!("    {name}  {} = {balance}\n", amount(0, account.currency)))?;
    }
    Ok(())
}

fn minor_units(currency: Currency) -> i64 {
    10_i64.pow(currency.exponent())
}

/// `12.34 GBP`; a currency without minor units keeps its decimal mark (`1234. JPY`), which says that it has none.
fn amount(minor: i64, currency: Currency) -> String {
    let point = if currency.exponent() == 0 { "." } else { "" };
    format!("{}{point} {currency}", decimal(minor, currency))
}

fn transaction(entry: &Entry, entity_part: &str) -> String {
    let source = &entry.source;
    let mut text = format!(
        "{} * {}\n    ; number:{}, rule:{}",
        entry.posting_date,
        plain(&entry.description),
        entry.number,
        entry.rule
    );
    // Writing to a String can't fail.
    let _ = write!(text, ", source:{}/{}/{}", source.feed.participant, source.feed.epoch, source.seq);
    if let Some(order_id) = order_of(entry) {
        let _ = write!(text, ", order:{}", plain(order_id));
    }
    if entry.effective_date != entry.posting_date {
        let _ = write!(text, ", effective:{}", entry.effective_date);
    }
    text.push('\n');
    for line in lines(entry) {
        let (account, amount) = (with_entity(line.account, entity_part), amount(line.amount_minor, entry.currency));
        let _ = write!(text, "    {account}  {amount}");
        if let Some(rate) = line.tax_rate_ppm {
            let _ = write!(text, "  ; tax-rate-ppm:{rate}");
        }
        text.push('\n');
    }
    text.push('\n');
    text
}

/// Text without what hledger reads something into.
fn plain(text: &str) -> String {
    let text: String =
        text.chars().map(|c| if c.is_control() || matches!(c, ';' | '|' | ',') { ' ' } else { c }).collect();
    text.trim_start_matches(['*', '!', '(', ' ']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_show_all_digits() {
        for (minor, code, shown) in
            [(-5, "GBP", "-0.05 GBP"), (1_234, "JPY", "1234. JPY"), (1_234, "KWD", "1.234 KWD"), (0, "JPY", "0. JPY")]
        {
            assert_eq!(amount(minor, Currency::new(code).unwrap()), shown);
        }
    }

    #[test]
    fn descriptions_say_nothing_else() {
        assert_eq!(plain("*! (code) a; b | c, d\n"), "code) a  b   c  d ");
    }
}
