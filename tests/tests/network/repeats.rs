//! An order that says no placed time is the same order however often, and by whatever client, it is sent.

use std::ffi::OsStr;

use serde_json::Value;
use stockmesh_proto::coordinator::v1::PlaceOrderRequest;
use stockmesh_service::certs::DevCa;
use stockmesh_sim::network::ServiceKind;

use crate::world::{World, now_ms, web_order};

const ITEM: &str = "MUG-1";

/// Runs the coordinator's command line against the network, as its operator would.
async fn command_line(world: &World, args: &[&str]) -> Value {
    let ca = DevCa::open(&world.network.dir().join("certificates")).unwrap();
    let files = ca.files_of(stockmesh_sim::network::certificates::SIMULATOR);
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_stockmesh-services"));
    command.args(["service", "coordinator", "--output", "json"]);
    for (flag, file) in [("--tls-ca", &files.ca), ("--tls-cert", &files.cert), ("--tls-key", &files.key)] {
        command.args([OsStr::new(flag), file.as_ref().expect("a file of the certificate").as_os_str()]);
    }
    for (_, kind, address, _) in world.network.addresses() {
        if kind == ServiceKind::Coordinator {
            command.args(["--address", &address]);
        }
    }
    let output = command.args(args).output().await.expect("the command line starts");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{args:?}: {}\n{out}{err}", output.status);
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{args:?}: {error} in {out}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_without_a_placed_time_is_stamped_once_and_repeats() {
    let world = World::start().await;
    world.master_data(&[ITEM]).await;
    world.receive("dc-1", ITEM, 50, 250).await;
    world.wait_until_available(ITEM, 50).await;

    let before_ms = now_ms();
    let mut order = web_order("UNTIMED-1", &[(ITEM, 2)]);
    order.placed_time_ms = 0;
    let request = PlaceOrderRequest { order: Some(order), incarnation: 0 };
    let first = world.clients.place_order(request.clone()).await.unwrap();
    let again = world.clients.place_order(request).await.unwrap();
    assert_eq!((first.already_placed, again.already_placed), (false, true));
    let status = first.status.unwrap();
    assert_eq!(again.status.unwrap().order, status.order);
    let placed_ms = status.order.unwrap().placed_time_ms;
    assert!((before_ms..=status.committed_time_ms).contains(&placed_ms), "{placed_ms}, committed after {before_ms}");

    let place = ["order", "place", "--id", "CLI-1", "--line", "MUG-1=3@4.95", "--vat-percent", "20"];
    let first = command_line(&world, &place).await;
    let again = command_line(&world, &place).await;
    assert_eq!((&first["already_placed"], &again["already_placed"]), (&Value::Bool(false), &Value::Bool(true)));
    assert_eq!((&first["lines"], &first["placed_time_ms"]), (&again["lines"], &again["placed_time_ms"]));
    assert!(first["placed_time_ms"].as_i64() >= Some(before_ms), "{first}");

    // Two orders, each once.
    world.wait_until_available(ITEM, 50 - 2 - 3).await;
    world.settle().await;
    assert_eq!(world.clients.all_orders().await.unwrap().len(), 2);
}
