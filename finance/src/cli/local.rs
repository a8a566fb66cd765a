//! What works on the file itself, with or without the service.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use stockmesh_service::output::{EXIT_REFUSED, OutputFormat, Table, print};

use super::refused;
use crate::store::{Finding, Verification, open_reader, verify as verify_books};

/// Entries between two lines of progress.
const PROGRESS: u64 = 1_000_000;

pub(super) fn verify(path: &Path, output: OutputFormat) -> ExitCode {
    let mut next = PROGRESS;
    let progress = |entries| {
        if entries >= next {
            eprintln!("{entries} entries checked");
            next = entries + PROGRESS;
        }
    };
    let Verification { entries, postings, accounts, stock, suspense, head, findings } =
        match open_reader(path).and_then(|reader| verify_books(&reader, progress)) {
            Ok(result) => result,
            Err(error) => return refused(&error),
        };
    let good = findings.is_empty();
    let mut table = Table::new(&["check", "result"])
        .row(vec!["journal entries".into(), entries.to_string()])
        .row(vec!["postings".into(), postings.to_string()])
        .row(vec!["accounts".into(), accounts.to_string()])
        .row(vec!["stock records".into(), stock.to_string()])
        .row(vec!["facts in suspense".into(), suspense.to_string()])
        .row(vec!["chain hash".into(), head.clone()])
        .row(vec!["books".into(), if good { "whole".into() } else { "DAMAGED".into() }]);
    for Finding { check, detail } in &findings {
        table.push(vec![(*check).to_owned(), detail.clone()]);
    }
    let findings: Vec<_> =
        findings.iter().map(|finding| json!({ "check": finding.check, "detail": finding.detail })).collect();
    print(
        output,
        &table,
        &json!({
            "journal_entries": entries, "postings": postings, "accounts": accounts, "stock_records": stock,
            "suspense": suspense, "ledger_hash": head, "whole": good, "findings": findings,
        }),
    );
    if good { ExitCode::SUCCESS } else { ExitCode::from(EXIT_REFUSED) }
}
