//! Reads of the books, each on one snapshot of the file, off the async threads.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use stockmesh_proto::convert::specified;
use stockmesh_proto::finance::v1::ledger_service_server::LedgerService;
use stockmesh_proto::finance::v1::{
    ExportFormat, ExportLedgerRequest, ExportLedgerResponse, GetPostingStatusRequest, GetPostingStatusResponse,
    GetTrialBalanceRequest, GetTrialBalanceResponse, ListJournalEntriesRequest, ListJournalEntriesResponse,
    ListStockValuesRequest, ListStockValuesResponse, ListSuspenseRequest, ListSuspenseResponse,
};
use stockmesh_service::page::{decode_token, encode_token, page_size};
use stockmesh_service::status::{internal, to_status};
use stockmesh_service::{Caller, Security};
use stockmesh_types::{LegalEntity, PrincipalKind, Reason, Reject};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::wire;
use crate::export::{ExportError, export};
use crate::store::{Page, Reader, StockRow, StoreError, open_reader};

/// Reads at a time; more wait. Each has a connection, with some 2 MiB of cache.
const READERS: usize = 4;
/// Exports at a time; more are refused: one lasts as long as its reader takes it.
const EXPORTS: usize = 2;
/// Pieces of an export that may wait for the client.
const PIECES: usize = 4;
/// Who may read the books.
const MAY_READ: [PrincipalKind; 3] = [PrincipalKind::User, PrincipalKind::System, PrincipalKind::Finance];

/// The ledger service.
#[derive(Clone)]
pub struct Ledger {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    security: Security,
    idle: Mutex<Vec<Reader>>,
    reads: Arc<Semaphore>,
    exports: Arc<Semaphore>,
}

impl Ledger {
    /// Over the books in a folder.
    #[must_use]
    pub fn new(path: PathBuf, security: Security) -> Self {
        let (reads, exports) = (Arc::new(Semaphore::new(READERS)), Arc::new(Semaphore::new(EXPORTS)));
        Self { inner: Arc::new(Inner { path, security, idle: Mutex::default(), reads, exports }) }
    }

    fn allow<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let allowed = Caller::of(request, &self.inner.security).and_then(|caller| caller.require(&MAY_READ));
        allowed.map_err(|reject| to_status(&reject))
    }

    /// Runs a read on a snapshot, on a thread of its own.
    async fn read<T, F>(&self, read: F) -> Result<T, Status>
    where
        T: Send + 'static,
        F: FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
    {
        let permit = self.inner.reads.clone().acquire_owned().await.map_err(|error| internal(&error))?;
        let inner = self.inner.clone();
        let work = tokio::task::spawn_blocking(move || {
            let idle = inner.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let reader = idle.map_or_else(|| open_reader(&inner.path), Ok)?;
            let result = reader.snapshot(read);
            inner.idle.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
            drop(permit);
            result
        });
        work.await.map_err(|error| internal(&error))?.map_err(|error: StoreError| internal(&error))
    }
}

fn refused(reject: Reject) -> Status {
    to_status(&reject)
}

/// Token of the page after this one; empty when it is the last.
fn next_token<T>(kind: &str, page: &Page<T>, key: impl FnOnce(&T) -> String) -> String {
    page.rows.last().filter(|_| page.more).map(|row| encode_token(kind, key(row))).unwrap_or_default()
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
        self.allow(&request)?;
        let entity = request.into_inner().entity;
        check_entity(&entity)?;
        let wanted = entity.clone();
        let (accounts, place) = self.read(move |reader| Ok((reader.balances(&wanted)?, reader.place()?))).await?;
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
        self.allow(&request)?;
        let ListJournalEntriesRequest { page_size: size, page_token, order_id } = request.into_inner();
        let size = page_size(size).map_err(refused)?;
        let after = decode_token::<u64>("journal", &page_token).map_err(refused)?.unwrap_or(0);
        let page = self.read(move |reader| reader.entries(after, size, &order_id)).await?;
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
        self.allow(&request)?;
        let ListSuspenseRequest { page_size: size, page_token } = request.into_inner();
        let size = page_size(size).map_err(refused)?;
        let after = decode_token::<u64>("suspense", &page_token).map_err(refused)?.unwrap_or(0);
        let page = self.read(move |reader| reader.suspense(after, size)).await?;
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
        self.allow(&request)?;
        let ListStockValuesRequest { page_size: size, page_token, node } = request.into_inner();
        let size = page_size(size).map_err(refused)?;
        let after = stock_after(&page_token).map_err(refused)?;
        let page = self.read(move |reader| reader.stock(&after, size, &node)).await?;
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
        self.allow(&request)?;
        let place = self.read(Reader::place).await?;
        Ok(Response::new(GetPostingStatusResponse {
            cursors: place.cursors.into_iter().map(wire::cursor).collect(),
            suspense: place.meta.suspended,
            journal_entries: place.meta.head.number,
            ..GetPostingStatusResponse::default()
        }))
    }

    async fn export_ledger(
        &self,
        request: Request<ExportLedgerRequest>,
    ) -> Result<Response<Self::ExportLedgerStream>, Status> {
        self.allow(&request)?;
        let ExportLedgerRequest { format, entity } = request.into_inner();
        let format = specified::<ExportFormat>(format, "format").map_err(refused)?;
        if format == ExportFormat::Hledger {
            let message = "hledger is not in this release: export beancount or csv";
            return Err(refused(Reject::new(Reason::NotInThisRelease, message).field("format")));
        }
        check_entity(&entity)?;
        let permit = self.inner.exports.clone().try_acquire_owned().map_err(|_| {
            refused(Reject::new(Reason::Overloaded, format!("{EXPORTS} exports are under way: try again later")))
        })?;
        let (pieces, stream) = mpsc::channel(PIECES);
        let path = self.inner.path.clone();
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let sent = open_reader(&path).map_err(ExportError::from).and_then(|reader| {
                export(&reader, format, &entity, |piece| {
                    let data = Bytes::from(piece).into();
                    pieces.blocking_send(Ok(ExportLedgerResponse { data })).map_err(|_| ExportError::ReaderGone)
                })
            });
            if let Some(status) = sent.err().and_then(status_of) {
                // An error means that the client is gone.
                let _ = pieces.blocking_send(Err(status));
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// What the client is told; nothing, when it is gone.
fn status_of(error: ExportError) -> Option<Status> {
    match error {
        ExportError::ReaderGone => None,
        ExportError::Rejected(reject) => Some(refused(reject)),
        ExportError::Store(_) | ExportError::Io(_) => Some(internal(&error)),
    }
}
