//! The Stop button: it stops the turn and the model's cost, from any node, and nothing else.

use serde_json::json;
use switchboard::model::{Script, Scripted};
use switchboard::node::Role;

use crate::support::client::AGENT;
use crate::support::node::{Shared, TestNode};

fn cancel(session: &serde_json::Value, request_id: &str) -> serde_json::Value {
    json!({"action": "cancel", "requestId": request_id, "sessionId": session["sessionId"]})
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_from_another_node_stops_the_turn_and_the_model() {
    let (script, gate) = Script::saying(["partial ", "never"]).gated();
    let model = Scripted::new([script]);
    let shared = Shared::real(&model).await;
    let (a, b) = (shared.start(Role::All).await, shared.start(Role::All).await);
    let (mut alice, mut elsewhere) = (a.connect().await, b.connect().await);
    let session = alice.session().await;
    alice.say(&session, "r1", "talk").await;
    gate.open();
    alice.expect("stream_token").await;

    elsewhere.send(cancel(&session, "r1")).await;
    let end = alice.turn("r1").await.end;
    assert_eq!((&end["type"], &end["status"], &end["data"]["status"]), (&json!("cancelled"), &json!(499), &json!(499)));
    gate.closed().await;
    assert_eq!(elsewhere.turn("r1").await.end["type"], "cancelled");

    let history = alice
        .ask(json!({"action": "get_conversation_messages", "requestId": "h", "sessionId": session["sessionId"]}))
        .await;
    assert_eq!(history["data"]["messages"][0]["content"]["text"], "partial ", "what was shown is kept");
    model.push(Script::saying(["free again"]));
    assert_eq!(alice.converse(&session, "r2", "again").await.text, "free again");
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queued_turn_is_cancelled_at_once() {
    let shared = Shared::real(&Scripted::new([])).await;
    let edge = shared.start(Role::Edge).await;
    let mut client = edge.connect().await;
    let session = client.session().await;
    client.say(&session, "r1", "nobody runs this").await;
    client.send(cancel(&session, "r1")).await;
    assert_eq!(client.turn("r1").await.end["type"], "cancelled");
    client.expect_silence().await;
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_that_finds_no_turn_is_answered_with_silence() {
    let node = TestNode::alone(&Scripted::new([Script::saying(["done"])])).await;
    let mut client = node.connect().await;
    client.send(json!({"action": "cancel", "requestId": "stray"})).await;
    client.send(json!({"action": "cancel"})).await;
    client.send(json!({"action": "cancel", "requestId": "x", "sessionId": AGENT})).await;
    client.send(json!({"action": "cancel", "requestId": "x", "sessionId": 7})).await;
    client.expect_silence().await;
    let session = client.session().await;
    client.converse(&session, "r1", "hi").await;
    client.send(cancel(&session, "r1")).await;
    client.expect_silence().await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_cancel_does_not_stop_the_next_turn() {
    let (script, gate) = Script::saying(["second"]).gated();
    let node = TestNode::alone(&Scripted::new([Script::saying(["first"]), script])).await;
    let mut client = node.connect().await;
    let session = client.session().await;
    client.converse(&session, "r1", "one").await;
    client.say(&session, "r2", "two").await;
    client.send(cancel(&session, "r1")).await;
    client.expect_silence().await;
    gate.open_all();
    assert_eq!(client.turn("r2").await.end["type"], "eventual_response");
    node.stop().await;
}
