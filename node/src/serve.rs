//! A node process: it locks its data folder, opens its stores, starts actors and links, and serves until it is told to stop.
//!
//! Faults end the process: an I/O error of a store, damage found at the start, a panic anywhere. The supervisor starts it again.
//!
//! Must not know: stock.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, anyhow, bail};
use stockmesh_node_core::Identity;
use stockmesh_service::link::{HelloInfo, LinkState, run_pull, run_push};
use stockmesh_service::server::{ServerOptions, bind, serve, shutdown_signal};
use stockmesh_service::{Dialer, Security};
use stockmesh_types::{Epoch, FeedId, LogTime, NodeId};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::actor::{self, NodeHandle};
use crate::config::{Config, NodeSettings};
use crate::engine::{Opened, open};
use crate::grpc::{self, Hosted, NodeApi, PeerLinks};
use crate::links::{NodeFeed, NodeWork};
use crate::store::space;
use crate::store::{Mark, MarkerFile, SledStore, Store, StoreError};
use crate::writer::{self, OnFault, Parts, WriterHandle};

/// The epoch of a store's first life. Later ones begin by recovery, which is not in this release.
const FIRST_EPOCH: Epoch = Epoch(1);
/// Milliseconds of a day.
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
/// How long links may take to end at shutdown.
const LINK_SHUTDOWN: Duration = Duration::from_secs(5);
/// How often lots that are past their last day are looked for.
const EXPIRY_PERIOD: Duration = Duration::from_secs(15 * 60);
/// Status of a process that a fault ended (EX_IOERR).
const FAULT_EXIT: i32 = 74;

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// What keeps the node from starting, or a fault.
pub fn run(config: Config, security: Security) -> anyhow::Result<()> {
    config.check()?;
    end_process_on_panic();
    let _lock = lock(&config.data_dir)?;
    space::keep_ballast(&config.data_dir)?;
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime().context("no runtime can be started")?;
    let system = actix_rt::System::with_tokio_rt(|| runtime);
    system.block_on(host(config, security))
}

/// A panic is a fault wherever it happens: an actor that is gone while its process lives would lose asks silently.
fn end_process_on_panic() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        default(panic);
        tracing::error!(%panic, "a panic ends the process");
        std::process::exit(FAULT_EXIT);
    }));
}

/// Two processes on one store would both be its one writer.
fn lock(data_dir: &Path) -> anyhow::Result<File> {
    std::fs::create_dir_all(data_dir).with_context(|| format!("data folder {}", data_dir.display()))?;
    let path = data_dir.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.with_context(|| format!("lock file {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!("another process uses {}: stop it, or give another data_dir", data_dir.display())
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("lock file {}", path.display())),
    }
}

fn now() -> LogTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Milliseconds since 1970 fit into 64 bits for another 290 million years.
    LogTime(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn stop_on_fault(node: NodeId) -> OnFault {
    Arc::new(move |error: &StoreError| {
        tracing::error!(%node, %error, "the store failed: the process ends. Check disk and file system, then start it again");
        std::process::exit(FAULT_EXIT);
    })
}

async fn host(config: Config, security: Security) -> anyhow::Result<()> {
    let listener = bind(config.listen, &security).await?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(config.nodes.len());
    let arbiters: Vec<_> = (0..threads).map(|_| actix::Arbiter::new()).collect();
    let (stop, stopping) = watch::channel(false);
    let mut links = JoinSet::new();
    let mut hosted = BTreeMap::new();
    let mut stores = Vec::new();
    for (n, settings) in config.nodes.iter().enumerate() {
        let started = start_node(&config, settings, &arbiters[n % arbiters.len()].handle())
            .await
            .with_context(|| format!("node {}", settings.id))?;
        let peers = if started.recovering {
            Vec::new()
        } else {
            started.node.review_grants(settings.id.as_str()).await?;
            links.spawn(expire_lots(started.node.clone(), settings.id.clone(), stopping.clone()));
            start_links(&config, &settings.id, &started, &security, &stopping, &mut links).await?
        };
        stores.push(started.thread);
        hosted.insert(settings.id.clone(), Hosted { node: started.node, links: peers });
    }
    let address = listener.local_addr().context("the listener has no address")?;
    tracing::info!(%address, nodes = hosted.len(), "serving");
    let routes = grpc::routes(NodeApi::new(hosted, security.clone()));
    let options = ServerOptions::new(address, security);
    serve(options, listener, routes, grpc::SERVICES, shutdown_signal()).await?;
    shut_down(stop, links, arbiters, stores).await;
    Ok(())
}

/// Takes lots that are past their last day out of sellable stock, at the start and from then on every so often.
async fn expire_lots(node: NodeHandle, id: NodeId, mut stopping: watch::Receiver<bool>) {
    loop {
        if let Err(reject) = node.expire_lots(id.as_str()).await {
            tracing::warn!(node = %id, error = %reject, "expired lots are still sellable: it is tried again");
        }
        tokio::select! {
            // An error means that the process is going down.
            _ = stopping.changed() => return,
            () = tokio::time::sleep(EXPIRY_PERIOD) => {}
        }
    }
}

/// Links first, then actors; their stores end when nobody can ask them any more.
async fn shut_down(
    stop: watch::Sender<bool>,
    mut links: JoinSet<()>,
    arbiters: Vec<actix::Arbiter>,
    stores: Vec<JoinHandle<()>>,
) {
    // An error means that no link is left.
    let _ = stop.send(true);
    let ended = tokio::time::timeout(LINK_SHUTDOWN, async { while links.join_next().await.is_some() {} }).await;
    if ended.is_err() {
        links.abort_all();
    }
    drop(links);
    for arbiter in arbiters {
        arbiter.stop();
        // A panic ended the process before.
        let _ = arbiter.join();
    }
    for store in stores {
        let _ = store.join();
    }
    tracing::info!("stopped");
}

struct Started {
    node: NodeHandle,
    store: WriterHandle,
    thread: JoinHandle<()>,
    recovering: bool,
}

fn paths(config: &Config, node: &NodeId) -> (PathBuf, PathBuf) {
    // The marker stands beside the store's folder, so that a copy of the folder does not bring it along.
    (config.data_dir.join(node.as_str()), config.data_dir.join(format!("{node}.marker")))
}

fn peers(config: &Config) -> Vec<String> {
    let coordinator = (!config.coordinator.is_empty()).then(|| format!("coordinator/{}", config.group));
    let finance = (!config.finance.is_empty()).then(|| format!("finance/{}", config.finance_id));
    coordinator.into_iter().chain(finance).collect()
}

async fn start_node(
    config: &Config,
    settings: &NodeSettings,
    arbiter: &actix::ArbiterHandle,
) -> anyhow::Result<Started> {
    let identity = Identity { group: config.group, node: settings.id.clone(), epoch: FIRST_EPOCH };
    let (store_dir, marker_path) = paths(config, &settings.id);
    let (policy, site_policy, rules) = (settings.policy(), settings.site_policy(), settings.rules()?);
    let opening = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
        let (mut marker, mark) = MarkerFile::open(&marker_path)?;
        let store: Arc<dyn Store> = Arc::new(SledStore::open(&store_dir)?);
        let mut opened = open(Arc::clone(&store), identity, policy, mark)?;
        let (Opened::Ready(engine) | Opened::Recovering(engine, _)) = &mut opened;
        engine.set_site_policy(site_policy);
        engine.set_rules(rules);
        if let (Opened::Ready(engine), None) = (&opened, mark) {
            marker.create(Mark { epoch: FIRST_EPOCH.0, head: engine.head() })?;
        }
        Ok((store, marker, opened))
    });
    let (store, marker, opened) =
        opening.await.map_err(|error| anyhow!("opening the store ended early: {error}"))??;
    let recovering = match &opened {
        Opened::Ready(engine) => {
            tracing::info!(node = %settings.id, epoch = FIRST_EPOCH.0, feed_seq = engine.head().seq,
                stock_keys = engine.state().stock_keys(), open_tasks = engine.state().open_tasks(), "store opened");
            false
        }
        Opened::Recovering(_, reason) => {
            tracing::error!(node = %settings.id, %reason,
                "the node is RECOVERING: it shows what it has, and neither sells, grants nor ships");
            true
        }
    };
    let parts = Parts {
        name: settings.id.to_string(),
        opened,
        store,
        marker,
        gauge: space::disk(config.data_dir.clone()),
        clock: Box::new(now),
        peers: peers(config),
        keep_ms: i64::from(config.feed_retention_days) * DAY_MS,
        on_fault: stop_on_fault(settings.id.clone()),
    };
    let (store, tail, thread) = writer::spawn(parts);
    let node = actor::start(arbiter, store.clone(), tail);
    Ok(Started { node, store, thread, recovering })
}

async fn start_links(
    config: &Config,
    id: &NodeId,
    started: &Started,
    security: &Security,
    stopping: &watch::Receiver<bool>,
    links: &mut JoinSet<()>,
) -> anyhow::Result<Vec<PeerLinks>> {
    let incarnation = started.node.read(|view| Ok(view.state.meta().incarnation.0)).await?;
    let hello = HelloInfo { group: config.group.0, incarnation };
    let source = Arc::new(NodeFeed::new(&started.node, started.store.clone()));
    let dialer = Dialer::new(security.clone());
    let mut found = Vec::new();
    for (peer, addresses, pulls) in [
        (format!("coordinator/{}", config.group), &config.coordinator, true),
        (format!("finance/{}", config.finance_id), &config.finance, false),
    ] {
        if addresses.is_empty() {
            tracing::info!(node = %id, peer, "no address is configured: no link");
            continue;
        }
        let push = Arc::new(LinkState::new());
        links.spawn(run_push(
            Arc::clone(&source),
            peer.clone(),
            dialer.clone(),
            addresses.clone(),
            hello,
            Arc::clone(&push),
            stopping.clone(),
        ));
        let pull = pulls.then(|| Arc::new(LinkState::new()));
        if let Some(pull) = &pull {
            // A group begins with incarnation 1; the node has met the one it knows.
            let epoch = u64::from(incarnation.max(1));
            let feed = FeedId { participant: peer.clone(), destination: format!("node/{id}"), epoch };
            links.spawn(run_pull(
                Arc::new(NodeWork::new(started.node.clone())),
                feed,
                peer.clone(),
                dialer.clone(),
                addresses.clone(),
                hello,
                Arc::clone(pull),
                stopping.clone(),
            ));
        }
        found.push(PeerLinks { peer, push, pull });
    }
    Ok(found)
}
