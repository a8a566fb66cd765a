//! gRPC: who may ask what, where it is answered, and how answers become messages.
//!
//! Handlers check the caller and the shape of a request, hand it to the driver, and wait: a caller that goes away loses
//! only the answer. Writes on a follower are forwarded to the leader, with the caller's principal beside them; reads are
//! answered here. Business is the core's.

mod acknowledgements;
mod availability;
mod availability_stream;
mod catalog;
mod cluster;
mod feeds;
mod members;
mod network;
mod order_stream;
mod orders;
mod policy;
mod raft;
mod recovery;
mod replica;
mod restore;
mod sessions;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use stockmesh_coordinator_core::Answer;
use stockmesh_proto::coordinator::v1::availability_service_server::{self, AvailabilityServiceServer};
use stockmesh_proto::coordinator::v1::availability_stream_service_server::{self, AvailabilityStreamServiceServer};
use stockmesh_proto::coordinator::v1::catalog_service_server::{self, CatalogServiceServer};
use stockmesh_proto::coordinator::v1::cluster_service_server::{self, ClusterServiceServer};
use stockmesh_proto::coordinator::v1::grant_policy_service_server::{self, GrantPolicyServiceServer};
use stockmesh_proto::coordinator::v1::group_restore_service_server::{self, GroupRestoreServiceServer};
use stockmesh_proto::coordinator::v1::member_service_server::{self, MemberServiceServer};
use stockmesh_proto::coordinator::v1::network_service_server::{self, NetworkServiceServer};
use stockmesh_proto::coordinator::v1::node_recovery_service_server::{self, NodeRecoveryServiceServer};
use stockmesh_proto::coordinator::v1::node_retirement_service_server::{self, NodeRetirementServiceServer};
use stockmesh_proto::coordinator::v1::order_service_server::{self, OrderServiceServer};
use stockmesh_proto::coordinator::v1::order_stream_service_server::{self, OrderStreamServiceServer};
use stockmesh_proto::feed::v1::feed_service_server::{self, FeedServiceServer};
use stockmesh_proto::raft::v1::raft_service_server::{self, RaftServiceServer};
use stockmesh_proto::raft::v1::replica_service_server::{self, ReplicaServiceServer};
use stockmesh_proto::raft::v1::{Command, command};
use stockmesh_service::principal::from_uri;
use stockmesh_service::status::{explain, not_leader, reason_of, to_status};
use stockmesh_service::{Caller, Dialer, MAX_MESSAGE_BYTES, Security};
use stockmesh_types::{Principal, PrincipalKind, Reason, Reject};
use tokio::sync::watch;
use tonic::metadata::MetadataValue;
use tonic::service::Routes;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::driver::Handle;
use crate::transport::MAX_RAFT_BYTES;

pub use acknowledgements::report_acknowledgements;

/// Metadata of a forwarded request: the principal that asked, as in a certificate. Believed from coordinators only.
const ON_BEHALF_OF: &str = "stockmesh-on-behalf-of";
/// How long a request waits for a leader to be elected.
const LEADER_PATIENCE: Duration = Duration::from_secs(2);
/// How long the leader may take to answer what was forwarded.
const FORWARD_PATIENCE: Duration = Duration::from_secs(10);

/// Who may place and cancel orders, and read them.
const ORDERS: &[PrincipalKind] = &[PrincipalKind::User, PrincipalKind::System];
/// Who may change master data.
const MASTER_DATA: &[PrincipalKind] = &[PrincipalKind::User, PrincipalKind::System];
/// Who may read what is not personal.
const READERS: &[PrincipalKind] = &[
    PrincipalKind::User,
    PrincipalKind::System,
    PrincipalKind::Node,
    PrincipalKind::Finance,
    PrincipalKind::Coordinator,
];

/// What the handlers share.
pub struct Context {
    handle: Handle,
    security: Security,
    dialer: Dialer,
    channels: Mutex<BTreeMap<u64, Channel>>,
    sessions: sessions::Sessions,
    /// Turns true when the process goes down: streams end.
    shutdown: watch::Receiver<bool>,
}

/// Who asks, once that is known to be allowed.
struct Asked {
    principal: Principal,
    /// Another replica forwarded it: it is not forwarded again.
    forwarded: bool,
}

impl Context {
    /// For the replica behind `handle`.
    #[must_use]
    pub fn new(handle: Handle, security: Security, shutdown: watch::Receiver<bool>) -> Arc<Self> {
        let dialer = Dialer::new(security.clone());
        Arc::new(Self {
            handle,
            security,
            dialer,
            channels: Mutex::default(),
            sessions: sessions::Sessions::default(),
            shutdown,
        })
    }

    /// Checks who asks. A coordinator replica may forward what another caller asked it.
    fn asked<T>(&self, request: &Request<T>, kinds: &[PrincipalKind]) -> Result<Asked, Status> {
        let caller = Caller::of(request, &self.security).map_err(|reject| to_status(&reject))?;
        let Some(named) = request.metadata().get(ON_BEHALF_OF) else {
            caller.require(kinds).map_err(|reject| to_status(&reject))?;
            let principal = caller.principals.iter().find(|principal| kinds.contains(&principal.kind));
            return Ok(Asked { principal: principal.unwrap_or(caller.principal()).clone(), forwarded: false });
        };
        if !caller.is(PrincipalKind::Coordinator, &self.group()) {
            let reject = Reject::new(Reason::NotAllowed, "only a replica of this group may ask on behalf of another");
            return Err(to_status(&reject));
        }
        if matches!(self.security, Security::InsecureDev) {
            return Ok(Asked { principal: Principal::insecure(), forwarded: true });
        }
        let principal = named.to_str().ok().and_then(from_uri).ok_or_else(|| {
            to_status(&Reject::new(Reason::Unauthenticated, "the request names no principal that it was forwarded for"))
        })?;
        let original = Caller { principals: vec![principal.clone()] };
        original.require(kinds).map_err(|reject| to_status(&reject))?;
        Ok(Asked { principal, forwarded: true })
    }

    fn group(&self) -> String {
        self.handle.identity().group.to_string()
    }

    fn leads(&self) -> bool {
        self.handle.status().leads
    }

    /// Address of a member, or of one that was.
    fn address(&self, replica: u64) -> Option<String> {
        let board = self.handle.board();
        let record = board.members.directory.get(replica)?;
        (!record.address.is_empty()).then(|| record.address.clone())
    }

    fn leader_address(&self) -> Option<String> {
        self.address(self.handle.status().leader_id)
    }

    /// The status for a reject; `NOT_LEADER` names the leader.
    fn refuse(&self, reject: &Reject) -> Status {
        if reject.reason == Reason::NotLeader {
            not_leader(self.leader_address().as_deref())
        } else {
            to_status(reject)
        }
    }

    /// Waits until a leader is known, for as long as an election may take.
    async fn await_leader(&self) {
        let mut status = self.handle.watch_status();
        // Nobody leads in time, or the driver is gone: what follows says so.
        let _ = tokio::time::timeout(LEADER_PATIENCE, status.wait_for(|now| now.leader_id != 0)).await;
    }

    fn channel(&self, replica: u64, address: &str) -> Result<Channel, Status> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(&replica) {
            return Ok(channel.clone());
        }
        let channel = self.dialer.channel(address).map_err(|error| Status::internal(error.to_string()))?;
        channels.insert(replica, channel.clone());
        Ok(channel)
    }

    /// Sends the same request to the leader, on behalf of who asked.
    async fn forward<Q, R, F, Fut>(&self, asked: &Asked, message: Q, call: F) -> Result<Response<R>, Status>
    where
        F: FnOnce(Channel, Request<Q>) -> Fut,
        Fut: Future<Output = Result<Response<R>, Status>>,
    {
        let leader = self.handle.status().leader_id;
        let address = self.address(leader).filter(|_| leader != self.handle.identity().replica_id);
        let (Some(address), false) = (address, asked.forwarded) else {
            return Err(not_leader(self.leader_address().as_deref()));
        };
        let mut request = Request::new(message);
        let principal = MetadataValue::try_from(stockmesh_service::principal::uri_of(&asked.principal))
            .map_err(|_| Status::internal("a principal that is no metadata value"))?;
        request.metadata_mut().insert(ON_BEHALF_OF, principal);
        request.set_timeout(FORWARD_PATIENCE);
        let unknown = |what: String| {
            to_status(&Reject::new(
                Reason::OutcomeUnknown,
                format!("the leader at {address} did not answer ({what}): repeat with the same id"),
            ))
        };
        match tokio::time::timeout(FORWARD_PATIENCE, call(self.channel(leader, &address)?, request)).await {
            Ok(Ok(response)) => Ok(Response::new(response.into_inner())),
            // The leader's own words.
            Ok(Err(status)) if reason_of(&status).is_some() => {
                Err(Status::with_details(status.code(), status.message(), status.details().to_vec().into()))
            }
            Ok(Err(status)) => Err(unknown(explain(&status))),
            Err(_) => Err(unknown("in time".to_owned())),
        }
    }

    /// Logs a command and waits for what comes of it.
    async fn submit(&self, command: Command) -> Result<Answer, Status> {
        self.handle.submit(command).await.map_err(|reject| self.refuse(&reject))
    }

    /// Waits until what is committed now has been applied here.
    async fn linearize(&self) -> Result<(), Status> {
        self.handle.linearize().await.map_err(|reject| self.refuse(&reject))
    }
}

/// A client's command, with what makes a repeat known.
fn command_of<M: prost::Message>(asked: &Asked, request_id: &str, request: &M, kind: command::Kind) -> Command {
    Command {
        principal: Some((&asked.principal).into()),
        request_id: request_id.to_owned(),
        request_hash: Sha256::digest(request.encode_to_vec()).to_vec(),
        kind: Some(kind),
    }
}

/// A command of the coordinator's own.
fn own_command(group: String, kind: command::Kind) -> Command {
    let principal = Principal { kind: PrincipalKind::Coordinator, id: group };
    Command { principal: Some((&principal).into()), kind: Some(kind), ..Command::default() }
}

/// `apply` answered a command with another kind's answer: a fault of this build, not of the caller.
fn other_answer(answer: &Answer) -> Status {
    stockmesh_service::status::internal(&format!("a command was answered with {answer:?}"))
}

/// The handlers of one service: what they share is the context.
macro_rules! service {
    ($name:ident) => {
        pub(super) struct $name(pub(super) std::sync::Arc<super::Context>);

        impl std::ops::Deref for $name {
            type Target = super::Context;
            fn deref(&self) -> &super::Context {
                &self.0
            }
        }
    };
}
pub(crate) use service;

/// Every service of a coordinator replica, and their names for health.
#[must_use]
pub fn routes(context: &Arc<Context>) -> (Routes, Vec<&'static str>) {
    macro_rules! limited {
        ($server:ident, $service:expr) => {
            $server::new($service)
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES)
        };
    }
    let routes = Routes::new(limited!(OrderServiceServer, orders::Orders(context.clone())))
        .add_service(limited!(CatalogServiceServer, catalog::Catalog(context.clone())))
        .add_service(limited!(NetworkServiceServer, network::Network(context.clone())))
        .add_service(limited!(AvailabilityServiceServer, availability::Availability(context.clone())))
        .add_service(limited!(OrderStreamServiceServer, order_stream::OrderStreams::new(context.clone())))
        .add_service(limited!(
            AvailabilityStreamServiceServer,
            availability_stream::AvailabilityStreams::new(context.clone())
        ))
        .add_service(limited!(ClusterServiceServer, cluster::Cluster(context.clone())))
        .add_service(limited!(MemberServiceServer, members::MemberHandlers(context.clone())))
        .add_service(limited!(ReplicaServiceServer, replica::Replicas(context.clone())))
        .add_service(limited!(GrantPolicyServiceServer, policy::GrantPolicies(context.clone())))
        .add_service(limited!(GroupRestoreServiceServer, restore::GroupRestores(context.clone())))
        .add_service(limited!(NodeRecoveryServiceServer, recovery::Recoveries(context.clone())))
        .add_service(limited!(NodeRetirementServiceServer, recovery::Retirements(context.clone())))
        .add_service(limited!(FeedServiceServer, feeds::Feeds(context.clone())))
        .add_service(
            RaftServiceServer::new(raft::Raft::new(context.clone()))
                .max_decoding_message_size(MAX_RAFT_BYTES)
                .max_encoding_message_size(MAX_RAFT_BYTES),
        );
    let names = vec![
        order_service_server::SERVICE_NAME,
        catalog_service_server::SERVICE_NAME,
        network_service_server::SERVICE_NAME,
        availability_service_server::SERVICE_NAME,
        order_stream_service_server::SERVICE_NAME,
        availability_stream_service_server::SERVICE_NAME,
        cluster_service_server::SERVICE_NAME,
        grant_policy_service_server::SERVICE_NAME,
        group_restore_service_server::SERVICE_NAME,
        node_recovery_service_server::SERVICE_NAME,
        node_retirement_service_server::SERVICE_NAME,
        feed_service_server::SERVICE_NAME,
        raft_service_server::SERVICE_NAME,
        member_service_server::SERVICE_NAME,
        replica_service_server::SERVICE_NAME,
    ];
    (routes, names)
}
