//! A tool that needs a person's approval: the turn waits as a row, and goes on anywhere, once.

use std::time::Duration;

use serde_json::{Value, json};
use switchboard::model::{Script, Scripted};
use switchboard::node::{ModelChoice, Role};

use crate::support::client::Client;
use crate::support::eventually::assert_eventually;
use crate::support::node::{self, TestNode};
use crate::support::tools::{ToolServer, call, result};

use super::{calls_once, chunks, last_result, shared_with};

fn confirm(session: &Value, request_id: &str, approved: bool) -> Value {
    json!({
        "action": "confirm_tool_action",
        "requestId": request_id,
        "sessionId": session["sessionId"],
        "approved": approved,
    })
}

fn attach(session: &Value, after: u64) -> Value {
    json!({"action": "attach_session", "requestId": "a", "sessionId": session["sessionId"], "afterSeq": after})
}

fn get_session(session: &Value) -> Value {
    json!({"action": "get_session", "requestId": "g", "sessionId": session["sessionId"]})
}

/// Waits until the turn asks; the request for approval. The tool's call is the very next frame.
async fn asked(client: &mut Client) -> Value {
    let event = client.find(|event| event["type"] == "write_confirmation_required").await;
    let call = client.find(|event| event["type"] == "stream_chunk").await;
    assert!(call["data"]["state"]["rawResponse"]["toolCall"].is_object(), "{call}");
    event
}

/// How a request to confirm was answered: the message, or the code of the error.
async fn answer(client: &mut Client, action: Value) -> String {
    client.send(action).await;
    let wanted = |event: &Value| {
        let code = &event["error"]["code"];
        event["type"] == "immediate_response" || *code == "NO_PENDING_CONFIRMATION"
    };
    let event = client.find(wanted).await;
    event["message"].as_str().or(event["error"]["code"].as_str()).unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_turn_costs_no_slot_and_goes_on_where_it_stopped_on_another_node() {
    let server = ToolServer::start().await;
    let model = calls_once("pay", "{\"n\": 3}");
    let (shared, _) = shared_with(&model, [server.tool("pay", json!({"confirm": true}))]).await;
    let mut config = shared.config(Role::All);
    config.turn.max_turns = 1;
    let first = TestNode::start(config).await;
    let (mut plain, mut numbered) = (first.connect().await, first.connect().await);
    let session = plain.session().await;
    let supports = json!({"conversationId": session["conversationId"], "supports": ["stream_resume", "follow"]});
    let watching = numbered.session_with(supports).await;
    plain.say(&session, "r1", "pay").await;
    for client in [&mut plain, &mut numbered] {
        let event = asked(client).await;
        let detail = json!({"toolId": "pay", "actionDescription": "The tool pay (n: 3)"});
        assert_eq!((&event["requestId"], &event["data"]["data"]), (&json!("r1"), &detail));
    }
    assert!(server.calls().is_empty());
    assert_eventually("the slot is free", Duration::from_secs(10), async || {
        first.metric("switchboard_turns_in_flight", &[]) == 0.0
    })
    .await;
    assert_eq!(plain.refusal(crate::support::client::send_message(&session, "r2", "more")).await, "TURN_IN_PROGRESS");

    let second = shared.start(Role::All).await;
    let mut elsewhere = second.connect().await;
    first.stop().await;
    drop(plain);
    // On a node that never saw the turn: the whole transcript, or exactly the rest, or only the open question.
    let mut late = second.connect().await;
    let attached = late.ask(attach(&watching, 1)).await;
    assert_eq!((&attached["data"]["verdict"], &attached["data"]["turn"]["state"]), (&json!("delta"), &json!("parked")));
    let event = late.expect("write_confirmation_required").await;
    assert_eq!((&event["seq"], &event["epoch"]), (&json!(2), &json!(1)));
    assert_eq!(late.expect("stream_chunk").await["seq"], 3);
    assert_eq!(elsewhere.ask(get_session(&session)).await["status"], 200);
    elsewhere.expect("write_confirmation_required").await;
    elsewhere.expect_silence().await;

    server.script([result("paid")]);
    assert_eq!(answer(&mut elsewhere, confirm(&session, "r1", true)).await, "Tool action approved");
    let turn = late.turn("r1").await;
    let numbers: Vec<_> = turn.events.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [4, 5, 6], "the numbers go on without a gap: {:?}", turn.events);
    assert_eq!(chunks(&turn)[0]["toolResult"]["result"], "paid");
    assert_eq!(turn.end["data"]["data"]["response"]["responseParts"], json!(["hm so"]));
    assert_eq!(elsewhere.turn("r1").await.end["type"], "eventual_response");
    assert_eq!(server.calls().len(), 1);
    assert_eq!(last_result(&model), "paid");
    assert_eq!(model.prompts().len(), 2);
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_client_that_stays_sees_the_turn_go_on_with_nothing_twice() {
    let server = ToolServer::start().await;
    let model = calls_once("pay", "{}");
    let (shared, _) = shared_with(&model, [server.tool("pay", json!({"confirm": true}))]).await;
    let (edge, runner) = (shared.start(Role::Edge).await, shared.start(Role::Runner).await);
    let mut client = edge.connect().await;
    let session = client.session().await;
    client.say(&session, "r1", "pay").await;
    assert_eq!(client.expect("stream_token").await["token"], "hm ");
    asked(&mut client).await;
    // Another node goes on with it.
    let heir = shared.start(Role::Runner).await;
    runner.stop().await;
    server.script([result("paid")]);
    assert_eq!(answer(&mut client, confirm(&session, "r1", true)).await, "Tool action approved");
    let turn = client.turn("r1").await;
    assert_eq!((turn.text.as_str(), chunks(&turn).len()), ("so", 1), "{:?}", turn.events);
    assert_eq!(turn.end["data"]["data"]["response"]["responseParts"], json!(["hm so"]));
    client.expect_silence().await;
    edge.stop().await;
    heir.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_answers_at_once_one_wins_and_the_tool_runs_at_most_once() {
    let server = ToolServer::start().await;
    let model = calls_once("pay", "{}");
    let (shared, _) = shared_with(&model, [server.tool("pay", json!({"confirm": true}))]).await;
    let (a, b) = (shared.start(Role::All).await, shared.start(Role::All).await);
    let (mut one, mut two) = (a.connect().await, b.connect().await);
    let session = one.session().await;
    two.ask(get_session(&session)).await;
    one.say(&session, "r1", "pay").await;
    asked(&mut one).await;
    asked(&mut two).await;
    server.script([result("paid"), result("paid twice")]);
    let answers =
        tokio::join!(answer(&mut one, confirm(&session, "r1", true)), answer(&mut two, confirm(&session, "r1", true)));
    let mut answers = [answers.0, answers.1];
    answers.sort();
    assert_eq!(answers, ["NO_PENDING_CONFIRMATION", "Tool action approved"]);
    assert_eq!(one.turn("r1").await.end["type"], "eventual_response");
    assert_eq!(server.calls().len(), 1);
    assert_eq!(answer(&mut one, confirm(&session, "r1", false)).await, "NO_PENDING_CONFIRMATION");
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_tool_does_not_run_and_the_model_is_told() {
    let server = ToolServer::start().await;
    let model = calls_once("pay", "{}");
    let (shared, _) = shared_with(&model, [server.tool("pay", json!({"confirm": true}))]).await;
    let node = shared.start(Role::All).await;
    let mut client = node.connect().await;
    let session = client.session().await;
    client.say(&session, "r1", "pay").await;
    asked(&mut client).await;
    let other = confirm(&session, "another", true);
    assert_eq!(answer(&mut client, other).await, "NO_PENDING_CONFIRMATION");
    assert_eq!(answer(&mut client, confirm(&session, "r1", false)).await, "Tool action rejected");
    let turn = client.turn("r1").await;
    let told = &chunks(&turn)[0]["toolResult"];
    assert!(told["isError"] == true && told["result"].as_str().unwrap().contains("declined"), "{told}");
    assert!(last_result(&model).contains("declined"));
    assert_eq!(turn.end["type"], "eventual_response");
    assert!(server.calls().is_empty());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_turn_is_cancelled_and_keeps_what_it_said_and_its_tool_never_runs() {
    let server = ToolServer::start().await;
    let model = calls_once("pay", "{}");
    let (shared, _) = shared_with(&model, [server.tool("pay", json!({"confirm": true}))]).await;
    let (a, b) = (shared.start(Role::All).await, shared.start(Role::All).await);
    let (mut here, mut there) = (a.connect().await, b.connect().await);
    let session = here.session_with(json!({"supports": ["stream_resume"]})).await;
    here.say(&session, "r1", "pay").await;
    asked(&mut here).await;
    there.send(json!({"action": "cancel", "requestId": "r1", "sessionId": session["sessionId"]})).await;
    let end = here.turn("r1").await.end;
    assert_eq!((&end["type"], &end["seq"]), (&json!("cancelled"), &json!(4)), "{end}");
    let listing = json!({"action": "get_conversation_messages", "requestId": "m", "sessionId": session["sessionId"]});
    let newest = here.ask(listing).await["data"]["messages"][0].clone();
    assert_eq!((&newest["direction"], &newest["content"]["text"]), (&json!("outbound"), &json!("hm ")), "{newest}");
    assert_eq!(answer(&mut here, confirm(&session, "r1", true)).await, "NO_PENDING_CONFIRMATION");
    assert!(server.calls().is_empty());
    model.push(Script::saying(["free again"]));
    let model_next = here.converse(&session, "r2", "again").await;
    assert_eq!(model_next.end["type"], "eventual_response");
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_nobody_answers_ends_the_turn_in_plain_words() {
    let server = ToolServer::start().await;
    let model = calls_once("pay", "{}");
    let (shared, _) = shared_with(&model, [server.tool("pay", json!({"confirm": true}))]).await;
    let mut config = shared.config(Role::All);
    config.turn.approval_patience = Duration::from_millis(500);
    let node = TestNode::start(config).await;
    let mut client = node.connect().await;
    let session = client.session().await;
    client.say(&session, "r1", "pay").await;
    asked(&mut client).await;
    let end = client.turn("r1").await.end;
    assert_eq!((&end["type"], &end["error"]["code"]), (&json!("error"), &json!("AGENT_ERROR")));
    assert!(end["error"]["message"].as_str().unwrap().contains("Nobody approved"), "{end}");
    assert_eq!(answer(&mut client, confirm(&session, "r1", true)).await, "NO_PENDING_CONFIRMATION");
    assert!(server.calls().is_empty());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_dies_after_the_approval_leaves_its_position_and_its_tool_alone() {
    let server = ToolServer::start().await;
    let model = calls_once("pay", "{}");
    let (shared, store) = shared_with(&model, [server.tool("pay", json!({"confirm": true}))]).await;
    let mut config = shared.config(Role::All);
    config.turn.lease = Duration::from_secs(1);
    let node = TestNode::start(config).await;
    let mut client = node.connect().await;
    let session = client.session_with(json!({"supports": ["stream_resume"]})).await;
    client.say(&session, "r1", "pay").await;
    assert_eq!(client.expect("stream_token").await["seq"], 1);
    asked(&mut client).await;
    assert_eq!(answer(&mut client, confirm(&session, "r1", true)).await, "Tool action approved");
    let started = server.expect_call().await;
    let thief = switchboard::ids::NodeId::new();
    crate::leases::steal(&shared, thief).await;
    started.closed().await;
    assert_eq!(store.release_turns(thief).await.unwrap(), 1);
    let turn = client.turn("r1").await;
    assert!(turn.events.iter().all(|event| event["type"] != "turn_restarted"), "{:?}", turn.events);
    let numbers: Vec<_> = turn.events.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [4, 5, 6], "{:?}", turn.events);
    assert!(last_result(&model).contains("not known"));
    assert_eq!(server.calls().len(), 1, "it ran once, and nobody was asked again");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_asks_before_it_pretends_to_order_something_on_one_node_with_nothing_installed() {
    let mut config = node::config();
    config.model = ModelChoice::Demo(Duration::ZERO);
    let node = TestNode::start(config).await;
    let mut client = node.connect().await;
    let session = client.session().await;
    client.say(&session, "r1", "Please order two teas").await;
    let event = asked(&mut client).await;
    assert_eq!(event["data"]["data"]["toolId"], "place_order");
    assert!(event["data"]["data"]["actionDescription"].as_str().unwrap().contains("two teas"), "{event}");
    assert_eq!(answer(&mut client, confirm(&session, "r1", true)).await, "Tool action approved");
    let turn = client.turn("r1").await;
    assert!(turn.text.contains("Pretended to order two teas"), "{}", turn.text);
    client.say(&session, "r2", "remind me to drink it").await;
    asked(&mut client).await;
    assert_eq!(answer(&mut client, confirm(&session, "r2", false)).await, "Tool action rejected");
    assert!(client.turn("r2").await.text.contains("declined"));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_may_ask_twice() {
    let server = ToolServer::start().await;
    let ask = |id| Script::default().calls([call(id, "pay", "{}")]);
    let model = Scripted::new([ask("c1"), ask("c2"), Script::saying(["so"])]);
    let (shared, _) = shared_with(&model, [server.tool("pay", json!({"confirm": true}))]).await;
    let (a, b) = (shared.start(Role::All).await, shared.start(Role::All).await);
    let mut client = a.connect().await;
    let session = client.session_with(json!({"supports": ["stream_resume"]})).await;
    client.say(&session, "r1", "pay").await;
    server.script([result("one"), result("two")]);
    for _ in 0..2 {
        asked(&mut client).await;
        assert_eq!(answer(&mut client, confirm(&session, "r1", true)).await, "Tool action approved");
        let chunk = client.find(|event| event["type"] == "stream_chunk").await;
        assert!(chunk["data"]["state"]["rawResponse"]["toolResult"].is_object(), "{chunk}");
    }
    let turn = client.turn("r1").await;
    assert_eq!((turn.text.as_str(), &turn.end["seq"]), ("so", &json!(8)));
    let mut back = b.connect().await;
    assert_eq!(back.ask(attach(&session, 8)).await["data"]["turn"]["state"], "completed");
    a.stop().await;
    b.stop().await;
}
