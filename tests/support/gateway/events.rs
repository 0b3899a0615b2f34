//! The events of a stream, as OpenAI writes them.

use bytes::Bytes;
use serde_json::{Value, json};

/// The prompt tokens that every complete answer claims to have used.
pub const PROMPT_TOKENS: u64 = 10;

/// An event with this JSON as its data.
pub fn event(data: &Value) -> Bytes {
    Bytes::from(format!("data: {data}\n\n"))
}

/// A chunk with this delta.
pub fn chunk(delta: Value) -> Bytes {
    choice(json!({ "index": 0, "delta": delta, "finish_reason": null }))
}

/// The events at the end of an answer: why it ends, what it used, `[DONE]`.
pub fn ending(finish_reason: &str, completion_tokens: u64) -> Bytes {
    let finish = choice(json!({ "index": 0, "delta": {}, "finish_reason": finish_reason }));
    let usage = event(&json!({
        "object": "chat.completion.chunk",
        "choices": [],
        "usage": {
            "prompt_tokens": PROMPT_TOKENS,
            "completion_tokens": completion_tokens,
            "total_tokens": PROMPT_TOKENS + completion_tokens,
        },
    }));
    [&finish[..], &usage[..], b"data: [DONE]\n\n"].concat().into()
}

/// The events of one tool call: its name, then its arguments in two pieces.
pub fn tool_call(index: usize, id: &str, name: &str, arguments: &str) -> Bytes {
    let middle = arguments.floor_char_boundary(arguments.len() / 2);
    let (first, second) = arguments.split_at(middle);
    let piece =
        |arguments: &str| chunk(json!({ "tool_calls": [{ "index": index, "function": { "arguments": arguments } }] }));
    let head = chunk(json!({
        "tool_calls": [{ "index": index, "id": id, "type": "function", "function": { "name": name, "arguments": "" } }],
    }));
    [&head[..], &piece(first)[..], &piece(second)[..]].concat().into()
}

fn choice(choice: Value) -> Bytes {
    event(&json!({
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "scripted",
        "choices": [choice],
    }))
}
