//! The events of one answer, as a gateway writes them.

use bytes::Bytes;
use serde::Serialize;

use super::Call;
use crate::chaos::answer::{self, Wish};
use crate::chaos::tool::{self, Tool};

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Text.
    Token(String),
    /// A call begins.
    CallBegins { index: u32, id: String, tool: Tool },
    /// More of its arguments.
    Arguments { index: u32, part: String, is_last: bool },
    /// The last event, for this reason.
    End(&'static str),
}

impl Said {
    /// It brings the end of a call's arguments.
    pub(super) fn ends_a_call(&self) -> bool {
        matches!(self, Self::Arguments { is_last: true, .. })
    }

    /// Its bytes.
    pub(super) fn encode(&self) -> Bytes {
        let (delta, finish_reason) = match self {
            Self::Token(text) => (Delta { content: Some(text), tool_calls: None }, None),
            Self::CallBegins { index, id, tool } => {
                let function = Function { name: Some(tool.name()), arguments: "" };
                (Delta::of(CallPart { index: *index, id: Some(id), kind: Some("function"), function }), None)
            }
            Self::Arguments { index, part, .. } => {
                let function = Function { name: None, arguments: part };
                (Delta::of(CallPart { index: *index, id: None, kind: None, function }), None)
            }
            Self::End(reason) => (Delta { content: None, tool_calls: None }, Some(*reason)),
        };
        let choices = [Choice { index: 0, delta, finish_reason }];
        // Cannot fail: plain structs of strings.
        let chunk = serde_json::to_string(&Chunk { object: "chat.completion.chunk", choices }).unwrap_or_default();
        let done = if finish_reason.is_some() { "data: [DONE]\n\n" } else { "" };
        Bytes::from(format!("data: {chunk}\n\n{done}"))
    }
}

/// Everything that is said in one call of the model.
pub(super) fn all(call: &Call) -> Vec<Said> {
    let wish = Wish::of(&call.message);
    let mut all: Vec<Said> = answer::tokens(&call.message, call.attempt, call.round).map(Said::Token).collect();
    if call.round + 1 >= wish.rounds() {
        all.push(Said::End("stop"));
        return all;
    }
    let arguments = tool::arguments(&call.message);
    let (first, rest) = arguments.split_at(arguments.floor_char_boundary(arguments.len() / 2));
    for (index, tool) in (0..).zip(wish.tools) {
        all.push(Said::CallBegins { index, id: format!("call-{}-{index}", call.attempt), tool });
        all.push(Said::Arguments { index, part: first.to_owned(), is_last: false });
        all.push(Said::Arguments { index, part: rest.to_owned(), is_last: true });
    }
    all.push(Said::End("tool_calls"));
    all
}

#[derive(Serialize)]
struct Chunk<'a> {
    object: &'static str,
    choices: [Choice<'a>; 1],
}

#[derive(Serialize)]
struct Choice<'a> {
    index: u32,
    delta: Delta<'a>,
    finish_reason: Option<&'static str>,
}

#[derive(Serialize)]
struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[CallPart<'a>; 1]>,
}

impl<'a> Delta<'a> {
    fn of(part: CallPart<'a>) -> Self {
        Self { content: None, tool_calls: Some([part]) }
    }
}

#[derive(Serialize)]
struct CallPart<'a> {
    index: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'static str>,
    arguments: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_with_tools_calls_them_after_half_of_its_words_and_ends_in_the_next_round() {
        let message = answer::message("m", 4, 0, &[Tool::Note, Tool::Pay]);
        let said = |round| all(&Call { node: 0, message: message.clone(), attempt: 1, round });
        assert_eq!((said(0).len(), said(0).iter().filter(|said| said.ends_a_call()).count()), (1 + 2 * 3 + 1, 2));
        assert_eq!((said(0).last(), said(1).last()), (Some(&Said::End("tool_calls")), Some(&Said::End("stop"))));
    }
}
