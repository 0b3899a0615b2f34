//! Tool calls leave the client once, complete, after all text.

use serde_json::json;
use switchboard::model::{Delta, ToolCall, Usage};

use super::{ask, build, config, text};
use crate::support::gateway::{PROMPT_TOKENS, ScriptedGateway};

fn call(id: &str, name: &str, arguments: &str) -> ToolCall {
    ToolCall { id: id.to_owned(), name: name.to_owned(), arguments: arguments.to_owned() }
}

#[tokio::test]
async fn calls_are_given_once_and_complete_after_the_text() {
    let gateway = ScriptedGateway::start().await;
    let model = build(config(&gateway));
    let ((said, error), ()) = tokio::join!(ask(&model, "hi"), async {
        let mut turn = gateway.expect_request().await;
        turn.send_tool_call("c1", "look", "{ \"at\":\"é\" }");
        turn.send_text("Let me see.");
        turn.send_tool_call("c2", "listen", "");
        turn.finish();
    });
    assert!(error.is_none(), "{error:?}");
    let calls = vec![call("c1", "look", "{ \"at\":\"é\" }"), call("c2", "listen", "")];
    let usage = Usage { prompt_tokens: PROMPT_TOKENS, completion_tokens: 1, cost_usd: 0.0 };
    assert_eq!(said, [text("Let me see."), Delta::ToolCalls(calls), Delta::Done(usage)]);
}

#[tokio::test]
async fn calls_whose_pieces_are_interleaved_are_told_apart() {
    let gateway = ScriptedGateway::start().await;
    let model = build(config(&gateway));
    let ((said, error), ()) = tokio::join!(ask(&model, "hi"), async {
        let mut turn = gateway.expect_request().await;
        for piece in [
            json!({"index": 0, "id": "c1", "function": {"name": "f"}}),
            json!({"index": 1, "function": {"name": "g", "arguments": "{\"b\""}}),
            json!({"index": 0, "function": {"arguments": "{\"a\":"}}),
            json!({"index": 1, "function": {"arguments": ":2}"}}),
            json!({"index": 0, "function": {"arguments": "1}"}}),
        ] {
            turn.send_event(json!({"choices": [{"delta": {"tool_calls": [piece]}}]}));
        }
        turn.finish();
    });
    assert!(error.is_none(), "{error:?}");
    let Delta::ToolCalls(calls) = &said[0] else { panic!("{said:?}") };
    assert_eq!(calls[0], call("c1", "f", "{\"a\":1}"));
    assert!(calls[1].id.starts_with("call_"), "an id was made for {:?}", calls[1]);
    assert_eq!((calls[1].name.as_str(), calls[1].arguments.as_str()), ("g", "{\"b\":2}"));
}

#[tokio::test]
async fn half_a_call_is_never_given() {
    let gateway = ScriptedGateway::start().await;
    let model = build(config(&gateway));
    let ((said, error), ()) = tokio::join!(ask(&model, "hi"), async {
        let mut turn = gateway.expect_request().await;
        turn.send_tool_call("c1", "look", "{}");
        turn.cut();
    });
    assert!(said.is_empty() && error.is_some(), "{said:?} {error:?}");
}
