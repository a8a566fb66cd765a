//! Debits equal credits: by entry, by entity and currency, and the trial balance is the sum of the journal.

use std::collections::BTreeMap;

use super::{Check, Findings};
use crate::demo::DemoResult;

/// The check.
pub const CHECK: Check = Check {
    name: "books balanced",
    guarantee: "debits equal credits in every entry, entity and currency, and the trial balance is the journal, summed again",
    source: "ARCHITECTURE.md, Invariants: Books",
    run,
};

fn run(result: &DemoResult) -> Findings {
    let evidence = &result.evidence;
    let mut findings = Findings::new();
    for entry in &evidence.journal.unbalanced {
        findings.expect(false, || format!("entry {entry} does not balance"));
    }
    let mut sums: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    let mut trial = BTreeMap::new();
    for balance in &evidence.balances {
        let amount = balance.debit_minor - balance.credit_minor;
        *sums.entry((&balance.entity, &balance.currency_code)).or_default() += amount;
        let key = (balance.entity.clone(), balance.account.clone(), balance.currency_code.clone());
        trial.insert(key, (balance.debit_minor, balance.credit_minor));
    }
    for ((entity, currency), sum) in sums {
        findings.equal(|| format!("sum of all accounts of {entity} in {currency}"), &sum, &0);
    }
    for (account, sums) in &evidence.journal.accounts {
        let listed = trial.remove(account).unwrap_or_default();
        findings.equal(|| format!("{account:?}: debit and credit, by trial balance and journal"), &listed, sums);
    }
    for (account, sums) in trial {
        findings.equal(|| format!("{account:?} has no posting"), &sums, &(0, 0));
    }
    findings.equal(
        || "entries, by trial balance and journal".into(),
        &evidence.journal_entries,
        &evidence.journal.entries,
    );
    findings.over(evidence.balances.len(), "accounts")
}
