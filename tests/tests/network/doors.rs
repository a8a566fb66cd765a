//! Who gets in, and what any gRPC client finds: health and reflection on all three services, and no way in without a certificate.

use stockmesh_proto::coordinator::v1::PlaceOrderRequest;
use stockmesh_proto::coordinator::v1::order_service_client::OrderServiceClient;
use stockmesh_service::certs::DevCa;
use stockmesh_service::status::reason_of;
use stockmesh_service::{Dialer, Security};
use stockmesh_sim::network::ServiceKind;
use stockmesh_types::{Principal, PrincipalKind};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::world::{World, web_order};

async fn health(channel: Channel, service: &str) -> Result<ServingStatus, tonic::Status> {
    let request = HealthCheckRequest { service: service.to_owned() };
    Ok(HealthClient::new(channel).check(request).await?.into_inner().status())
}

async fn listed_services(channel: Channel) -> Vec<String> {
    let question = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(channel);
    let answers = client.server_reflection_info(tokio_stream::iter([question])).await.expect("reflection answers");
    let answer = answers.into_inner().message().await.expect("reflection answers").expect("one answer");
    match answer.message_response {
        Some(MessageResponse::ListServicesResponse(list)) => list.service.into_iter().map(|one| one.name).collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn services_introduce_themselves_and_let_in_only_whom_they_know() {
    let world = World::start().await;
    let certificates = world.network.dir().join("certificates");
    let ca = DevCa::open(&certificates).unwrap();
    let alice = Principal { kind: PrincipalKind::User, id: "alice".to_owned() };
    let alice = ca.issue("alice", &[alice], &[]).unwrap().files;
    let alice = Dialer::new(Security::load(&alice, false).unwrap());

    for (name, kind, address, _) in world.network.addresses() {
        let channel = alice.channel(&address).unwrap();
        let service = match kind {
            ServiceKind::Coordinator => "stockmesh.coordinator.v1.OrderService",
            ServiceKind::Node => "stockmesh.node.v1.NodeService",
            ServiceKind::Finance => "stockmesh.finance.v1.LedgerService",
        };
        for service in ["", service] {
            let status = health(channel.clone(), service).await;
            assert!(matches!(status, Ok(ServingStatus::Serving)), "{name} {service:?}: {status:?}");
        }
        assert!(listed_services(channel).await.contains(&service.to_owned()), "{name} does not describe {service}");

        // The right CA and no certificate; no TLS at all.
        let ca_pem = std::fs::read(certificates.join("ca.pem")).unwrap();
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca_pem));
        let endpoint = Endpoint::from_shared(format!("https://{address}")).unwrap();
        let nobody = endpoint.tls_config(tls).unwrap().connect_lazy();
        let plain = Dialer::new(Security::InsecureDev).channel(&address).unwrap();
        for (who, channel) in [("no certificate", nobody), ("plain text", plain)] {
            let refused = health(channel, "").await;
            assert!(refused.is_err(), "{name} let in {who}: {refused:?}");
        }
    }

    // A node is known, and still may not place orders.
    let node = Security::load(&ca.files_of("node-dc-1"), false).unwrap();
    let leader = world.network.wait_for_leader(None).await.unwrap();
    let addresses = world.network.addresses();
    let (_, _, address, _) = addresses.iter().find(|(name, ..)| *name == leader).expect("the leader has an address");
    let mut orders = OrderServiceClient::new(Dialer::new(node).channel(address).unwrap());
    let request = PlaceOrderRequest { order: Some(web_order("NODE-1", &[("X", 1)])), incarnation: 0 };
    let refused = orders.place_order(request).await.unwrap_err();
    assert_eq!(reason_of(&refused).as_deref(), Some("NOT_ALLOWED"), "{refused:?}");
}
