//! Outgoing connections: to one address, and to a group of replicas of which one leads.
//!
//! A call is repeated with the same request until a deadline: requests carry ids, so a repeat takes effect once. What the
//! call means is none of this module's business.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response, Status};

use crate::status::{explain, is_retryable, leader_of};
use crate::tls::Security;

/// Longest time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Pings on a silent connection.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// A ping unanswered for this long ends the connection.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Channels that a cluster keeps: its addresses, and leaders that they named.
const MAX_CHANNELS: usize = 32;
/// Bounds of one attempt: a replica that accepts and stays silent must not use up the whole deadline.
const ATTEMPT: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));
/// Bounds of the delay between attempts.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// An address that can't be dialled.
#[derive(Debug, thiserror::Error)]
#[error("{address:?} is no address: give host:port, like 127.0.0.1:7101 ({error})")]
pub struct DialError {
    address: String,
    error: tonic::transport::Error,
}

/// Makes channels.
#[derive(Clone, Debug)]
pub struct Dialer {
    security: Security,
}

impl Dialer {
    /// With this security.
    #[must_use]
    pub fn new(security: Security) -> Self {
        Self { security }
    }

    /// A channel to `host:port`. It connects when it is used, and again when the connection is lost.
    ///
    /// # Errors
    /// [`DialError`] when the address is none.
    pub fn channel(&self, address: &str) -> Result<Channel, DialError> {
        let wrong = |error| DialError { address: address.to_owned(), error };
        let tls = self.security.client_tls();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))
            .map_err(wrong)?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        if let Some(tls) = tls {
            endpoint = endpoint.tls_config(tls).map_err(wrong)?;
        }
        Ok(endpoint.connect_lazy())
    }
}

/// A random part of `delay`, half of it at least: clients that lost the same server don't come back as one.
pub(crate) fn jittered(delay: Duration) -> Duration {
    delay.mul_f64(rand::random_range(0.5..=1.0))
}

/// Doubles from `bounds.0` to `bounds.1`.
#[derive(Debug)]
pub(crate) struct Backoff {
    bounds: (Duration, Duration),
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(bounds: (Duration, Duration)) -> Self {
        Self { bounds, next: bounds.0 }
    }

    pub(crate) fn reset(&mut self) {
        self.next = self.bounds.0;
    }

    pub(crate) fn delay(&mut self) -> Duration {
        let delay = self.next;
        self.next = (delay * 2).min(self.bounds.1);
        jittered(delay)
    }
}

/// A client of several replicas: remembers which one answers.
#[derive(Clone, Debug)]
pub struct Cluster {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dialer: Dialer,
    addresses: Vec<String>,
    deadline: Duration,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Where the last answer came from, or the leader that somebody named.
    preferred: Option<String>,
    channels: BTreeMap<String, Channel>,
}

impl Cluster {
    /// Of the replicas at `addresses`; every call ends within `deadline`.
    #[must_use]
    pub fn new(dialer: Dialer, addresses: Vec<String>, deadline: Duration) -> Self {
        Self { inner: Arc::new(Inner { dialer, addresses, deadline, known: Mutex::default() }) }
    }

    /// The replicas' addresses, as given.
    #[must_use]
    pub fn addresses(&self) -> &[String] {
        &self.inner.addresses
    }

    /// The same replicas and connections, with another deadline.
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        let Inner { dialer, addresses, deadline: _, known } = &*self.inner;
        let known = known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = Known { preferred: known.preferred.clone(), channels: known.channels.clone() };
        let (dialer, addresses) = (dialer.clone(), addresses.clone());
        Self { inner: Arc::new(Inner { dialer, addresses, deadline, known: Mutex::new(known) }) }
    }

    /// Calls until somebody gives a final answer. `f` sends the same request, with the same id, each time.
    ///
    /// # Errors
    /// The final refusal; or, when the deadline passes, the last failure, with what was tried.
    pub async fn call<R, F, Fut>(&self, f: F) -> Result<R, Status>
    where
        F: Fn(Channel) -> Fut,
        Fut: Future<Output = Result<Response<R>, Status>>,
    {
        let end = Instant::now() + self.inner.deadline;
        let attempt_limit = (self.inner.deadline / 3).clamp(ATTEMPT.0, ATTEMPT.1);
        let mut backoff = Backoff::new(BACKOFF);
        let mut address = self.first_address()?;
        let mut turns = 0_usize;
        loop {
            turns += 1;
            let channel = self.channel(&address)?;
            let limit = attempt_limit.min(end.saturating_duration_since(Instant::now()));
            let failure = match tokio::time::timeout(limit, f(channel)).await {
                Ok(Ok(response)) => {
                    self.prefer(Some(address));
                    return Ok(response.into_inner());
                }
                Ok(Err(status)) if is_retryable(&status) => status,
                Ok(Err(status)) => {
                    // A business answer: this replica does answer.
                    self.prefer(Some(address));
                    return Err(status);
                }
                Err(_) => {
                    Status::deadline_exceeded(format!("{address} did not answer within {} ms", limit.as_millis()))
                }
            };
            let leader = leader_of(&failure).filter(|leader| *leader != address);
            tracing::debug!(address, leader, error = %explain(&failure), "no final answer; trying on");
            // A leader that was named is asked at once; but when replicas name each other in turn, slow down.
            let delay = if leader.is_some() && turns <= 3 { Duration::ZERO } else { backoff.delay() };
            if Instant::now() + delay >= end {
                self.prefer(None);
                return Err(self.exhausted(&failure, turns));
            }
            tokio::time::sleep(delay).await;
            address = leader.unwrap_or_else(|| self.after(&address));
        }
    }

    fn first_address(&self) -> Result<String, Status> {
        let known = self.inner.known.lock().unwrap_or_else(PoisonError::into_inner);
        let first = known.preferred.clone().or_else(|| self.inner.addresses.first().cloned());
        first.ok_or_else(|| Status::invalid_argument("no address was given to connect to"))
    }

    /// The address to try when `address` failed.
    fn after(&self, address: &str) -> String {
        let addresses = &self.inner.addresses;
        let next = addresses.iter().position(|other| other == address).map_or(0, |at| (at + 1) % addresses.len());
        addresses.get(next).cloned().unwrap_or_else(|| address.to_owned())
    }

    fn prefer(&self, address: Option<String>) {
        self.inner.known.lock().unwrap_or_else(PoisonError::into_inner).preferred = address;
    }

    fn channel(&self, address: &str) -> Result<Channel, Status> {
        let mut known = self.inner.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = known.channels.get(address) {
            return Ok(channel.clone());
        }
        let channel =
            self.inner.dialer.channel(address).map_err(|error| Status::invalid_argument(error.to_string()))?;
        if known.channels.len() >= MAX_CHANNELS {
            known.channels.clear();
        }
        known.channels.insert(address.to_owned(), channel.clone());
        Ok(channel)
    }

    fn exhausted(&self, last: &Status, turns: usize) -> Status {
        let message = format!(
            "no final answer from {} within {} ms, after {turns} tries; last: {}",
            self.inner.addresses.join(", "),
            self.inner.deadline.as_millis(),
            explain(last)
        );
        // The reason stays readable: details are those of the last failure.
        let code = if last.code() == Code::DeadlineExceeded { Code::DeadlineExceeded } else { Code::Unavailable };
        Status::with_details(code, message, last.details().to_vec().into())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::status::{not_leader, reason_of};

    fn cluster(addresses: &[&str], deadline_ms: u64) -> Cluster {
        let addresses = addresses.iter().map(|address| (*address).to_owned()).collect();
        Cluster::new(Dialer::new(Security::InsecureDev), addresses, Duration::from_millis(deadline_ms))
    }

    /// Answers of a scripted group, in order.
    async fn scripted(cluster: &Cluster, script: Vec<Result<u32, Status>>) -> (Result<u32, Status>, usize) {
        let script = Mutex::new(script.into_iter());
        let used = Mutex::new(0);
        let answer = cluster
            .call(|_channel| {
                let next = script.lock().unwrap().next();
                *used.lock().unwrap() += 1;
                async move { next.unwrap_or_else(|| Err(Status::unavailable("script is over"))).map(Response::new) }
            })
            .await;
        (answer, used.into_inner().unwrap())
    }

    fn preferred(cluster: &Cluster) -> Option<String> {
        cluster.inner.known.lock().unwrap().preferred.clone()
    }

    #[tokio::test]
    async fn a_named_leader_is_asked_and_remembered() {
        let cluster = cluster(&["a:1", "b:1", "c:1"], 5_000);
        let (answer, tries) = scripted(&cluster, vec![Err(not_leader(Some("c:1"))), Ok(7)]).await;
        assert_eq!((answer.unwrap(), tries), (7, 2));
        assert_eq!(preferred(&cluster).as_deref(), Some("c:1"));
    }

    #[tokio::test]
    async fn unavailable_moves_on_and_business_answers_are_final() {
        let cluster = cluster(&["a:1", "b:1"], 5_000);
        let script = vec![Err(Status::unavailable("down")), Err(Status::not_found("no such order"))];
        let (answer, tries) = scripted(&cluster, script).await;
        assert_eq!((answer.unwrap_err().code(), tries), (Code::NotFound, 2));
        assert_eq!(preferred(&cluster).as_deref(), Some("b:1"));
    }

    #[tokio::test]
    async fn overload_is_the_callers_to_handle() {
        let (answer, tries) = scripted(&cluster(&["a:1"], 5_000), vec![Err(Status::resource_exhausted("full"))]).await;
        assert_eq!((answer.unwrap_err().code(), tries), (Code::ResourceExhausted, 1));
    }

    #[tokio::test]
    async fn at_the_deadline_the_last_failure_is_told_with_its_reason() {
        let cluster = cluster(&["a:1", "b:1"], 100);
        let failures = (0..1000).map(|_| Err(not_leader(None))).collect();
        let (answer, tries) = scripted(&cluster, failures).await;
        let status = answer.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(reason_of(&status).as_deref(), Some("NOT_LEADER"));
        assert!(status.message().contains("a:1, b:1"), "{status:?}");
        assert!(tries > 1);
    }

    #[tokio::test]
    async fn a_refused_connection_says_so_and_a_wrong_address_too() {
        // Port 1 on loopback: nothing listens there.
        let answer = cluster(&["127.0.0.1:1"], 300)
            .call(|channel| async move {
                let mut client = tonic_health::pb::health_client::HealthClient::new(channel);
                client.check(tonic_health::pb::HealthCheckRequest::default()).await
            })
            .await;
        let message = answer.unwrap_err().message().to_owned();
        assert!(message.contains("127.0.0.1:1") && message.to_lowercase().contains("refused"), "{message}");
        let wrong = Dialer::new(Security::InsecureDev).channel("no address").unwrap_err().to_string();
        assert!(wrong.contains("host:port"), "{wrong}");
    }
}
