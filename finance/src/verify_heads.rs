//! Signed heads against the journal: those in the file, and those that somebody kept elsewhere.

use crate::signing::is_signed;
use crate::store::{Finding, Reader, SignedHead, StoreError};

/// Name of the check in findings.
const CHECK: &str = "signed heads";
/// Heads read at a time.
const PAGE: usize = 1_000;

/// A head from another place than the books.
#[derive(Clone, Debug)]
pub struct KeptHead {
    /// Whose it says it is.
    pub finance_id: String,
    /// The head.
    pub signed: SignedHead,
}

fn wrong(detail: String) -> Finding {
    Finding { check: CHECK, detail }
}

fn check(
    reader: &Reader,
    finance_id: &str,
    signed: &SignedHead,
    findings: &mut Vec<Finding>,
) -> Result<(), StoreError> {
    let number = signed.head.number;
    if !is_signed(finance_id, signed) {
        findings.push(wrong(format!("the signature of the head at entry {number} is not that of its key")));
    }
    match reader.entry_hash(number)? {
        Some(hash) if hash == signed.head.hash => {}
        Some(hash) => {
            let detail = format!("entry {number} has the chain hash {hash}, and {} was signed", signed.head.hash);
            findings.push(wrong(detail));
        }
        None => findings.push(wrong(format!("entry {number} was signed, and is not there"))),
    }
    Ok(())
}

/// Checks every signed head of the file, and says how many there are.
///
/// # Errors
/// See [`StoreError`].
pub fn check_signed(reader: &Reader, findings: &mut Vec<Finding>) -> Result<u64, StoreError> {
    let finance_id = reader.finance_id()?;
    let (mut after, mut count) = (None, 0);
    loop {
        let page = reader.signed_heads(after, PAGE)?;
        for signed in &page.rows {
            check(reader, &finance_id, signed, findings)?;
            after = Some(signed.head.number);
            count += 1;
        }
        if !page.more {
            return Ok(count);
        }
    }
}

/// Checks heads that were kept elsewhere: each must be of these books, signed, and in their chain.
///
/// # Errors
/// See [`StoreError`].
pub fn check_kept(reader: &Reader, kept: &[KeptHead], findings: &mut Vec<Finding>) -> Result<(), StoreError> {
    let finance_id = reader.finance_id()?;
    for KeptHead { finance_id: owner, signed } in kept {
        if *owner == finance_id {
            check(reader, &finance_id, signed, findings)?;
        } else {
            let number = signed.head.number;
            findings.push(wrong(format!(
                "the kept head at entry {number} is of finance/{owner}, the books of finance/{finance_id}"
            )));
        }
    }
    Ok(())
}
