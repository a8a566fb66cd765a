//! Ten times what a replica's queue holds: what does not fit is refused at once and told when to come back; what was
//! taken is answered.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::FutureExt;
use stockmesh_coordinator::driver::{
    self, Beginning, Control, Driver, DriverOptions, OrderRequest, Peers, SnapshotPolicy,
};
use stockmesh_coordinator::replica::members::Members;
use stockmesh_coordinator::storage::identity::{FORMAT, Identity};
use stockmesh_service::status::to_status;
use stockmesh_types::{Principal, Reason};
use tonic_types::StatusExt;

use super::group::order;

/// What waits at most, as `driver::handle` states it.
const QUEUE: usize = 4_096;

struct Nobody;

impl Peers for Nobody {
    fn send(&mut self, _: raft::eraftpb::Message) -> bool {
        true
    }

    fn members(&mut self, _: &Members) {}
}

#[tokio::test]
async fn what_does_not_fit_is_refused_at_once_and_what_was_taken_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let identity = Identity { format: FORMAT, group: 1, incarnation: 1, replica_id: 1 };
    let beginning = Beginning { voters: vec![1], addresses: BTreeMap::new() };
    let opened = driver::open(folder.path(), identity, &beginning, 1).unwrap();
    let options = DriverOptions {
        tick: Duration::from_millis(10),
        snapshots: SnapshotPolicy { every_entries: 1_000, every_bytes: 1 << 20, keep_entries: 10 },
        finance: Vec::new(),
        clock: || 1_795_000_000_000,
    };
    let (driver, inbox, handle) = Driver::new(opened, Nobody, options).unwrap();
    // Nobody takes them yet: the queue fills up.
    let request = |n: usize| OrderRequest {
        principal: Principal::insecure(),
        order: order(&format!("O{n}"), "MUG-1", 1),
        hash: [0; 32],
        incarnation: 0,
    };
    let (mut waiting, mut refused) = (Vec::new(), 0);
    for n in 0..10 * QUEUE {
        let mut placing = Box::pin(handle.place_order(request(n)));
        match placing.as_mut().now_or_never() {
            None => waiting.push(placing),
            Some(outcome) => {
                let reject = outcome.unwrap_err();
                assert_eq!(reject.reason, Reason::Overloaded);
                let status = to_status(&reject);
                assert_eq!(status.code(), tonic::Code::ResourceExhausted);
                assert!(status.get_details_retry_info().unwrap().retry_delay.is_some());
                refused += 1;
            }
        }
    }
    assert_eq!((waiting.len(), refused), (QUEUE, 9 * QUEUE));
    let thread = std::thread::spawn(move || driver.run(inbox));
    for placing in waiting {
        // It leads nothing yet, or it has no such item, or the order waited too long: whatever it is, it is said.
        let reject = placing.await.unwrap_err();
        assert!(
            matches!(
                reject.reason,
                Reason::NotLeader
                    | Reason::ClockOff
                    | Reason::GroupNotInitialized
                    | Reason::UnknownItem
                    | Reason::Overloaded
            ),
            "{reject}"
        );
    }
    // And it goes on: there is room again.
    let next = handle.place_order(request(0)).await.unwrap_err();
    assert_ne!(next.reason, Reason::ShuttingDown);
    handle.tell(Control::Stop).await;
    thread.join().unwrap().unwrap();
}
