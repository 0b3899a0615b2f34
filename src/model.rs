//! The model behind an agent: takes a conversation and streams what it answers.

mod demo;
pub mod gateway;
mod metrics;
mod scripted;

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};

pub use demo::Demo;
pub use gateway::Gateway;
pub use metrics::Metrics;
pub use scripted::{Gate, Script, Scripted};

/// Answers a conversation with a stream of deltas.
#[async_trait]
pub trait Model: Send + Sync + 'static {
    /// Starts one answer. The stream ends after [`Delta::Done`], or with the first error. Dropping it abandons the call.
    async fn answer(&self, prompt: Prompt) -> Result<Deltas, ModelError>;
}

/// What a model call yields.
pub type Deltas = BoxStream<'static, Result<Delta, ModelError>>;

/// A model that any part of the node may hold.
pub type SharedModel = Arc<dyn Model>;

/// One call to a model.
#[derive(Clone, Debug, Default)]
pub struct Prompt {
    /// The model to use; `None` is the configured one.
    pub model: Option<String>,
    /// The conversation, oldest first.
    pub messages: Vec<ChatMessage>,
    /// The tools it may call.
    pub tools: Vec<ToolSpec>,
    /// The W3C `traceparent` sent along.
    pub traceparent: Option<String>,
}

/// One entry of the conversation shown to a model.
#[derive(Clone, Debug, PartialEq)]
pub enum ChatMessage {
    /// Instructions.
    System(String),
    /// What the person said.
    User(String),
    /// What the model said, with the tools it called.
    Assistant {
        /// Its text; empty when it only called tools.
        text: String,
        /// The calls it made.
        calls: Vec<ToolCall>,
    },
    /// What a tool answered.
    Tool {
        /// The call that this answers.
        call_id: String,
        /// The result, as text.
        content: String,
    },
}

/// A tool as the model sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolSpec {
    /// Its name, as in a `toolCall`.
    pub name: String,
    /// What it does, in words for the model.
    pub description: String,
    /// JSON Schema of its arguments.
    pub parameters: serde_json::Value,
}

/// A call that the model made, complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The gateway's name for this call.
    pub id: String,
    /// The tool.
    pub name: String,
    /// The arguments: JSON as text, exactly as the model wrote it; empty when it wrote none.
    pub arguments: String,
}

/// A piece of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Delta {
    /// Text to show. Never empty.
    Text(String),
    /// The model's thinking channel. Never empty.
    Reasoning(String),
    /// Every tool call of this answer, complete, at most once and after all text.
    ToolCalls(Vec<ToolCall>),
    /// The answer is complete.
    Done(Usage),
}

/// What one or more model calls used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens read.
    pub prompt_tokens: u64,
    /// Tokens written.
    pub completion_tokens: u64,
    /// Cost in US dollars, when the gateway tells it; else 0.
    pub cost_usd: f64,
}

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.prompt_tokens += other.prompt_tokens;
        self.completion_tokens += other.completion_tokens;
        self.cost_usd += other.cost_usd;
    }
}

/// Why a model gave no complete answer. None of it is shown to a client; the variant tells the operator where to look.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The gateway could not be reached, or answered 429 or 5xx until the retries were used up.
    #[error("the model gateway is not available: {0}")]
    Unavailable(String),
    /// The gateway refused the request (4xx): key, model name or request are wrong.
    #[error("the model gateway refused the request with status {status}")]
    Refused {
        /// HTTP status.
        status: u16,
    },
    /// The gateway reported an error of its own in the middle of the answer.
    #[error("the model gateway failed in the middle of the answer")]
    Failed,
    /// The stream ended before the answer was complete.
    #[error("the model gateway cut the answer off")]
    Interrupted,
    /// Nothing arrived for the configured time.
    #[error("the model gateway went silent")]
    IdleTimeout,
    /// The whole answer took longer than the configured time.
    #[error("the answer took too long")]
    TotalTimeout,
    /// Something arrived that is not the protocol, or one event was larger than the cap.
    #[error("the model gateway sent something unreadable: {0}")]
    Malformed(&'static str),
}
