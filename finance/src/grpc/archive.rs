//! Raw feeds, for nodes that lost theirs and for who recomputes the books.

use stockmesh_proto::convert::required;
use stockmesh_proto::feed::v1::FeedRef;
use stockmesh_proto::finance::v1::feed_archive_service_server::FeedArchiveService;
use stockmesh_proto::finance::v1::{
    ArchivedFeed as WireFeed, ListFeedsRequest, ListFeedsResponse, ReadFeedRequest, ReadFeedResponse,
};
use stockmesh_service::Caller;
use stockmesh_service::page::{decode_token, page_size};
use stockmesh_types::{FeedId, PrincipalKind, Reason, Reject};
use tonic::{Request, Response, Status};

use super::readers::{MAY_READ, Readers, refused};
use super::wire::next_token;
use crate::store::ArchivedFeed;

/// Bytes of bodies on a page, unless its first entry has more.
const MAX_PAGE_BYTES: usize = 1024 * 1024;

/// The archive service.
#[derive(Clone)]
pub struct Archive {
    readers: Readers,
}

impl Archive {
    /// Over the books.
    #[must_use]
    pub fn new(readers: Readers) -> Self {
        Self { readers }
    }
}

/// Who reads the books reads every feed; a node reads its own, of any epoch.
fn authorize(caller: &Caller, participant: &str) -> Result<(), Reject> {
    let own = participant.strip_prefix("node/").is_some_and(|node| caller.is(PrincipalKind::Node, node));
    if own || caller.require(&MAY_READ).is_ok() {
        return Ok(());
    }
    let what = if participant.is_empty() { "the feeds of all" } else { participant };
    let message = format!("{} may not read {what}: a node reads its own feeds only", caller.principal());
    Err(Reject::new(Reason::NotAllowed, message))
}

/// A feed's key as text; no name holds a tab.
fn token(feed: &FeedId) -> String {
    format!("{}\t{}\t{}", feed.participant, feed.destination, feed.epoch)
}

fn after(page_token: &str) -> Result<Option<FeedId>, Reject> {
    let Some(text) = decode_token::<String>("feeds", page_token)? else { return Ok(None) };
    let parts: Vec<&str> = text.split('\t').collect();
    let wrong = || Reject::new(Reason::InvalidPageToken, "the page token is not one of this list").field("page_token");
    let [participant, destination, epoch] = parts.as_slice() else { return Err(wrong()) };
    let epoch = epoch.parse().map_err(|_| wrong())?;
    Ok(Some(FeedId { participant: (*participant).to_owned(), destination: (*destination).to_owned(), epoch }))
}

fn wire(archived: ArchivedFeed) -> WireFeed {
    WireFeed {
        feed: Some(FeedRef::from(&archived.feed)),
        head: Some(archived.head.to_wire()),
        first_seq: archived.first_seq(),
        body_bytes: archived.body_bytes,
    }
}

#[tonic::async_trait]
impl FeedArchiveService for Archive {
    async fn list_feeds(&self, request: Request<ListFeedsRequest>) -> Result<Response<ListFeedsResponse>, Status> {
        let caller = self.readers.caller(&request)?;
        let ListFeedsRequest { page_size: size, page_token, participant } = request.into_inner();
        authorize(&caller, &participant).map_err(|reject| refused(reject.field("participant")))?;
        let size = page_size(size).map_err(refused)?;
        let after = after(&page_token).map_err(refused)?;
        let page = self.readers.read(move |reader| reader.archived_feeds(after.as_ref(), size, &participant)).await?;
        let next_page_token = next_token("feeds", &page, |feed| token(&feed.feed));
        Ok(Response::new(ListFeedsResponse { feeds: page.rows.into_iter().map(wire).collect(), next_page_token }))
    }

    async fn read_feed(&self, request: Request<ReadFeedRequest>) -> Result<Response<ReadFeedResponse>, Status> {
        let caller = self.readers.caller(&request)?;
        let ReadFeedRequest { feed, after_seq, page_size: size } = request.into_inner();
        let feed = FeedId::from(required(&feed, "feed").map_err(refused)?);
        authorize(&caller, &feed.participant).map_err(|reject| refused(reject.field("feed.participant")))?;
        let size = page_size(size).map_err(refused)?;
        let wanted = feed.clone();
        let found = self
            .readers
            .read(move |reader| {
                let Some(archived) = reader.archived_feed(&wanted)? else { return Ok(None) };
                // What is not archived is refused below, with the feed at hand.
                let from = after_seq.max(archived.base.seq);
                let entries = reader.archived_entries(&archived, from, size, MAX_PAGE_BYTES)?;
                Ok(Some((archived, entries)))
            })
            .await?;
        let Some((archived, entries)) = found else {
            return Err(refused(
                Reject::new(Reason::UnknownFeed, format!("finance has nothing of {feed}")).field("feed"),
            ));
        };
        if after_seq < archived.base.seq {
            let message = format!(
                "entries up to {} of {feed} were posted before the archive began: finance has no copy of them",
                archived.base.seq
            );
            return Err(refused(Reject::new(Reason::NotArchived, message).field("after_seq")));
        }
        Ok(Response::new(ReadFeedResponse { entries, head: Some(archived.head.to_wire()) }))
    }
}

#[cfg(test)]
mod tests {
    use stockmesh_types::Principal;

    use super::*;

    #[test]
    fn a_node_reads_its_own_feeds_and_who_reads_the_books_reads_all() {
        let caller = |kind, id: &str| Caller { principals: vec![Principal { kind, id: id.to_owned() }] };
        for (caller, participant, allowed) in [
            (caller(PrincipalKind::Node, "dc-1"), "node/dc-1", true),
            (caller(PrincipalKind::Node, "dc-1"), "node/dc-2", false),
            (caller(PrincipalKind::Node, "dc-1"), "coordinator/1", false),
            (caller(PrincipalKind::Node, "dc-1"), "", false),
            (caller(PrincipalKind::Node, ""), "", false),
            (caller(PrincipalKind::Coordinator, "1"), "coordinator/1", false),
            (caller(PrincipalKind::User, "auditor"), "node/dc-1", true),
            (caller(PrincipalKind::System, "bi"), "", true),
            (Caller { principals: vec![Principal::insecure()] }, "", true),
        ] {
            let answer = authorize(&caller, participant);
            assert_eq!(answer.is_ok(), allowed, "{caller:?} {participant:?}: {answer:?}");
        }
    }
}
