//! Documents that a person names: purchase orders, transfers, return authorisations. Open ones are all kept, of ended ones
//! the latest.
//!
//! They are kept as their API messages, shared; a change copies the one that it touches.
//! Must not know: what they mean.

use std::sync::Arc;

use prost::Message;
use stockmesh_proto::coordinator::v1::{PurchaseOrder, ReturnAuthorisation, Transfer};
use stockmesh_types::{Reason, Reject};

use crate::cow::CowMap;

/// Documents of one kind that may be open at once.
pub(crate) const MAX_OPEN: usize = 100_000;
/// Ended documents of one kind that are kept at most.
pub(crate) const MAX_ENDED: usize = 100_000;
/// Lines that the ended documents of one kind may have together: some 200 bytes each.
pub(crate) const MAX_ENDED_LINES: usize = 200_000;

/// A kind of document.
pub(crate) trait Document: Message + Clone + Default {
    /// For messages: "purchase order".
    const KIND: &'static str;
    /// When there is none of a name.
    const UNKNOWN: Reason;
    /// The field that names it.
    const FIELD: &'static str;
    fn name(&self) -> &str;
    fn lines(&self) -> usize;
    /// Log time of its end, milliseconds since 1970; 0: it is open.
    fn ended_ms(&self) -> i64;
}

impl Document for PurchaseOrder {
    const KIND: &'static str = "purchase order";
    const UNKNOWN: Reason = Reason::UnknownPurchaseOrder;
    const FIELD: &'static str = "purchase_order_id";
    fn name(&self) -> &str {
        &self.purchase_order_id
    }
    fn lines(&self) -> usize {
        self.lines.len()
    }
    fn ended_ms(&self) -> i64 {
        self.closed_time_ms
    }
}

impl Document for Transfer {
    const KIND: &'static str = "transfer";
    const UNKNOWN: Reason = Reason::UnknownTransfer;
    const FIELD: &'static str = "transfer_id";
    fn name(&self) -> &str {
        &self.transfer_id
    }
    fn lines(&self) -> usize {
        self.lines.len()
    }
    fn ended_ms(&self) -> i64 {
        self.closed_time_ms
    }
}

impl Document for ReturnAuthorisation {
    const KIND: &'static str = "return authorisation";
    const UNKNOWN: Reason = Reason::UnknownAuthorisation;
    const FIELD: &'static str = "authorisation_id";
    fn name(&self) -> &str {
        &self.authorisation_id
    }
    fn lines(&self) -> usize {
        self.lines.len()
    }
    fn ended_ms(&self) -> i64 {
        self.closed_time_ms
    }
}

/// All documents of one kind.
#[derive(Clone, Debug)]
pub(crate) struct Documents<T> {
    /// By number: the order of their creation.
    all: CowMap<u64, Arc<T>, 32>,
    by_name: CowMap<Arc<str>, u64, 64>,
    /// Ended ones, by time of their end.
    ended: CowMap<(i64, u64), (), 64>,
    ended_lines: usize,
}

impl<T> Default for Documents<T> {
    fn default() -> Self {
        Self { all: CowMap::default(), by_name: CowMap::default(), ended: CowMap::default(), ended_lines: 0 }
    }
}

impl<T: Document> Documents<T> {
    pub fn get(&self, number: u64) -> Option<&T> {
        self.all.get(&number).map(|document| &**document)
    }

    /// The number of the document with a name.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.by_name.get(&Arc::from(name)).copied()
    }

    /// The document with a name, which must be there.
    pub fn known(&self, name: &str) -> Result<(u64, &T), Reject> {
        let number = self.number(name);
        number.and_then(|number| Some((number, self.get(number)?))).ok_or_else(|| {
            let shown: String = name.chars().take(80).collect();
            Reject::new(T::UNKNOWN, format!("there is no {} {shown:?}", T::KIND)).field(T::FIELD)
        })
    }

    /// Whether one more may be opened under this name.
    pub fn check_new(&self, name: &str) -> Result<(), Reject> {
        if self.number(name).is_some() {
            let message = format!("{} {name} exists: give the new one an id of its own", T::KIND);
            return Err(Reject::new(Reason::DocumentIdReused, message).field(T::FIELD));
        }
        if self.all.len() - self.ended.len() >= MAX_OPEN {
            let message = format!("{MAX_OPEN} documents of kind {} are open: close some", T::KIND);
            return Err(Reject::new(Reason::TooManyDocuments, message));
        }
        Ok(())
    }

    /// Adds a document, or replaces the one with the same number. Ended ones that are too many go, the earliest first.
    /// The caller has checked a new one's name.
    pub fn put(&mut self, number: u64, document: T) {
        let (lines, ended_ms) = (document.lines(), document.ended_ms());
        let name: Arc<str> = Arc::from(document.name());
        if let Some(before) = self.all.insert(number, Arc::new(document)) {
            if before.ended_ms() != 0 && self.ended.remove(&(before.ended_ms(), number)).is_some() {
                self.ended_lines -= before.lines();
            }
        } else {
            self.by_name.insert(name, number);
        }
        if ended_ms == 0 {
            return;
        }
        self.ended.insert((ended_ms, number), ());
        self.ended_lines += lines;
        while self.ended.len() > MAX_ENDED || self.ended_lines > MAX_ENDED_LINES {
            let Some(((ended_ms, number), ())) = self.ended.first().copied() else { return };
            self.ended.remove(&(ended_ms, number));
            if let Some(gone) = self.all.remove(&number) {
                self.ended_lines -= gone.lines();
                self.by_name.remove(&Arc::from(gone.name()));
            }
        }
    }

    /// All of them from a number on, in the order of their creation.
    pub fn iter_from(&self, number: u64) -> impl Iterator<Item = (u64, &T)> {
        self.all.iter_from(&number).map(|(number, document)| (*number, &**document))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transfer(name: &str, lines: usize, closed_time_ms: i64) -> Transfer {
        let lines = vec![Default::default(); lines];
        Transfer { transfer_id: name.to_owned(), lines, closed_time_ms, ..Transfer::default() }
    }

    #[test]
    fn open_ones_stay_and_of_ended_ones_the_latest() {
        let mut documents = Documents::default();
        documents.put(1, transfer("open", 200, 0));
        let many = MAX_ENDED_LINES / 200;
        for n in 0..many as u64 + 3 {
            documents.put(10 + n, transfer(&format!("t{n}"), 200, 0));
            documents.put(10 + n, transfer(&format!("t{n}"), 200, 1_000 + n as i64));
        }
        assert_eq!(documents.all.len(), many + 1);
        assert!(documents.number("open").is_some() && documents.known("t2").is_err() && documents.known("t3").is_ok());
        assert_eq!(documents.check_new("t3").unwrap_err().reason, Reason::DocumentIdReused);
        documents.check_new("t2").unwrap();
        assert_eq!(documents.iter_from(11).next().map(|(number, _)| number), Some(13));
        // One that is written again after its end is counted once.
        let before = documents.ended_lines;
        documents.put(13, transfer("t3", 200, 1_003));
        assert_eq!(documents.ended_lines, before);
    }
}
