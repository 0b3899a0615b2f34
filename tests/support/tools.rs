//! A server behind an agent's tools: real HTTP, and answers when the test says so.

use serde_json::{Value, json};
use switchboard::ids::AgentId;
use switchboard::model::ToolCall;
use switchboard::store::{Agent, DeclaredTool};

use super::client::AGENT;
use super::gateway::{Answer, Call, Request, ScriptedGateway};

/// The server. Every call waits for the test, unless answers were prepared.
pub struct ToolServer(ScriptedGateway);

impl ToolServer {
    /// Starts it on a free port.
    pub async fn start() -> Self {
        Self(ScriptedGateway::start().await)
    }

    /// Where the tool of this name is.
    pub fn url(&self, name: &str) -> String {
        format!("{}/{name}", self.0.url())
    }

    /// Answers the next calls at once.
    pub fn script(&self, answers: impl IntoIterator<Item = Answer>) {
        self.0.script(answers);
    }

    /// Takes the oldest call that waits.
    pub async fn expect_call(&self) -> Call {
        self.0.expect_request().await
    }

    /// Every call so far, answered or not.
    pub fn calls(&self) -> Vec<Request> {
        self.0.requests()
    }

    /// A tool of this name on this server, with more members.
    pub fn tool(&self, name: &str, more: Value) -> DeclaredTool {
        let mut tool = json!({
            "name": name,
            "description": format!("The tool {name}"),
            "url": self.url(name),
            "parameters": {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}},
        });
        for (key, value) in more.as_object().expect("an object") {
            tool[key] = value.clone();
        }
        serde_json::from_value(tool).expect("a declaration")
    }
}

/// The agent of every test, with these tools.
pub fn agent(tools: impl IntoIterator<Item = DeclaredTool>) -> Agent {
    Agent {
        id: AGENT.parse::<AgentId>().expect("a UUID"),
        name: "Ann".to_owned(),
        instructions: "Be kind.".to_owned(),
        model: None,
        max_iterations: None,
        tools: tools.into_iter().collect(),
    }
}

/// A call that the model makes.
pub fn call(id: &str, name: &str, arguments: &str) -> ToolCall {
    ToolCall { id: id.to_owned(), name: name.to_owned(), arguments: arguments.to_owned() }
}

/// A text that a tool answers with.
pub fn result(text: &str) -> Answer {
    Answer::status(200).body(text)
}
