//! What the state keeps about the lives of nodes' rights: one record for each node that something was said of.

use stockmesh_proto::entry::Head;

use super::{PolicyState, Scope};
use crate::State;
use crate::cow::CowMap;
use crate::records::{Cell, KeyRecord};
use stockmesh_types::Quantity;

/// Recoveries of one node at most: every id is remembered, some 120 bytes each.
pub(crate) const MAX_RECOVERIES: usize = 1_000;

/// Lives, fences and the work that goes on because of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct RecoveryState {
    /// By dense index of the node; no record: it is in its first life, and nothing stands against it.
    pub nodes: CowMap<u32, NodeRights, 16>,
    /// Nodes with `fenced` set, so that they need not be searched: the few that recover or were just lost.
    pub fenced: CowMap<u32, (), 64>,
    /// Work that one command could not do, oldest first.
    pub works: CowMap<u64, Work, 16>,
    /// Units held elsewhere for a broken promise: `(allocation, node)`.
    pub substitutes: CowMap<(u32, u32), Quantity, 64>,
    /// The same by cell: `(key, node, allocation)`.
    pub held_cells: CowMap<(u32, u32, u32), (), 64>,
    /// Broken promises with units that nothing is held for: `(key, allocation)`.
    pub wanting: CowMap<(u32, u32), (), 64>,
    /// Stock keys that have both such promises and free rights.
    pub substitutable: CowMap<u32, (), 64>,
    /// What nodes keep back.
    pub policy: PolicyState,
}

/// The rights of one node beyond their counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeRights {
    pub standing: Standing,
    /// Nothing is promised from its cells, whatever they hold.
    pub fenced: bool,
    /// Every epoch that was opened here, oldest first: an id is taken once.
    pub recoveries: Vec<Recovery>,
    /// What surfaced of epochs that were over: one for each epoch.
    pub late: Vec<LateFacts>,
    pub retirement: Option<Retirement>,
    /// Duplicates were accepted once: what it ships beyond its allocations is no fork.
    pub signed: bool,
    /// When the log last held something of it, log time in milliseconds; 0: never.
    pub heard_ms: i64,
    /// Cumulative units that its counter asked for, and got back.
    pub recall_requested: Quantity,
    pub recall_returned: Quantity,
}

/// Whether a node's rights can be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Standing {
    /// They can.
    #[default]
    Open,
    /// It has not opened in its new epoch.
    Recovering,
    /// Two people gave it up: its feed is refused.
    Lost,
    /// It was found, and has not begun its recovery: its feed is refused.
    Found,
}

/// An epoch that was opened by a recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Recovery {
    /// Drawn by the node; zeros: the epoch ended because the node was lost.
    pub id: [u8; 16],
    /// The new epoch.
    pub epoch: u64,
    /// Where the epoch before ended.
    pub sealed: Head,
    /// Its first entry whose body exists nowhere; 0: none is lost.
    pub lost_from: u64,
    /// Our feed to the node when the epoch was opened: the Welcome holds everything before.
    pub work: Head,
}

/// Facts that surfaced after their epoch was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LateFacts {
    pub epoch: u64,
    /// Where the feed that surfaced ended.
    pub to_seq: u64,
}

/// A node that people give up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Retirement {
    pub reason: String,
    pub proposed_by: String,
    /// Empty: nobody yet. The same for those below.
    pub approved_by: String,
    pub duplicates_proposed_by: String,
    pub duplicates_accepted_by: String,
}

/// Work that goes on in logged steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// A node is not fenced any more: queues that may use its rights are looked at, key by key.
    Reopen { node: u32, next_key: u32 },
    /// A node is lost: its free rights go back, and its promises are asked back, cell by cell.
    Retire { node: u32, next_key: u32 },
    /// Duplicates were accepted: what the lost node did not answer counts as cancelled, allocation by allocation.
    Sign { node: u32, next_key: u32 },
    /// A policy keeps more units back: free rights go back, cell by cell.
    Raise { scope: Scope, units: Quantity, next_key: u32, next_node: u32 },
    /// A policy changed: nodes are told, one by one.
    Announce { scope: Scope, next_node: u32 },
}

/// What every change of a cell has to know of its node, kept with the node itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    /// Counts the epochs that were opened here. A cell of another life is restamped before it is changed.
    pub life: u32,
    /// The node is lost: whatever becomes free there goes back to it.
    pub gone: bool,
}

impl RecoveryState {
    pub fn standing(&self, node: u32) -> Standing {
        self.nodes.get(&node).map_or(Standing::Open, |rights| rights.standing)
    }

    /// The record of a node, made now when there is none.
    pub fn of(&mut self, node: u32) -> &mut NodeRights {
        if self.nodes.get(&node).is_none() {
            self.nodes.insert(node, NodeRights::default());
        }
        match self.nodes.get_mut(&node) {
            Some(rights) => rights,
            None => unreachable!("a record that was just put in"),
        }
    }

    /// Sets whether anything may be promised from a node.
    pub fn set_fenced(&mut self, node: u32, fenced: bool) {
        self.of(node).fenced = fenced;
        if fenced {
            self.fenced.insert(node, ());
        } else {
            self.fenced.remove(&node);
        }
    }

    /// What a node's record holds of this, after the standing or the epoch changed.
    pub fn marks(&self, node: u32) -> Marks {
        let Some(rights) = self.nodes.get(&node) else { return Marks::default() };
        Marks {
            // Far fewer than 2^32: they are bounded.
            life: u32::try_from(rights.recoveries.len()).unwrap_or(u32::MAX),
            gone: matches!(rights.standing, Standing::Lost | Standing::Found),
        }
    }

    /// Queues work behind what waits already.
    pub fn queue(&mut self, work: Work) {
        let next = self.works.iter().last().map_or(0, |(number, _)| number + 1);
        self.works.insert(next, work);
    }
}

impl Cell {
    /// The cell as a new epoch begins: what the coordinator still holds counts as granted, nothing as returned or
    /// shipped. What a shortfall is still owed stays owed; `free` stays what it was.
    pub fn restamped(mut self, life: u32) -> Self {
        if self.life != life {
            self.granted = self.free() + self.open + self.held;
            self.aim = (self.aim - self.returned).max(0);
            self.returned = 0;
            self.shipped = 0;
            self.life = life;
        }
        self
    }
}

impl State {
    /// Nothing is promised from this node now.
    pub(crate) fn is_fenced(&self, node: u32) -> bool {
        !self.recovery.fenced.is_empty() && self.recovery.fenced.get(&node).is_some()
    }

    /// Free units of a stock key that can be promised: those of fenced nodes can't.
    pub(crate) fn free_of_key(&self, key: &KeyRecord) -> Quantity {
        let fenced = self.recovery.fenced.iter().filter_map(|(node, ())| key.cells.get(node));
        key.free_total - fenced.map(|cell| cell.free()).sum::<Quantity>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_life_keeps_what_is_free_promised_and_owed() {
        let old =
            Cell { granted: 20, returned: 3, shipped: 4, open: 5, held: 2, level: 6, aim: 9, asked: 2, ..Cell::EMPTY };
        let new = old.restamped(1);
        assert_eq!((new.granted, new.returned, new.shipped), (13, 0, 0));
        assert_eq!((new.free(), new.open, new.held, new.level), (old.free(), old.open, old.held, old.level));
        // Six were owed beyond what was returned, and two of them are asked for.
        assert_eq!((old.deficit(), new.deficit(), new.aim), (4, 4, 6));
        assert_eq!(new.restamped(1), new, "once in a life");
        let again = new.restamped(2);
        assert_eq!((again.free(), again.deficit()), (new.free(), new.deficit()), "whatever was touched in between");
        // More was returned than was owed: nothing is owed.
        assert_eq!(Cell { returned: 9, aim: 4, ..old }.restamped(1).aim, 0);
    }
}
