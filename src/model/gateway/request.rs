//! The body of a request, borrowed from the prompt and written once, however often it is sent.

use bytes::Bytes;
use serde::Serialize;

use crate::model::{ChatMessage, Prompt, ToolCall, ToolSpec};

/// Writes the request for `prompt` as JSON.
pub(super) fn encode(prompt: &Prompt, default_model: &str) -> Bytes {
    let request = Request {
        model: prompt.model.as_deref().unwrap_or(default_model),
        messages: prompt.messages.iter().map(Message::from).collect(),
        tools: prompt.tools.iter().map(Tool::from).collect(),
        stream: true,
        stream_options: StreamOptions { include_usage: true },
    };
    // Strings, lists and JSON values only: there is nothing in it that could fail to be written.
    Bytes::from(serde_json::to_vec(&request).unwrap_or_default())
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    messages: Vec<Message<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    stream: bool,
    stream_options: StreamOptions,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
#[serde(tag = "role", rename_all = "lowercase")]
enum Message<'a> {
    System {
        content: &'a str,
    },
    User {
        content: &'a str,
    },
    Assistant {
        /// `null` when it only called tools: some servers refuse an empty text.
        content: Option<&'a str>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        tool_calls: Vec<Call<'a>>,
    },
    Tool {
        tool_call_id: &'a str,
        content: &'a str,
    },
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "function")]
struct Call<'a> {
    id: &'a str,
    function: CallFunction<'a>,
}

#[derive(Serialize)]
struct CallFunction<'a> {
    name: &'a str,
    arguments: &'a str,
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "function")]
struct Tool<'a> {
    function: ToolFunction<'a>,
}

#[derive(Serialize)]
struct ToolFunction<'a> {
    name: &'a str,
    description: &'a str,
    parameters: &'a serde_json::Value,
}

impl<'a> From<&'a ChatMessage> for Message<'a> {
    fn from(message: &'a ChatMessage) -> Self {
        match message {
            ChatMessage::System(content) => Self::System { content },
            ChatMessage::User(content) => Self::User { content },
            ChatMessage::Assistant { text, calls } => Self::Assistant {
                content: (!text.is_empty() || calls.is_empty()).then_some(text),
                tool_calls: calls.iter().map(Call::from).collect(),
            },
            ChatMessage::Tool { call_id, content } => Self::Tool { tool_call_id: call_id, content },
        }
    }
}

impl<'a> From<&'a ToolCall> for Call<'a> {
    fn from(call: &'a ToolCall) -> Self {
        Self { id: &call.id, function: CallFunction { name: &call.name, arguments: &call.arguments } }
    }
}

impl<'a> From<&'a ToolSpec> for Tool<'a> {
    fn from(tool: &'a ToolSpec) -> Self {
        Self {
            function: ToolFunction { name: &tool.name, description: &tool.description, parameters: &tool.parameters },
        }
    }
}
