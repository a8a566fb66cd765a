//! Connections for reading, and who may use them: shared by the services that show the books.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use stockmesh_service::status::{internal, to_status};
use stockmesh_service::{Caller, Security};
use stockmesh_types::{PrincipalKind, Reject};
use tokio::sync::Semaphore;
use tonic::{Request, Status};

use crate::store::{Reader, StoreError, open_reader};

/// Reads at a time; more wait. Each has a connection, with some 2 MiB of cache.
const READERS: usize = 4;
/// Who may read the books.
pub(super) const MAY_READ: [PrincipalKind; 3] = [PrincipalKind::User, PrincipalKind::System, PrincipalKind::Finance];

/// Readers of one file of books. Cheap to clone.
#[derive(Clone)]
pub struct Readers {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    security: Security,
    idle: Mutex<Vec<Reader>>,
    reads: Arc<Semaphore>,
}

impl Readers {
    /// Over a file of books.
    #[must_use]
    pub fn new(path: PathBuf, security: Security) -> Self {
        let reads = Arc::new(Semaphore::new(READERS));
        Self { inner: Arc::new(Inner { path, security, idle: Mutex::default(), reads }) }
    }

    /// The file.
    pub(super) fn path(&self) -> PathBuf {
        self.inner.path.clone()
    }

    /// Who asks.
    pub(super) fn caller<T>(&self, request: &Request<T>) -> Result<Caller, Status> {
        Caller::of(request, &self.inner.security).map_err(|reject| to_status(&reject))
    }

    /// Refuses who may not read the books.
    pub(super) fn allow<T>(&self, request: &Request<T>) -> Result<(), Status> {
        self.caller(request)?.require(&MAY_READ).map_err(|reject| to_status(&reject))
    }

    /// Runs a read on a snapshot, on a thread of its own.
    pub(super) async fn read<T, F>(&self, read: F) -> Result<T, Status>
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

pub(super) fn refused(reject: Reject) -> Status {
    to_status(&reject)
}
