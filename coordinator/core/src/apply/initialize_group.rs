//! `InitializeGroup`: the first command of a group's life.
//!
//! Group and incarnation are part of every id from here on; a second, different one is refused.

use std::sync::Arc;

use stockmesh_proto::entry::Head;
use stockmesh_proto::raft::v1::InitializeGroup;
use stockmesh_types::{Group, Incarnation, NodeId, Reason, Reject};

use super::remember::WINDOW_MS;
use super::{Stop, Tx};
use crate::answer::Answer;
use crate::records::DestinationRecord;
use crate::state::{GroupRecord, full};

/// Finance participants of one group at most.
const MAX_FINANCE: usize = 8;

impl Tx<'_> {
    pub(super) fn initialize_group(&mut self, command: &InitializeGroup) -> Result<Answer, Stop> {
        let InitializeGroup { group, incarnation, finance } = command;
        let (group, incarnation) = (Group(*group), Incarnation(*incarnation));
        if let Some(known) = &self.state.group {
            let names = known.finance.iter().map(|index| &*self.state.destinations[*index].name);
            if known.group == group && known.incarnation == incarnation && names.eq(finance.iter().map(String::as_str))
            {
                return Ok(Answer::GroupInitialized { group, incarnation, existing: true });
            }
            let message = format!("this is group {} in incarnation {}", known.group, known.incarnation);
            return Err(Reject::new(Reason::GroupExists, message).into());
        }
        if group.0 == 0 || incarnation.0 == 0 {
            return Err(Reject::new(Reason::InvalidValue, "group and incarnation start at 1").into());
        }
        if finance.len() > MAX_FINANCE {
            let message = format!("{} finance participants, and a group feeds at most {MAX_FINANCE}", finance.len());
            return Err(Reject::new(Reason::TooManyLines, message).field("finance").into());
        }
        for (n, name) in finance.iter().enumerate() {
            let known = name.strip_prefix("finance/").is_some_and(|id| NodeId::new(id).is_ok());
            if !known || finance[..n].contains(name) {
                let message = format!("finance participant {name:?} is not of the form finance/main, or stands twice");
                return Err(Reject::new(Reason::InvalidId, message).field(format!("finance[{n}]")).into());
            }
        }
        let mut destinations = Vec::new();
        for name in finance {
            destinations.push(self.add_destination(group, incarnation, name)?);
        }
        // A request from before this life may have run in another one.
        self.state.requests_forgotten_ms = self.state.log_time.0 - WINDOW_MS;
        self.state.group = Some(GroupRecord { group, incarnation, finance: destinations });
        Ok(Answer::GroupInitialized { group, incarnation, existing: false })
    }

    /// A new feed of ours, at its start.
    pub(super) fn add_destination(&mut self, group: Group, incarnation: Incarnation, name: &str) -> Result<u32, Stop> {
        let name: Arc<str> = Arc::from(name);
        let feed = GroupRecord::feed(group, incarnation, &name);
        let record = DestinationRecord { name: name.clone(), feed, head: Head::START, acknowledged: Head::START };
        let index = self.state.destinations.push(record).ok_or_else(|| full("feeds"))?;
        self.state.destination_index.insert(name, index);
        Ok(index)
    }
}
