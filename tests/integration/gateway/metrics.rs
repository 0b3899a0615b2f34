//! What the client counts.

use prometheus::{Registry, TextEncoder};
use switchboard::model::Model;
use switchboard::model::gateway::Config;

use super::{ask, build_in, config, next, prompt};
use crate::support::gateway::{Answer, PROMPT_TOKENS, ScriptedGateway};

/// The value of a series, written as Prometheus shows it.
fn value(registry: &Registry, series: &str) -> String {
    let text = TextEncoder::new().encode_to_string(&registry.gather()).expect("text");
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in\n{text}")).to_owned()
}

#[tokio::test]
async fn every_call_counts_once_by_how_it_ended() {
    let gateway = ScriptedGateway::start().await;
    let registry = Registry::new();
    let model = build_in(&registry, Config { retries: 1, ..config(&gateway) });
    let requests = |result: &str| value(&registry, &format!("switchboard_model_requests_total{{result=\"{result}\"}}"));
    assert_eq!(requests("malformed"), "0", "every series is there from the start");

    gateway.script([Answer::status(429), Answer::text("one two three"), Answer::status(400)]);
    ask(&model, "hi").await;
    ask(&model, "hi").await;
    gateway.script([Answer::status(500), Answer::hang_up()]);
    ask(&model, "hi").await;
    let (deltas, _call) = tokio::join!(model.answer(prompt("hi")), async {
        let mut call = gateway.expect_request().await;
        call.send_text("Hel");
        call
    });
    let mut deltas = deltas.unwrap();
    next(&mut deltas).await;
    drop(deltas);

    for result in ["completed", "refused", "unavailable", "abandoned"] {
        assert_eq!(requests(result), "1", "{result}");
    }
    let retries = |reason: &str| value(&registry, &format!("switchboard_model_retries_total{{reason=\"{reason}\"}}"));
    assert_eq!(["rate_limited", "server_error", "closed", "connect"].map(retries), ["1", "1", "0", "0"]);
    assert_eq!(value(&registry, "switchboard_model_time_to_first_token_seconds_count"), "2");
    assert_eq!(value(&registry, "switchboard_model_request_duration_seconds_count"), "4");
    assert_eq!(value(&registry, "switchboard_model_tokens_total{kind=\"prompt\"}"), PROMPT_TOKENS.to_string());
    assert_eq!(value(&registry, "switchboard_model_tokens_total{kind=\"completion\"}"), "3");
}
