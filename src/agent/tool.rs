//! What a tool is to an agent, and one call of it. A call always has a result: whatever goes wrong is told to the model, which
//! may find another way.

use std::sync::Arc;

use async_trait::async_trait;
use serde::de::IgnoredAny;
use tokio::time::timeout;

use super::Agent;
use crate::ids::TurnId;
use crate::model::{ToolCall, ToolSpec};

/// Something that a model may call.
#[async_trait]
pub trait Tool: Send + Sync + 'static {
    /// How the model sees it.
    fn spec(&self) -> &ToolSpec;

    /// Runs it for a turn. `call.arguments` is a JSON object or, when the model gave none, blank. The future is dropped when
    /// the turn is cancelled or the time is up.
    async fn call(&self, call: &ToolCall, turn: TurnId) -> ToolOutcome;
}

/// What a call of a tool gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolOutcome {
    /// It did not work; `result` says why.
    pub is_error: bool,
    /// What the model is shown.
    pub result: String,
}

const CUT_OFF: &str = "\n[cut off here: the result was too long]";

impl Agent {
    /// Runs one call within its limits.
    pub(super) async fn call(&self, call: &ToolCall, turn: TurnId) -> ToolOutcome {
        let mut outcome = match self.tool(&call.name) {
            None => ToolOutcome::error(format!("there is no tool named '{}'", call.name)),
            Some(_) if !is_object_or_blank(&call.arguments) => {
                ToolOutcome::error("the arguments are not a JSON object".to_owned())
            }
            Some(tool) => match timeout(self.config.tool_timeout, tool.call(call, turn)).await {
                Ok(outcome) => outcome,
                Err(_) => ToolOutcome::error(format!("the tool gave no answer within {:?}", self.config.tool_timeout)),
            },
        };
        cut_off(&mut outcome.result, self.config.max_tool_result_bytes);
        outcome
    }

    fn tool(&self, name: &str) -> Option<&Arc<dyn Tool>> {
        self.tools.iter().find(|tool| tool.spec().name == name)
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

fn is_object_or_blank(arguments: &str) -> bool {
    let arguments = arguments.trim();
    arguments.is_empty() || (arguments.starts_with('{') && serde_json::from_str::<IgnoredAny>(arguments).is_ok())
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
            assert!(is_object_or_blank(good), "{good}");
        }
        for bad in ["{", "[]", "1", "{} {}", "{a: 1}", "nonsense"] {
            assert!(!is_object_or_blank(bad), "{bad}");
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
