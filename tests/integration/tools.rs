//! Tools that agents declare: called over real HTTP, repeated or not when a holder dies, approved by a person or not.

mod apply;
mod approval;
mod http;
mod takeover;

use prometheus::Registry;
use serde_json::Value;
use switchboard::model::{ChatMessage, Script, Scripted};
use switchboard::store::{DeclaredTool, SharedStore};

use crate::support::client::Turn;
use crate::support::node::Shared;
use crate::support::tools::{agent, call};

/// A cluster's shared parts, with an agent that has these tools.
async fn shared_with(model: &Scripted, tools: impl IntoIterator<Item = DeclaredTool>) -> (Shared, SharedStore) {
    let shared = Shared::real(model).await;
    let store = shared.store.clone().open(&Registry::new()).await.unwrap();
    store.migrate().await.unwrap();
    store.put_agents(&[agent(tools)]).await.unwrap();
    (shared, store)
}

/// A model that calls one tool and then says "so".
fn calls_once(name: &str, arguments: &str) -> Scripted {
    Scripted::new([Script::saying(["hm "]).calls([call("c1", name, arguments)]), Script::saying(["so"])])
}

/// The tool chunks of a turn: `toolCall` or `toolResult` objects.
fn chunks(turn: &Turn) -> Vec<Value> {
    let chunk = |event: &Value| event["data"]["state"]["rawResponse"].clone();
    turn.events.iter().filter(|event| event["type"] == "stream_chunk").map(chunk).collect()
}

/// What the model was shown as the newest tool result in its last prompt.
fn last_result(model: &Scripted) -> String {
    let prompt = model.prompts().pop().expect("a prompt");
    let mut results = prompt.messages.into_iter().filter_map(|message| match message {
        ChatMessage::Tool { content, .. } => Some(content),
        ChatMessage::System(_) | ChatMessage::User(_) | ChatMessage::Assistant { .. } => None,
    });
    results.next_back().expect("a result")
}
