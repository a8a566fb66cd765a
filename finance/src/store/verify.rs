//! Checks the whole file against itself: what an auditor would do with it. Reads only, so that it may run beside the service.

use std::collections::BTreeMap;

use rusqlite::Connection;
use stockmesh_finance_core::Entry;
use stockmesh_finance_core::accounts::{Role, chart_line, part};
use stockmesh_types::ChainHash;

use super::{Reader, StoreError, read};

/// Entries read at a time.
const CHUNK: usize = 1_000;

/// Something that is wrong with the books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which check.
    pub check: &'static str,
    /// What is wrong.
    pub detail: String,
}

/// What was checked, and found.
#[derive(Clone, Debug, Default)]
pub struct Verification {
    /// Journal entries recomputed.
    pub entries: u64,
    /// Postings summed.
    pub postings: u64,
    /// Accounts compared.
    pub accounts: u64,
    /// Stock records compared.
    pub stock: u64,
    /// Facts in suspense.
    pub suspense: u64,
    /// Chain hash of the last entry.
    pub head: String,
    /// What is wrong; empty: nothing.
    pub findings: Vec<Finding>,
}

/// Recomputes the chain and every balance from the entries, and compares accounts with the stock records behind them.
///
/// # Errors
/// See [`StoreError`]; what is wrong with the books is in the result.
pub fn verify(reader: &Reader, mut progress: impl FnMut(u64)) -> Result<Verification, StoreError> {
    reader.snapshot(|reader| {
        let mut result = Verification::default();
        let sums = check_entries(reader, &mut result, &mut progress)?;
        check_balances(reader, &sums, &mut result)?;
        check_stock(reader.connection(), &sums, &mut result)?;
        check_counts(reader, &mut result)?;
        Ok(result)
    })
}

/// Debits and credits by entity, account, currency.
type Sums = BTreeMap<(String, String, String), (i128, i128)>;

impl Verification {
    fn wrong(&mut self, check: &'static str, detail: String) {
        self.findings.push(Finding { check, detail });
    }
}

fn check_entries(
    reader: &Reader,
    result: &mut Verification,
    progress: &mut impl FnMut(u64),
) -> Result<Sums, StoreError> {
    let mut sums = Sums::new();
    let mut previous = ChainHash::START;
    let mut after = 0;
    loop {
        let page = reader.entries(after, CHUNK, "")?;
        for entry in &page.rows {
            check_entry(entry, after, &previous, result);
            for posting in &entry.postings {
                let key = (entry.entity.clone(), posting.account.clone(), entry.currency.to_string());
                let (debit, credit) = sums.entry(key).or_default();
                *(if posting.amount_minor > 0 { debit } else { credit }) += i128::from(posting.amount_minor.abs());
            }
            result.postings += entry.postings.len() as u64;
            previous = entry.hash;
            after = entry.number;
        }
        result.entries += page.rows.len() as u64;
        progress(result.entries);
        if !page.more {
            break;
        }
    }
    let head = reader.place()?.meta.head;
    if (head.number, head.hash) != (after, previous) {
        result.wrong("chain", format!("it ends at entry {after}, and the head says {}", head.number));
    }
    result.head = previous.to_string();
    Ok(sums)
}

fn check_entry(entry: &Entry, before: u64, previous: &ChainHash, result: &mut Verification) {
    let number = entry.number;
    if number != before + 1 {
        result.wrong("numbers", format!("entry {number} follows {before}"));
    }
    if !entry.balanced() {
        result.wrong("balance", format!("entry {number}: debits and credits differ"));
    }
    if entry.chain_hash(previous) != entry.hash {
        result.wrong("chain", format!("entry {number} does not have the hash of its content"));
    }
}

fn check_balances(reader: &Reader, sums: &Sums, result: &mut Verification) -> Result<(), StoreError> {
    let mut seen = 0;
    for account in reader.balances("")? {
        result.accounts += 1;
        let key = (account.entity.clone(), account.name.clone(), account.currency.to_string());
        let posted = sums.get(&key).copied();
        seen += usize::from(posted.is_some());
        if posted.unwrap_or_default() != (account.debit_minor.into(), account.credit_minor.into()) {
            result.wrong("balances", format!("{} of {}: postings sum to {posted:?}", account.name, account.entity));
        }
    }
    if seen != sums.len() {
        result.wrong("balances", format!("{} accounts have postings, {seen} of them a balance", sums.len()));
    }
    Ok(())
}

/// What the accounts of a node hold, and the columns of its stock records that say the same. Goods that are set aside have
/// one column, and an account for each thing that they wait for.
const STOCK_ACCOUNTS: [(&str, &[Role], &str); 5] = [
    ("inventory", &[Role::Inventory], "value_minor"),
    ("returns pending", &[Role::ReturnsPending], "pending_value_minor"),
    ("unreceived stock", &[Role::UnreceivedStock], "-unreceived_value_minor"),
    ("goods held", &[Role::GoodsHeld], "held_value_minor"),
    ("goods set aside", &[Role::Refurbishment, Role::LiquidationStock, Role::VendorReturns], "set_aside_value_minor"),
];

/// Layers and what else there is of each node's stock equal their accounts.
fn check_stock(connection: &Connection, sums: &Sums, result: &mut Verification) -> Result<(), StoreError> {
    let columns = STOCK_ACCOUNTS.map(|(_, _, column)| format!("sum({column})")).join(", ");
    let mut statement = connection
        .prepare(&format!("SELECT node, currency, count(*), {columns} FROM stock GROUP BY node, currency"))?;
    let mut rows = statement.query([])?;
    let mut values: BTreeMap<(&str, String, String), i128> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let (node, currency): (String, String) = (row.get(0)?, row.get(1)?);
        result.stock += u64::try_from(row.get::<_, i64>(2)?).unwrap_or(0);
        for (n, (what, _, _)) in STOCK_ACCOUNTS.iter().enumerate() {
            let value = i128::from(row.get::<_, i64>(3 + n)?);
            *values.entry((what, part(&node), currency.clone())).or_default() += value;
        }
    }
    for ((_, account, currency), (debit, credit)) in sums {
        let Some((name, node)) = account.rsplit_once(':') else { continue };
        let of = |roles: &[Role]| roles.iter().any(|role| chart_line(*role).name == name);
        if let Some((what, _, _)) = STOCK_ACCOUNTS.iter().find(|(_, roles, _)| of(roles)) {
            *values.entry((what, node.to_owned(), currency.clone())).or_default() -= debit - credit;
        }
    }
    for ((what, node, currency), difference) in values {
        if difference != 0 {
            result
                .wrong("stock", format!("{what} of {node} differs from its stock records by {difference} {currency}"));
        }
    }
    Ok(())
}

fn check_counts(reader: &Reader, result: &mut Verification) -> Result<(), StoreError> {
    let count = |sql| reader.connection().query_row(sql, [], |row| row.get::<_, i64>(0)).map(super::unsigned);
    result.suspense = count("SELECT count(*) FROM suspense")?;
    let stated = reader.place()?.meta.suspended;
    if stated != result.suspense {
        result.wrong("suspense", format!("{} facts wait, and the books say {stated}", result.suspense));
    }
    for (entity, currency, sum) in read::balance_sums(reader.connection())? {
        if sum != 0 {
            result.wrong("balance", format!("the balances of {entity} in {currency} sum to {sum}"));
        }
    }
    // Each fact makes each part of a rule's entries once: a second time, it was posted twice.
    let mut statement = reader.connection().prepare(
        "SELECT min(number), max(number), rule FROM entry GROUP BY feed, source_seq, rule, part HAVING count(*) > 1 \
         ORDER BY 1 LIMIT 100",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (first, last, rule): (i64, i64, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        result.wrong("posted once", format!("entries {first} and {last} are the same part of {rule} of one fact"));
    }
    let orphans = count("SELECT count(*) FROM posting WHERE entry NOT IN (SELECT number FROM entry)")?;
    if orphans != 0 {
        result.wrong("numbers", format!("{orphans} postings belong to no entry"));
    }
    Ok(())
}
