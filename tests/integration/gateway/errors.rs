//! How answers fail, and that a failure tells a client nothing about the gateway.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{TimeZone, Utc};
use prometheus::Registry;
use serde_json::json;
use switchboard::clock::Clock;
use switchboard::model::gateway::{Config, ConfigError};
use switchboard::model::{Delta, Gateway, Metrics, ModelError};
use switchboard::secret::Secret;

use super::{ask, build, config, text};
use crate::support::gateway::{Answer, Call, ScriptedGateway};

/// What a call ends with when the gateway does this after its first token.
async fn error_after_a_token(config: impl FnOnce(Config) -> Config, act: impl FnOnce(Call)) -> Option<ModelError> {
    let gateway = ScriptedGateway::start().await;
    let model = build(config(super::config(&gateway)));
    let ((said, error), ()) = tokio::join!(ask(&model, "hi"), async {
        let mut call = gateway.expect_request().await;
        call.send_text("Hel");
        act(call);
    });
    assert_eq!(said[0], text("Hel"), "what arrived before stays");
    assert!(error.is_none() || !said.iter().any(|delta| matches!(delta, Delta::Done(_))), "{said:?} and {error:?}");
    error
}

#[tokio::test]
async fn a_stream_that_ends_without_saying_so_was_interrupted() {
    let ended = error_after_a_token(|config| config, Call::end).await;
    assert!(matches!(ended, Some(ModelError::Interrupted)), "{ended:?}");
    let torn = error_after_a_token(
        |config| config,
        |mut call| {
            call.send_raw("data: {\"choices\":[{\"del");
            call.end();
        },
    )
    .await;
    assert!(matches!(torn, Some(ModelError::Interrupted)), "{torn:?}");
}

#[tokio::test]
async fn a_cut_after_the_end_of_the_answer_costs_nothing() {
    let finish = json!({"choices": [{"delta": {}, "finish_reason": "length"}]});
    let cut = error_after_a_token(
        |config| config,
        |mut call| {
            call.send_event(finish);
            call.cut();
        },
    )
    .await;
    assert!(cut.is_none(), "{cut:?}");
}

#[tokio::test]
async fn a_gateway_that_goes_silent_is_given_up() {
    let patience = |config| Config { idle_timeout: Duration::from_millis(50), ..config };
    let silent = error_after_a_token(patience, Call::stall).await;
    assert!(matches!(silent, Some(ModelError::IdleTimeout)), "{silent:?}");

    let gateway = ScriptedGateway::start().await;
    let model = build(patience(config(&gateway)));
    let ((_, error), call) = tokio::join!(ask(&model, "hi"), gateway.expect_request());
    assert!(matches!(error, Some(ModelError::IdleTimeout)), "without even a status: {error:?}");
    call.closed().await;
    let ((_, error), ()) = tokio::join!(ask(&model, "hi"), async { gateway.expect_request().await.stall() });
    assert!(matches!(error, Some(ModelError::IdleTimeout)), "with a status and nothing else: {error:?}");
}

#[tokio::test]
async fn silence_after_the_end_of_the_answer_costs_nothing() {
    let finish = json!({"choices": [{"delta": {}, "finish_reason": "stop"}]});
    let silent = error_after_a_token(
        |config| Config { idle_timeout: Duration::from_millis(50), ..config },
        |mut call| {
            call.send_event(finish);
            call.stall();
        },
    )
    .await;
    assert!(silent.is_none(), "{silent:?}");
}

#[tokio::test]
async fn a_gateway_that_keeps_the_line_open_after_done_does_not_delay_the_answer() {
    let done = error_after_a_token(
        |config| config,
        |mut call| {
            call.send_raw("data: [DONE]\n\n");
            call.stall();
        },
    )
    .await;
    assert!(done.is_none(), "{done:?}");
}

#[tokio::test]
async fn an_answer_that_takes_too_long_ends() {
    let slow =
        error_after_a_token(|config| Config { total_timeout: Duration::from_millis(50), ..config }, Call::stall).await;
    assert!(matches!(slow, Some(ModelError::TotalTimeout)), "{slow:?}");

    let gateway = ScriptedGateway::start().await;
    let patience = Duration::from_secs(20);
    let model =
        build(Config { total_timeout: Duration::from_millis(50), max_retry_after: patience, ..config(&gateway) });
    gateway.script([Answer::status(429).header("retry-after", "20")]);
    let (_, error) = ask(&model, "hi").await;
    assert!(matches!(error, Some(ModelError::TotalTimeout)), "the waits between attempts count: {error:?}");
}

#[tokio::test]
async fn an_error_in_mid_stream_ends_the_answer() {
    let failed = error_after_a_token(
        |config| config,
        |mut call| {
            call.send_event(json!({"error": {"message": "secret-internal-host is overloaded", "code": 502}}));
            call.finish();
        },
    )
    .await;
    assert!(matches!(failed, Some(ModelError::Failed)), "{failed:?}");
    assert!(!format!("{failed:?} {}", failed.as_ref().unwrap()).contains("secret-internal-host"));
}

#[tokio::test]
async fn what_is_not_the_protocol_is_malformed() {
    let garbage = error_after_a_token(
        |config| config,
        |mut call| {
            call.garbage();
            call.finish();
        },
    )
    .await;
    assert!(matches!(garbage, Some(ModelError::Malformed(_))), "{garbage:?}");

    let gateway = ScriptedGateway::start().await;
    let model = build(config(&gateway));
    gateway.script([Answer::status(200).body("{\"choices\":[]}")]);
    let (_, error) = ask(&model, "hi").await;
    assert!(matches!(error, Some(ModelError::Malformed(_))), "a document instead of a stream: {error:?}");
}

#[tokio::test]
async fn an_event_or_an_answer_beyond_its_cap_is_malformed() {
    let event = error_after_a_token(
        |config| Config { max_event_bytes: 1024, ..config },
        |mut call| {
            call.send_raw(format!("data: {}", "x".repeat(2000)));
            call.stall();
        },
    )
    .await;
    assert!(matches!(event, Some(ModelError::Malformed(_))), "{event:?}");
    let answer = error_after_a_token(
        |config| Config { max_answer_bytes: 4, ..config },
        |mut call| {
            call.send_reasoning("hm");
            call.finish();
        },
    )
    .await;
    assert!(matches!(answer, Some(ModelError::Malformed(_))), "{answer:?}");
}

#[tokio::test]
async fn the_key_and_what_the_gateway_says_are_never_in_an_error() {
    let gateway = ScriptedGateway::start().await;
    let config = Config { key: Some(Secret::new("sk-secret")), retries: 0, ..config(&gateway) };
    assert!(!format!("{config:?}").contains("sk-secret"));
    let model = build(config);
    let said = "{\"error\":\"bad key sk-secret at internal-host\"}";
    for answer in [
        Answer::status(401).body(said),
        Answer::status(500).body(said),
        Answer::status(200).body(said),
        Answer::raw([format!("data: {said}\n\n")]),
        Answer::raw(["data: internal-host\n\n"]),
    ] {
        gateway.script([answer.clone()]);
        let error = ask(&model, "hi").await.1.expect("an error");
        let shown = format!("{error} {error:?} {error:#?}");
        assert!(!shown.contains("sk-secret") && !shown.contains("internal-host"), "{answer:?} gave {shown}");
    }
}

#[tokio::test]
async fn what_the_gateway_says_about_an_error_is_logged_once_without_the_key_and_bounded() {
    let gateway = ScriptedGateway::start().await;
    let model = build(Config { key: Some(Secret::new("sk-secret")), retries: 1, ..config(&gateway) });
    let body = format!("bad key sk-secret at internal-host {}the-end", "x".repeat(5000));
    gateway.script([Answer::status(500).body(&body), Answer::status(500).body(&body)]);
    // As long as there is but one dispatcher, a line that first runs on a thread without any is off everywhere.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new());
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let guard = tracing::subscriber::set_default(subscriber);
    ask(&model, "hi").await;
    drop(guard);
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert_eq!(log.matches("internal-host").count(), 1, "{log}");
    assert!(log.contains("bad key [redacted] at") && !log.contains("sk-secret") && !log.contains("the-end"), "{log}");
}

#[test]
fn a_setting_that_cannot_be_used_is_refused_by_name_and_not_shown() {
    let good = Config { url: "https://gateway.example/v1".to_owned(), model: "m".to_owned(), ..Config::default() };
    let refused = |config| {
        let clock = Clock::fixed(Utc.timestamp_nanos(0));
        let error = Gateway::new(config, clock, Metrics::register(&Registry::new()).unwrap()).err().unwrap();
        assert!(!error.to_string().contains("hunter2"), "{error}");
        error
    };
    for url in ["", "gateway.example/v1", "ftp://hunter2@gateway.example", "mailto:hunter2@gateway.example"] {
        assert_eq!(refused(Config { url: url.to_owned(), ..good.clone() }), ConfigError::Url, "{url}");
    }
    assert_eq!(refused(Config { model: String::new(), ..good.clone() }), ConfigError::Model);
    assert_eq!(refused(Config { key: Some(Secret::new("hunter2\n")), ..good }), ConfigError::Key);
}

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no poison").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
