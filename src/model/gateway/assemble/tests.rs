use super::*;

fn take(events: &[&str]) -> Result<Vec<Delta>, Fault> {
    let mut assembler = Assembler::new(&Config::default());
    let mut deltas = VecDeque::new();
    for event in events {
        assembler.event(event.as_bytes(), &mut deltas)?;
    }
    assembler.finish(&mut deltas);
    Ok(deltas.into())
}

/// The calls of an answer whose only events are these pieces of tool calls.
fn calls(pieces: &[&str]) -> Vec<(String, String, String)> {
    let events: Vec<String> =
        pieces.iter().map(|piece| format!(r#"{{"choices":[{{"delta":{{"tool_calls":[{piece}]}}}}]}}"#)).collect();
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    match take(&events).unwrap().remove(0) {
        Delta::ToolCalls(calls) => calls.into_iter().map(|call| (call.id, call.name, call.arguments)).collect(),
        other @ (Delta::Text(_) | Delta::Reasoning(_) | Delta::Done(_)) => panic!("unexpected {other:?}"),
    }
}

fn call(id: &str, name: &str, arguments: &str) -> (String, String, String) {
    (id.to_owned(), name.to_owned(), arguments.to_owned())
}

#[test]
fn text_and_reasoning_pass_in_order_under_either_name() {
    let deltas = take(&[
        r#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#,
        r#"{"choices":[{"delta":{"reasoning":"a"}}]}"#,
        r#"{"choices":[{"delta":{"reasoning_content":"b","reasoning":"b","content":null}}]}"#,
        r#"{"choices":[{"delta":{"content":"c\n\u00e9"}}]}"#,
        r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#,
    ])
    .unwrap();
    assert_eq!(
        deltas,
        [
            Delta::Reasoning("a".to_owned()),
            Delta::Reasoning("b".to_owned()),
            Delta::Text("c\né".to_owned()),
            Delta::Done(Usage::default()),
        ]
    );
}

#[test]
fn the_last_usage_counts_and_an_odd_one_spoils_nothing() {
    let deltas = take(&[
        r#"{"choices":null,"usage":{"prompt_tokens":1}}"#,
        r#"{"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":20,"total_tokens":30,"cost":0.0125}}"#,
        r#"{"usage":{"prompt_tokens":"many"}}"#,
        r#"{"usage":null,"error":null}"#,
        "[DONE]",
        r#"{"usage":{"prompt_tokens":99}}"#,
    ])
    .unwrap();
    assert_eq!(deltas, [Delta::Done(Usage { prompt_tokens: 10, completion_tokens: 20, cost_usd: 0.0125 })]);
}

#[test]
fn interleaved_calls_are_put_together_by_index() {
    let pieces = [
        r#"{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":""}}"#,
        r#"{"index":1,"id":"b","type":"function","function":{"name":"g","arguments":"{\"y\""}}"#,
        r#"{"index":0,"function":{"arguments":"{\"x\" : "}}"#,
        r#"{"index":1,"function":{"arguments":":2}"}}"#,
        r#"{"index":0,"id":"a","function":{"name":"f","arguments":"1}"}}"#,
    ];
    assert_eq!(calls(&pieces), [call("a", "f", r#"{"x" : 1}"#), call("b", "g", r#"{"y":2}"#)]);
}

#[test]
fn gateways_that_do_not_count_their_calls_are_understood() {
    let complete = call("a", "f", "{}");
    let other = call("b", "g", "{}");
    let zero = [
        r#"{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}"#,
        r#"{"index":0,"id":"b","function":{"name":"g","arguments":"{"}}"#,
        r#"{"index":0,"function":{"arguments":"}"}}"#,
    ];
    assert_eq!(calls(&zero), [complete.clone(), other.clone()], "index 0 for every call");
    let none = [
        r#"{"id":"a","function":{"name":"f","arguments":"{}"}}"#,
        r#"{"id":"b","function":{"name":"g","arguments":"{"}}"#,
        r#"{"function":{"arguments":"}"}}"#,
    ];
    assert_eq!(calls(&none), [complete, other], "no index at all");
}

#[test]
fn a_call_without_an_id_gets_one_of_its_own() {
    let made =
        calls(&[r#"{"function":{"name":"f","arguments":"{}"}}"#, r#"{"function":{"name":"f","arguments":"{}"}}"#]);
    assert_eq!(made.len(), 2);
    assert!(made[0].0.starts_with("call_") && made[0].0 != made[1].0, "{made:?}");
}

#[test]
fn an_error_is_told_from_the_protocol_and_from_garbage() {
    assert!(
        matches!(take(&[r#"{"error":{"message":"overloaded"}}"#]), Err(Fault::Reported(said)) if said.contains("overloaded"))
    );
    assert!(matches!(take(&[r#"{"choices":[{"delta":{},"finish_reason":"error"}]}"#]), Err(Fault::Reported(_))));
    assert!(matches!(take(&["{\"choices\":[{"]), Err(Fault::Malformed(_))));
    assert!(matches!(take(&["<html>"]), Err(Fault::Malformed(_))));
}

#[test]
fn an_answer_larger_than_a_cap_is_refused() {
    let config = Config { max_answer_bytes: 5, max_tool_calls: 1, ..Config::default() };
    let mut deltas = VecDeque::new();
    let mut assembler = Assembler::new(&config);
    let event = br#"{"choices":[{"delta":{"content":"123"}}]}"#;
    assert!(assembler.event(event, &mut deltas).is_ok());
    assert!(matches!(assembler.event(event, &mut deltas), Err(Fault::Malformed(_))));

    let mut assembler = Assembler::new(&config);
    let event = br#"{"choices":[{"delta":{"tool_calls":[{"index":0},{"index":1}]}}]}"#;
    assert!(matches!(assembler.event(event, &mut deltas), Err(Fault::Malformed(_))));
}
