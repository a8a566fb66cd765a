//! Three replicas in one process, over real sockets and disks: orders through followers, a killed leader, a follower that
//! comes back so late that it needs a snapshot.

mod group;
mod members;
mod overload;
mod processes;
mod recovery;
mod streams;

use std::collections::BTreeMap;
use std::path::Path;

use stockmesh_coordinator::serve::Stop;
use stockmesh_proto::coordinator::v1::network_service_client::NetworkServiceClient;
use stockmesh_proto::coordinator::v1::order_service_client::OrderServiceClient;
use stockmesh_proto::coordinator::v1::{GetOrderRequest, OrderState, PlaceOrderRequest};
use stockmesh_proto::entry::Head;
use stockmesh_proto::feed::v1::feed_service_client::FeedServiceClient;
use stockmesh_proto::feed::v1::{FeedRef, PullHello, PullRequest, pull_request};
use stockmesh_proto::raft::v1::raft_service_client::RaftServiceClient;
use stockmesh_service::Security;
use stockmesh_service::certs::DevCa;
use stockmesh_service::request::new_request_id;
use stockmesh_service::status::{known_reason, leader_of};
use stockmesh_types::{FeedId, Principal, PrincipalKind, Reason};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use group::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_go_through_any_replica_and_survive_the_leader() {
    let mut group = Group::start(10_000).await;
    stock(&group, &[("MUG-1", 10), ("MUG-2", 3)]).await;
    let leader = group.leader().await;
    let followers: Vec<usize> = (0..3).filter(|at| *at != leader).collect();

    // Through a follower, and read at another replica at once.
    let first = place_at(group.channel(followers[0]), order("A1", "MUG-1", 4)).await.unwrap();
    assert!(!first.already_placed);
    let first = first.status.unwrap();
    assert_eq!(first.state, i32::from(OrderState::Promised));
    assert_eq!(get(&group, followers[1], "A1").await, first);
    for at in 0..3 {
        assert_eq!(available(&group, at, "MUG-1").await, 6);
    }
    // The same order again changes nothing; another body under its id is refused, and changes nothing.
    let again = place_at(group.channel(followers[1]), order("A1", "MUG-1", 4)).await.unwrap();
    assert_eq!((again.already_placed, again.status.unwrap()), (true, first.clone()));
    let other = place_at(group.channel(followers[0]), order("A1", "MUG-1", 5)).await.unwrap_err();
    assert_eq!(known_reason(&other), Some(Reason::OrderIdReused));
    let unknown = place_at(group.channel(followers[0]), order("A2", "NO-SUCH", 1)).await.unwrap_err();
    assert_eq!(known_reason(&unknown), Some(Reason::UnknownItem));
    assert_eq!(available(&group, leader, "MUG-1").await, 6);

    // A write whose answer the client lost with the leader.
    let request_id = new_request_id();
    let answer = create(&group, &request_id, "MUG-3").await;
    assert_eq!((answer.created, answer.existing), (1, 0));
    group.stop(leader, Stop::AtOnce).await;
    assert_eq!(create(&group, &request_id, "MUG-3").await, answer, "the first answer, not a second execution");
    let again = place(&group, order("A1", "MUG-1", 4)).await;
    assert_eq!((again.already_placed, again.status.unwrap()), (true, first.clone()));
    let second = place(&group, order("A3", "MUG-2", 5)).await.status.unwrap();
    assert_eq!(second.state, i32::from(OrderState::PartiallyPromised));
    assert_eq!((second.lines[0].backordered, second.lines[0].allocations[0].quantity), (2, 3));

    group.restart(leader).await;
    group.leader().await;
    group.agree().await;
    assert_eq!(get(&group, leader, "A1").await, first);
    assert_eq!(get(&group, leader, "A3").await, second);
    group.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_orders_at_once_never_promise_a_unit_twice() {
    let mut group = Group::start(10_000).await;
    stock(&group, &[("MUG-1", 50)]).await;
    let mut placing = Vec::new();
    for n in 0..80 {
        let (client, order) = (group.client(), order(&format!("B{n}"), "MUG-1", 1));
        placing.push(tokio::spawn(async move {
            let placed = client.call(|channel| {
                let request = PlaceOrderRequest { order: Some(order.clone()), incarnation: 0 };
                async move { OrderServiceClient::new(channel).place_order(request).await }
            });
            placed.await.unwrap().status.unwrap()
        }));
        if n == 40 {
            let leader = group.leader().await;
            group.stop(leader, Stop::Gracefully).await;
            group.restart(leader).await;
        }
    }
    for placed in placing {
        placed.await.unwrap();
    }
    let (mut promised, mut waiting) = (0, 0);
    for n in 0..80 {
        let status = get(&group, n % 3, &format!("B{n}")).await;
        promised += status.lines[0].allocations.iter().map(|one| one.quantity - one.cancelled).sum::<i64>();
        waiting += status.lines[0].backordered;
    }
    assert_eq!((promised, waiting), (50, 30));
    group.agree().await;
    group.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_is_too_late_gets_a_snapshot() {
    let mut group = Group::start(40).await;
    stock(&group, &[("MUG-1", 10)]).await;
    let leader = group.leader().await;
    let late = (0..3).find(|at| *at != leader).unwrap();
    group.agree().await;
    let seen = group.status(late).await.unwrap().applied_index;
    group.stop(late, Stop::AtOnce).await;
    for n in 0..150 {
        place(&group, order(&format!("C{n}"), "MUG-1", 1)).await;
    }
    let leader = group.leader().await;
    eventually("the log to be compacted beyond the follower", || async {
        (group.status(leader).await?.first_index > seen + 1).then_some(())
    })
    .await;
    group.restart(late).await;
    group.agree().await;
    let snapshots = std::fs::read_dir(group.data_dir(late).join("snapshots")).unwrap().count();
    assert!(snapshots >= 1, "it was caught up by a snapshot");

    // Its feeds came with it: the whole chain, the same as the leader's.
    let placed: u64 = 150;
    let expected = pull(&group, leader, "finance/main", placed).await;
    assert_eq!(pull(&group, late, "finance/main", expected.seq).await, expected);

    // And it starts again from what is on its disk.
    group.stop(late, Stop::AtOnce).await;
    assert_log_begins_late(&group.data_dir(late));
    group.restart(late).await;
    group.agree().await;
    let (here, there) = (group.status(late).await.unwrap(), group.status(leader).await.unwrap());
    assert_eq!((here.orders, here.state_hash), (there.orders, there.state_hash));
    group.end().await;
}

fn assert_log_begins_late(data_dir: &Path) {
    use raft::Storage;
    let log = stockmesh_coordinator::storage::log::DiskLog::open(&data_dir.join("log"), &[]).unwrap();
    assert!(log.first_index().unwrap() > 20, "the log before the snapshot is gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_feeds_are_logged_through_any_replica_and_pushes_find_the_leader() {
    let group = Group::start(10_000).await;
    stock(&group, &[("MUG-1", 10)]).await;
    let leader = group.leader().await;
    let follower = (0..3).find(|at| *at != leader).unwrap();
    group.agree().await;

    // A push to a follower names the leader.
    let (_requests, outgoing) = mpsc::channel(1);
    let refused =
        FeedServiceClient::new(group.channel(follower)).push(ReceiverStream::new(outgoing)).await.unwrap_err();
    assert_eq!(known_reason(&refused), Some(Reason::NotLeader));
    assert_eq!(leader_of(&refused).as_deref(), Some(group.addresses[leader].as_str()));

    // A node that has its work, from a follower: the acknowledgement reaches the log.
    let nodes = |at: usize| {
        let channel = group.channel(at);
        async move {
            let request = stockmesh_proto::coordinator::v1::ListNodesRequest::default();
            let listed = NetworkServiceClient::new(channel).list_nodes(request).await.unwrap().into_inner();
            let node = listed.nodes[0].clone();
            (node.work_seq, node.work_acknowledged_seq)
        }
    };
    let (work, acknowledged) = nodes(leader).await;
    assert_eq!((work, acknowledged), (1, 0), "one item was ranged");
    let head = pull(&group, follower, "node/dc-1", 1).await;
    let feed = FeedId { participant: "coordinator/1".to_owned(), destination: "node/dc-1".to_owned(), epoch: 1 };
    let (requests, outgoing) = mpsc::channel(4);
    let hello = PullHello { feed: Some(FeedRef::from(&feed)), cursor: Some(head.to_wire()), feature_level: 1 };
    requests.send(PullRequest { message: Some(pull_request::Message::Hello(hello)) }).await.unwrap();
    let mut client = FeedServiceClient::new(group.channel(follower));
    let mut responses = client.pull(ReceiverStream::new(outgoing)).await.unwrap().into_inner();
    responses.message().await.unwrap().unwrap();
    eventually("the acknowledgement to be logged", || async { (nodes(leader).await.1 == 1).then_some(()) }).await;
    drop(requests);
    group.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_nothing_is_promised_and_nothing_stale_is_read() {
    let mut group = Group::start(10_000).await;
    stock(&group, &[("MUG-1", 10)]).await;
    let leader = group.leader().await;
    let others: BTreeMap<usize, ()> = (0..3).filter(|at| *at != leader).map(|at| (at, ())).collect();
    for at in others.keys() {
        group.stop(*at, Stop::AtOnce).await;
    }
    let placed = place_at(group.channel(leader), order("D1", "MUG-1", 1)).await.unwrap_err();
    let reason = known_reason(&placed);
    assert!(matches!(reason, Some(Reason::OutcomeUnknown | Reason::NotLeader)), "{placed:?}");
    let request = GetOrderRequest { order_id: "D1".to_owned() };
    let read = OrderServiceClient::new(group.channel(leader)).get_order(request).await.unwrap_err();
    assert_eq!(known_reason(&read), Some(Reason::NotLeader), "{read:?}");
    for at in others.keys() {
        group.restart(*at).await;
    }
    // The same order again, with the same id: placed once, whatever became of the first try.
    place(&group, order("D1", "MUG-1", 1)).await;
    let leader = group.leader().await;
    assert_eq!(available(&group, leader, "MUG-1").await, 9);
    group.agree().await;
    group.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_say_who_may_do_what_at_every_replica() {
    let folder = tempfile::tempdir().unwrap();
    let ca = DevCa::init(&folder.path().join("ca")).unwrap();
    let issue = |kind: PrincipalKind, id: &str| {
        let name = format!("{}-{id}", kind.word());
        ca.issue(&name, &[Principal { kind, id: id.to_owned() }], &[]).unwrap();
        Security::load(&ca.files_of(&name), false).unwrap()
    };
    let replicas = issue(PrincipalKind::Coordinator, "1");
    let (user, node) = (issue(PrincipalKind::User, "alice"), issue(PrincipalKind::Node, "dc-1"));
    let group = Group::start_secured(10_000, replicas, user.clone()).await;
    create(&group, &new_request_id(), "MUG-1").await;
    let leader = group.leader().await;

    for at in 0..3 {
        // A user's order is taken through any replica: forwarded, it is still the user's.
        place_at(group.channel(at), order(&format!("E{at}"), "MUG-1", 1)).await.unwrap();
        let by_node = place_at(group.channel_as(&node, at), order("E9", "MUG-1", 1)).await.unwrap_err();
        assert_eq!(known_reason(&by_node), Some(Reason::NotAllowed), "{by_node:?}");

        // Nobody but a replica speaks for others.
        let mut request =
            tonic::Request::new(PlaceOrderRequest { order: Some(order("E9", "MUG-1", 1)), incarnation: 0 });
        request.metadata_mut().insert("stockmesh-on-behalf-of", "stockmesh://user/bob".parse().unwrap());
        let forged = OrderServiceClient::new(group.channel(at)).place_order(request).await.unwrap_err();
        assert_eq!(known_reason(&forged), Some(Reason::NotAllowed), "{forged:?}");

        // Raft is for replicas, a feed for whom it is meant.
        let (_requests, outgoing) = mpsc::channel(1);
        let raft = RaftServiceClient::new(group.channel(at)).send(ReceiverStream::new(outgoing)).await.unwrap_err();
        assert_eq!(known_reason(&raft), Some(Reason::NotAllowed), "{raft:?}");
        let feed = FeedId { participant: "coordinator/1".to_owned(), destination: "finance/main".to_owned(), epoch: 1 };
        let (requests, outgoing) = mpsc::channel(4);
        let cursor = Some(Head::START.to_wire());
        let hello = PullHello { feed: Some(FeedRef::from(&feed)), cursor, feature_level: 1 };
        requests.send(PullRequest { message: Some(pull_request::Message::Hello(hello)) }).await.unwrap();
        let mut client = FeedServiceClient::new(group.channel_as(&node, at));
        let mut responses = client.pull(ReceiverStream::new(outgoing)).await.unwrap().into_inner();
        let refused = responses.message().await.unwrap_err();
        assert_eq!(known_reason(&refused), Some(Reason::NotAllowed), "{refused:?}");
    }
    assert_eq!(get(&group, leader, "E0").await.state, i32::from(OrderState::Backordered));
    let request = GetOrderRequest { order_id: "E9".to_owned() };
    let none = OrderServiceClient::new(group.channel(leader)).get_order(request).await.unwrap_err();
    assert_eq!(known_reason(&none), Some(Reason::UnknownOrder), "what was refused changed nothing");
    group.end().await;
}
