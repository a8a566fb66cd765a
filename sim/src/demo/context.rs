//! What every task of a run shares.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};

use stockmesh_proto::common::v1::{Grade, StockKey};
use tokio::sync::watch;
use tonic::Status;

use super::acks::AckBook;
use super::stock_plan::StockPlan;
use crate::network::{Clients, Layout};
use crate::streams::{Stream, stable_hash};

/// Counters that the progress bar and the samples read.
#[derive(Debug, Default)]
pub struct Gauges {
    /// Orders acknowledged.
    pub orders: AtomicU64,
    /// Units shipped.
    pub shipped_units: AtomicI64,
    /// Units sold at counters.
    pub counter_units: AtomicI64,
}

/// Shared by every task.
pub struct Context {
    /// What is played.
    pub stream: Arc<Stream>,
    /// Nodes.
    pub layout: Layout,
    /// What stands where.
    pub stock: StockPlan,
    /// Clients.
    pub clients: Clients,
    /// Seed of every draw.
    pub seed: u64,
    /// What was acknowledged.
    pub book: AckBook,
    /// Counters.
    pub gauges: Gauges,
    /// Events of the stream that are done; the faults and deliveries follow it.
    pub done: watch::Sender<usize>,
}

impl Context {
    /// The wire's stock key of an item of the stream.
    #[must_use]
    pub fn stock_key(&self, item: usize) -> StockKey {
        StockKey { item: self.stream.items[item].item.clone(), grade: Grade::New.into(), ..StockKey::default() }
    }

    /// A draw that is the same in every run of a seed.
    #[must_use]
    pub fn draw(&self, what: &str) -> u64 {
        stable_hash(&format!("{}/{what}", self.seed))
    }

    /// Waits until a share of the stream is done.
    pub async fn wait_for_share(&self, percent: usize) {
        let wanted = self.stream.events.len() * percent / 100;
        // The sender lives in this context, so that waiting can't fail.
        let _ = self.done.subscribe().wait_for(|done| *done >= wanted).await;
    }
}

/// A call that failed where it had to succeed.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {}", stockmesh_service::status::explain(status))]
pub struct CallError {
    /// What was tried.
    pub what: String,
    /// The last answer.
    pub status: Status,
}

/// Says what was tried when a call fails.
pub trait Tried<T> {
    /// Names it.
    ///
    /// # Errors
    /// The same failure, named.
    fn tried(self, what: impl Into<String>) -> Result<T, CallError>;
}

impl<T> Tried<T> for Result<T, Status> {
    fn tried(self, what: impl Into<String>) -> Result<T, CallError> {
        self.map_err(|status| CallError { what: what.into(), status })
    }
}
