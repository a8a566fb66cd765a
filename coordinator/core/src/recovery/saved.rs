//! The records of this module as a snapshot holds them: sections of their own behind the others, so that snapshots from
//! before them still open.

use stockmesh_types::Quantity;

use super::{LateFacts, NodeRights, Recovery, Retirement, Standing, Work};
use crate::State;
use crate::snapshot::{Reader, Saved, Writer, Wrong};

impl State {
    /// Cells that are not in their first life: `(key, node, life)`.
    pub(crate) fn lives(&self) -> impl Iterator<Item = (u32, u32, u32)> {
        // No node ever had a second life: no cell has.
        let keys = (0u32..).zip(self.keys.iter()).take_while(|_| !self.recovery.nodes.is_empty());
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

impl Saved for (u64, Work) {
    fn write(&self, to: &mut Writer) {
        let (number, work) = self;
        to.u64(*number);
        let (kind, node, next_key) = match work {
            Work::Reopen { node, next_key } => (0, node, next_key),
            Work::Retire { node, next_key } => (1, node, next_key),
            Work::Sign { node, next_key } => (2, node, next_key),
        };
        to.u8(kind);
        to.u32(*node);
        to.u32(*next_key);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, Wrong> {
        let (number, kind, node, next_key) = (from.u64()?, from.u8()?, from.u32()?, from.u32()?);
        let work = match kind {
            0 => Work::Reopen { node, next_key },
            1 => Work::Retire { node, next_key },
            2 => Work::Sign { node, next_key },
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
