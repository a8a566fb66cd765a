//! Reads of the books, each on one snapshot of the file, off the async threads.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use stockmesh_proto::convert::specified;
use stockmesh_proto::finance::v1::ledger_service_server::LedgerService;
use stockmesh_proto::finance::v1::{
    ExportFormat, ExportLedgerRequest, ExportLedgerResponse, GetPostingStatusRequest, GetPostingStatusResponse,
    GetTrialBalanceRequest, GetTrialBalanceResponse, ListJournalEntriesRequest, ListJournalEntriesResponse,
    ListStockValuesRequest, ListStockValuesResponse, ListSuspenseRequest, ListSuspenseResponse,
};
use stockmesh_service::page::{decode_token, page_size};
use stockmesh_service::status::internal;
use stockmesh_types::{LegalEntity, Reason, Reject};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::readers::{Readers, refused};
use super::wire::{self, next_token};
use crate::export::{ExportError, export};
use crate::store::{Reader, StockRow, open_reader};

/// Exports at a time; more are refused: one lasts as long as its reader takes it.
const EXPORTS: usize = 2;
/// Pieces of an export that may wait for the client; one more place is kept for what is said at its end.
const PIECES: usize = 4;
/// How long a client may leave a piece lying. An export holds a snapshot of the books, behind which the file grows.
const PIECE_LIMIT: Duration = Duration::from_secs(30);

/// The ledger service.
#[derive(Clone)]
pub struct Ledger {
    readers: Readers,
    exports: Arc<Semaphore>,
    piece_limit: Duration,
}

impl Ledger {
    /// Over the books.
    #[must_use]
    pub fn new(readers: Readers) -> Self {
        Self { readers, exports: Arc::new(Semaphore::new(EXPORTS)), piece_limit: PIECE_LIMIT }
    }
}

/// A stock row's key as text; none of its parts holds a tab.
fn stock_token(row: &StockRow) -> String {
    [row.node.as_str(), &row.item, &row.grade.to_string(), &row.owner, &row.shelf_life_class].join("\t")
}

fn stock_after(token: &str) -> Result<StockRow, Reject> {
    let Some(text) = decode_token::<String>("stock", token)? else { return Ok(StockRow::default()) };
    let parts: Vec<&str> = text.split('\t').collect();
    let wrong = || Reject::new(Reason::InvalidPageToken, "the page token is not one of this list").field("page_token");
    let [node, item, grade, owner, shelf_life_class] = parts.as_slice() else { return Err(wrong()) };
    Ok(StockRow {
        node: (*node).to_owned(),
        item: (*item).to_owned(),
        grade: grade.parse().map_err(|_| wrong())?,
        owner: (*owner).to_owned(),
        shelf_life_class: (*shelf_life_class).to_owned(),
        ..StockRow::default()
    })
}

fn check_entity(entity: &str) -> Result<(), Status> {
    if entity.is_empty() {
        return Ok(());
    }
    LegalEntity::new(entity).map(|_| ()).map_err(|reject| refused(reject.field("entity")))
}

#[tonic::async_trait]
impl LedgerService for Ledger {
    type ExportLedgerStream = ReceiverStream<Result<ExportLedgerResponse, Status>>;

    async fn get_trial_balance(
        &self,
        request: Request<GetTrialBalanceRequest>,
    ) -> Result<Response<GetTrialBalanceResponse>, Status> {
        self.readers.allow(&request)?;
        let entity = request.into_inner().entity;
        check_entity(&entity)?;
        let wanted = entity.clone();
        let (accounts, place) =
            self.readers.read(move |reader| Ok((reader.balances(&wanted)?, reader.place()?))).await?;
        if accounts.is_empty() && !entity.is_empty() {
            let message = format!("no entry was posted for legal entity {entity}");
            return Err(refused(Reject::new(Reason::UnknownEntity, message).field("entity")));
        }
        Ok(Response::new(GetTrialBalanceResponse {
            balances: accounts.into_iter().map(wire::balance).collect(),
            journal_entries: place.meta.head.number,
            ledger_hash: place.meta.head.hash.to_string(),
        }))
    }

    async fn list_journal_entries(
        &self,
        request: Request<ListJournalEntriesRequest>,
    ) -> Result<Response<ListJournalEntriesResponse>, Status> {
        self.readers.allow(&request)?;
        let ListJournalEntriesRequest { page_size: size, page_token, order_id } = request.into_inner();
        let size = page_size(size).map_err(refused)?;
        let after = decode_token::<u64>("journal", &page_token).map_err(refused)?.unwrap_or(0);
        let page = self.readers.read(move |reader| reader.entries(after, size, &order_id)).await?;
        let next_page_token = next_token("journal", &page, |entry| entry.number.to_string());
        Ok(Response::new(ListJournalEntriesResponse {
            entries: page.rows.into_iter().map(wire::entry).collect(),
            next_page_token,
        }))
    }

    async fn list_suspense(
        &self,
        request: Request<ListSuspenseRequest>,
    ) -> Result<Response<ListSuspenseResponse>, Status> {
        self.readers.allow(&request)?;
        let ListSuspenseRequest { page_size: size, page_token } = request.into_inner();
        let size = page_size(size).map_err(refused)?;
        let after = decode_token::<u64>("suspense", &page_token).map_err(refused)?.unwrap_or(0);
        let page = self.readers.read(move |reader| reader.suspense(after, size)).await?;
        let next_page_token = next_token("suspense", &page, |row| row.id.to_string());
        Ok(Response::new(ListSuspenseResponse {
            items: page.rows.into_iter().map(wire::suspense).collect(),
            next_page_token,
        }))
    }

    async fn list_stock_values(
        &self,
        request: Request<ListStockValuesRequest>,
    ) -> Result<Response<ListStockValuesResponse>, Status> {
        self.readers.allow(&request)?;
        let ListStockValuesRequest { page_size: size, page_token, node } = request.into_inner();
        let size = page_size(size).map_err(refused)?;
        let after = stock_after(&page_token).map_err(refused)?;
        let page = self.readers.read(move |reader| reader.stock(&after, size, &node)).await?;
        let next_page_token = next_token("stock", &page, stock_token);
        Ok(Response::new(ListStockValuesResponse {
            values: page.rows.into_iter().map(wire::stock).collect(),
            next_page_token,
        }))
    }

    async fn get_posting_status(
        &self,
        request: Request<GetPostingStatusRequest>,
    ) -> Result<Response<GetPostingStatusResponse>, Status> {
        self.readers.allow(&request)?;
        let read = |reader: &Reader| {
            Ok((reader.place()?, reader.last_signed_head()?, reader.finance_id()?, reader.archived_bytes()?))
        };
        let (place, signed, finance_id, archived_bytes) = self.readers.read(read).await?;
        Ok(Response::new(GetPostingStatusResponse {
            cursors: place.cursors.into_iter().map(wire::cursor).collect(),
            suspense: place.meta.suspended,
            journal_entries: place.meta.head.number,
            signed_head: signed.map(|head| wire::signed_head(&finance_id, head)),
            archived_bytes,
        }))
    }

    async fn export_ledger(
        &self,
        request: Request<ExportLedgerRequest>,
    ) -> Result<Response<Self::ExportLedgerStream>, Status> {
        self.readers.allow(&request)?;
        let ExportLedgerRequest { format, entity } = request.into_inner();
        let format = specified::<ExportFormat>(format, "format").map_err(refused)?;
        check_entity(&entity)?;
        let permit = self.exports.clone().try_acquire_owned().map_err(|_| {
            refused(Reject::new(Reason::Overloaded, format!("{EXPORTS} exports are under way: try again later")))
        })?;
        let (pieces, stream) = mpsc::channel(PIECES + 1);
        let (path, limit, runtime) = (self.readers.path(), self.piece_limit, tokio::runtime::Handle::current());
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let sent = open_reader(&path).map_err(ExportError::from).and_then(|reader| {
                export(&reader, format, &entity, |piece| {
                    let data = Bytes::from(piece).into();
                    runtime.block_on(hand_over(&pieces, ExportLedgerResponse { data }, limit))
                })
            });
            if let Some(status) = sent.err().and_then(status_of) {
                // The place for it was kept free: an error means that the client is gone.
                let _ = pieces.try_send(Err(status));
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// Gives the client a piece, as soon as it has taken others, and leaves one place free for a last word: a stream that ends
/// without one is complete.
async fn hand_over(
    pieces: &mpsc::Sender<Result<ExportLedgerResponse, Status>>,
    piece: ExportLedgerResponse,
    limit: Duration,
) -> Result<(), ExportError> {
    let mut places = match tokio::time::timeout(limit, pieces.reserve_many(2)).await {
        Ok(places) => places.map_err(|_| ExportError::ReaderGone)?,
        Err(_) => return Err(ExportError::ReaderTooSlow(limit)),
    };
    if let Some(place) = places.next() {
        place.send(Ok(piece));
    }
    Ok(())
}

/// What the client is told; nothing, when it is gone.
fn status_of(error: ExportError) -> Option<Status> {
    match error {
        ExportError::ReaderGone => None,
        ExportError::Rejected(reject) => Some(refused(reject)),
        ExportError::ReaderTooSlow(_) => Some(refused(Reject::new(Reason::ReaderTooSlow, error.to_string()))),
        ExportError::Store(_) | ExportError::Io(_) => Some(internal(&error)),
    }
}

#[cfg(test)]
mod tests {
    use stockmesh_service::status::reason_of;

    use super::*;

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_told_and_lets_the_books_go() {
        let (pieces, mut stream) = mpsc::channel(PIECES + 1);
        let piece = || ExportLedgerResponse { data: Bytes::from_static(b"x").into() };
        for n in 0..PIECES {
            hand_over(&pieces, piece(), PIECE_LIMIT).await.unwrap_or_else(|error| panic!("piece {n}: {error}"));
        }
        // Nobody takes any: however short the limit, it passes.
        let error = hand_over(&pieces, piece(), Duration::from_millis(20)).await.unwrap_err();
        assert!(matches!(error, ExportError::ReaderTooSlow(_)));
        pieces.try_send(Err(status_of(error).unwrap())).unwrap();
        drop(pieces);
        for _ in 0..PIECES {
            stream.recv().await.unwrap().unwrap();
        }
        let last = stream.recv().await.unwrap().unwrap_err();
        assert_eq!(reason_of(&last).as_deref(), Some("READER_TOO_SLOW"));
        assert!(stream.recv().await.is_none());
    }

    #[tokio::test]
    async fn a_client_that_is_gone_ends_its_export() {
        let (pieces, stream) = mpsc::channel(PIECES + 1);
        drop(stream);
        let piece = ExportLedgerResponse { data: Bytes::new().into() };
        assert!(matches!(hand_over(&pieces, piece, PIECE_LIMIT).await, Err(ExportError::ReaderGone)));
    }
}
