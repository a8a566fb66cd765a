//! `node recovery …` and `node retire …`: epochs of nodes, and nodes that are given up.

use stockmesh_proto::coordinator::v1::node_recovery_service_client::NodeRecoveryServiceClient;
use stockmesh_proto::coordinator::v1::node_retirement_service_client::NodeRetirementServiceClient;
use stockmesh_proto::coordinator::v1::{
    AcceptDuplicatesRequest, ApproveRetirementRequest, GetEpochRequest, GetRetirementRequest, GetWelcomeRequest,
    NodeStanding, ProposeRetirementRequest, ReinstateNodeRequest, Retirement, RetirementStage, SealEpochRequest,
};
use stockmesh_proto::feed::v1::FeedPosition;
use stockmesh_service::output::{Table, print};
use stockmesh_service::request::new_request_id;

use super::{Asking, CliError, call, json};

#[derive(clap::Subcommand, Debug)]
pub(super) enum RecoveryCommand {
    /// What the coordinator has of a node's feed: epoch, last entry, its hash
    Epoch {
        /// Node
        node: String,
    },
    /// Seal the present epoch of a node and open the next one. Nodes do this themselves when they recover
    Seal {
        /// Node
        node: String,
        /// The epoch that ends, as `epoch` shows it
        #[arg(long)]
        epoch: u64,
        /// Last entry of it that exists anywhere: SEQ:HASH, the hash in hexadecimal; 0 when there is none
        #[arg(long, value_name = "SEQ:HASH", value_parser = position)]
        last: FeedPosition,
        /// The coordinator's last entry, as `epoch` shows it, when nobody has the entries up to it any more
        #[arg(long, value_name = "SEQ:HASH", value_parser = position)]
        lost_to: Option<FeedPosition>,
        /// UUID drawn fresh for this recovery: give it again to repeat the request
        #[arg(long, value_name = "UUID")]
        recovery_id: Option<String>,
    },
    /// What a node starts its new epoch with: rights, and every allocation with its progress
    Welcome {
        /// Node
        node: String,
        /// Id of its present recovery
        #[arg(long, value_name = "UUID")]
        recovery_id: String,
    },
}

#[derive(clap::Subcommand, Debug)]
pub(super) enum RetireCommand {
    /// Give a node up as lost: the first of two people. Nothing changes before the second agrees
    Propose {
        /// Node
        node: String,
        /// Why
        #[arg(long)]
        reason: String,
        /// Who asks; needed under --insecure-dev only, where no certificate says it
        #[arg(long, default_value = "")]
        person: String,
    },
    /// Agree as the second person: nothing is promised from the node any more, and what it owes is reserved elsewhere
    Approve {
        /// Node
        node: String,
        /// Who asks; needed under --insecure-dev only
        #[arg(long, default_value = "")]
        person: String,
    },
    /// Sign that units of a lost node may ship twice: two people, one call each. What is reserved elsewhere then leaves
    AcceptDuplicates {
        /// Node
        node: String,
        /// Who signs; needed under --insecure-dev only
        #[arg(long, default_value = "")]
        person: String,
    },
    /// The node was found: it comes back by a recovery of its store
    Reinstate {
        /// Node
        node: String,
        /// Who asks; needed under --insecure-dev only
        #[arg(long, default_value = "")]
        person: String,
    },
    /// How far it is
    Status {
        /// Node
        node: String,
    },
}

/// Reads SEQ:HASH, or 0 for the start of a feed.
fn position(text: &str) -> Result<FeedPosition, String> {
    if text == "0" {
        return Ok(FeedPosition { seq: 0, hash: vec![0; 32] });
    }
    let wrong = || format!("{text:?} is not SEQ:HASH, as in 12:9f86d081… with 64 hexadecimal digits");
    let (seq, hash) = text.split_once(':').ok_or_else(wrong)?;
    let seq = seq.parse().map_err(|_| wrong())?;
    if hash.len() != 64 || !hash.is_ascii() {
        return Err(wrong());
    }
    let byte = |at: usize| u8::from_str_radix(&hash[at..at + 2], 16).map_err(|_| wrong());
    let hash = (0..64).step_by(2).map(byte).collect::<Result<_, _>>()?;
    Ok(FeedPosition { seq, hash })
}

fn position_text(position: Option<&FeedPosition>) -> String {
    let Some(FeedPosition { seq, hash }) = position else { return "0".to_owned() };
    if *seq == 0 {
        return "0".to_owned();
    }
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{seq}:{hash}")
}

pub(super) fn standing_word(standing: i32) -> &'static str {
    match NodeStanding::try_from(standing) {
        Ok(NodeStanding::Recovering) => "recovering",
        Ok(NodeStanding::Lost) => "lost",
        Ok(NodeStanding::Unreported) => "unreported",
        Ok(NodeStanding::Unspecified) | Err(_) => "open",
    }
}

pub(super) async fn run_recovery(asking: &Asking, command: RecoveryCommand) -> Result<(), CliError> {
    match command {
        RecoveryCommand::Epoch { node } => {
            let request = GetEpochRequest { node: node.clone() };
            let response = call!(asking, NodeRecoveryServiceClient, get_epoch, request)?;
            let last = position_text(response.cursor.as_ref());
            let standing = standing_word(response.standing);
            let table = Table::new(&["node", "epoch", "last entry", "standing"]).row(vec![
                node.clone(),
                response.epoch.to_string(),
                last.clone(),
                standing.to_owned(),
            ]);
            let value = serde_json::json!({
                "node": node, "epoch": response.epoch, "last": last, "standing": standing,
                "group": response.group, "incarnation": response.incarnation,
            });
            print(asking.output, &table, &value);
        }
        RecoveryCommand::Seal { node, epoch, last, lost_to, recovery_id } => {
            let recovery_id = recovery_id.unwrap_or_else(new_request_id);
            let request = SealEpochRequest { node: node.clone(), epoch, r#final: Some(last), recovery_id, lost_to };
            let response = call!(asking, NodeRecoveryServiceClient, seal_epoch, request)?;
            let table = Table::new(&["node", "new epoch", "recovery"]).row(vec![
                node.clone(),
                response.epoch.to_string(),
                response.recovery_id.clone(),
            ]);
            let value = serde_json::json!({
                "node": node, "epoch": response.epoch, "recovery_id": response.recovery_id,
            });
            print(asking.output, &table, &value);
        }
        RecoveryCommand::Welcome { node, recovery_id } => welcome(asking, node, recovery_id).await?,
    }
    Ok(())
}

async fn welcome(asking: &Asking, node: String, recovery_id: String) -> Result<(), CliError> {
    let mut table = Table::new(&["what", "stock key", "quantity", "shipped", "cancelled", "asked", "rights"]);
    let (mut values, mut page_token) = (Vec::new(), String::new());
    let (epoch, cursor) = loop {
        let request = GetWelcomeRequest { node: node.clone(), recovery_id: recovery_id.clone(), page_token };
        let page = call!(asking, NodeRecoveryServiceClient, get_welcome, request)?;
        for cell in &page.cells {
            let key = cell.stock_key.as_ref().map_or_else(String::new, json::stock_key_text);
            let none = String::new;
            let rights = (cell.granted - cell.returned).to_string();
            table.push(vec!["cell".to_owned(), key.clone(), none(), none(), none(), none(), rights]);
            values.push(serde_json::json!({
                "cell": key, "granted": cell.granted, "returned": cell.returned,
                "shortfall_level": cell.shortfall_level,
            }));
        }
        for allocation in &page.allocations {
            let opened = allocation.opened.clone().unwrap_or_default();
            let key = opened.stock_key.as_ref().map_or_else(String::new, json::stock_key_text);
            let id = opened
                .allocation
                .map_or_else(String::new, |id| format!("k{}-{}-{}", id.incarnation, id.log_index, id.n));
            table.push(vec![
                id.clone(),
                key.clone(),
                opened.quantity.to_string(),
                allocation.shipped.to_string(),
                allocation.cancelled.to_string(),
                allocation.requested.to_string(),
                String::new(),
            ]);
            values.push(serde_json::json!({
                "allocation": id, "order_id": opened.order_id, "line": opened.line, "stock_key": key,
                "quantity": opened.quantity, "shipped": allocation.shipped, "cancelled": allocation.cancelled,
                "lost": allocation.lost, "requested": allocation.requested,
            }));
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break (page.epoch, position_text(page.work_cursor.as_ref()));
        }
    };
    let value = serde_json::json!({
        "node": node, "epoch": epoch, "recovery_id": recovery_id, "work_cursor": cursor, "records": values,
    });
    print(asking.output, &table, &value);
    Ok(())
}

pub(super) async fn run_retire(asking: &Asking, command: RetireCommand) -> Result<(), CliError> {
    let request_id = new_request_id();
    let retirement = match command {
        RetireCommand::Propose { node, reason, person } => {
            let request = ProposeRetirementRequest { request_id, node, reason, person };
            call!(asking, NodeRetirementServiceClient, propose_retirement, request)?.retirement
        }
        RetireCommand::Approve { node, person } => {
            let request = ApproveRetirementRequest { request_id, node, person };
            call!(asking, NodeRetirementServiceClient, approve_retirement, request)?.retirement
        }
        RetireCommand::AcceptDuplicates { node, person } => {
            let request = AcceptDuplicatesRequest { request_id, node, person };
            call!(asking, NodeRetirementServiceClient, accept_duplicates, request)?.retirement
        }
        RetireCommand::Reinstate { node, person } => {
            let request = ReinstateNodeRequest { request_id, node: node.clone(), person };
            call!(asking, NodeRetirementServiceClient, reinstate_node, request)?;
            call!(asking, NodeRetirementServiceClient, get_retirement, GetRetirementRequest { node: node.clone() })?
                .retirement
        }
        RetireCommand::Status { node } => {
            call!(asking, NodeRetirementServiceClient, get_retirement, GetRetirementRequest { node: node.clone() })?
                .retirement
        }
    };
    print_retirement(asking, &retirement.unwrap_or_default());
    Ok(())
}

fn print_retirement(asking: &Asking, retirement: &Retirement) {
    let stage = match RetirementStage::try_from(retirement.stage) {
        Ok(RetirementStage::Proposed) => "proposed: a second person must approve",
        Ok(RetirementStage::Retired) => "retired: what it owes waits elsewhere for its word",
        Ok(RetirementStage::DuplicatesProposed) => "retired: a second person must sign for duplicates",
        Ok(RetirementStage::DuplicatesAccepted) => "retired: what it owed ships from elsewhere",
        Ok(RetirementStage::Unspecified) | Err(_) => "not retired",
    };
    let people = [
        &retirement.proposed_by,
        &retirement.approved_by,
        &retirement.duplicates_proposed_by,
        &retirement.duplicates_accepted_by,
    ];
    let people: Vec<&str> = people.into_iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
    let table = Table::new(&["node", "stage", "reason", "people", "unanswered", "reserved elsewhere"]).row(vec![
        retirement.node.clone(),
        stage.to_owned(),
        retirement.reason.clone(),
        people.join(", "),
        retirement.units_unanswered.to_string(),
        retirement.units_reserved_elsewhere.to_string(),
    ]);
    let value = serde_json::json!({
        "node": retirement.node,
        "stage": RetirementStage::try_from(retirement.stage).unwrap_or_default().as_str_name(),
        "reason": retirement.reason,
        "proposed_by": retirement.proposed_by,
        "approved_by": retirement.approved_by,
        "duplicates_proposed_by": retirement.duplicates_proposed_by,
        "duplicates_accepted_by": retirement.duplicates_accepted_by,
        "units_unanswered": retirement.units_unanswered,
        "units_reserved_elsewhere": retirement.units_reserved_elsewhere,
    });
    print(asking.output, &table, &value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_survive_text() {
        for position_of in
            [FeedPosition { seq: 0, hash: vec![0; 32] }, FeedPosition { seq: 17, hash: (0..32).collect() }]
        {
            assert_eq!(position(&position_text(Some(&position_of))), Ok(position_of));
        }
        for wrong in ["", "1", "1:", "x:00", "1:zz", &format!("1:{}", "g".repeat(64))] {
            assert!(position(wrong).is_err(), "{wrong}");
        }
    }
}
