//! Puts an answer together from the events of a stream.
//!
//! Text passes through at once. Tool calls come in pieces, several at a time, and leave only when the answer is complete:
//! half a call must never be acted on.

use std::collections::VecDeque;

use uuid::Uuid;

use super::Config;
use super::chunk::{CallPart, Choice, Chunk, Part, Text, UsagePart};
use crate::model::{Delta, ToolCall, Usage};

/// Why an event could not be taken in.
#[derive(Debug)]
pub(super) enum Fault {
    /// The gateway reported an error; what it said, for the log only.
    Reported(String),
    /// It is not the protocol, or more than the caps allow.
    Malformed(&'static str),
}

/// What has arrived of one answer.
#[derive(Debug)]
pub(super) struct Assembler {
    calls: Vec<OpenCall>,
    usage: Usage,
    /// The gateway gave a reason why the answer ends here.
    finished: bool,
    /// `[DONE]` arrived.
    done: bool,
    bytes: usize,
    max_answer_bytes: usize,
    max_tool_calls: usize,
}

/// A tool call of which more may come.
#[derive(Debug)]
struct OpenCall {
    index: Option<u32>,
    id: String,
    name: String,
    arguments: String,
}

const DONE: &[u8] = b"[DONE]";

impl Assembler {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            calls: Vec::new(),
            usage: Usage::default(),
            finished: false,
            done: false,
            bytes: 0,
            max_answer_bytes: config.max_answer_bytes,
            max_tool_calls: config.max_tool_calls,
        }
    }

    /// Takes in one event and adds what can be told at once to `deltas`.
    pub(super) fn event(&mut self, data: &[u8], deltas: &mut VecDeque<Delta>) -> Result<(), Fault> {
        if self.done || data.is_empty() {
            return Ok(());
        }
        if data.trim_ascii() == DONE {
            self.done = true;
            return Ok(());
        }
        let chunk: Chunk = serde_json::from_slice(data).map_err(|_| Fault::Malformed("an event is not a chunk"))?;
        if let Some(error) = chunk.error {
            return Err(Fault::Reported(error.get().to_owned()));
        }
        if let Some(usage) = chunk.usage.and_then(|raw| serde_json::from_str::<UsagePart>(raw.get()).ok()) {
            self.usage = usage.into();
        }
        match chunk.choices.and_then(|choices| choices.into_iter().next()) {
            Some(choice) => self.choice(choice, deltas),
            None => Ok(()),
        }
    }

    /// The gateway has said all of the answer: whatever the connection does now, nothing is missing but perhaps the usage.
    pub(super) fn is_complete(&self) -> bool {
        self.done || self.finished
    }

    /// The gateway has said that nothing follows.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// Closes the answer: the tool calls, when there are any, then the usage.
    pub(super) fn finish(&mut self, deltas: &mut VecDeque<Delta>) {
        let calls: Vec<ToolCall> = std::mem::take(&mut self.calls).into_iter().map(OpenCall::close).collect();
        if !calls.is_empty() {
            deltas.push_back(Delta::ToolCalls(calls));
        }
        deltas.push_back(Delta::Done(self.usage));
    }

    fn choice(&mut self, choice: Choice<'_>, deltas: &mut VecDeque<Delta>) -> Result<(), Fault> {
        if let Some(part) = choice.delta {
            self.part(part, deltas)?;
        }
        match choice.finish_reason {
            Some(Text(reason)) if reason == "error" => Err(Fault::Reported("finish_reason: error".to_owned())),
            Some(_) => {
                self.finished = true;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn part(&mut self, part: Part<'_>, deltas: &mut VecDeque<Delta>) -> Result<(), Fault> {
        // Some gateways send the same thought under both names.
        let reasoning = part.reasoning_content.and_then(Text::filled).or_else(|| part.reasoning.and_then(Text::filled));
        if let Some(text) = reasoning {
            self.count(text.len())?;
            deltas.push_back(Delta::Reasoning(text));
        }
        if let Some(text) = part.content.and_then(Text::filled) {
            self.count(text.len())?;
            deltas.push_back(Delta::Text(text));
        }
        for call in part.tool_calls.into_iter().flatten() {
            self.call_part(call)?;
        }
        Ok(())
    }

    fn call_part(&mut self, part: CallPart<'_>) -> Result<(), Fault> {
        let id = part.id.map(|Text(id)| id).unwrap_or_default();
        let (name, arguments) = match part.function {
            Some(function) => (function.name, function.arguments),
            None => (None, None),
        };
        let name = name.map(|Text(name)| name).unwrap_or_default();
        let arguments = arguments.map(|Text(arguments)| arguments).unwrap_or_default();
        self.count(id.len() + name.len() + arguments.len())?;

        let call = match self.position(part.index, &id, &name) {
            Some(at) => &mut self.calls[at],
            None => {
                if self.calls.len() >= self.max_tool_calls {
                    return Err(Fault::Malformed("the answer has more tool calls than the cap"));
                }
                self.calls.push_mut(OpenCall::new(part.index))
            }
        };
        if call.id.is_empty() {
            call.id.push_str(&id);
        }
        if call.name.is_empty() {
            call.name.push_str(&name);
        }
        call.arguments.push_str(&arguments);
        Ok(())
    }

    /// Which open call a piece belongs to; `None`: it opens one. Gateways that do not count (no index, or 0 for every
    /// call) are told by a piece that names a function under another id.
    fn position(&self, index: Option<u32>, id: &str, name: &str) -> Option<usize> {
        let at = match index {
            Some(_) => self.calls.iter().rposition(|call| call.index == index)?,
            None if id.is_empty() && !name.is_empty() => return None,
            None => self.calls.iter().rposition(|call| call.id == id).or(self.calls.len().checked_sub(1))?,
        };
        let other_call = !id.is_empty() && !name.is_empty() && !self.calls[at].id.is_empty() && self.calls[at].id != id;
        if other_call { None } else { Some(at) }
    }

    fn count(&mut self, bytes: usize) -> Result<(), Fault> {
        self.bytes += bytes;
        if self.bytes > self.max_answer_bytes {
            Err(Fault::Malformed("the answer is larger than the cap"))
        } else {
            Ok(())
        }
    }
}

impl OpenCall {
    fn new(index: Option<u32>) -> Self {
        Self { index, id: String::new(), name: String::new(), arguments: String::new() }
    }

    fn close(self) -> ToolCall {
        let id = if self.id.is_empty() { format!("call_{}", Uuid::now_v7().simple()) } else { self.id };
        ToolCall { id, name: self.name, arguments: self.arguments }
    }
}

impl From<UsagePart> for Usage {
    fn from(part: UsagePart) -> Self {
        Self {
            prompt_tokens: part.prompt_tokens.unwrap_or(0),
            completion_tokens: part.completion_tokens.unwrap_or(0),
            cost_usd: part.cost.filter(|cost| cost.is_finite()).unwrap_or(0.0),
        }
    }
}

#[cfg(test)]
mod tests;
