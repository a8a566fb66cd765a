//! State of one link, for status pages and tests: what was acknowledged or applied, and what went wrong last.

use stockmesh_proto::entry::Head;
use stockmesh_types::Reject;
use tokio::sync::watch;

/// A link at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkSnapshot {
    /// Both sides have said hello, and the connection is up.
    pub connected: bool,
    /// The other side's address, while connected.
    pub address: String,
    /// Push: the last entry of our feed that the other side has durably.
    pub acknowledged_seq: u64,
    /// Pull: the last entry of the other side's feed that took effect here.
    pub applied_seq: u64,
    /// What went wrong last; empty: nothing since the link came up.
    pub last_error: String,
    /// The link has stopped for good: a person must look.
    pub halted: bool,
}

/// The state that a running link keeps up to date.
#[derive(Debug)]
pub struct LinkState {
    snapshot: watch::Sender<LinkSnapshot>,
}

impl Default for LinkState {
    fn default() -> Self {
        Self { snapshot: watch::Sender::new(LinkSnapshot::default()) }
    }
}

impl LinkState {
    /// Not connected yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Now.
    #[must_use]
    pub fn snapshot(&self) -> LinkSnapshot {
        self.snapshot.borrow().clone()
    }

    /// Follows every change.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<LinkSnapshot> {
        self.snapshot.subscribe()
    }

    /// Both sides have said hello, and the connection is up.
    #[must_use]
    pub fn connected(&self) -> bool {
        self.snapshot.borrow().connected
    }

    /// See [`LinkSnapshot::acknowledged_seq`].
    #[must_use]
    pub fn acknowledged_seq(&self) -> u64 {
        self.snapshot.borrow().acknowledged_seq
    }

    /// See [`LinkSnapshot::applied_seq`].
    #[must_use]
    pub fn applied_seq(&self) -> u64 {
        self.snapshot.borrow().applied_seq
    }

    /// See [`LinkSnapshot::last_error`].
    #[must_use]
    pub fn last_error(&self) -> String {
        self.snapshot.borrow().last_error.clone()
    }

    pub(super) fn up(&self, address: &str) {
        self.snapshot.send_modify(|now| {
            now.connected = true;
            address.clone_into(&mut now.address);
            now.last_error.clear();
        });
    }

    pub(super) fn down(&self, error: &str) {
        self.snapshot.send_modify(|now| {
            now.connected = false;
            now.address.clear();
            error.clone_into(&mut now.last_error);
        });
    }

    pub(super) fn halted(&self, reject: &Reject) {
        self.down(&reject.to_string());
        self.snapshot.send_modify(|now| now.halted = true);
    }

    pub(super) fn acknowledged(&self, cursor: Head) {
        self.snapshot.send_modify(|now| now.acknowledged_seq = cursor.seq);
    }

    pub(super) fn applied(&self, cursor: Head) {
        self.snapshot.send_modify(|now| now.applied_seq = cursor.seq);
    }
}
