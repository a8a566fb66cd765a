//! The first chunk: what the state is of, where it stands, and how many records follow.

use stockmesh_types::{Group, Incarnation, LogTime};

use super::codec::{Reader, Writer, Wrong};
use super::records::Saved;
use crate::State;
use crate::cow::{CowMap, CowVec, IdIndex};
use crate::recovery::{PolicyState, RecoveryState};
use crate::state::GroupRecord;

pub(super) struct Head {
    pub group: Option<GroupRecord>,
    pub feature_level: u32,
    pub applied_index: u64,
    pub log_time: LogTime,
    pub digest: [u8; 32],
    pub requests_forgotten_ms: i64,
    pub counts: Counts,
}

/// Records by kind.
pub(super) struct Counts {
    pub feeds: usize,
    pub items: usize,
    pub nodes: usize,
    pub keys: usize,
    pub orders: usize,
    pub lines: usize,
    pub allocations: usize,
    pub shortfalls: usize,
    pub requests: usize,
    /// Kinds that later releases added, in the order in which they came; 0 in a snapshot from before them.
    pub added: [usize; ADDED],
}

/// Kinds of records that were added since the first release.
const ADDED: usize = 6;

impl Head {
    pub fn of(state: &State) -> Self {
        // Every field is either here, in chunks of its own, or worked out again from those.
        let State {
            group,
            feature_level,
            applied_index,
            log_time,
            digest,
            items,
            item_index: IdIndex { .. },
            nodes,
            node_index: IdIndex { .. },
            keys,
            orders,
            order_index: IdIndex { .. },
            lines,
            allocations,
            destinations,
            destination_index: IdIndex { .. },
            ready: CowMap { .. },
            shortfalls,
            requests,
            requests_forgotten_ms,
            recovery:
                RecoveryState {
                    nodes: rights,
                    fenced: _,
                    works,
                    substitutes,
                    held_cells: _,
                    wanting: _,
                    substitutable: _,
                    policy: PolicyState { version: _, policies, velocities },
                },
            open_orders: _,
            waiting_units: _,
            supply: _,
        } = state;
        Self {
            group: group.clone(),
            feature_level: *feature_level,
            applied_index: *applied_index,
            log_time: *log_time,
            digest: *digest,
            requests_forgotten_ms: *requests_forgotten_ms,
            counts: Counts {
                feeds: CowVec::len(destinations),
                items: items.len(),
                nodes: nodes.len(),
                keys: keys.len(),
                orders: orders.len(),
                lines: lines.len(),
                allocations: allocations.len(),
                shortfalls: shortfalls.len(),
                requests: requests.len(),
                added: [
                    rights.len(),
                    state.lives().count(),
                    works.len(),
                    substitutes.len(),
                    policies.len(),
                    velocities.len(),
                ],
            },
        }
    }
}

/// Bytes of a head before the counts of added kinds.
#[cfg(test)]
pub(crate) fn first_release_head(head: &[u8]) -> usize {
    head.len() - 8 * (1 + ADDED)
}

impl Saved for Head {
    fn write(&self, to: &mut Writer) {
        let Self { group, feature_level, applied_index, log_time, digest, requests_forgotten_ms, counts } = self;
        let Counts { feeds, items, nodes, keys, orders, lines, allocations, shortfalls, requests, added } = counts;
        to.u8(u8::from(group.is_some()));
        if let Some(GroupRecord { group, incarnation, finance }) = group {
            to.u32(group.0);
            to.u32(incarnation.0);
            to.len(finance.len());
            finance.iter().for_each(|index| to.u32(*index));
        }
        to.u32(*feature_level);
        to.u64(*applied_index);
        to.i64(log_time.0);
        to.array(digest);
        to.i64(*requests_forgotten_ms);
        for count in [feeds, items, nodes, keys, orders, lines, allocations, shortfalls, requests] {
            to.len(*count);
        }
        to.len(added.len());
        added.iter().for_each(|count| to.len(*count));
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Wrong> {
        let group = if from.flag()? {
            let (group, incarnation) = (Group(from.u32()?), Incarnation(from.u32()?));
            let finance = (0..from.u64()?).map(|_| from.u32()).collect::<Result<_, _>>()?;
            Some(GroupRecord { group, incarnation, finance })
        } else {
            None
        };
        let (feature_level, applied_index) = (from.u32()?, from.u64()?);
        let (log_time, digest, requests_forgotten_ms) = (LogTime(from.i64()?), from.array()?, from.i64()?);
        let mut count = || usize::try_from(from.u64()?).map_err(|_| "a count is beyond this machine".to_owned());
        let counts = Counts {
            feeds: count()?,
            items: count()?,
            nodes: count()?,
            keys: count()?,
            orders: count()?,
            lines: count()?,
            allocations: count()?,
            shortfalls: count()?,
            requests: count()?,
            added: [0; ADDED],
        };
        let mut counts = counts;
        // A snapshot of the first release ends here, one from between has fewer kinds.
        if !from.is_empty() {
            let mut count = || usize::try_from(from.u64()?).map_err(|_| "a count is beyond this machine".to_owned());
            let kinds = count()?;
            if kinds > ADDED {
                return Err(format!("it has {kinds} added kinds of records, and this build knows {ADDED}"));
            }
            for added in &mut counts.added[..kinds] {
                *added = count()?;
            }
        }
        Ok(Self { group, feature_level, applied_index, log_time, digest, requests_forgotten_ms, counts })
    }
}
