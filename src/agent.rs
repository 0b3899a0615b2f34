//! The agent: asks a model, runs the tools it calls, and asks again until there is an answer.
//!
//! It knows no socket, no protocol and no store: it tells its [`Host`] what happens as [`Step`]s, and what must be kept as
//! [`Entry`]s, and leaves it to the host what becomes of them. Whoever drops the future stops everything at once, the model
//! call included.

mod http_tool;
mod journal;
mod place_order;
mod read;
mod run;
mod tool;

use std::sync::Arc;
use std::time::Duration;

use crate::ids::TurnId;
use crate::model::{ChatMessage, ModelError, SharedModel, ToolCall, Usage};

pub use http_tool::{Environment, HttpClients, HttpTool, HttpToolSpec};
pub use journal::{Entry, Host, Lost};
pub use place_order::PlaceOrder;
pub use tool::{Schema, Tool, ToolOutcome};

/// A model with the tools it may call. Cheap to make.
pub struct Agent {
    model: SharedModel,
    tools: Vec<Arc<dyn Tool>>,
    config: Config,
}

/// How far an agent may go.
#[derive(Clone, Debug)]
pub struct Config {
    /// How often the model may call tools, before it is asked once more without any. Default 8.
    pub max_rounds: u32,
    /// The longest result of a tool that the model is shown, in bytes; the rest is cut off. Default 64 KiB: a page or two of
    /// a document, and small beside a model's context.
    pub max_tool_result_bytes: usize,
    /// How long one call of a tool may take. Default 30 s.
    pub tool_timeout: Duration,
    /// The longest text of all rounds together, in bytes. Default 1 MiB: more than any model writes in one answer.
    pub max_text_bytes: usize,
    /// Where HTTP tools find the values of their headers. Default: nowhere.
    pub environment: Environment,
}

/// What an agent is asked to do.
#[derive(Clone)]
pub struct Task {
    /// The system prompt; nothing is sent when it is empty.
    pub instructions: String,
    /// The conversation, oldest first; ends with the person's message.
    pub history: Vec<ChatMessage>,
    /// The model; `None` is the configured one.
    pub model: Option<String>,
    /// The W3C `traceparent` that the model call continues.
    pub traceparent: Option<String>,
    /// The turn that this is done for.
    pub turn: TurnId,
    /// Tools that it may call beside those of the agent.
    pub tools: Vec<Arc<dyn Tool>>,
    /// How often the model may call tools; `None` is [`Config::max_rounds`].
    pub max_rounds: Option<u32>,
    /// What was recorded of this task before: it goes on from there.
    pub past: Vec<Entry>,
}

/// Something that happened on the way to an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// More text of the answer, as much as there was. Never empty.
    Text(String),
    /// More of the model's thinking. Never empty.
    Reasoning(String),
    /// A tool is about to run.
    ToolStarted {
        /// What the model asked for.
        call: ToolCall,
    },
    /// A tool has run, or could not.
    ToolEnded {
        /// What the model asked for.
        call: ToolCall,
        /// It did not work; `result` says why.
        is_error: bool,
        /// What the model is shown.
        result: String,
    },
}

/// A complete answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reply {
    /// Every [`Step::Text`] of the run put together, and nothing else.
    pub text: String,
    /// What all model calls of the run used.
    pub usage: Usage,
}

/// Why there is no complete answer. What was emitted until then stays valid.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The model failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The text grew past [`Config::max_text_bytes`].
    #[error("the answer is longer than the limit")]
    TooLong,
    /// A person must approve this call first. Recorded so far is everything before it; the host decides what is shown, records
    /// [`Entry::Asked`], and once there is an answer runs the task again.
    #[error("the tool '{}' needs a person's approval", call.name)]
    NeedsApproval {
        /// The call.
        call: ToolCall,
        /// What it is about to do, for a person.
        description: String,
    },
    /// The host could not record what happened: somebody else works on this.
    #[error(transparent)]
    Lost(#[from] Lost),
}

impl Agent {
    /// An agent that answers with `model` and may call `tools`; of two tools with one name the first is used.
    pub fn new(model: SharedModel, tools: Vec<Arc<dyn Tool>>, config: Config) -> Self {
        Self { model, tools, config }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_rounds: 8,
            max_tool_result_bytes: 64 * 1024,
            tool_timeout: Duration::from_secs(30),
            max_text_bytes: 1024 * 1024,
            environment: Environment::default(),
        }
    }
}
