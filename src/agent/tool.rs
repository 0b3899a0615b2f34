//! What a tool is to an agent, and one call of it. A call always has a result: whatever goes wrong is told to the model, which
//! may find another way.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::Agent;
use crate::ids::TurnId;
use crate::model::{ToolCall, ToolSpec};

/// Something that a model may call.
#[async_trait]
pub trait Tool: Send + Sync + 'static {
    /// How the model sees it.
    fn spec(&self) -> &ToolSpec;

    /// Runs it for a turn. `call.arguments` is a JSON object that [`Tool::check`] let pass or, when the model gave none,
    /// blank; `call.id` names no other call of the turn. The future is dropped when the turn is cancelled or the time is up.
    async fn call(&self, call: &ToolCall, turn: TurnId) -> ToolOutcome;

    /// Says what is wrong with the arguments, for the model.
    fn check(&self, _arguments: &Value) -> Result<(), String> {
        Ok(())
    }

    /// What a person must approve before a call with these arguments; `None` when nobody need be asked.
    fn approval(&self, _arguments: &Value) -> Option<String> {
        None
    }

    /// The same call of the same turn may be made twice and takes effect once.
    fn is_idempotent(&self) -> bool {
        false
    }

    /// How long one call may take; `None` is the agent's limit.
    fn timeout(&self) -> Option<Duration> {
        None
    }
}

/// What a call of a tool gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolOutcome {
    /// It did not work; `result` says why.
    pub is_error: bool,
    /// What the model is shown.
    pub result: String,
}

/// A JSON Schema that arguments are held to.
pub struct Schema(jsonschema::Validator);

/// How many mistakes in its arguments a model is told at once.
const MAX_MISTAKES: usize = 5;

/// The longest account of one mistake, in bytes.
const MAX_MISTAKE_BYTES: usize = 300;

const CUT_OFF: &str = "\n[cut off here: the result was too long]";

impl Schema {
    /// Reads a schema; nothing is fetched from anywhere. The error says what is wrong with it.
    pub fn new(schema: &Value) -> Result<Self, String> {
        jsonschema::validator_for(schema).map(Self).map_err(|error| error.to_string())
    }

    /// Says what is wrong with a value, and where.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        let mistakes: Vec<String> = self.0.iter_errors(value).take(MAX_MISTAKES).map(|error| mistake(&error)).collect();
        if mistakes.is_empty() { Ok(()) } else { Err(mistakes.join("; ")) }
    }
}

fn mistake(error: &jsonschema::ValidationError<'_>) -> String {
    let place = error.instance_path().to_string();
    let mut text = if place.is_empty() { error.to_string() } else { format!("{place}: {error}") };
    text.truncate(text.floor_char_boundary(MAX_MISTAKE_BYTES));
    text
}

/// A call that can be made.
pub(super) struct Prepared<'a> {
    pub tool: &'a Arc<dyn Tool>,
    pub arguments: Value,
}

impl Agent {
    /// Finds the tool and looks at the arguments; on a mistake, what the model is told.
    pub(super) fn prepare<'a>(&self, call: &ToolCall, tools: &'a [Arc<dyn Tool>]) -> Result<Prepared<'a>, ToolOutcome> {
        let Some(tool) = tools.iter().find(|tool| tool.spec().name == call.name) else {
            return Err(ToolOutcome::error(format!("there is no tool named '{}'", call.name)));
        };
        let Some(arguments) = object(&call.arguments) else {
            return Err(ToolOutcome::error("the arguments are not a JSON object".to_owned()));
        };
        match tool.check(&arguments) {
            Ok(()) => Ok(Prepared { tool, arguments }),
            Err(mistakes) => Err(ToolOutcome::error(format!("the arguments do not fit: {mistakes}"))),
        }
    }

    /// Makes one call within its limits.
    pub(super) async fn call(&self, prepared: &Prepared<'_>, call: &ToolCall, turn: TurnId) -> ToolOutcome {
        let limit = prepared.tool.timeout().unwrap_or(self.config.tool_timeout);
        let mut outcome = match timeout(limit, prepared.tool.call(call, turn)).await {
            Ok(outcome) => outcome,
            Err(_) => ToolOutcome::error(format!("the tool gave no answer within {limit:?}")),
        };
        cut_off(&mut outcome.result, self.config.max_tool_result_bytes);
        outcome
    }
}

impl ToolOutcome {
    /// A result that worked.
    pub fn ok(result: String) -> Self {
        Self { is_error: false, result }
    }

    /// A result that tells the model what went wrong.
    pub fn error(result: String) -> Self {
        Self { is_error: true, result }
    }
}

/// The arguments, which are a JSON object; none at all are an empty one.
fn object(arguments: &str) -> Option<Value> {
    if arguments.trim().is_empty() {
        return Some(Value::Object(Map::new()));
    }
    serde_json::from_str(arguments).ok().filter(Value::is_object)
}

/// Shortens `text` to at most `max` bytes, and says so at its end.
fn cut_off(text: &mut String, max: usize) {
    if text.len() > max {
        text.truncate(text.floor_char_boundary(max.saturating_sub(CUT_OFF.len())));
        text.push_str(&CUT_OFF[..CUT_OFF.len().min(max)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_a_json_object_or_nothing() {
        for good in ["", "  ", "{}", " {\"a\": [1]} "] {
            assert!(object(good).is_some(), "{good}");
        }
        for bad in ["{", "[]", "1", "{} {}", "{a: 1}", "nonsense"] {
            assert!(object(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_result_is_cut_between_characters_and_stays_within_the_limit() {
        let mut text = "ä".repeat(100);
        cut_off(&mut text, 200);
        assert_eq!(text, "ä".repeat(100), "what fits stays as it is");
        cut_off(&mut text, 61);
        assert!(text.len() <= 61 && text.starts_with("äää") && text.ends_with(CUT_OFF), "{text}");
        cut_off(&mut text, 3);
        assert_eq!(text.len(), 3, "even a limit that is too small for the note holds");
    }
}
