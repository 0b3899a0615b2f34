//! What is sent, and what comes of what arrives.

use futures_util::{FutureExt, StreamExt};
use serde_json::json;
use switchboard::model::gateway::Config;
use switchboard::model::{ChatMessage, Delta, Model, Prompt, ToolCall, ToolSpec, Usage};
use switchboard::secret::Secret;

use super::{ask, build, config, next, prompt, rest, text, text_of};
use crate::support::gateway::{Answer, PROMPT_TOKENS, ScriptedGateway};

#[tokio::test]
async fn each_token_arrives_when_it_is_sent_and_not_later() {
    let gateway = ScriptedGateway::start().await;
    let model = build(config(&gateway));
    let (deltas, mut call) = tokio::join!(model.answer(prompt("hi")), async {
        let mut call = gateway.expect_request().await;
        call.send_text("Hel");
        call
    });
    let mut deltas = deltas.unwrap();
    assert_eq!(next(&mut deltas).await, text("Hel"));
    assert!(deltas.next().now_or_never().is_none(), "nothing else was sent");
    call.send_reasoning("hm");
    assert_eq!(next(&mut deltas).await, Delta::Reasoning("hm".to_owned()));
    call.send_text("lo");
    assert_eq!(next(&mut deltas).await, text("lo"));
    call.finish();
    let usage = Usage { prompt_tokens: PROMPT_TOKENS, completion_tokens: 3, cost_usd: 0.0 };
    assert_eq!(next(&mut deltas).await, Delta::Done(usage));
    assert!(deltas.next().await.is_none());
}

#[tokio::test]
async fn the_request_is_what_an_openai_server_expects() {
    let gateway = ScriptedGateway::start().await;
    gateway.auto("ok");
    let model = build(Config { key: Some(Secret::new("sk-1")), ..config(&gateway) });
    let call = ToolCall { id: "c1".to_owned(), name: "look".to_owned(), arguments: "{\"at\": \"é\"}".to_owned() };
    let prompt = Prompt {
        model: Some("chosen".to_owned()),
        messages: vec![
            ChatMessage::System("Be kind.".to_owned()),
            ChatMessage::User("Hi".to_owned()),
            ChatMessage::Assistant { text: String::new(), calls: vec![call] },
            ChatMessage::Tool { call_id: "c1".to_owned(), content: "seen".to_owned() },
            ChatMessage::Assistant { text: "Done".to_owned(), calls: vec![] },
        ],
        tools: vec![ToolSpec {
            name: "look".to_owned(),
            description: "Looks".to_owned(),
            parameters: json!({"type": "object"}),
        }],
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
    };
    rest(model.answer(prompt).await.unwrap()).await;

    let request = gateway.requests().remove(0);
    assert_eq!(request.path, "/v1/chat/completions");
    assert_eq!(request.header("authorization"), Some("Bearer sk-1"));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("traceparent"), Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
    let called = json!({"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{\"at\": \"é\"}"}});
    let offered = json!({"name": "look", "description": "Looks", "parameters": {"type": "object"}});
    assert_eq!(
        request.body,
        json!({
            "model": "chosen",
            "messages": [
                {"role": "system", "content": "Be kind."},
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": null, "tool_calls": [called]},
                {"role": "tool", "tool_call_id": "c1", "content": "seen"},
                {"role": "assistant", "content": "Done"},
            ],
            "tools": [{"type": "function", "function": offered}],
            "stream": true,
            "stream_options": {"include_usage": true},
        })
    );
}

#[tokio::test]
async fn without_key_tools_trace_or_model_nothing_of_them_is_sent() {
    let gateway = ScriptedGateway::start().await;
    gateway.auto("ok");
    let model = build(config(&gateway));
    ask(&model, "hi").await;
    let untraceable = Prompt { traceparent: Some("no\nheader".to_owned()), ..prompt("hi") };
    rest(model.answer(untraceable).await.unwrap()).await;
    for request in gateway.requests() {
        assert_eq!(request.header("authorization"), None);
        assert_eq!(request.header("traceparent"), None);
        assert_eq!(request.body["model"], "default-model");
        assert_eq!(request.body.get("tools"), None);
    }
}

#[tokio::test]
async fn the_query_of_the_address_is_kept() {
    let gateway = ScriptedGateway::start().await;
    gateway.auto("ok");
    let model = build(Config { url: format!("{}/?api-version=7", gateway.url()), ..config(&gateway) });
    ask(&model, "hi").await;
    assert_eq!(gateway.requests()[0].path, "/v1/chat/completions?api-version=7");
}

#[tokio::test]
async fn an_answer_split_inside_a_character_and_a_line_end_arrives_whole() {
    let gateway = ScriptedGateway::start().await;
    let model = build(config(&gateway));
    let parts: [&[u8]; 7] = [
        b": welcome\r",
        b"\n\r\ndata: {\"choices\":[{\"delta\":{\"content\":\"gr\xc3",
        b"\xbc\xc3\x9f ",
        b"dich \\ud83d",
        b"\\ude00\"}}]}\r\n\r",
        b"\ndata: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n",
        b"\ndata: [DONE]",
    ];
    let (deltas, ()) = tokio::join!(model.answer(prompt("hi")), async {
        let mut call = gateway.expect_request().await;
        for part in parts {
            call.send_raw(part);
        }
        call.end();
    });
    let (said, error) = rest(deltas.unwrap()).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(said, [text("grüß dich 😀"), Delta::Done(Usage::default())]);
}

#[tokio::test]
async fn all_that_has_arrived_is_given_without_waiting() {
    let gateway = ScriptedGateway::start().await;
    let model = build(config(&gateway));
    let burst = "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n".repeat(100);
    let (deltas, mut call) = tokio::join!(model.answer(prompt("hi")), async {
        let mut call = gateway.expect_request().await;
        call.send_raw(burst);
        call
    });
    let mut deltas = deltas.unwrap();
    for _ in 0..100 {
        assert_eq!(deltas.next().now_or_never().expect("it has arrived").unwrap().unwrap(), text("x"));
    }
    assert!(deltas.next().now_or_never().is_none());
    call.send_text("y");
    assert_eq!(next(&mut deltas).await, text("y"));
}

#[tokio::test]
async fn the_cost_is_taken_over_when_the_gateway_tells_it() {
    let gateway = ScriptedGateway::start().await;
    let model = build(config(&gateway));
    let (answer, ()) = tokio::join!(ask(&model, "hi"), async {
        let mut call = gateway.expect_request().await;
        call.send_text("a");
        call.send_event(json!({
            "choices": [{"delta": {}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 4, "cost": 0.25},
        }));
        call.end();
    });
    let usage = Usage { prompt_tokens: 3, completion_tokens: 4, cost_usd: 0.25 };
    assert_eq!(answer.0, [text("a"), Delta::Done(usage)], "and no [DONE] is needed after a finish reason");
}

#[tokio::test]
async fn a_connection_is_used_again_for_the_next_call() {
    let gateway = ScriptedGateway::start().await;
    gateway.auto("one two three");
    let model = build(config(&gateway));
    for _ in 0..5 {
        let (said, error) = ask(&model, "hi").await;
        assert!(error.is_none(), "{error:?}");
        assert_eq!(text_of(&said), "one two three");
    }
    assert_eq!(gateway.connections(), 1);
}

#[tokio::test]
async fn a_caller_that_drops_the_answer_hangs_up_on_the_gateway() {
    let gateway = ScriptedGateway::start().await;
    let model = build(config(&gateway));
    let (deltas, call) = tokio::join!(model.answer(prompt("hi")), async {
        let mut call = gateway.expect_request().await;
        call.send_text("Hel");
        call
    });
    let mut deltas = deltas.unwrap();
    assert_eq!(next(&mut deltas).await, text("Hel"));
    drop(deltas);
    call.closed().await;
}

#[tokio::test]
async fn a_caller_that_gives_up_before_the_answer_begins_hangs_up_too() {
    let gateway = ScriptedGateway::start().await;
    let model = build(config(&gateway));
    let call = tokio::select! {
        _ = model.answer(prompt("hi")) => panic!("nothing was answered"),
        call = gateway.expect_request() => call,
    };
    call.closed().await;
}

#[tokio::test]
async fn one_gateway_serves_many_calls_at_once() {
    let gateway = ScriptedGateway::start().await;
    gateway.script_for("prepared", [Answer::text("this was prepared")]);
    let model = build(config(&gateway));
    let (first, second, prepared, ()) =
        tokio::join!(ask(&model, "the first"), ask(&model, "the second"), ask(&model, "the prepared"), async {
            let mut second = gateway.expect_request_saying("second").await;
            let mut first = gateway.expect_request_saying("first").await;
            assert_eq!(first.request().last_user_message(), "the first");
            second.send_text("2");
            first.send_text("1");
            second.finish();
            first.finish();
        });
    assert_eq!((text_of(&first.0), text_of(&second.0)), ("1".to_owned(), "2".to_owned()));
    assert_eq!(text_of(&prepared.0), "this was prepared");
}
