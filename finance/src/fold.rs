//! Recomputes the books from the archived raw feeds alone, into a file of their own, and compares the two: head of the chain,
//! cursors, every account, every stock record, every fact in suspense.
//!
//! The archive has the order of arrival, and the settings by which facts were posted: the same order gives the same bytes, so
//! that even the chain's hash must agree. Only reads the books; may run beside the service.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use prost::Message as _;
use stockmesh_finance_core::{Books, Fault, PostError, Settings, Source};
use stockmesh_proto::entry::Head;
use stockmesh_proto::feed::v1::EntryBody;
use stockmesh_types::{FeedId, chain_hash};

use crate::store::{
    Account, ArchivedChunk, ArchivedFeed, Batch, Finding, Page, Reader, StockRow, Store, StoreError, SuspenseRow,
    open_reader,
};

/// Name of the check in findings.
const CHECK: &str = "raw feeds";
/// Facts that are posted before they are written.
const BATCH: usize = 4_000;
/// Rows that are compared at a time.
const PAGE: usize = 1_000;
/// Findings after which comparing one list ends.
const MAX_FINDINGS: usize = 100;

/// Why the books can't be recomputed.
#[derive(Debug, thiserror::Error)]
pub enum FoldError {
    /// The books, or those made anew, can't be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Posting failed as it never did before.
    #[error(transparent)]
    Books(#[from] Fault<StoreError>),
    /// The folder for the books made anew.
    #[error("no folder can be made for the recomputation: {0}")]
    Scratch(#[from] std::io::Error),
}

/// What came out.
#[derive(Clone, Debug, Default)]
pub struct Fold {
    /// Facts posted anew.
    pub facts: u64,
    /// Why it was not done: the archive does not hold every fact. Empty: it was.
    pub impossible: String,
    /// What differs; empty: nothing.
    pub findings: Vec<Finding>,
}

impl Fold {
    fn wrong(&mut self, detail: String) {
        self.findings.push(Finding { check: CHECK, detail });
    }
}

/// Posts every archived fact anew, in a folder of its own below `scratch`, and compares. `progress` hears how many facts are
/// done, and how many there are.
///
/// # Errors
/// See [`FoldError`]; what differs is in the result.
pub fn fold(reader: &Reader, scratch: &Path, mut progress: impl FnMut(u64, u64)) -> Result<Fold, FoldError> {
    let folder = tempfile::Builder::new().prefix("stockmesh-verify-").tempdir_in(scratch)?;
    reader.snapshot(|reader| {
        let mut result = Fold::default();
        let mut facts = 0;
        for feed in all_feeds(reader)? {
            facts += feed.head.seq;
            if feed.base.seq > 0 {
                result.impossible = format!(
                    "an earlier release posted {} up to entry {} without archiving it",
                    feed.feed, feed.base.seq
                );
                return Ok(result);
            }
        }
        let store = Store::open(folder.path(), &reader.finance_id()?)?.without_syncs()?;
        let mut books = Again { books: Books::open(store, Settings::default())?, heads: BTreeMap::new(), waiting: 0 };
        let mut settings = reader.posting_settings()?.into_iter().peekable();
        let mut after = 0;
        while let Some(chunk) = reader.arrival_after(after)? {
            while let Some((_, settings)) = settings.next_if(|(from, _)| *from <= chunk.id) {
                books.books.keep_by(settings);
            }
            if chunk.id != after + 1 {
                result.wrong(format!("rows {} to {} of the archive are missing", after + 1, chunk.id - 1));
                return Ok(result);
            }
            after = chunk.id;
            if let Err(detail) = books.post(&chunk)? {
                result.wrong(detail);
                return Ok(result);
            }
            result.facts += chunk.bodies.len() as u64;
            progress(result.facts, facts);
        }
        books.write()?;
        drop(books);
        compare(reader, &open_reader(folder.path())?, &mut result)?;
        Ok(result)
    })
}

/// The books made anew.
struct Again {
    books: Books<Store>,
    heads: BTreeMap<FeedId, Head>,
    /// Facts since the last write.
    waiting: usize,
}

impl Again {
    /// Posts a row of the archive. The inner error says what is wrong with it.
    fn post(&mut self, chunk: &ArchivedChunk) -> Result<Result<(), String>, FoldError> {
        let ArchivedChunk { id, arrived_time_ms, feed, first_seq, hash, bodies } = chunk;
        let mut head = self.heads.get(feed).copied().unwrap_or(Head::START);
        if *first_seq != head.seq + 1 {
            return Ok(Err(format!("row {id} of the archive begins {feed} at {first_seq}, behind {}", head.seq)));
        }
        for (seq, body) in (*first_seq..).zip(bodies) {
            head = Head { seq, hash: chain_hash(&head.hash, feed, seq, body) };
            let decoded = match EntryBody::decode(body.clone()) {
                Ok(decoded) => decoded,
                Err(error) => return Ok(Err(format!("entry {seq} of {feed} can't be decoded: {error}"))),
            };
            match self.books.post(&Source { feed: feed.clone(), seq }, body, &decoded, *arrived_time_ms) {
                Ok(()) => {}
                Err(PostError::Fault(fault)) => return Err(fault.into()),
                Err(unknown @ PostError::UnknownFact(_)) => return Ok(Err(unknown.to_string())),
            }
        }
        if head.hash != *hash {
            return Ok(Err(format!("row {id} of the archive does not have the chain hash of {feed}")));
        }
        self.heads.insert(feed.clone(), head);
        self.waiting += bodies.len();
        if self.waiting >= BATCH {
            self.write()?;
        }
        Ok(Ok(()))
    }

    fn write(&mut self) -> Result<(), FoldError> {
        let changes = self.books.take_changes();
        let batch = Batch { cursors: self.heads.clone(), ..Batch::default() };
        self.books.records().write(changes, &batch)?;
        self.waiting = 0;
        Ok(())
    }
}

fn all_feeds(reader: &Reader) -> Result<Vec<ArchivedFeed>, StoreError> {
    let mut feeds: Vec<ArchivedFeed> = Vec::new();
    loop {
        let page = reader.archived_feeds(feeds.last().map(|one| &one.feed), PAGE, "")?;
        feeds.extend(page.rows);
        if !page.more {
            return Ok(feeds);
        }
    }
}

fn compare(kept: &Reader, again: &Reader, result: &mut Fold) -> Result<(), StoreError> {
    let (place, other) = (kept.place()?, again.place()?);
    if place.meta.head != other.meta.head {
        let (ours, theirs) = (place.meta.head.number, other.meta.head.number);
        let first = first_difference(kept, again, ours.min(theirs))?;
        result.wrong(format!(
            "the journal has {ours} entries, the raw feeds give {theirs}; entry {first} is the first that differs"
        ));
    }
    if place.cursors != other.cursors {
        for feed in place.cursors.keys().chain(other.cursors.keys()).collect::<BTreeSet<_>>() {
            let seq = |of: &BTreeMap<FeedId, Head>| of.get(feed).map_or(0, |head| head.seq);
            if place.cursors.get(feed) != other.cursors.get(feed) {
                let (ours, theirs) = (seq(&place.cursors), seq(&other.cursors));
                result
                    .wrong(format!("{feed} is posted up to {ours}, and archived up to {theirs}, or with another hash"));
            }
        }
    }
    compare_accounts(&kept.balances("")?, &again.balances("")?, result);
    compare_lists(
        "stock",
        |after: Option<&StockRow>| kept.stock(after.unwrap_or(&StockRow::default()), PAGE, ""),
        |after: Option<&StockRow>| again.stock(after.unwrap_or(&StockRow::default()), PAGE, ""),
        |row| format!("{} at {}: {} units at {}", row.item, row.node, row.quantity, row.value_minor),
        result,
    )?;
    compare_lists(
        "suspense",
        |after: Option<&SuspenseRow>| kept.suspense(after.map_or(0, |row| row.id), PAGE),
        |after: Option<&SuspenseRow>| again.suspense(after.map_or(0, |row| row.id), PAGE),
        |row| format!("{} of entry {} of {}", row.reason, row.source.seq, row.source.feed),
        result,
    )
}

/// The first entry whose chain hash differs; all before it are the same, as hashes follow from those before.
fn first_difference(kept: &Reader, again: &Reader, common: u64) -> Result<u64, StoreError> {
    let (mut same, mut differs) = (0, common + 1);
    while same + 1 < differs {
        let middle = u64::midpoint(same, differs);
        let equal = kept.entry_hash(middle)? == again.entry_hash(middle)?;
        *(if equal { &mut same } else { &mut differs }) = middle;
    }
    Ok(differs)
}

fn compare_accounts(kept: &[Account], again: &[Account], result: &mut Fold) {
    let by_key = |accounts: &[Account]| -> BTreeMap<_, _> {
        let key = |one: &Account| (one.entity.clone(), one.name.clone(), one.currency);
        accounts.iter().map(|one| (key(one), (one.debit_minor, one.credit_minor))).collect()
    };
    let (ours, theirs) = (by_key(kept), by_key(again));
    let keys: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    for key in keys.into_iter().filter(|key| ours.get(*key) != theirs.get(*key)).take(MAX_FINDINGS) {
        let of = |sums: &BTreeMap<_, (i64, i64)>| sums.get(key).copied().unwrap_or_default();
        let ((debit, credit), (other_debit, other_credit)) = (of(&ours), of(&theirs));
        let (entity, name, currency) = key;
        result.wrong(format!(
            "{name} of {entity} in {currency}: the books say {debit} debit, {credit} credit, the raw feeds give \
             {other_debit}, {other_credit} (minor units)"
        ));
    }
}

/// Compares two ordered lists row by row, a page at a time.
fn compare_lists<T: PartialEq + Clone>(
    list: &str,
    kept: impl Fn(Option<&T>) -> Result<Page<T>, StoreError>,
    again: impl Fn(Option<&T>) -> Result<Page<T>, StoreError>,
    show: impl Fn(&T) -> String,
    result: &mut Fold,
) -> Result<(), StoreError> {
    let mut after: Option<T> = None;
    loop {
        let (ours, theirs) = (kept(after.as_ref())?, again(after.as_ref())?);
        if let Some(at) =
            (0..ours.rows.len().max(theirs.rows.len())).find(|at| ours.rows.get(*at) != theirs.rows.get(*at))
        {
            let shown = |row: Option<&T>| row.map_or("nothing".to_owned(), &show);
            let (ours, theirs) = (shown(ours.rows.get(at)), shown(theirs.rows.get(at)));
            // Rows behind it may have moved: the first difference says where to look.
            result.wrong(format!("{list}: the books have {ours}, the raw feeds give {theirs}"));
            return Ok(());
        }
        if !ours.more {
            return Ok(());
        }
        after = ours.rows.last().cloned();
    }
}
