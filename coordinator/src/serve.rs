//! One replica put together: folder, driver thread, peers, gRPC.

use std::future::Future;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use stockmesh_service::server::{self, ServerOptions};
use stockmesh_service::{Dialer, Security};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

use crate::config::Config;
use crate::driver::{self, Beginning, Control, Driver, DriverOptions, SnapshotPolicy};
use crate::exchange;
use crate::fault::Fault;
use crate::grpc;
use crate::storage::identity::{FORMAT, Identity};
use crate::transport::{self, GrpcPeers};

/// The life of a group that was never restored from a backup: the only one of this release.
const INCARNATION: u32 = 1;

/// How a replica is asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Hand leadership over first, answer what is in flight.
    Gracefully,
    /// At once, as a crash would: for tests of what the others do.
    AtOnce,
}

/// Runs a replica on a bound listener until `stop`, or a fault.
///
/// # Errors
/// A configuration that contradicts itself, a folder that can't be opened, a fault.
pub async fn run(
    config: Config,
    security: Security,
    listener: TcpListener,
    stop: impl Future<Output = Stop> + Send,
) -> anyhow::Result<()> {
    config.check()?;
    let identity =
        Identity { format: FORMAT, group: config.group, incarnation: INCARNATION, replica_id: config.replica_id };
    let mut voters: Vec<u64> = config.replicas.iter().map(|replica| replica.id).collect();
    voters.sort_unstable();
    if config.join {
        // It learns who votes from the group.
        voters.clear();
    }
    let beginning = Beginning { voters, addresses: config.addresses() };
    let data_dir = config.data_dir.clone();
    let mut opened =
        tokio::task::spawn_blocking(move || driver::open(&data_dir, identity, &beginning, life())).await??;
    opened.settings.election_ticks = config.election_ticks;

    let (peers, queues) = GrpcPeers::new(config.replica_id);
    let options = DriverOptions {
        tick: Duration::from_millis(config.tick_ms),
        snapshots: SnapshotPolicy {
            every_entries: config.snapshot_every_entries,
            every_bytes: config.snapshot_every_mib << 20,
            keep_entries: config.log_keep_entries,
        },
        finance: config.finance.clone(),
        clock: now_ms,
    };
    let (driver, inbox, handle) = Driver::new(opened, peers, options)?;
    let (ended, mut driver_ended) = oneshot::channel();
    std::thread::Builder::new()
        .name("driver".to_owned())
        .spawn(move || {
            // The receiver is gone only when the process ends anyway.
            let _ = ended.send(driver.run(inbox));
        })
        .map_err(Fault::Thread)?;

    let dialer = Dialer::new(security.clone());
    tokio::spawn(transport::serve_queues(queues, dialer.clone(), handle.clone()));
    let (down, shutdown) = watch::channel(false);
    tokio::spawn(exchange::run(handle.clone(), dialer, shutdown.clone()));
    let context = grpc::Context::new(handle.clone(), security.clone(), shutdown);
    tokio::spawn(grpc::report_acknowledgements(context.clone()));
    let (routes, names) = grpc::routes(&context);
    let listen = listener.local_addr()?;
    tracing::info!(%listen, replica = config.replica_id, group = config.group, "serving");

    let mut fault = None;
    let mut server_options = ServerOptions::new(listen, security);
    let until_stopped = async {
        tokio::select! {
            stop = stop => {
                tracing::info!(?stop, "stopping");
                handle.tell(match stop {
                    Stop::Gracefully => Control::Shutdown,
                    Stop::AtOnce => Control::Stop,
                })
                .await;
                fault = outcome((&mut driver_ended).await);
            }
            end = &mut driver_ended => fault = outcome(end),
        }
        // All receivers are gone when the handlers are.
        let _ = down.send(true);
    };
    server_options.limits.shutdown_limit = Duration::from_secs(2);
    server::serve(server_options, listener, routes, &names, until_stopped).await?;
    match fault {
        None => Ok(()),
        Some(error) => Err(error),
    }
}

fn outcome(ended: Result<Result<(), Fault>, oneshot::error::RecvError>) -> Option<anyhow::Error> {
    match ended {
        Ok(Ok(())) => None,
        Ok(Err(fault)) => {
            tracing::error!(%fault, "the replica stops: it can't go on after a fault");
            Some(fault.into())
        }
        Err(_) => Some(anyhow::anyhow!("the driver's thread panicked: see the message above")),
    }
}

/// Milliseconds since 1970-01-01T00:00:00Z; 0 for a clock before it, which log time then overrides.
fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_millis()).ok())
        .unwrap_or(0)
}

/// Differs from start to start: nanoseconds of the wall clock, and the process.
fn life() -> u64 {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    // The low 64 bits run over in the year 2554.
    (nanos as u64) ^ (u64::from(std::process::id()) << 32)
}
