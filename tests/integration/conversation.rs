//! A conversation through one node or several: what every client relies on.

use serde_json::json;
use switchboard::model::{Script, Scripted};
use switchboard::node::Role;

use crate::support::client::send_message;
use crate::support::node::{Shared, TestNode};

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_arrives_token_by_token_and_is_in_the_history() {
    let (script, gate) = Script::saying(["Hel", "lo"]).gated();
    let model = Scripted::new([script]);
    let node = TestNode::alone(&model).await;
    let mut client = node.connect().await;
    let session = client.session().await;
    client.say(&session, "r1", "hi").await;
    gate.open();
    let first = client.expect("stream_token").await;
    assert_eq!((&first["token"], &first["data"]["token"]), (&json!("Hel"), &json!("Hel")));
    gate.open_all();
    let turn = client.turn("r1").await;
    assert_eq!(turn.text, "lo");
    assert_eq!(turn.end["data"]["data"]["response"]["responseParts"], json!(["Hello"]));
    let history = client
        .ask(json!({"action": "get_conversation_messages", "requestId": "h", "sessionId": session["sessionId"]}))
        .await;
    let said: Vec<_> = history["data"]["messages"].as_array().unwrap().iter().map(|m| &m["content"]["text"]).collect();
    assert_eq!(said, [&json!("Hello"), &json!("hi")], "newest first");
    assert_eq!(history["data"]["messages"][0]["id"], turn.end["data"]["data"]["messageId"]);
    client.expect_silence().await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_runs_on_one_node_and_streams_to_sockets_on_two() {
    let (script, gate) = Script::saying(["one ", "two ", "three"]).gated();
    let model = Scripted::new([script]);
    let shared = Shared::real(&model).await;
    let (edge_a, edge_b) = (shared.start(Role::Edge).await, shared.start(Role::Edge).await);
    let runner = shared.start(Role::Runner).await;
    let (mut alice, mut second) = (edge_a.connect().await, edge_b.connect().await);
    let session = alice.session().await;
    let joined =
        second.ask(json!({"action": "get_session", "requestId": "g", "sessionId": session["sessionId"]})).await;
    assert_eq!(joined["data"]["threadId"], session["conversationId"]);
    alice.say(&session, "r1", "count").await;
    gate.open();
    assert_eq!(alice.expect("stream_token").await["token"], "one ");
    assert_eq!(second.expect("stream_token").await["token"], "one ");
    gate.open_all();
    for client in [&mut alice, &mut second] {
        let turn = client.turn("r1").await;
        assert_eq!(turn.text, "two three");
        assert_eq!(turn.end["data"]["data"]["response"]["responseParts"], json!(["one two three"]));
        client.expect_silence().await;
    }
    assert_eq!(runner.metric("switchboard_turns_total", &[("outcome", "completed")]), 1.0);
    for node in [edge_a, edge_b, runner] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_message_sent_to_two_nodes_at_once_gives_one_turn() {
    let model = Scripted::new([Script::saying(["once"])]);
    let shared = Shared::real(&model).await;
    let (a, b) = (shared.start(Role::All).await, shared.start(Role::All).await);
    let (mut one, mut two) = (a.connect().await, b.connect().await);
    let session = one.session().await;
    tokio::join!(one.send(send_message(&session, "r1", "hi")), two.send(send_message(&session, "r1", "hi")));
    for client in [&mut one, &mut two] {
        assert_eq!(client.expect("immediate_response").await["status"], 202);
        let turn = client.turn("r1").await;
        assert_eq!(turn.end["data"]["data"]["response"]["responseParts"], json!(["once"]));
        client.expect_silence().await;
    }
    assert_eq!(model.prompts().len(), 1, "the model was asked once");
    a.stop().await;
    b.stop().await;
}
