//! Exceptions: what nodes raised, and what only the coordinator can see. They wait for a person or for what closes them.
//!
//! Open ones are kept up to a bound; of resolved ones the latest. What is open beyond it is counted, and stays in the feed
//! of whoever raised it.

use std::sync::Arc;

use stockmesh_proto::common::v1::StockKey;
use stockmesh_types::{ExceptionCode, Quantity};

use crate::cow::CowMap;

/// Exceptions that are kept, open or resolved: some 300 bytes each. Beyond it the oldest resolved one goes, and when all
/// are open, the oldest open one.
pub(crate) const MAX_INCIDENTS: usize = 100_000;
/// Resolved ones that are kept.
pub(crate) const MAX_RESOLVED: usize = 10_000;

/// What an exception is about. A node's is one and the same by its number, the coordinator's by code and document.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Subject {
    /// The node's own number of it; empty for the coordinator's.
    pub exception_id: Arc<str>,
    /// Kind of the document, as nodes name it.
    pub document_kind: Arc<str>,
    pub document_id: Arc<str>,
    pub line: u32,
}

/// An exception.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Incident {
    pub code: u32,
    /// Node that raised it, or that it is about; empty: none.
    pub node: Arc<str>,
    pub subject: Subject,
    pub stock_key: Option<StockKey>,
    pub quantity: Quantity,
    pub description: Arc<str>,
    pub raised_ms: i64,
    /// 0: open.
    pub resolved_ms: i64,
    pub resolution: Arc<str>,
}

/// What makes an open exception one and the same: code, node, subject.
type Same = (u32, Arc<str>, Subject);

/// All exceptions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Incidents {
    pub next: u64,
    /// By number.
    all: CowMap<u64, Arc<Incident>, 64>,
    /// Open ones.
    open: CowMap<Same, u64, 64>,
    /// Resolved ones, by the time of it.
    resolved: CowMap<(i64, u64), (), 64>,
    /// Open ones that had to go.
    pub forgotten: u64,
}

impl Subject {
    /// What finds a node's exception: its number at the node.
    pub fn of_node(exception_id: &str) -> Self {
        let empty: Arc<str> = Arc::from("");
        Self { exception_id: Arc::from(exception_id), document_kind: empty.clone(), document_id: empty, line: 0 }
    }
}

impl Incident {
    fn same(&self) -> Same {
        if self.subject.exception_id.is_empty() {
            return (self.code, self.node.clone(), self.subject.clone());
        }
        (0, self.node.clone(), Subject::of_node(&self.subject.exception_id))
    }

    /// Its code, when this build knows it.
    pub fn known_code(&self) -> Option<ExceptionCode> {
        ExceptionCode::from_number(self.code)
    }
}

impl Incidents {
    pub fn is_empty(&self) -> bool {
        self.next == 0
    }

    pub fn get(&self, number: u64) -> Option<&Incident> {
        self.all.get(&number).map(|incident| &**incident)
    }

    pub fn iter_from(&self, number: u64) -> impl Iterator<Item = (u64, &Incident)> {
        self.all.iter_from(&number).map(|(number, incident)| (*number, &**incident))
    }

    /// Adds one, or replaces the open one about the same.
    pub fn raise(&mut self, incident: Incident) {
        let same = incident.same();
        if let Some(number) = self.open.get(&same).copied() {
            let raised_ms = self.get(number).map_or(incident.raised_ms, |known| known.raised_ms);
            self.all.insert(number, Arc::new(Incident { raised_ms, ..incident }));
            return;
        }
        self.next += 1;
        self.put(self.next, incident);
    }

    /// Keeps one under its number, and makes room.
    pub fn put(&mut self, number: u64, incident: Incident) {
        if incident.resolved_ms == 0 {
            self.open.insert(incident.same(), number);
        } else {
            self.resolved.insert((incident.resolved_ms, number), ());
        }
        self.all.insert(number, Arc::new(incident));
        while self.resolved.len() > MAX_RESOLVED || self.all.len() > MAX_INCIDENTS {
            if let Some(((time, number), ())) = self.resolved.first().copied() {
                self.resolved.remove(&(time, number));
                self.all.remove(&number);
            } else if let Some((number, oldest)) = self.all.first().cloned() {
                self.all.remove(&number);
                self.open.remove(&oldest.same());
                self.forgotten += 1;
            } else {
                return;
            }
        }
    }

    /// The number of the open one about the same; code 0 and [`Subject::of_node`] for a node's.
    pub fn open_one(&self, code: u32, node: &str, subject: &Subject) -> Option<u64> {
        self.open.get(&(code, Arc::from(node), subject.clone())).copied()
    }

    /// Closes one. Gives whether it was open.
    pub fn resolve(&mut self, number: u64, now_ms: i64, resolution: &str) -> bool {
        let Some(incident) = self.get(number).filter(|incident| incident.resolved_ms == 0) else { return false };
        let incident = Incident { resolved_ms: now_ms.max(1), resolution: Arc::from(resolution), ..incident.clone() };
        self.open.remove(&incident.same());
        self.put(number, incident);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incident(n: u64) -> Incident {
        let subject = Subject {
            exception_id: Arc::from(format!("X-{n}")),
            document_kind: Arc::from("receipt"),
            document_id: Arc::from("r"),
            line: 0,
        };
        Incident {
            code: 5,
            node: Arc::from("n0"),
            subject,
            stock_key: None,
            quantity: 1,
            description: Arc::from(""),
            raised_ms: 1,
            resolved_ms: 0,
            resolution: Arc::from(""),
        }
    }

    #[test]
    fn one_about_the_same_is_one_and_resolved_ones_go_first() {
        let mut all = Incidents::default();
        all.raise(incident(0));
        all.raise(Incident { quantity: 9, raised_ms: 7, ..incident(0) });
        assert_eq!(all.all.len(), 1);
        assert_eq!(all.get(1).map(|kept| (kept.quantity, kept.raised_ms)), Some((9, 1)));
        assert!(all.resolve(1, 100, "counted") && !all.resolve(1, 101, "again"));
        all.raise(incident(0));
        assert_eq!((all.all.len(), all.open_one(0, "n0", &Subject::of_node("X-0"))), (2, Some(2)));
        for n in 1..MAX_INCIDENTS as u64 {
            all.raise(incident(n));
        }
        assert_eq!((all.all.len(), all.forgotten), (MAX_INCIDENTS, 0));
        assert!(all.get(1).is_none(), "the resolved one went");
        all.raise(incident(MAX_INCIDENTS as u64));
        assert_eq!((all.all.len(), all.forgotten), (MAX_INCIDENTS, 1));
        assert_eq!(all.open_one(0, "n0", &Subject::of_node("X-0")), None, "the oldest open one went, and is counted");
    }
}
