//! The tools of the run's agent. What each is declared as, and what the checker holds it to, are the same words.

mod server;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ids::AgentId;

pub(super) use server::ToolServer;

/// The agent that clients talk to.
pub(super) const AGENT: AgentId = AgentId(Uuid::from_u128(0x0000_0000_0000_4000_8000_0000_0000_0001));

/// How long a node waits for a tool, in seconds; some answers take longer.
const TIMEOUT_SECONDS: f64 = 1.5;

/// A tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tool {
    /// Takes effect with every call.
    Note,
    /// Takes effect once, however often it is called under one key.
    Look,
    /// Takes effect with every call, and a person must approve it.
    Pay,
}

impl Tool {
    /// Every tool.
    pub const ALL: &[Self] = &[Self::Note, Self::Look, Self::Pay];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Look => "look",
            Self::Pay => "pay",
        }
    }

    /// The tool of this name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|tool| tool.name() == name)
    }

    /// Calls under one key take effect once.
    pub fn is_idempotent(self) -> bool {
        self == Self::Look
    }

    /// A person must approve it.
    pub fn needs_approval(self) -> bool {
        self == Self::Pay
    }

    /// What it answers to a call under this key.
    pub fn answer(self, key: &str) -> String {
        format!("{} done for {key}", self.name())
    }
}

/// The arguments of every call that the model makes for this message.
pub fn arguments(message: &str) -> String {
    // Cannot fail: a plain struct with a string.
    serde_json::to_string(&Arguments { message: message.to_owned() }).unwrap_or_default()
}

/// The arguments of every tool.
#[derive(Serialize, Deserialize)]
struct Arguments {
    /// The message for which it is called.
    message: String,
}

/// The file that declares the agent, whose tools are behind this address.
pub(super) fn declaration(address: &str) -> String {
    let tools = Tool::ALL.iter().map(|tool| Declared {
        name: tool.name(),
        description: "Does something for a message",
        parameters: Parameters {
            kind: "object",
            properties: Properties { message: Property { kind: "string" } },
            required: ["message"],
        },
        url: format!("{address}/{}", tool.name()),
        timeout_seconds: TIMEOUT_SECONDS,
        confirm: tool.needs_approval(),
        idempotent: tool.is_idempotent(),
    });
    let agent = Agent { id: AGENT, name: "Chaos", instructions: "Answer.", tools: tools.collect() };
    // Cannot fail: plain structs of strings.
    serde_json::to_string_pretty(&File { agents: [agent] }).unwrap_or_default()
}

#[derive(Serialize)]
struct File {
    agents: [Agent; 1],
}

#[derive(Serialize)]
struct Agent {
    id: AgentId,
    name: &'static str,
    instructions: &'static str,
    tools: Vec<Declared>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Declared {
    name: &'static str,
    description: &'static str,
    parameters: Parameters,
    url: String,
    timeout_seconds: f64,
    confirm: bool,
    idempotent: bool,
}

#[derive(Serialize)]
struct Parameters {
    #[serde(rename = "type")]
    kind: &'static str,
    properties: Properties,
    required: [&'static str; 1],
}

#[derive(Serialize)]
struct Properties {
    message: Property,
}

#[derive(Serialize)]
struct Property {
    #[serde(rename = "type")]
    kind: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_declares_every_tool_as_what_it_is() {
        let agents = crate::agents::read(&declaration("http://127.0.0.1:1")).unwrap();
        assert_eq!((agents.len(), agents[0].id), (1, AGENT));
        for (tool, declared) in Tool::ALL.iter().zip(&agents[0].tools) {
            assert_eq!(Tool::of(&declared.name), Some(*tool));
            assert_eq!((declared.confirm, declared.idempotent), (tool.needs_approval(), tool.is_idempotent()));
        }
    }
}
