//! The holder goes away between a tool's start and its result: nothing is done twice, and nothing is made up.

use std::time::Duration;

use serde_json::json;
use switchboard::ids::NodeId;
use switchboard::model::{Script, Scripted};
use switchboard::node::Role;

use crate::leases::steal;
use crate::support::client::Turn;
use crate::support::eventually::assert_eventually;
use crate::support::node::TestNode;
use crate::support::tools::{ToolServer, call, result};

use super::{chunks, last_result, shared_with};

/// Runs a turn whose holder loses it while the second of two calls runs, and lets another run go on with it.
async fn lose_the_holder(idempotent: bool) -> (ToolServer, Scripted, Turn) {
    let server = ToolServer::start().await;
    let calls = [call("c1", "look", "{\"n\":1}"), call("c2", "pay", "{\"n\":2}")];
    let model = Scripted::new([Script::saying(["hm "]).calls(calls), Script::saying(["so"])]);
    let tools = [server.tool("look", json!({})), server.tool("pay", json!({"idempotent": idempotent}))];
    let (shared, store) = shared_with(&model, tools).await;
    let mut config = shared.config(Role::All);
    config.turn.lease = Duration::from_secs(1);
    let node = TestNode::start(config).await;
    let mut client = node.connect().await;
    let session = client.session_with(json!({"supports": ["stream_resume"]})).await;
    client.say(&session, "r1", "pay").await;
    server.expect_call().await.answer(result("looked"));
    let lost = server.expect_call().await;
    let thief = NodeId::new();
    steal(&shared, thief).await;
    assert_eventually("the old holder notices", Duration::from_secs(10), async || {
        node.metric("switchboard_turns_total", &[("outcome", "lost")]) == 1.0
    })
    .await;
    lost.closed().await;
    if idempotent {
        server.script([result("paid once")]);
    }
    assert_eq!(store.release_turns(thief).await.unwrap(), 1);
    client.find(|event| event["type"] == "turn_restarted").await;
    let turn = client.turn("r1").await;
    client.cut();
    node.stop().await;
    (server, model, turn)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_a_result_is_not_repeated_and_the_model_is_told_that_nobody_knows() {
    let (server, model, turn) = lose_the_holder(false).await;
    assert_eq!(server.calls().len(), 2, "each was called once");
    assert!(last_result(&model).contains("outcome of this call is not known"), "{}", last_result(&model));
    let after: Vec<_> = chunks(&turn).into_iter().rev().take(4).collect();
    assert_eq!(after[0]["toolResult"]["isError"], true);
    assert_eq!(after[2]["toolResult"]["result"], "looked", "what had ended was replayed");
    assert_eq!(turn.end["data"]["data"]["response"]["responseParts"], json!(["hm so"]));
    assert_eq!(model.prompts().len(), 2, "the first reply was not asked for again");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotent_call_without_a_result_is_repeated_under_the_same_key() {
    let (server, model, turn) = lose_the_holder(true).await;
    let calls = server.calls();
    let keys: Vec<_> = calls.iter().map(|call| call.header("idempotency-key").unwrap()).collect();
    assert_eq!(calls.len(), 3);
    assert_eq!(keys[1], keys[2]);
    assert_eq!((&calls[1].body, &calls[2].body), (&json!({"n": 2}), &json!({"n": 2})));
    assert_eq!(last_result(&model), "paid once");
    assert_eq!(turn.end["type"], "eventual_response");
    assert_eq!(model.prompts().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_calls_that_the_gateway_gave_one_id_have_two_keys() {
    let server = ToolServer::start().await;
    let again = || Script::default().calls([call("c", "look", "{}")]);
    let model = Scripted::new([again(), again(), Script::saying(["so"])]);
    let (shared, _) = shared_with(&model, [server.tool("look", json!({}))]).await;
    let node = shared.start(Role::All).await;
    let mut client = node.connect().await;
    let session = client.session().await;
    server.script([result("one"), result("two")]);
    client.converse(&session, "r1", "look").await;
    let keys: Vec<_> = server.calls().iter().map(|call| call.header("idempotency-key").unwrap().to_owned()).collect();
    assert_ne!(keys[0], keys[1]);
    node.stop().await;
}
