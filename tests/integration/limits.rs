//! Every limit has a name that the client is told, costs nobody else anything, and is counted.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use switchboard::limits::Rate;
use switchboard::model::{Script, Scripted};
use switchboard::node::{Config, Role};
use switchboard::{session, socket};
use tokio_tungstenite::tungstenite::Message;

use crate::support::client::{AGENT, Client, send_message};
use crate::support::eventually::assert_eventually;
use crate::support::node::{Shared, TestNode, config, given};

const PATIENCE: Duration = Duration::from_secs(20);

async fn node_with(limit: impl FnOnce(&mut Config)) -> TestNode {
    let mut config = Config { model: given(&Scripted::new([Script::saying(["ok"])])), ..config() };
    limit(&mut config);
    TestNode::start(config).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_over_the_limit_is_refused_and_the_next_one_is_served() {
    let node =
        node_with(|config| config.session = session::Config { message_bytes: 100, ..session::Config::default() }).await;
    let mut client = node.connect().await;
    let session = client.session().await;
    assert_eq!(client.refusal(send_message(&session, "r1", &"x".repeat(101))).await, "PAYLOAD_TOO_LARGE");
    assert_eq!(client.converse(&session, "r2", &"x".repeat(100)).await.text, "ok");
    assert_eq!(node.metric("switchboard_errors_total", &[("code", "payload_too_large")]), 1.0);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_over_the_limit_closes_that_socket_with_1009_and_no_other() {
    let node = node_with(|config| config.socket.max_frame_bytes = 4096).await;
    let (mut big, mut other) = (node.connect().await, node.connect().await);
    big.send_text(&"x".repeat(5000)).await;
    assert_eq!(big.closed().await, Some(1009));
    other.expect_silence().await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_actions_than_the_rate_are_refused_by_name_and_the_socket_stays() {
    let node = node_with(|config| config.socket.action_rate = Rate { per_second: 0.001, burst: 3.0 }).await;
    let mut client = node.connect().await;
    for _ in 0..3 {
        client.send(json!({"action": "ping", "requestId": "p"})).await;
        client.expect("pong").await;
    }
    assert_eq!(client.refusal(json!({"action": "ping", "requestId": "p4"})).await, "RATE_LIMITED");
    let mut other = node.connect().await;
    other.expect_silence().await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_socket_too_many_is_closed_with_1013_until_another_leaves() {
    let node = node_with(|config| config.socket.max_sockets = 2).await;
    let (mut first, second) = (node.connect().await, node.connect().await);
    assert_eq!(node.connect().await.closed().await, Some(1013));
    second.cut();
    assert_eventually("a place is free", Duration::from_secs(10), async || {
        node.metric("switchboard_sockets", &[]) < 2.0
    })
    .await;
    node.connect().await.expect_silence().await;
    first.expect_silence().await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_socket_may_use_only_so_many_sessions() {
    let node =
        node_with(|config| config.session = session::Config { sessions_per_socket: 2, ..session::Config::default() })
            .await;
    let mut client = node.connect().await;
    client.session().await;
    client.session().await;
    let third = json!({"action": "create_conversation_session", "requestId": "c3", "agentId": AGENT});
    assert_eq!(client.refusal(third.clone()).await, "RATE_LIMITED");
    assert_eq!(node.connect().await.ask(third).await["status"], 200);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn binary_frames_and_garbage_are_refused_by_name_and_the_socket_stays() {
    let node = node_with(|_| ()).await;
    let mut client = node.connect().await;
    client.send_raw(Message::binary(vec![0, 1, 2])).await;
    assert_eq!(client.expect("error").await["error"]["code"], "VALIDATION_ERROR");
    client.send_text("{not json").await;
    let error = client.expect("error").await;
    assert!(error["error"]["message"].as_str().unwrap().starts_with("invalid JSON frame: "), "{error}");
    client.send_text("{}").await;
    assert_eq!(client.expect("error").await["error"]["message"], "missing 'action' field");
    client.expect_silence().await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_answers_no_ping_is_dropped_and_one_that_does_stays() {
    let node = node_with(|config| {
        config.socket = socket::Config { ping_interval: Duration::from_millis(50), ..config.socket.clone() }
    })
    .await;
    let silent = node.connect().await;
    let mut alive = node.connect().await;
    let gone = assert_eventually("the silent one is dropped", Duration::from_secs(10), async || {
        node.metric("switchboard_sockets_closed_total", &[("code", "gone")]) == 1.0
    });
    // Reading is what answers a ping.
    tokio::select! {
        () = gone => {}
        code = alive.closed() => panic!("the living one was closed with {code:?}"),
    }
    assert_eq!(node.metric("switchboard_sockets", &[]), 1.0);
    drop(silent);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_asks_for_nothing_is_closed_with_1001() {
    let node = node_with(|config| {
        config.socket = socket::Config {
            ping_interval: Duration::from_millis(50),
            idle_timeout: Duration::from_millis(200),
            ..config.socket.clone()
        };
    })
    .await;
    assert_eq!(node.connect().await.closed().await, Some(1001));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stops_is_closed_and_its_turn_goes_on_for_others() {
    let long = "word ".repeat(10_000);
    let script = Script::saying(std::iter::repeat_n(long.as_str(), 200));
    let mut config = Config { model: given(&Scripted::new([script])), ..config() };
    config.socket.write_timeout = Duration::from_millis(300);
    // More than the kernel keeps for a connection.
    config.agent.max_text_bytes = 16 * 1024 * 1024;
    let node = TestNode::start(config).await;
    let (mut reader, mut stopped) = (node.connect().await, Client::connect_narrow(node.address()).await);
    let session = reader.session().await;
    stopped.ask(json!({"action": "get_session", "requestId": "g", "sessionId": session["sessionId"]})).await;
    let turn = reader.converse(&session, "r1", "talk").await;
    assert_eq!(turn.text.len(), long.len() * 200);
    let overflow = |action| node.metric("switchboard_outbox_overflow_total", &[("action", action)]);
    assert_eventually("the socket closes", PATIENCE, async || overflow("closed") == 1.0).await;
    assert_eventually("it is gone", PATIENCE, async || node.metric("switchboard_sockets", &[]) == 1.0).await;
    drop(stopped);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_clients_at_once_are_all_served() {
    let scripts = (0..40).map(|_| Script::saying(["a", "b"]));
    let node = TestNode::start(Config { model: given(&Scripted::new(scripts)), ..config() }).await;
    let clients = (0..40).map(|_| async {
        let mut client: Client = node.connect().await;
        let session = client.session().await;
        client.converse(&session, "r1", "hi").await.text
    });
    assert!(join_all(clients).await.iter().all(|text| text == "ab"));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_megabytes_of_quotes_reaches_its_client_whole() {
    let quotes = "\"\n".repeat(400_000);
    let node = TestNode::alone(&Scripted::new([Script::saying([quotes.as_str()])])).await;
    let mut client = node.connect().await;
    let session = client.session().await;
    let turn = client.converse(&session, "r1", "talk").await;
    assert!(turn.text == quotes, "{} bytes instead of {}", turn.text.len(), quotes.len());
    assert_eq!(turn.end["data"]["data"]["response"]["responseParts"][0].as_str().map(str::len), Some(quotes.len()));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_megabytes_of_quotes_reaches_the_client_of_another_node() {
    let quotes = "\"\n".repeat(400);
    let shared = Shared::real(&Scripted::new([Script::saying(std::iter::repeat_n(quotes.as_str(), 1000))])).await;
    let (edge, runner) = (shared.start(Role::Edge).await, shared.start(Role::Runner).await);
    let mut client = edge.connect().await;
    let session = client.session_with(json!({"supports": ["stream_resume"]})).await;
    let turn = client.converse(&session, "r1", "talk").await;
    assert!(turn.text == quotes.repeat(1000), "{} bytes", turn.text.len());
    edge.stop().await;
    runner.stop().await;
}
