//! The gRPC server of a service: limits, keepalive, health, reflection, and an end that does not hang.
//!
//! It must not know what it serves. Every limit is stated in [`Limits`].

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::tls::Security;

/// What a server takes on at most.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Longest time until a handler answers. A stream counts until its first response head, so feed links, which answer at
    /// once and live long, are not cut by it.
    pub request_timeout: Duration,
    /// Requests of one connection that are handled at a time; more are refused with `RESOURCE_EXHAUSTED`.
    pub concurrency_per_connection: usize,
    /// HTTP/2 streams that one connection may open.
    pub max_concurrent_streams: u32,
    /// Pings on a silent connection.
    pub keepalive_interval: Duration,
    /// A ping unanswered for this long ends the connection.
    pub keepalive_timeout: Duration,
    /// Age at which a connection is asked to go away; open streams finish on it first.
    pub max_connection_age: Duration,
    /// Longest TLS handshake.
    pub handshake_timeout: Duration,
    /// How long requests in flight may take to finish when the service goes down. Then they are cut off.
    pub shutdown_limit: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(30),
            concurrency_per_connection: 512,
            max_concurrent_streams: 1024,
            keepalive_interval: Duration::from_secs(10),
            keepalive_timeout: Duration::from_secs(10),
            max_connection_age: Duration::from_secs(3600),
            handshake_timeout: Duration::from_secs(5),
            shutdown_limit: Duration::from_secs(5),
        }
    }
}

/// How a server runs.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Where it listens.
    pub listen: SocketAddr,
    /// How connections are secured.
    pub security: Security,
    /// What it takes on at most.
    pub limits: Limits,
}

impl ServerOptions {
    /// With the limits that suit most.
    #[must_use]
    pub fn new(listen: SocketAddr, security: Security) -> Self {
        Self { listen, security, limits: Limits::default() }
    }
}

/// Why a server does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Plain text beyond loopback.
    #[error(
        "--insecure-dev listens on loopback only, and {0} is not: give certificates (--tls-ca, --tls-cert, --tls-key), or \
         listen on 127.0.0.1"
    )]
    InsecureBeyondLoopback(SocketAddr),
    /// The address can't be listened on.
    #[error("can't listen on {address}: {error}; is another process there already?")]
    Bind {
        /// Address.
        address: SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
    /// Transport or TLS set-up failed.
    #[error("the server failed: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// The contract's description is damaged.
    #[error("server reflection can't be set up: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Binds the address, so that a service can say that it is up before it serves, and port 0 works.
///
/// # Errors
/// [`ServerError::InsecureBeyondLoopback`], [`ServerError::Bind`].
pub async fn bind(listen: SocketAddr, security: &Security) -> Result<TcpListener, ServerError> {
    if matches!(security, Security::InsecureDev) {
        if !listen.ip().is_loopback() {
            return Err(ServerError::InsecureBeyondLoopback(listen));
        }
        tracing::warn!(%listen, "--insecure-dev: no TLS, nobody is authenticated, every caller may do everything");
    }
    TcpListener::bind(listen).await.map_err(|error| ServerError::Bind { address: listen, error })
}

/// Serves until `shutdown`, then lets requests in flight finish within the limit.
///
/// `service_names` are what health reports beside the whole: `stockmesh.node.v1.NodeService`.
///
/// # Errors
/// [`ServerError::Transport`] when TLS can't be set up from the certificates.
pub async fn serve(
    options: ServerOptions,
    listener: TcpListener,
    routes: Routes,
    service_names: &[&str],
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServerError> {
    let ServerOptions { listen: _, security, limits } = options;
    let (health, health_service) = tonic_health::server::health_reporter();
    report(&health, service_names, ServingStatus::Serving).await;
    let routes = routes
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?);

    let mut builder = Server::builder()
        .timeout(limits.request_timeout)
        .concurrency_limit_per_connection(limits.concurrency_per_connection)
        .load_shed(true)
        .max_concurrent_streams(limits.max_concurrent_streams)
        .http2_keepalive_interval(Some(limits.keepalive_interval))
        .http2_keepalive_timeout(Some(limits.keepalive_timeout))
        // No grace period: with one, tonic 0.14 cuts the connection instead of asking it to go away.
        .max_connection_age(limits.max_connection_age);
    if let Some(tls) = security.server_tls(limits.handshake_timeout) {
        builder = builder.tls_config(tls)?;
    }
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true)).with_keepalive(Some(limits.keepalive_interval));

    let (stop, stopped) = oneshot::channel::<()>();
    let server = builder.add_routes(routes).serve_with_incoming_shutdown(incoming, async {
        // An error means that the other end is dropped, which is a stop as well.
        let _ = stopped.await;
    });
    let mut server = std::pin::pin!(server);
    tokio::select! {
        ended = &mut server => return Ok(ended?),
        () = shutdown => {}
    }
    report(&health, service_names, ServingStatus::NotServing).await;
    // The receiver lives in `server`, which has not ended.
    let _ = stop.send(());
    match tokio::time::timeout(limits.shutdown_limit, server).await {
        Ok(ended) => Ok(ended?),
        Err(_) => {
            tracing::info!(
                limit_ms = limits.shutdown_limit.as_millis(),
                "connections still open at shutdown are cut off"
            );
            Ok(())
        }
    }
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(stockmesh_proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

async fn report(health: &HealthReporter, service_names: &[&str], status: ServingStatus) {
    for name in std::iter::once(&"").chain(service_names) {
        health.set_service_status(name, status).await;
    }
}

/// Completes on SIGTERM or SIGINT.
///
/// # Panics
/// When the process can't watch for signals, which is a start-up fault.
pub async fn shutdown_signal() {
    let mut terminate = signal(SignalKind::terminate()).expect("a process can watch for SIGTERM");
    let mut interrupt = signal(SignalKind::interrupt()).expect("a process can watch for SIGINT");
    let name = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    tracing::info!(signal = name, "shutting down");
}
