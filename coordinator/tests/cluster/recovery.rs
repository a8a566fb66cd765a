//! A node's store is replaced: its epoch is sealed and it is welcomed into the next one, through any replica. A node is
//! lost: two people give it up, and what it owed ships from elsewhere once they sign.

use stockmesh_proto::common::v1 as wire;
use stockmesh_proto::coordinator::v1::network_service_client::NetworkServiceClient;
use stockmesh_proto::coordinator::v1::node_recovery_service_client::NodeRecoveryServiceClient;
use stockmesh_proto::coordinator::v1::node_retirement_service_client::NodeRetirementServiceClient;
use stockmesh_proto::coordinator::v1::{
    AcceptDuplicatesRequest, ApproveRetirementRequest, GetEpochRequest, GetRetirementRequest, GetWelcomeRequest, Node,
    NodeCosts, NodeStanding, ProposeRetirementRequest, RangeItemsRequest, RegisterNodeRequest, Retirement,
    RetirementStage, SealEpochRequest,
};
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{FeedPosition, RecoveryEnded, RightsGranted, ShipmentDispatched, ShipmentLine};
use stockmesh_service::request::new_request_id;
use stockmesh_service::status::known_reason;
use stockmesh_types::Reason;

use super::group::*;

fn node_client(group: &Group, at: usize) -> NodeRecoveryServiceClient<tonic::transport::Channel> {
    NodeRecoveryServiceClient::new(group.channel(at))
}

async fn epoch_of(group: &Group, at: usize) -> (u64, FeedPosition, NodeStanding) {
    let answer = node_client(group, at).get_epoch(GetEpochRequest { node: "dc-1".into() }).await.unwrap().into_inner();
    (answer.epoch, answer.cursor.clone().unwrap(), answer.standing())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_welcomed_into_its_next_epoch() {
    let group = Group::start(10_000).await;
    stock(&group, &[("MUG-1", 10)]).await;
    let follower = (group.leader().await + 1) % 3;
    let placed = place(&group, order("R1", "MUG-1", 4)).await.status.unwrap();
    let allocation = placed.lines[0].allocations[0].id;
    let (epoch, cursor, standing) = epoch_of(&group, follower).await;
    assert_eq!((epoch, cursor.seq, standing), (1, 1, NodeStanding::Unspecified));

    // What is to be sealed must be what the coordinator has.
    let recovery_id = new_request_id();
    let seal = |last: Option<FeedPosition>, id: &str| SealEpochRequest {
        node: "dc-1".into(),
        epoch: 1,
        r#final: last,
        recovery_id: id.to_owned(),
        lost_to: None,
    };
    let start = FeedPosition { seq: 0, hash: vec![0; 32] };
    let ahead = node_client(&group, follower).seal_epoch(seal(Some(start), &recovery_id)).await.unwrap_err();
    assert_eq!(known_reason(&ahead), Some(Reason::SealAhead));
    for _ in 0..2 {
        let sealed = node_client(&group, follower).seal_epoch(seal(Some(cursor.clone()), &recovery_id)).await.unwrap();
        assert_eq!((sealed.get_ref().epoch, sealed.get_ref().recovery_id.as_str()), (2, recovery_id.as_str()));
    }
    // Fenced at once, everywhere.
    for at in 0..3 {
        assert_eq!(available(&group, at, "MUG-1").await, 0);
    }
    assert_eq!(epoch_of(&group, follower).await.2, NodeStanding::Recovering);
    let waits = place(&group, order("R2", "MUG-1", 1)).await.status.unwrap();
    assert_eq!(waits.lines[0].backordered, 1);

    let ask = |id: &str, page_token: String| GetWelcomeRequest {
        node: "dc-1".into(),
        recovery_id: id.to_owned(),
        page_token,
    };
    let stale = node_client(&group, follower).get_welcome(ask(&new_request_id(), String::new())).await.unwrap_err();
    assert_eq!(known_reason(&stale), Some(Reason::StaleRecovery));
    let page = node_client(&group, follower).get_welcome(ask(&recovery_id, String::new())).await.unwrap().into_inner();
    assert_eq!((page.epoch, page.next_page_token.as_str()), (2, ""));
    assert!(
        page.standing.iter().any(|body| matches!(&body.fact, Some(Fact::ItemRanged(item)) if item.item == "MUG-1"))
    );
    assert_eq!((page.cells[0].granted, page.cells[0].returned), (10, 0));
    let welcomed = &page.allocations[0];
    assert_eq!((welcomed.opened.as_ref().unwrap().allocation, welcomed.shipped), (allocation, 0));

    // The manifest shows two units that the old history never told of.
    let line = ShipmentLine { allocation, line: 1, shipped_total: 2, quantity: 2, ..ShipmentLine::default() };
    let shipped = ShipmentDispatched { order_id: "R1".into(), lines: vec![line], ..ShipmentDispatched::default() };
    let facts = vec![Fact::ShipmentDispatched(shipped), Fact::RecoveryEnded(RecoveryEnded::default())];
    push(&group, GrantingNode::saying("dc-1", 2, facts)).await;
    assert_eq!(get(&group, follower, "R1").await.lines[0].shipped, 2);
    eventually("the waiting order to be promised", || async {
        (get(&group, follower, "R2").await.lines[0].backordered == 0).then_some(())
    })
    .await;
    assert_eq!(available(&group, follower, "MUG-1").await, 5);
    assert_eq!(epoch_of(&group, follower).await.2, NodeStanding::Unspecified);
    group.agree().await;
    group.end().await;
}

async fn second_node(group: &Group, node: &str, item: &str, units: i64) {
    let record = Node {
        node: node.to_owned(),
        kind: wire::NodeKind::DistributionCenter.into(),
        place: Some(wire::Place { country_code: "GB".to_owned(), ..wire::Place::default() }),
        legal_entity: "UK".to_owned(),
        costs: Some(NodeCosts { handling_per_unit_minor: 1_000, ..NodeCosts::default() }),
        ..Node::default()
    };
    let register = RegisterNodeRequest { request_id: new_request_id(), node: Some(record) };
    let range = RangeItemsRequest { request_id: new_request_id(), node: node.into(), items: vec![item.into()] };
    let leader = group.leader().await;
    NetworkServiceClient::new(group.channel(leader)).register_node(register).await.unwrap();
    NetworkServiceClient::new(group.channel(leader)).range_items(range).await.unwrap();
    let granted = RightsGranted { stock_key: Some(key(item)), granted_total: units };
    push(group, GrantingNode::saying(node, 1, vec![Fact::RightsGranted(granted)])).await;
}

async fn retirement(group: &Group) -> Retirement {
    let mut client = NodeRetirementServiceClient::new(group.channel(0));
    let answer = client.get_retirement(GetRetirementRequest { node: "dc-1".into() }).await.unwrap();
    answer.into_inner().retirement.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_lost_node_owed_leaves_elsewhere_only_when_two_people_signed() {
    let group = Group::start(10_000).await;
    stock(&group, &[("MUG-1", 5)]).await;
    let placed = place(&group, order("L1", "MUG-1", 3)).await.status.unwrap();
    assert_eq!(placed.lines[0].allocations[0].node, "dc-1");
    second_node(&group, "dc-2", "MUG-1", 5).await;
    // Through a follower. Nobody is authenticated here, so that the request names the person.
    let follower = (group.leader().await + 1) % 3;
    let client = || NodeRetirementServiceClient::new(group.channel(follower));
    let propose = |person: &str| ProposeRetirementRequest {
        request_id: new_request_id(),
        node: "dc-1".into(),
        reason: "flooded".into(),
        person: person.into(),
    };
    let approve = |person: &str| ApproveRetirementRequest {
        request_id: new_request_id(),
        node: "dc-1".into(),
        person: person.into(),
    };
    let accept = |person: &str| AcceptDuplicatesRequest {
        request_id: new_request_id(),
        node: "dc-1".into(),
        person: person.into(),
    };
    let early = client().approve_retirement(approve("ann")).await.unwrap_err();
    assert_eq!(known_reason(&early), Some(Reason::NotProposed));
    let nobody = client().propose_retirement(propose("")).await.unwrap_err();
    assert_eq!(known_reason(&nobody), Some(Reason::MissingField));
    client().propose_retirement(propose("ann")).await.unwrap();
    let same = client().approve_retirement(approve("ann")).await.unwrap_err();
    assert_eq!(known_reason(&same), Some(Reason::SamePerson));
    client().approve_retirement(approve("bob")).await.unwrap();
    eventually("its units to be reserved elsewhere", || async {
        (retirement(&group).await.units_reserved_elsewhere == 3).then_some(())
    })
    .await;
    assert_eq!(available(&group, 0, "MUG-1").await, 2);
    let waits = get(&group, 0, "L1").await;
    assert_eq!(waits.lines[0].allocations.len(), 1, "nothing left elsewhere: the lost node may still ship");
    client().accept_duplicates(accept("bob")).await.unwrap();
    assert_eq!(retirement(&group).await.stage(), RetirementStage::DuplicatesProposed);
    client().accept_duplicates(accept("ann")).await.unwrap();
    eventually("the units to become work elsewhere", || async {
        let line = get(&group, 0, "L1").await.lines.remove(0);
        (line.allocations.len() == 2 && line.allocations[1].node == "dc-2").then_some(())
    })
    .await;
    assert_eq!(retirement(&group).await.units_unanswered, 0);
    group.agree().await;
    group.end().await;
}
