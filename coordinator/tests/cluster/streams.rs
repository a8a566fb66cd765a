//! Orders and availability in bulk: streams that break, leaders that change, watchers that resume elsewhere.

use std::collections::BTreeMap;

use stockmesh_coordinator::serve::Stop;
use stockmesh_proto::common::v1 as wire;
use stockmesh_proto::coordinator::v1::availability_stream_service_client::AvailabilityStreamServiceClient;
use stockmesh_proto::coordinator::v1::order_outcome::Outcome;
use stockmesh_proto::coordinator::v1::order_stream_service_client::OrderStreamServiceClient;
use stockmesh_proto::coordinator::v1::{
    BatchGetAvailabilityRequest, PlaceOrderRequest, PlaceOrdersRequest, QuoteOrderRequest, WatchAvailabilityRequest,
    WatchAvailabilityResponse,
};
use stockmesh_service::status::{known_reason, leader_of};
use stockmesh_types::Reason;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::group::*;

/// Sends orders on one stream, in messages of 20, and gathers what came of each.
async fn place_all(group: &Group, at: usize, orders: &[wire::Order]) -> Result<BTreeMap<String, Vec<Outcome>>, Status> {
    let (sender, requests) = mpsc::channel(4);
    let mut client = OrderStreamServiceClient::new(group.channel(at));
    let mut answers = client.place_orders(ReceiverStream::new(requests)).await?.into_inner();
    let messages: Vec<PlaceOrdersRequest> = orders
        .chunks(20)
        .map(|orders| PlaceOrdersRequest {
            orders: orders
                .iter()
                .map(|order| PlaceOrderRequest { order: Some(order.clone()), incarnation: 0 })
                .collect(),
        })
        .collect();
    let sending = tokio::spawn(async move {
        for message in messages {
            if sender.send(message).await.is_err() {
                return;
            }
        }
    });
    let mut outcomes: BTreeMap<String, Vec<Outcome>> = BTreeMap::new();
    while let Some(answer) = tokio::time::timeout(PATIENCE, answers.message()).await.expect("an answer in time")? {
        for outcome in answer.outcomes {
            outcomes.entry(outcome.order_id).or_default().extend(outcome.outcome);
        }
    }
    sending.await.unwrap();
    Ok(outcomes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_answers_each_order_once_and_is_taken_up_again_at_the_next_leader() {
    let mut group = Group::start(10_000).await;
    stock(&group, &[("MUG-1", 150)]).await;
    let leader = group.leader().await;
    let mut orders: Vec<wire::Order> = (0..200).map(|n| order(&format!("S{n}"), "MUG-1", 1)).collect();
    orders.push(order("BAD", "NO-SUCH", 1));
    orders.push(wire::Order { lines: Vec::new(), ..order("EMPTY", "MUG-1", 1) });

    let follower = (0..3).find(|at| *at != leader).unwrap();
    let elsewhere = place_all(&group, follower, &orders).await.unwrap_err();
    assert_eq!(known_reason(&elsewhere), Some(Reason::NotLeader));
    assert_eq!(leader_of(&elsewhere).as_ref(), Some(&group.addresses[leader]));

    let outcomes = place_all(&group, leader, &orders).await.unwrap();
    assert_eq!(outcomes.len(), orders.len());
    let (mut promised, mut waiting, mut refused) = (0, 0, Vec::new());
    for (id, outcome) in &outcomes {
        match outcome.as_slice() {
            [Outcome::Placed(placed)] => {
                assert!(!placed.already_placed, "{id}");
                promised += placed.promised_units;
                waiting += placed.backordered_units;
            }
            [Outcome::Refused(refusal)] => refused.push((id.as_str(), refusal.reason.as_str(), refusal.retry_after_ms)),
            other => panic!("{id} was answered with {other:?}"),
        }
    }
    assert_eq!((promised, waiting), (150, 50));
    assert_eq!(refused, [("BAD", "UNKNOWN_ITEM", 0), ("EMPTY", "MISSING_FIELD", 0)]);

    // A quote shows the same from any replica, and promises nothing.
    let quote = QuoteOrderRequest { order: Some(order("S0", "MUG-1", 2)) };
    let mut client = OrderStreamServiceClient::new(group.channel(leader));
    let quoted = client.quote_order(quote).await.unwrap().into_inner();
    assert_eq!((quoted.units.len(), quoted.shortages[0].units), (0, 2));

    // The client lost the answers with the leader: it sends everything again, and nothing is placed twice.
    group.stop(leader, Stop::AtOnce).await;
    let (group, orders) = (&group, &orders[..200]);
    let (next, again) = eventually("another leader", || async {
        for at in (0..3).filter(|at| *at != leader) {
            if let Ok(again) = place_all(group, at, orders).await {
                return Some((at, again));
            }
        }
        None
    })
    .await;
    for (id, outcome) in &again {
        assert!(matches!(outcome.as_slice(), [Outcome::Placed(placed)] if placed.already_placed), "{id}: {outcome:?}");
    }
    assert_eq!(again.len(), 200);
    assert_eq!(available(group, next, "MUG-1").await, 0);
}

async fn watch(group: &Group, at: usize, request: WatchAvailabilityRequest) -> Streaming<WatchAvailabilityResponse> {
    AvailabilityStreamServiceClient::new(group.channel(at)).watch_availability(request).await.unwrap().into_inner()
}

async fn next(stream: &mut Streaming<WatchAvailabilityResponse>) -> WatchAvailabilityResponse {
    tokio::time::timeout(PATIENCE, stream.message()).await.expect("in time").unwrap().expect("the stream goes on")
}

fn totals(message: &WatchAvailabilityResponse) -> Vec<(String, i64)> {
    let total = |total: &stockmesh_proto::coordinator::v1::AvailabilityTotal| {
        (total.stock_key.clone().unwrap_or_default().item, total.available_to_fulfill)
    };
    message.totals.iter().map(total).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_sees_changes_and_resumes_at_another_replica() {
    let group = Group::start(10_000).await;
    stock(&group, &[("MUG-1", 10), ("MUG-2", 3), ("MUG-3", 5)]).await;
    group.agree().await;
    let followed = vec![key("MUG-1"), key("MUG-2"), key("NOT-YET")];
    let request = WatchAvailabilityRequest { stock_keys: followed, resume_after: None, interval_ms: 10 };
    let mut stream = watch(&group, 0, request.clone()).await;
    let first = next(&mut stream).await;
    assert!(first.reset && first.cursor.is_some());
    assert_eq!(totals(&first), [("MUG-1".to_owned(), 10), ("MUG-2".to_owned(), 3)]);
    place(&group, order("W1", "MUG-3", 1)).await;
    place(&group, order("W2", "MUG-2", 2)).await;
    let second = next(&mut stream).await;
    assert!(!second.reset);
    assert_eq!(totals(&second), [("MUG-2".to_owned(), 1)], "what it does not follow is not sent");
    drop(stream);
    place(&group, order("W3", "MUG-1", 4)).await;
    // Elsewhere, from where it was: what it has is not sent again.
    let resumed = WatchAvailabilityRequest { resume_after: second.cursor, ..request };
    let mut stream = watch(&group, 1, resumed).await;
    let third = next(&mut stream).await;
    assert_eq!((third.reset, totals(&third)), (false, vec![("MUG-1".to_owned(), 6)]));
    // All keys, for one that names none.
    let mut all = watch(&group, 2, WatchAvailabilityRequest::default()).await;
    assert_eq!(next(&mut all).await.totals.len(), 3);

    let ask = BatchGetAvailabilityRequest {
        stock_keys: ["MUG-3", "NO-SUCH", "MUG-1"].map(key).to_vec(),
        max_staleness_ms: 60_000,
    };
    let mut client = AvailabilityStreamServiceClient::new(group.channel(0));
    let answer = client.batch_get_availability(ask).await.unwrap().into_inner();
    assert_eq!(answer.available_to_fulfill, [4, 0, 6], "the first such call has asked a quorum");
    assert!(answer.staleness_ms.is_some());
    drop((stream, all));
    group.end().await;
}
