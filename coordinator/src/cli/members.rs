//! `cluster member …`, `cluster transfer`, `cluster raise-level`.

use stockmesh_proto::coordinator::v1::member_service_client::MemberServiceClient;
use stockmesh_proto::coordinator::v1::{
    AddMemberRequest, ListMembersRequest, Member, MemberRole, PromoteMemberRequest, RaiseFeatureLevelRequest,
    RemoveMemberRequest, TransferLeadershipRequest,
};
use stockmesh_service::output::{Table, print};

use super::{Asking, CliError, call};

/// Changing the members of a running group.
#[derive(clap::Subcommand, Debug)]
#[command(
    after_long_help = "REPLACING A REPLICA WHOSE DISK IS LOST (id 3 is lost, 4 is new; an id is never used twice):
  stockmesh-coordinator cluster member add 4 --address host-4:7101
  # on host-4, with `replica_id = 4`, `join = true` and all replicas, itself included, under [[replicas]]:
  stockmesh-coordinator serve --config coordinator-4.toml
  stockmesh-coordinator cluster member promote 4 --instead-of 3

A replica that comes back with an empty or foreign folder under its old id is refused by the others, and stops."
)]
pub(super) enum MemberCommand {
    /// All members, and those that were removed
    List,
    /// Let a fresh replica join: it gets the log, and does not vote yet
    Add {
        /// Replica id that nobody in this group ever had
        id: u64,
        /// Where the others and clients reach it
        #[arg(long, value_name = "HOST:PORT")]
        address: String,
    },
    /// Let a replica that has caught up vote
    Promote {
        /// Replica id
        id: u64,
        /// Voter that leaves in the same step
        #[arg(long, default_value_t = 0, hide_default_value = true, value_name = "ID")]
        instead_of: u64,
    },
    /// Remove a replica for good
    Remove {
        /// Replica id
        id: u64,
    },
}

pub(super) async fn run(asking: &Asking, command: MemberCommand) -> Result<(), CliError> {
    let member = match command {
        MemberCommand::List => return list(asking).await,
        MemberCommand::Add { id, address } => {
            let request = AddMemberRequest { replica_id: id, address };
            call!(asking, MemberServiceClient, add_member, request)?.member
        }
        MemberCommand::Promote { id, instead_of } => {
            let request = PromoteMemberRequest { replica_id: id, instead_of };
            call!(asking, MemberServiceClient, promote_member, request)?.member
        }
        MemberCommand::Remove { id } => {
            let request = RemoveMemberRequest { replica_id: id };
            call!(asking, MemberServiceClient, remove_member, request)?.member
        }
    };
    let member = member.unwrap_or_default();
    print(asking.output, &table(std::slice::from_ref(&member)), &json(&member));
    Ok(())
}

async fn list(asking: &Asking) -> Result<(), CliError> {
    let response = call!(asking, MemberServiceClient, list_members, ListMembersRequest {})?;
    let value = serde_json::json!({
        "members": response.members.iter().map(json).collect::<Vec<_>>(),
        "changing": response.changing,
        "feature_level": response.feature_level,
    });
    print(asking.output, &table(&response.members), &value);
    Ok(())
}

pub(super) async fn transfer(asking: &Asking, to: u64) -> Result<(), CliError> {
    let request = TransferLeadershipRequest { replica_id: to };
    let asked = call!(asking, MemberServiceClient, transfer_leadership, request)?;
    let mut table = Table::new(&["asked to lead"]);
    table.push(vec![if asked.replica_id == 0 { "most up to date".to_owned() } else { asked.replica_id.to_string() }]);
    print(asking.output, &table, &serde_json::json!({ "replica_id": asked.replica_id }));
    Ok(())
}

pub(super) async fn raise_level(asking: &Asking, level: u32) -> Result<(), CliError> {
    let request = RaiseFeatureLevelRequest { level };
    let raised = call!(asking, MemberServiceClient, raise_feature_level, request)?;
    let mut table = Table::new(&["feature level"]);
    table.push(vec![raised.level.to_string()]);
    print(asking.output, &table, &serde_json::json!({ "feature_level": raised.level }));
    Ok(())
}

fn role(member: &Member) -> &'static str {
    match member.role() {
        MemberRole::Unspecified => "?",
        MemberRole::Voter if member.leads => "leader",
        MemberRole::Voter => "voter",
        MemberRole::Learner => "learner",
        MemberRole::Leaving => "leaving",
        MemberRole::Removed => "removed",
    }
}

fn table(members: &[Member]) -> Table {
    let mut table = Table::new(&["replica", "address", "role", "has up to", "clock ms", "level", "disk"]);
    for member in members {
        let known = |known: bool, text: String| if known { text } else { String::new() };
        table.push(vec![
            member.replica_id.to_string(),
            member.address.clone(),
            role(member).to_owned(),
            known(member.matched_index > 0, member.matched_index.to_string()),
            known(member.clock_known, format!("{:+}", member.clock_offset_ms)),
            known(member.feature_level > 0, member.feature_level.to_string()),
            member.store_id.chars().take(12).collect(),
        ]);
    }
    table
}

fn json(member: &Member) -> serde_json::Value {
    serde_json::json!({
        "replica_id": member.replica_id,
        "address": member.address,
        "role": role(member),
        "store_id": member.store_id,
        "matched_index": member.matched_index,
        "leads": member.leads,
        "clock_offset_ms": member.clock_known.then_some(member.clock_offset_ms),
        "feature_level": member.feature_level,
    })
}
