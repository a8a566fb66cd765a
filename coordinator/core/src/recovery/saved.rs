//! The records of this module as a snapshot holds them: sections of their own behind the others, so that snapshots from
//! before them still open.

use stockmesh_types::Quantity;

use super::{ItemScope, Kept, LateFacts, NodeRights, NodeScope, Recovery, Retirement, Scope, Standing, Velocity, Work};
use crate::State;
use crate::snapshot::{Reader, Saved, Writer, Wrong};

impl State {
    /// Cells that are not in their first life: `(key, node, life)`.
    pub(crate) fn lives(&self) -> impl Iterator<Item = (u32, u32, u32)> {
        // Where no node ever had a second life, no cell has.
        let any = self.recovery.nodes.iter().any(|(_, rights)| !rights.recoveries.is_empty());
        let keys = (0u32..).zip(self.keys.iter()).take_while(move |_| any);
        keys.flat_map(|(key, record)| {
            let later = record.cells.iter().filter(|(_, cell)| cell.life > 0);
            later.map(move |(node, cell)| (key, *node, cell.life))
        })
    }

    pub(crate) fn restore_rights(&mut self, node: u32, rights: NodeRights) -> Option<()> {
        self.nodes.get(node)?;
        if rights.fenced {
            self.recovery.fenced.insert(node, ());
        }
        self.recovery.nodes.insert(node, rights);
        self.nodes[node].marks = self.recovery.marks(node);
        Some(())
    }

    pub(crate) fn restore_substitute(&mut self, allocation: u32, node: u32, units: Quantity) -> Option<()> {
        self.nodes.get(node)?;
        let key = self.lines.get(self.allocations.get(allocation)?.line)?.key;
        self.recovery.substitutes.insert((allocation, node), units);
        self.recovery.held_cells.insert((key, node, allocation), ());
        Some(())
    }

    pub(crate) fn restore_policy(&mut self, scope: Scope, kept: Kept) -> Option<()> {
        if let NodeScope::Node(node) = scope.nodes {
            self.nodes.get(node)?;
        }
        if let ItemScope::Key(key) = scope.items {
            self.keys.get(key)?;
        }
        // Policies are replaced, never taken away: the latest change is among them.
        self.recovery.policy.version = self.recovery.policy.version.max(kept.version);
        self.recovery.policy.policies.insert(scope, kept);
        Some(())
    }

    /// Finds the broken promises that nothing is held for, once everything else is there.
    pub(crate) fn find_wanting(&mut self) {
        for index in 0..u32::try_from(self.allocations.len()).unwrap_or(u32::MAX) {
            if self.allocations[index].ask_broken > 0 && self.unsubstituted(index) > 0 {
                let key = self.lines[self.allocations[index].line].key;
                self.recovery.wanting.insert((key, index), ());
            }
        }
        let mut keys: Vec<u32> = self.recovery.wanting.iter().map(|((key, _), ())| *key).collect();
        keys.dedup();
        for key in keys {
            if self.wants_substitutes(key) {
                self.recovery.substitutable.insert(key, ());
            }
        }
    }
}

impl Saved for (u32, NodeRights) {
    fn write(&self, to: &mut Writer) {
        let (
            node,
            NodeRights {
                standing,
                fenced,
                recoveries,
                late,
                retirement,
                signed,
                heard_ms,
                recall_requested,
                recall_returned,
            },
        ) = self;
        to.u32(*node);
        to.u8(match standing {
            Standing::Open => 0,
            Standing::Recovering => 1,
            Standing::Lost => 2,
            Standing::Found => 3,
        });
        to.u8(u8::from(*fenced));
        to.len(recoveries.len());
        for Recovery { id, epoch, sealed, lost_from, work } in recoveries {
            to.array(id);
            to.u64(*epoch);
            to.head(*sealed);
            to.u64(*lost_from);
            to.head(*work);
        }
        to.len(late.len());
        for LateFacts { epoch, to_seq } in late {
            to.u64(*epoch);
            to.u64(*to_seq);
        }
        to.u8(u8::from(retirement.is_some()));
        if let Some(retirement) = retirement {
            let Retirement { reason, proposed_by, approved_by, duplicates_proposed_by, duplicates_accepted_by } =
                retirement;
            for text in [reason, proposed_by, approved_by, duplicates_proposed_by, duplicates_accepted_by] {
                to.slice(text.as_bytes());
            }
        }
        to.u8(u8::from(*signed));
        to.i64(*heard_ms);
        to.i64(*recall_requested);
        to.i64(*recall_returned);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Wrong> {
        let node = from.u32()?;
        let standing = match from.u8()? {
            0 => Standing::Open,
            1 => Standing::Recovering,
            2 => Standing::Lost,
            3 => Standing::Found,
            other => return Err(format!("{other} is no standing of a node")),
        };
        let fenced = from.flag()?;
        let recoveries = (0..from.u64()?).map(|_| {
            Ok(Recovery {
                id: from.array()?,
                epoch: from.u64()?,
                sealed: from.head()?,
                lost_from: from.u64()?,
                work: from.head()?,
            })
        });
        let recoveries = recoveries.collect::<Result<_, Wrong>>()?;
        let late = (0..from.u64()?).map(|_| Ok(LateFacts { epoch: from.u64()?, to_seq: from.u64()? }));
        let late = late.collect::<Result<_, Wrong>>()?;
        let retirement = if from.flag()? {
            Some(Retirement {
                reason: from.text()?.to_owned(),
                proposed_by: from.text()?.to_owned(),
                approved_by: from.text()?.to_owned(),
                duplicates_proposed_by: from.text()?.to_owned(),
                duplicates_accepted_by: from.text()?.to_owned(),
            })
        } else {
            None
        };
        let rights = NodeRights {
            standing,
            fenced,
            recoveries,
            late,
            retirement,
            signed: from.flag()?,
            heard_ms: from.i64()?,
            recall_requested: from.i64()?,
            recall_returned: from.i64()?,
        };
        Ok((node, rights))
    }
}

/// The life of a cell `(key, node)`, where it is not the first.
impl Saved for (u32, u32, u32) {
    fn write(&self, to: &mut Writer) {
        let (key, node, life) = self;
        [key, node, life].into_iter().for_each(|number| to.u32(*number));
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, Wrong> {
        Ok((from.u32()?, from.u32()?, from.u32()?))
    }
}

impl Saved for Scope {
    fn write(&self, to: &mut Writer) {
        let Self { nodes, items } = self;
        match nodes {
            NodeScope::Kind(kind) => {
                to.u8(0);
                // Numbers of kinds are small and positive.
                to.u32(u32::try_from(*kind).unwrap_or(0));
            }
            NodeScope::Node(node) => {
                to.u8(1);
                to.u32(*node);
            }
        }
        match items {
            ItemScope::Segment(class) => {
                to.u8(0);
                to.u32(u32::from(*class));
            }
            ItemScope::Key(key) => {
                to.u8(1);
                to.u32(*key);
            }
        }
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, Wrong> {
        let nodes = match (from.u8()?, from.u32()?) {
            (0, kind) => NodeScope::Kind(i32::try_from(kind).map_err(|_| format!("{kind} is no kind of a node"))?),
            (1, node) => NodeScope::Node(node),
            (other, _) => return Err(format!("{other} is no scope of nodes")),
        };
        let items = match (from.u8()?, from.u32()?) {
            (0, class) => ItemScope::Segment(u8::try_from(class).map_err(|_| format!("{class} is no segment"))?),
            (1, key) => ItemScope::Key(key),
            (other, _) => return Err(format!("{other} is no scope of items")),
        };
        Ok(Self { nodes, items })
    }
}

impl Saved for (Scope, Kept) {
    fn write(&self, to: &mut Writer) {
        let (scope, Kept { floor, walk_in_reserve, version }) = self;
        scope.write(to);
        to.i64(*floor);
        to.i64(*walk_in_reserve);
        to.u64(*version);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, Wrong> {
        let scope = Scope::read(from)?;
        Ok((scope, Kept { floor: from.i64()?, walk_in_reserve: from.i64()?, version: from.u64()? }))
    }
}

/// Counter sales of a cell `(key, node)`.
impl Saved for ((u32, u32), Velocity) {
    fn write(&self, to: &mut Writer) {
        let ((key, node), Velocity { day, today, average_milli }) = self;
        to.u32(*key);
        to.u32(*node);
        [day, today, average_milli].into_iter().for_each(|number| to.i64(*number));
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, Wrong> {
        let cell = (from.u32()?, from.u32()?);
        Ok((cell, Velocity { day: from.i64()?, today: from.i64()?, average_milli: from.i64()? }))
    }
}

impl Saved for (u64, Work) {
    fn write(&self, to: &mut Writer) {
        let (number, work) = self;
        to.u64(*number);
        let mut of_node = |kind: u8, node: u32, next_key: u32| {
            to.u8(kind);
            to.u32(node);
            to.u32(next_key);
        };
        match *work {
            Work::Reopen { node, next_key } => of_node(0, node, next_key),
            Work::Retire { node, next_key } => of_node(1, node, next_key),
            Work::Sign { node, next_key } => of_node(2, node, next_key),
            Work::Raise { scope, units, next_key, next_node } => {
                to.u8(3);
                scope.write(to);
                to.i64(units);
                to.u32(next_key);
                to.u32(next_node);
            }
            Work::Announce { scope, next_node } => {
                to.u8(4);
                scope.write(to);
                to.u32(next_node);
            }
        }
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, Wrong> {
        let number = from.u64()?;
        let work = match from.u8()? {
            0 => Work::Reopen { node: from.u32()?, next_key: from.u32()? },
            1 => Work::Retire { node: from.u32()?, next_key: from.u32()? },
            2 => Work::Sign { node: from.u32()?, next_key: from.u32()? },
            3 => Work::Raise {
                scope: Scope::read(from)?,
                units: from.i64()?,
                next_key: from.u32()?,
                next_node: from.u32()?,
            },
            4 => Work::Announce { scope: Scope::read(from)?, next_node: from.u32()? },
            other => return Err(format!("{other} is no kind of work")),
        };
        Ok((number, work))
    }
}

/// Units held at a node for an allocation.
impl Saved for ((u32, u32), Quantity) {
    fn write(&self, to: &mut Writer) {
        let ((allocation, node), units) = self;
        to.u32(*allocation);
        to.u32(*node);
        to.i64(*units);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, Wrong> {
        Ok(((from.u32()?, from.u32()?), from.i64()?))
    }
}
