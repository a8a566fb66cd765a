//! Members that come and go while orders are placed, and a disk that is lost.

use stockmesh_coordinator::serve::Stop;
use stockmesh_proto::coordinator::v1::member_service_client::MemberServiceClient;
use stockmesh_proto::coordinator::v1::{
    AddMemberRequest, ListMembersRequest, ListMembersResponse, Member, MemberRole, PromoteMemberRequest,
    RemoveMemberRequest, TransferLeadershipRequest,
};
use stockmesh_service::status::known_reason;
use stockmesh_types::Reason;
use tonic::Status;

use super::group::*;

async fn list(group: &Group, at: usize) -> Option<ListMembersResponse> {
    let mut client = MemberServiceClient::new(group.channel(at));
    client.list_members(ListMembersRequest {}).await.ok().map(tonic::Response::into_inner)
}

async fn add(group: &Group, id: u64, address: &str) -> Result<Option<Member>, Status> {
    let request = AddMemberRequest { replica_id: id, address: address.to_owned() };
    let call = |channel| {
        let request = request.clone();
        async move { MemberServiceClient::new(channel).add_member(request).await }
    };
    group.client().call(call).await.map(|answer| answer.member)
}

async fn promote(group: &Group, id: u64, instead_of: u64) -> Result<Option<Member>, Status> {
    let request = PromoteMemberRequest { replica_id: id, instead_of };
    let call = |channel| async move { MemberServiceClient::new(channel).promote_member(request).await };
    group.client().call(call).await.map(|answer| answer.member)
}

async fn remove(group: &Group, id: u64) -> Result<Option<Member>, Status> {
    let request = RemoveMemberRequest { replica_id: id };
    let call = |channel| async move { MemberServiceClient::new(channel).remove_member(request).await };
    group.client().call(call).await.map(|answer| answer.member)
}

/// Every member's disk stands in the log.
async fn all_met(group: &Group, at: usize) {
    eventually("every member to be met", || async {
        let members = list(group, at).await?.members;
        members.iter().all(|member| !member.store_id.is_empty()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_disk_is_refused_under_its_old_id_and_replaced_by_a_new_member() {
    let mut group = Group::start(40).await;
    stock(&group, &[("MUG-1", 100)]).await;
    let leader = group.leader().await;
    all_met(&group, leader).await;
    let lost = (0..3).find(|at| *at != leader).unwrap();
    let lost_id = group.ids[lost];

    // Its machine is set up anew, with an empty folder: it stops, and says what to do.
    group.stop(lost, Stop::AtOnce).await;
    std::fs::remove_dir_all(group.data_dir(lost)).unwrap();
    group.restart(lost).await;
    let Running { stop: _stop, task } = group.replicas[lost].take().unwrap();
    let ended = tokio::time::timeout(PATIENCE, task).await.expect("it stops").unwrap();
    let message = format!("{:#}", ended.unwrap_err());
    assert!(message.contains("joined on another disk") && message.contains("member add"), "{message}");

    // A new one joins while orders are placed, far enough behind to need a snapshot, and takes the lost one's place.
    for n in 0..60 {
        place(&group, order(&format!("M{n}"), "MUG-1", 1)).await;
    }
    let used = add(&group, group.ids[leader], "127.0.0.1:1").await.unwrap_err();
    assert_eq!(known_reason(&used), Some(Reason::MemberExists), "{used:?}");
    let fourth = group.join(4).await;
    let address = group.addresses[fourth].clone();
    let unknown = promote(&group, 4, 0).await.unwrap_err();
    assert_eq!(known_reason(&unknown), Some(Reason::UnknownMember), "{unknown:?}");
    let added = add(&group, 4, &address).await.unwrap().unwrap();
    assert_eq!((added.replica_id, added.role()), (4, MemberRole::Learner));
    add(&group, 4, &address).await.expect("a repeat changes nothing");
    eventually("the new member to catch up and be promoted", || async {
        promote(&group, 4, lost_id).await.ok().map(|_| ())
    })
    .await;
    eventually("the change to be over everywhere", || async {
        for at in [leader, fourth] {
            let listed = list(&group, at).await?;
            let role = |id: u64| listed.members.iter().find(|member| member.replica_id == id).map(Member::role);
            let over =
                !listed.changing && role(4) == Some(MemberRole::Voter) && role(lost_id) == Some(MemberRole::Removed);
            over.then_some(())?;
        }
        Some(())
    })
    .await;
    let again = add(&group, lost_id, "127.0.0.1:1").await.unwrap_err();
    assert_eq!(known_reason(&again), Some(Reason::MemberRemoved), "an id is never used again");

    // The new member counts: with it and one other there is a quorum, and what was placed before is there.
    group.leader().await;
    let third = (0..3).find(|at| *at != lost && *at != leader).unwrap();
    group.stop(third, Stop::AtOnce).await;
    place(&group, order("M60", "MUG-1", 1)).await;
    assert_eq!(available(&group, fourth, "MUG-1").await, 39);
    group.restart(third).await;
    group.leader().await;
    group.agree().await;
    // It comes back from its own disk.
    group.stop(fourth, Stop::AtOnce).await;
    group.restart(fourth).await;
    group.leader().await;
    group.agree().await;
    group.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_can_be_removed_and_leadership_handed_over() {
    let mut group = Group::start(10_000).await;
    stock(&group, &[("MUG-1", 10)]).await;
    let leader = group.leader().await;
    all_met(&group, leader).await;
    let heir = (0..3).find(|at| *at != leader).unwrap();
    let to = group.ids[heir];
    let asked = TransferLeadershipRequest { replica_id: to };
    MemberServiceClient::new(group.channel(leader)).transfer_leadership(asked).await.unwrap();
    eventually("the heir to lead", || async { (group.status(heir).await?.leader_id == to).then_some(()) }).await;

    // The leader is removed through whoever leads next.
    remove(&group, to).await.unwrap();
    let Running { stop: _stop, task } = group.replicas[heir].take().unwrap();
    let ended = tokio::time::timeout(PATIENCE, task).await.expect("it stops").unwrap();
    let message = format!("{:#}", ended.unwrap_err());
    assert!(message.contains("was removed"), "{message}");
    remove(&group, to).await.expect("a repeat changes nothing");
    place(&group, order("R1", "MUG-1", 1)).await;
    group.leader().await;
    group.agree().await;
    group.end().await;
}
