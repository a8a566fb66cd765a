//! The running service: books, links and API put together, and taken down in order.

use std::sync::Arc;
use std::time::Duration;

use stockmesh_proto::feed::v1::feed_service_server::FeedServiceServer;
use stockmesh_proto::finance::v1::feed_archive_service_server::FeedArchiveServiceServer;
use stockmesh_proto::finance::v1::ledger_head_service_server::LedgerHeadServiceServer;
use stockmesh_proto::finance::v1::ledger_service_server::LedgerServiceServer;
use stockmesh_service::link::{HelloInfo, LinkState, run_pull};
use stockmesh_service::server::{ServerError, ServerOptions, bind, serve, shutdown_signal};
use stockmesh_service::{Dialer, MAX_MESSAGE_BYTES, Security};
use stockmesh_types::FeedId;
use tokio::sync::watch;
use tonic::service::Routes;

use crate::config::Config;
use crate::grpc::{Archive, Feeds, Heads, Ledger, Readers, SERVICE_NAMES, Sink};
use crate::signing::{Signer, SigningError};
use crate::store::{FILE_NAME, Store, StoreError, open_reader};
use crate::writer::{self, WriterFault, WriterHandle};

/// How long links may take to end when the service goes down.
const LINK_LIMIT: Duration = Duration::from_secs(5);
/// How long the writer may take to finish its last batch.
const WRITER_LIMIT: Duration = Duration::from_secs(10);
/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;
/// The first incarnation of a coordinator group.
const FIRST_INCARNATION: u64 = 1;

/// Why the service ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The books can't be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The writer stopped.
    #[error(transparent)]
    Writer(#[from] WriterFault),
    /// The key that heads are signed by.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// The server.
    #[error(transparent)]
    Server(#[from] ServerError),
}

/// Serves until SIGTERM or SIGINT, or a fault.
///
/// # Errors
/// See [`ServeError`].
pub async fn run(config: Config, security: Security) -> Result<(), ServeError> {
    let store = Store::open(&config.data_dir, &config.id)?;
    let signer = Signer::open(&config.signing_key(), &config.id)?;
    let (handle, mut writer) = writer::start(store, config.accounting.settings(), signer)?;
    let (stop, stopping) = watch::channel(false);
    let options = ServerOptions::new(config.listen, security.clone());
    let listener = bind(options.listen, &security).await?;

    let sink = Arc::new(Sink(handle.clone()));
    let feeds = FeedServiceServer::new(Feeds::new(sink.clone(), security.clone(), config.group, stopping.clone()));
    let readers = Readers::new(config.data_dir.join(FILE_NAME), security.clone());
    let ledger = LedgerServiceServer::new(Ledger::new(readers.clone()));
    let archive = FeedArchiveServiceServer::new(Archive::new(readers.clone()));
    let heads = LedgerHeadServiceServer::new(Heads::new(readers, handle.clone()));
    let routes = Routes::new(feeds.max_decoding_message_size(MAX_MESSAGE_BYTES))
        // A page of long entries may be larger than what comes in: ask for fewer then.
        .add_service(ledger.max_decoding_message_size(MAX_MESSAGE_BYTES))
        .add_service(archive.max_decoding_message_size(MAX_MESSAGE_BYTES))
        .add_service(heads.max_decoding_message_size(MAX_MESSAGE_BYTES));
    let signing = tokio::spawn(sign_daily(handle.clone(), config.data_dir.clone(), stopping.clone()));
    let link = tokio::spawn(follow_coordinator(config.clone(), security, sink, stopping.clone()));
    tracing::info!(
        id = config.id,
        listen = %listener.local_addr().unwrap_or(config.listen),
        data_dir = %config.data_dir.display(),
        feeds = handle.cursors().len(),
        "finance serves"
    );

    let mut faulty = false;
    let ended = {
        let mut going_down = stopping.clone();
        let serving = serve(options, listener, routes, &SERVICE_NAMES, async move {
            // An error means that `stop` is gone, which is a stop as well.
            let _ = going_down.wait_for(|down| *down).await;
        });
        let mut serving = std::pin::pin!(serving);
        let early = tokio::select! {
            ended = &mut serving => Some(ended),
            () = shutdown_signal() => None,
            _ = &mut writer.ended => {
                faulty = true;
                None
            }
        };
        // Everyone who could miss it holds a receiver.
        let _ = stop.send(true);
        match early {
            Some(ended) => ended,
            // Nothing that is in flight can succeed any more.
            None if faulty => Ok(()),
            None => serving.await,
        }
    };
    if !faulty && tokio::time::timeout(LINK_LIMIT, link).await.is_err() {
        tracing::info!("the link to the coordinator is cut off");
    }
    drop(handle);
    // It holds the writer's queue, and waits for nothing but the stop.
    signing.abort();
    if !faulty && tokio::time::timeout(WRITER_LIMIT, &mut writer.ended).await.is_err() {
        // A batch that is not committed comes again: nothing was acknowledged.
        tracing::info!("a session still holds the writer; its batch is left to the next start");
        return Ok(ended?);
    }
    writer.join()?;
    tracing::info!("finance ended");
    Ok(ended?)
}

/// Signs the journal's head at every end of a day (UTC), and at a start that is the first of its day.
async fn sign_daily(writer: WriterHandle, data_dir: std::path::PathBuf, mut stopping: watch::Receiver<bool>) {
    let last = tokio::task::spawn_blocking(move || open_reader(&data_dir)?.last_signed_head()).await;
    let mut signed_day = match last {
        Ok(Ok(last)) => last.map(|head| head.signed_time_ms.div_euclid(DAY_MS)),
        failed => {
            tracing::warn!(?failed, "the last signed head can't be read: one is signed now");
            None
        }
    };
    loop {
        let now_ms = writer::now_ms();
        let today = now_ms.div_euclid(DAY_MS);
        if signed_day != Some(today) {
            match writer.sign_head().await {
                Ok(signed) => tracing::info!(number = signed.head.number, hash = %signed.head.hash, "a head is signed"),
                // The writer is gone, and the service with it.
                Err(_) => return,
            }
            signed_day = Some(today);
        }
        let rest = u64::try_from((today + 1) * DAY_MS - now_ms).unwrap_or(0);
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(rest)) => {}
            // An error means that nobody can stop it any more, which is a stop as well.
            _ = stopping.wait_for(|down| *down) => return,
        }
    }
}

/// Pulls the coordinator's facts for this service.
async fn follow_coordinator(config: Config, security: Security, sink: Arc<Sink>, stopping: watch::Receiver<bool>) {
    if config.coordinator.is_empty() {
        tracing::warn!("no coordinator is configured: orders will not arrive, and facts of nodes will wait for them");
        return;
    }
    let participant = format!("coordinator/{}", config.group);
    let destination = format!("finance/{}", config.id);
    // The life that was followed last; a restored group begins the next, which is a later release's business.
    let epoch = sink.0.cursors().keys().filter(|feed| feed.participant == participant).map(|feed| feed.epoch).max();
    let feed = FeedId { participant: participant.clone(), destination, epoch: epoch.unwrap_or(FIRST_INCARNATION) };
    let hello = HelloInfo { group: config.group.0, incarnation: 0 };
    let state = Arc::new(LinkState::new());
    run_pull(sink, feed, participant, Dialer::new(security), config.coordinator, hello, state, stopping).await;
}
