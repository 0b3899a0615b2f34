//! The actions around a conversation: sessions, history, the list, titles; and their refusals.

use serde_json::{Value, json};
use switchboard::model::{Script, Scripted};
use switchboard::node::{Config, ModelChoice};

use crate::support::client::{AGENT, Client, send_message};
use crate::support::node::{TestNode, config};

const NOBODY: &str = "00000000-0000-4000-8000-00000000dead";

async fn talkative(turns: usize) -> TestNode {
    TestNode::alone(&Scripted::new((0..turns).map(|_| Script::saying(["yes"])))).await
}

async fn messages(client: &mut Client, session: &Value, more: Value) -> Value {
    let mut action =
        json!({"action": "get_conversation_messages", "requestId": "m", "sessionId": session["sessionId"]});
    action.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    client.ask(action).await["data"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_described_by_the_same_six_ids_everywhere() {
    let node = talkative(0).await;
    let mut client = node.connect().await;
    let created = client.session().await;
    assert_eq!(created.as_object().unwrap().len(), 6, "{created}");
    assert_eq!(created["agentId"], AGENT);
    let mut elsewhere = node.connect().await;
    let got =
        elsewhere.ask(json!({"action": "get_session", "requestId": "g", "sessionId": created["sessionId"]})).await;
    assert_eq!(got["message"], "Session");
    let mut expected = created.clone();
    expected["threadId"] = created["conversationId"].clone();
    expected["status"] = json!("active");
    assert_eq!(got["data"], expected);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_paged_newest_first_without_repeats_or_holes() {
    let node = talkative(5).await;
    let mut client = node.connect().await;
    let session = client.session().await;
    for turn in 0..5 {
        client.converse(&session, &format!("r{turn}"), &format!("question {turn}")).await;
    }
    let (mut seen, mut cursor) = (Vec::new(), Value::Null);
    loop {
        let more = if cursor.is_null() { json!({"limit": 3}) } else { json!({"limit": 3, "cursor": cursor}) };
        let page = messages(&mut client, &session, more).await;
        seen.extend(page["messages"].as_array().unwrap().iter().map(|m| m["content"]["text"].clone()));
        cursor = page["nextCursor"].clone();
        assert_eq!(page["hasMore"], !cursor.is_null());
        if cursor.is_null() {
            break;
        }
    }
    let expected: Vec<Value> =
        (0..5).rev().flat_map(|turn| [json!("yes"), json!(format!("question {turn}"))]).collect();
    assert_eq!(seen, expected);
    let refused = client
        .refusal(json!({"action": "get_conversation_messages", "requestId": "x", "sessionId": session["sessionId"], "cursor": "made up"}))
        .await;
    assert_eq!(refused, "VALIDATION_ERROR");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conversations_are_listed_by_activity_found_by_text_and_renamed() {
    let node = talkative(3).await;
    let mut client = node.connect().await;
    let empty = client.session().await;
    let mut sessions = Vec::new();
    for topic in ["apples", "pears", "plums"] {
        let session = client.session().await;
        client.converse(&session, topic, &format!("tell me about {topic}")).await;
        sessions.push(session);
    }
    let list = client.ask(json!({"action": "list_conversations", "requestId": "l1", "limit": 2})).await["data"].clone();
    let titles = |list: &Value| -> Vec<String> {
        list["conversations"].as_array().unwrap().iter().map(|c| c["title"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(titles(&list), ["tell me about plums", "tell me about pears"]);
    assert_eq!(list["conversations"][0]["messageCount"], 2);
    let rest = client
        .ask(json!({"action": "list_conversations", "requestId": "l2", "limit": 2, "cursor": list["nextCursor"]}))
        .await;
    assert_eq!(titles(&rest["data"]), ["tell me about apples"], "one without messages is not listed: {empty}");

    let renamed = client
        .ask(json!({"action": "rename_conversation", "requestId": "n", "conversationId": sessions[0]["conversationId"], "title": "  Fruit 100% "}))
        .await;
    assert_eq!(renamed["data"], json!({"conversationId": sessions[0]["conversationId"], "title": "Fruit 100%"}));
    let found = client.ask(json!({"action": "list_conversations", "requestId": "q", "query": "fruit 100%"})).await;
    assert_eq!(titles(&found["data"]), ["Fruit 100%"]);
    let refusal = client
        .refusal(json!({"action": "rename_conversation", "requestId": "n2", "conversationId": NOBODY, "title": "x"}))
        .await;
    assert_eq!(refusal, "CONVERSATION_NOT_FOUND");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_is_resumed_in_a_new_session_with_its_history() {
    let model = Scripted::new([Script::saying(["one"]), Script::saying(["two"])]);
    let node = TestNode::alone(&model).await;
    let mut client = node.connect().await;
    let first = client.session().await;
    client.converse(&first, "r1", "first").await;
    let mut later = node.connect().await;
    let second = later.session_with(json!({"conversationId": first["conversationId"]})).await;
    assert_eq!(second["conversationId"], first["conversationId"]);
    assert_ne!(second["sessionId"], first["sessionId"]);
    later.converse(&second, "r2", "second").await;
    let prompt = &model.prompts()[1];
    assert_eq!(prompt.messages.len(), 4, "instructions, first, one, second: {:?}", prompt.messages);
    let unknown =
        json!({"action": "create_conversation_session", "requestId": "u", "agentId": AGENT, "conversationId": NOBODY});
    assert_eq!(later.refusal(unknown).await, "CONVERSATION_NOT_FOUND");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_does_not_do_is_refused_by_name() {
    let node = talkative(0).await;
    let mut client = node.connect().await;
    let session = client.session().await;
    let id = &session["sessionId"];
    for (action, code) in [
        (json!({"action": "dance", "requestId": "1"}), "UNSUPPORTED_ACTION"),
        (json!({"action": "verify_otp", "requestId": "2", "sessionId": id, "code": "1"}), "UNSUPPORTED_ACTION"),
        (
            json!({"action": "confirm_tool_action", "requestId": "3", "sessionId": id, "approved": true}),
            "NO_PENDING_CONFIRMATION",
        ),
        (json!({"action": "get_session", "requestId": "4", "sessionId": NOBODY}), "SESSION_NOT_FOUND"),
        (json!({"action": "send_message", "requestId": "5", "sessionId": NOBODY, "message": "x"}), "SESSION_NOT_FOUND"),
        (json!({"action": "send_message", "requestId": "6", "sessionId": id, "message": " "}), "VALIDATION_ERROR"),
    ] {
        assert_eq!(client.refusal(action.clone()).await, code, "{action}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_model_a_message_is_refused_and_leaves_nothing_behind() {
    let node = TestNode::start(Config { model: ModelChoice::None, ..config() }).await;
    let mut client = node.connect().await;
    let session = client.session().await;
    assert_eq!(client.refusal(send_message(&session, "r1", "hi")).await, "LLM_UNAVAILABLE");
    assert_eq!(messages(&mut client, &session, json!({})).await["messages"], json!([]));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_message_waits_its_turn_by_being_refused() {
    let (script, gate) = Script::saying(["slow"]).gated();
    let node = TestNode::alone(&Scripted::new([script])).await;
    let mut client = node.connect().await;
    let session = client.session().await;
    client.say(&session, "r1", "one").await;
    assert_eq!(client.refusal(send_message(&session, "r2", "two")).await, "TURN_IN_PROGRESS");
    gate.open_all();
    client.turn("r1").await;
    assert_eq!(messages(&mut client, &session, json!({})).await["messages"].as_array().unwrap().len(), 2);
    node.stop().await;
}
