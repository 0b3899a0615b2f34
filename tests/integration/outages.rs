//! Brokers and databases go away and come back; conversations go on.

use std::time::Duration;

use serde_json::json;
use switchboard::bus::NatsConfig;
use switchboard::dev::Shutdown;
use switchboard::model::{Script, Scripted};
use switchboard::node::{BusChoice, Config, Role, StoreChoice};
use switchboard::secret::Secret;
use switchboard::store::postgres;

use crate::support::client::send_message;
use crate::support::eventually::assert_eventually;
use crate::support::node::{Shared, TestNode, given};
use crate::support::services;

const PATIENCE: Duration = Duration::from_secs(20);

fn nats(url: String) -> BusChoice {
    BusChoice::Nats(Box::new(NatsConfig {
        servers: vec![Secret::new(url)],
        prefix: services::nats_prefix(),
        ..NatsConfig::default()
    }))
}

#[tokio::test(flavor = "multi_thread")]
async fn without_nats_local_turns_go_on_and_streams_cross_nodes_again_when_it_is_back() {
    let broker = services::own_nats().await;
    let model = Scripted::new([Script::saying(["local"]), Script::saying(["across"])]);
    let shared = Shared { bus: nats(broker.url()), ..Shared::real(&model).await };
    let (a, b) = (shared.start(Role::All).await, shared.start(Role::All).await);
    let (mut alice, mut second) = (a.connect().await, b.connect().await);
    let session = alice.session().await;

    broker.stop().await.unwrap();
    assert_eventually("the node sees that NATS is gone", PATIENCE, async || {
        a.metric("switchboard_bus_connected", &[]) == 0.0
    })
    .await;
    assert_eq!(alice.converse(&session, "r1", "hi").await.text, "local");

    broker.start_again().await.unwrap();
    for node in [&a, &b] {
        assert_eventually("the node is back on NATS", PATIENCE, async || {
            node.metric("switchboard_bus_connected", &[]) == 1.0
        })
        .await;
    }
    second.ask(json!({"action": "get_session", "requestId": "g", "sessionId": session["sessionId"]})).await;
    alice.say(&session, "r2", "again").await;
    for client in [&mut alice, &mut second] {
        assert_eq!(client.turn("r2").await.end["data"]["data"]["response"]["responseParts"], json!(["across"]));
    }
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_reaches_the_other_node_although_nats_died_in_the_middle_of_it() {
    let broker = services::own_nats().await;
    let (script, gate) = Script::saying(["before ", "after"]).gated();
    let model = Scripted::new([script]);
    let shared = Shared { bus: nats(broker.url()), ..Shared::real(&model).await };
    let (edge, runner) = (shared.start(Role::Edge).await, shared.start(Role::Runner).await);
    let mut client = edge.connect().await;
    let session = client.session().await;
    client.say(&session, "r1", "hi").await;
    gate.open();
    assert_eq!(client.expect("stream_token").await["token"], "before ");
    broker.stop().await.unwrap();
    gate.open_all();
    let turn = client.turn("r1").await;
    assert_eq!(turn.text, "after", "the rest came from the store");
    assert_eq!(turn.end["data"]["data"]["response"]["responseParts"], json!(["before after"]));
    client.expect_silence().await;
    edge.stop().await;
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_comes_back_where_nobody_can_speak_for_its_turn_is_not_refused_and_gets_all_of_it() {
    let broker = services::own_nats().await;
    let (script, gate) = Script::saying(["one ", "two ", "three"]).gated();
    let model = Scripted::new([script]);
    let shared = Shared { bus: nats(broker.url()), ..Shared::real(&model).await };
    let (a, b) = (shared.start(Role::All).await, shared.start(Role::All).await);
    let mut client = a.connect().await;
    let session = client.session_with(json!({"supports": ["stream_resume"]})).await;
    client.say(&session, "r1", "hi").await;
    for _ in 0..2 {
        gate.open();
        client.expect("stream_token").await;
    }
    broker.stop().await.unwrap();
    let mut back = b.connect().await;
    let attach =
        json!({"action": "attach_session", "requestId": "a", "sessionId": session["sessionId"], "afterSeq": 2});
    assert_eq!(back.ask(attach).await["data"]["verdict"], "snapshot");
    broker.start_again().await.unwrap();
    gate.open_all();
    assert_eq!(back.turn("r1").await.text, "one two three");
    back.expect_silence().await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_postgres_a_client_is_told_to_try_again_and_a_running_turn_ends_once_it_is_back() {
    let database = services::own_postgres().await;
    let url = database.create_database("outage").await.unwrap();
    let (script, gate) = Script::saying(["kept ", "going"]).gated();
    let model = Scripted::new([script, Script::saying(["recovered"])]);
    let config = Config {
        store: StoreChoice::Postgres(postgres::Config::new(url)),
        model: given(&model),
        ..crate::support::node::config()
    };
    let node = TestNode::start(config).await;
    let (mut client, mut other) = (node.connect().await, node.connect().await);
    let (session, second) = (client.session().await, other.session().await);
    client.say(&session, "r1", "hi").await;
    gate.open();
    client.expect("stream_token").await;

    database.stop(Shutdown::Fast).await.unwrap();
    let refusal = other.ask(send_message(&second, "r2", "hello?")).await;
    assert_eq!(refusal["error"]["code"], "STORAGE_ERROR");
    let told = refusal["error"]["message"].as_str().unwrap();
    assert!(!told.contains("127.0.0.1") && !told.contains("connect"), "nothing internal leaks: {told}");
    gate.open_all();

    database.start_again().await.unwrap();
    let turn = client.turn("r1").await;
    assert_eq!(turn.end["data"]["data"]["response"]["responseParts"], json!(["kept going"]));
    let again = assert_eventually("the store is back", PATIENCE, async || {
        let mut fresh = node.connect().await;
        fresh.ask(send_message(&second, "r2", "hello?")).await["status"].as_i64()
    })
    .await;
    assert_eq!(again, 202);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_in_doubt_shows_nothing_of_its_answer_before_the_store_has_taken_it() {
    let database = services::own_postgres().await;
    let url = database.create_database("outage").await.unwrap();
    let (script, gate) = Script::saying(["shown ", "held ", "back"]).gated();
    let mut config = Config {
        store: StoreChoice::Postgres(postgres::Config::new(url)),
        model: given(&Scripted::new([script])),
        ..crate::support::node::config()
    };
    config.turn.lease = Duration::from_secs(1);
    // The node must not take the turn from itself.
    config.turn.sweep = Duration::from_secs(600);
    let node = TestNode::start(config).await;
    let mut client = node.connect().await;
    let session = client.session().await;
    client.say(&session, "r1", "hi").await;
    gate.open();
    client.expect("stream_token").await;

    database.stop(Shutdown::Fast).await.unwrap();
    // One is asked for every third of a lease, so that the last that succeeded is more than two thirds old. On a busy machine
    // some fail before.
    let failed = || node.metric("switchboard_lease_renewals_total", &[("result", "failed")]);
    let before = failed();
    assert_eventually("renewals fail", PATIENCE, async || failed() >= before + 3.0).await;
    let finishes = || node.metric("switchboard_store_operations_total", &[("operation", "turn.finish")]);
    assert_eq!(finishes(), 0.0);
    gate.open_all();
    assert_eventually("the ending is tried", PATIENCE, async || finishes() > 0.0).await;
    client.expect_silence().await;

    database.start_again().await.unwrap();
    let turn = client.turn("r1").await;
    assert_eq!(turn.text, "held back");
    assert_eq!(turn.end["data"]["data"]["response"]["responseParts"], json!(["shown held back"]));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn four_nodes_start_at_once_on_an_empty_database() {
    let model = Scripted::new([Script::saying(["hello"])]);
    let shared = Shared::real(&model).await;
    let nodes = futures_util::future::join_all((0..4).map(|_| shared.start(Role::All))).await;
    let mut client = nodes[3].connect().await;
    let session = client.session().await;
    assert_eq!(client.converse(&session, "r1", "hi").await.text, "hello");
    for node in nodes {
        node.stop().await;
    }
}
