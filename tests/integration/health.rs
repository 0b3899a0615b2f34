//! What the internal port tells those who operate the node.

use std::time::Duration;

use serde_json::{Value, json};
use switchboard::bus::NatsConfig;
use switchboard::dev::Shutdown;
use switchboard::http::HealthConfig;
use switchboard::model::{Script, Scripted};
use switchboard::node::{BusChoice, Config, StoreChoice};
use switchboard::secret::Secret;
use switchboard::store::postgres;

use crate::support::eventually::assert_eventually;
use crate::support::node::{TestNode, config};
use crate::support::services;

const PATIENCE: Duration = Duration::from_secs(20);

async fn readiness(node: &TestNode) -> (u16, Value) {
    let (status, body) = node.internal("/readyz").await;
    (status, serde_json::from_str(&body).expect("JSON"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_ready_with_all_its_parts_and_says_which_is_missing_after_the_tolerance() {
    let (database, broker) = tokio::join!(services::own_postgres(), services::own_nats());
    let nats = NatsConfig {
        servers: vec![Secret::new(broker.url())],
        prefix: services::nats_prefix(),
        ..NatsConfig::default()
    };
    let node = TestNode::start(Config {
        store: StoreChoice::Postgres(postgres::Config::new(database.create_database("health").await.unwrap())),
        bus: BusChoice::Nats(Box::new(nats)),
        health: HealthConfig { interval: Duration::from_millis(50), tolerance: Duration::from_millis(500) },
        ..config()
    })
    .await;
    let whole = json!({"ready": true, "store": "ok", "schema": "ok", "bus": "ok", "draining": false});
    assert_eventually("ready", PATIENCE, async || readiness(&node).await == (200, whole.clone())).await;

    broker.stop().await.unwrap();
    let without_bus = assert_eventually("not ready without the bus", PATIENCE, async || {
        let (status, parts) = readiness(&node).await;
        (status == 503).then_some(parts)
    })
    .await;
    assert_eq!((&without_bus["store"], &without_bus["bus"]), (&json!("ok"), &json!("unavailable")));
    broker.start_again().await.unwrap();
    assert_eventually("ready again", PATIENCE, async || readiness(&node).await.0 == 200).await;

    database.stop(Shutdown::Fast).await.unwrap();
    let without_store = assert_eventually("not ready without the store", PATIENCE, async || {
        let (status, parts) = readiness(&node).await;
        (status == 503).then_some(parts)
    })
    .await;
    assert_eq!((&without_store["store"], &without_store["bus"]), (&json!("unavailable"), &json!("ok")));
    assert_eq!(node.internal("/livez").await.0, 200, "a node without its store is alive");
    database.start_again().await.unwrap();
    assert_eventually("ready again", PATIENCE, async || readiness(&node).await.0 == 200).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_that_is_promised_exists_before_anything_happened() {
    let node = TestNode::alone(&Scripted::new([])).await;
    let (status, text) = node.internal("/metrics").await;
    assert_eq!(status, 200);
    for line in [
        "switchboard_sockets 0",
        "switchboard_handshakes_total{result=\"accepted\"} 0",
        "switchboard_socket_frames_sent_total 0",
        "switchboard_socket_received_bytes_total 0",
        "switchboard_turns_total{outcome=\"completed\"} 0",
        "switchboard_turns_in_flight 0",
        "switchboard_turn_first_token_seconds_count 0",
        "switchboard_turn_overhead_seconds_count{part=\"accept\"} 0",
        "switchboard_outbox_overflow_total{action=\"collapsed\"} 0",
        "switchboard_store_operations_total{operation=\"turn.accept\"",
        "switchboard_bus_connected 1",
        "switchboard_bus_reconnects_total 0",
        "switchboard_stream_gaps_total 0",
        "switchboard_fenced_writes_total 0",
        "switchboard_errors_total{code=\"rate_limited\"} 0",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_did_is_counted() {
    let node = TestNode::alone(&Scripted::new([Script::saying(["a", "b"])])).await;
    let mut client = node.connect().await;
    let session = client.session().await;
    client.converse(&session, "r1", "hi").await;
    client.send_text("garbage").await;
    client.expect("error").await;
    assert_eq!(node.metric("switchboard_sockets", &[]), 1.0);
    assert_eq!(node.metric("switchboard_handshakes_total", &[("result", "accepted")]), 1.0);
    assert_eq!(node.metric("switchboard_turns_total", &[("outcome", "completed")]), 1.0);
    assert_eq!(node.metric("switchboard_turn_first_token_seconds", &[]), 1.0);
    assert_eq!(node.metric("switchboard_errors_total", &[("code", "validation_error")]), 1.0);
    assert_eq!(node.metric("switchboard_socket_frames_received_total", &[]), 3.0);
    assert!(node.metric("switchboard_socket_sent_bytes_total", &[]) > 100.0);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_internal_port_serves_nothing_else_and_the_public_port_no_metrics() {
    let node = TestNode::alone(&Scripted::new([])).await;
    assert_eq!(node.internal("/").await.0, 404);
    assert_eq!(node.internal("/ws").await.0, 404);
    for path in ["/metrics", "/readyz", "/nothing"] {
        let answer = reqwest::get(format!("http://{}{path}", node.address())).await.unwrap();
        assert_eq!(answer.status().as_u16(), 404, "{path}");
    }
    let plain = reqwest::get(format!("http://{}/ws", node.address())).await.unwrap();
    assert_eq!(plain.status().as_u16(), 426);
    node.stop().await;
}
