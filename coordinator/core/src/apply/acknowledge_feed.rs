//! `AcknowledgeFeed`: a consumer of one of our feeds has everything up to a position, durably.

use stockmesh_proto::convert::required;
use stockmesh_proto::entry::Head;
use stockmesh_proto::raft::v1::AcknowledgeFeed;
use stockmesh_types::{Reason, Reject};

use super::{Stop, Tx};
use crate::answer::Answer;

impl Tx<'_> {
    pub(super) fn acknowledge_feed(&mut self, command: &AcknowledgeFeed) -> Result<Answer, Stop> {
        let AcknowledgeFeed { destination, cursor } = command;
        let cursor = Head::from_wire(required(cursor, "cursor")?).ok_or_else(|| {
            Reject::new(Reason::InvalidValue, "the cursor's hash is not 32 bytes").field("cursor.hash")
        })?;
        let Some(index) = self.state.destination_index.get(destination) else {
            let message = format!("no feed goes to {destination:?}");
            return Err(Reject::new(Reason::UnknownFeed, message).field("destination").into());
        };
        let record = &self.state.destinations[index];
        let beyond = cursor.seq > record.head.seq;
        let differs = (cursor.seq == record.head.seq && cursor.hash != record.head.hash)
            || (cursor.seq == record.acknowledged.seq && cursor.hash != record.acknowledged.hash);
        if beyond || differs {
            let message = format!(
                "{destination} has entry {} with hash {}, which is not of our feed (its head is {}): the feed is halted",
                cursor.seq, cursor.hash, record.head.seq
            );
            return Err(Reject::new(Reason::FeedForked, message).field("cursor").into());
        }
        // A late acknowledgement says less than we know: it is no news, and no error.
        if cursor.seq > record.acknowledged.seq {
            self.state.destinations[index].acknowledged = cursor;
            self.effects.extend_from_slice(&cursor.hash.0);
        }
        let cursor = self.state.destinations[index].acknowledged;
        Ok(Answer::FeedAcknowledged { destination: destination.clone(), cursor })
    }
}
