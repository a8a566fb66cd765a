//! Who gets in: mutual TLS with good, missing, foreign and expired certificates; limits; health and reflection.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Books, GROUP, Log, Server, eventually, node_feed};
use stockmesh_proto::feed::v1::PullRequest;
use stockmesh_proto::feed::v1::feed_service_client::FeedServiceClient;
use stockmesh_service::certs::DevCa;
use stockmesh_service::link::{LinkState, run_push};
use stockmesh_service::server::{Limits, ServerError, bind};
use stockmesh_service::{Dialer, Identity, Security};
use stockmesh_types::{FeedId, Principal, PrincipalKind};
use tempfile::TempDir;
use tokio::sync::watch;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

struct Certs {
    dir: TempDir,
    ca: DevCa,
}

impl Certs {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ca = DevCa::init(dir.path()).unwrap();
        Self { dir, ca }
    }

    fn issue(&self, kind: PrincipalKind, id: &str, days: i64) -> Security {
        let principal = Principal { kind, id: id.to_owned() };
        let files = self.ca.issue_for_days(id, &[principal], &[], days).unwrap().files;
        let read = |path: Option<std::path::PathBuf>| std::fs::read(path.unwrap()).unwrap();
        Security::Mtls(Identity::from_pem(read(files.ca), read(files.cert), read(files.key)).unwrap())
    }
}

fn service(security: Security, limits: Limits) -> (Server, Arc<Books>, Arc<Log>) {
    let (books, log) = (Arc::new(Books::default()), Log::new(node_feed()));
    let server = Server::start_with("127.0.0.1:0", security, &books, &log, None, limits);
    (server, books, log)
}

async fn check(channel: Channel, name: &str) -> Result<ServingStatus, Status> {
    let answer = HealthClient::new(channel).check(HealthCheckRequest { service: name.to_owned() }).await?;
    Ok(answer.into_inner().status())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_certificates_of_the_ca_that_are_valid_today_get_in() {
    let (certs, foreign) = (Certs::new(), Certs::new());
    let (server, _, _) = service(certs.issue(PrincipalKind::Finance, "main", 30), Limits::default());
    let address = server.address.to_string();
    let dial = |security| Dialer::new(security).channel(&address).unwrap();

    let good = dial(certs.issue(PrincipalKind::User, "alice", 30));
    assert_eq!(check(good, "").await.unwrap(), ServingStatus::Serving);

    let expired = dial(certs.issue(PrincipalKind::User, "expired", -2));
    let stranger = dial(foreign.issue(PrincipalKind::User, "alice", 30));
    // Trusts the right CA, but shows a certificate of another one.
    let foreign_key = |name: &str| std::fs::read(foreign.dir.path().join(name)).unwrap();
    let ca = std::fs::read(certs.dir.path().join("ca.pem")).unwrap();
    let forged = Identity::from_pem(ca.clone(), foreign_key("alice.pem"), foreign_key("alice-key.pem")).unwrap();
    let forged = dial(Security::Mtls(forged));
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
    let nobody = Endpoint::from_shared(format!("https://{address}")).unwrap().tls_config(tls).unwrap().connect_lazy();
    let plain = dial(Security::InsecureDev);
    for (who, channel) in
        [("expired", expired), ("stranger", stranger), ("forged", forged), ("no certificate", nobody), ("plain", plain)]
    {
        let refused = check(channel, "").await;
        assert!(refused.is_err(), "{who} got in: {refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_writes_its_own_feed_only() {
    let certs = Certs::new();
    let (server, books, _) = service(certs.issue(PrincipalKind::Coordinator, "1", 30), Limits::default());
    let dc_1 = Dialer::new(certs.issue(PrincipalKind::Node, "dc-1", 30));
    let push = |node: &str| {
        let log = Log::new(FeedId { participant: format!("node/{node}"), ..node_feed() });
        log.append(3, 0, 0);
        let (state, (stop, down)) = (Arc::new(LinkState::new()), watch::channel(false));
        let (peer, addresses) = ("coordinator/1".to_owned(), vec![server.address.to_string()]);
        tokio::spawn(run_push(log, peer, dc_1.clone(), addresses, GROUP, Arc::clone(&state), down));
        (state, stop)
    };
    let (own, _own_stop) = push("dc-1");
    eventually("its own feed goes through", || own.acknowledged_seq() == 3).await;
    let (other, _other_stop) = push("dc-2");
    eventually("another's is refused", || other.last_error().contains("NOT_ALLOWED")).await;
    assert_eq!(books.effects().len(), 3);
    assert!(!other.connected());
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_reflection_answer() {
    let (server, _, _) = service(Security::InsecureDev, Limits::default());
    let channel = Dialer::new(Security::InsecureDev).channel(&server.address.to_string()).unwrap();
    assert_eq!(check(channel.clone(), "stockmesh.feed.v1.FeedService").await.unwrap(), ServingStatus::Serving);
    assert_eq!(check(channel.clone(), "no.such.Service").await.unwrap_err().code(), Code::NotFound);

    let ask = |message| ServerReflectionRequest { host: String::new(), message_request: Some(message) };
    let questions = vec![
        ask(MessageRequest::ListServices(String::new())),
        ask(MessageRequest::FileContainingSymbol("stockmesh.node.v1.NodeService".to_owned())),
    ];
    let mut client = ServerReflectionClient::new(channel);
    let mut answers = client.server_reflection_info(tokio_stream::iter(questions)).await.unwrap().into_inner();
    let list = answers.message().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = list else { panic!("{list:?}") };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    assert!(names.contains(&"stockmesh.feed.v1.FeedService"), "{names:?}");
    let file = answers.message().await.unwrap().unwrap().message_response;
    assert!(
        matches!(file, Some(MessageResponse::FileDescriptorResponse(file)) if !file.file_descriptor_proto.is_empty())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn more_requests_than_a_connection_may_have_are_refused_not_queued() {
    let limits = Limits { concurrency_per_connection: 1, ..Limits::default() };
    let (server, _, _) = service(Security::InsecureDev, limits);
    let channel = Dialer::new(Security::InsecureDev).channel(&server.address.to_string()).unwrap();
    let mut client = FeedServiceClient::new(channel.clone());
    let waiting = tokio::spawn(async move {
        let mut request = Request::new(tokio_stream::pending::<PullRequest>());
        request.metadata_mut().insert("wait-at-gate", "1".parse().unwrap());
        client.pull(request).await.map(|_| ())
    });
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    loop {
        match check(channel.clone(), "").await {
            Err(status) => break assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}"),
            Ok(_) => assert!(std::time::Instant::now() < deadline, "the waiting request never took its place"),
        }
    }
    server.gate.notify_one();
    waiting.await.unwrap().expect("the request that was first is answered");
    assert_eq!(check(channel, "").await.unwrap(), ServingStatus::Serving);
}

#[tokio::test]
async fn plain_text_stays_on_loopback() {
    let refused = bind("0.0.0.0:0".parse().unwrap(), &Security::InsecureDev).await.unwrap_err();
    assert!(matches!(refused, ServerError::InsecureBeyondLoopback(_)), "{refused}");
    let listener = bind("127.0.0.1:0".parse().unwrap(), &Security::InsecureDev).await.unwrap();
    let taken = bind(listener.local_addr().unwrap(), &Security::InsecureDev).await.unwrap_err();
    assert!(taken.to_string().contains("another process"), "{taken}");
}
