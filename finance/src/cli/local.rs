//! What works on the file itself, with or without the service.

use std::path::Path;
use std::process::ExitCode;

use serde::Deserialize;
use serde_json::json;
use stockmesh_finance_core::LedgerHead;
use stockmesh_service::output::{EXIT_REFUSED, OutputFormat, Table, print};
use stockmesh_types::ChainHash;

use super::{refused, usage};
use crate::fold::{Fold, fold};
use crate::signing::from_hex;
use crate::store::{Finding, SignedHead, Verification, open_reader, verify as verify_books};
use crate::verify_heads::{KeptHead, check_kept, check_signed};

/// Entries, or facts, between two lines of progress.
const PROGRESS: u64 = 500_000;

/// Says how far it is, now and then.
struct Progress {
    next: u64,
}

impl Progress {
    fn new() -> Self {
        Self { next: PROGRESS }
    }

    fn at(&mut self, done: u64, what: impl FnOnce() -> String) {
        if done >= self.next {
            eprintln!("{}", what());
            self.next = done + PROGRESS;
        }
    }
}

/// Checks the books; `scratch`: recomputes them there from the raw feeds too.
pub(super) fn verify(path: &Path, heads: Option<&Path>, scratch: Option<&Path>, output: OutputFormat) -> ExitCode {
    let kept = match heads.map(read_heads).transpose() {
        Ok(kept) => kept.unwrap_or_default(),
        Err(error) => return usage(&error),
    };
    let reader = match open_reader(path) {
        Ok(reader) => reader,
        Err(error) => return refused(&error),
    };
    let mut progress = Progress::new();
    let checked = verify_books(&reader, |entries| progress.at(entries, || format!("{entries} entries checked")));
    let Verification { entries, postings, accounts, stock, suspense, head, mut findings } = match checked {
        Ok(result) => result,
        Err(error) => return refused(&error),
    };
    let signed = match check_signed(&reader, &mut findings).and_then(|signed| {
        check_kept(&reader, &kept, &mut findings)?;
        Ok(signed)
    }) {
        Ok(signed) => signed,
        Err(error) => return refused(&error),
    };
    let mut progress = Progress::new();
    let again = scratch.map(|scratch| {
        fold(&reader, scratch, |facts, all| progress.at(facts, || format!("{facts} of {all} facts posted anew")))
    });
    let recomputed = match again.transpose() {
        Ok(None) => "left out".to_owned(),
        Ok(Some(Fold { facts, impossible, findings: differences })) => {
            findings.extend(differences);
            if impossible.is_empty() {
                format!("{facts} facts posted anew")
            } else {
                format!("not possible: {impossible}")
            }
        }
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
        .row(vec!["signed heads".into(), signed.to_string()])
        .row(vec!["heads kept elsewhere".into(), kept.len().to_string()])
        .row(vec!["raw feeds".into(), recomputed.clone()])
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
            "suspense": suspense, "ledger_hash": head, "signed_heads": signed, "kept_heads": kept.len(),
            "raw_feeds": recomputed, "whole": good, "findings": findings,
        }),
    );
    if good { ExitCode::SUCCESS } else { ExitCode::from(EXIT_REFUSED) }
}

/// The JSON of `head list` and `head sign`.
#[derive(Deserialize)]
struct HeadsFile {
    heads: Vec<HeadRow>,
}

#[derive(Deserialize)]
struct HeadRow {
    finance_id: String,
    number: u64,
    hash: String,
    signed_time_ms: i64,
    public_key: String,
    signature: String,
}

fn read_heads(path: &Path) -> Result<Vec<KeptHead>, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
    let file: HeadsFile = serde_json::from_str(&text).map_err(|error| wrong(&error))?;
    let head = |row: HeadRow| {
        let HeadRow { finance_id, number, hash, signed_time_ms, public_key, signature } = row;
        let hash = from_hex(&hash).and_then(|bytes| ChainHash::from_bytes(&bytes))?;
        let (public_key, signature) = (from_hex(&public_key)?, from_hex(&signature)?);
        let signed = SignedHead { head: LedgerHead { number, hash }, signed_time_ms, public_key, signature };
        Some(KeptHead { finance_id, signed })
    };
    let heads: Option<Vec<_>> = file.heads.into_iter().map(head).collect();
    heads.ok_or_else(|| wrong(&"a head's hash, key or signature is not hexadecimal"))
}
