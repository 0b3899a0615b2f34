//! Trying again: only before the first byte, only where it can help, and not before the gateway wants it.

use std::time::Duration;

use switchboard::model::ModelError;
use switchboard::model::gateway::Config;
use tokio::time::Instant;

use super::{ask, build, config, text, text_of};
use crate::support::gateway::{Answer, ScriptedGateway};

#[tokio::test]
async fn failures_that_pass_are_tried_again_and_the_caller_sees_none_of_it() {
    let gateway = ScriptedGateway::start().await;
    let model = build(config(&gateway));
    for failure in
        [Answer::status(429), Answer::status(500), Answer::status(529), Answer::hang_up(), Answer::raw::<&str>([])]
    {
        gateway.script([failure.clone(), Answer::text("at last")]);
        let (said, error) = ask(&model, "hi").await;
        assert!(error.is_none(), "{failure:?} gave {error:?}");
        assert_eq!(text_of(&said), "at last");
    }
    let requests = gateway.requests();
    assert_eq!(requests.len(), 10);
    assert!(requests.iter().all(|request| request.body == requests[0].body), "the request stays the same");
}

#[tokio::test]
async fn a_failure_that_stays_is_reported_when_the_retries_are_used_up() {
    let gateway = ScriptedGateway::start().await;
    let model = build(Config { retries: 2, ..config(&gateway) });
    let ((_, error), ()) = tokio::join!(ask(&model, "hi"), async {
        for _ in 0..3 {
            gateway.expect_request().await.answer(Answer::status(503));
        }
    });
    assert!(matches!(&error, Some(ModelError::Unavailable(why)) if why == "status 503"), "{error:?}");
    assert_eq!(gateway.requests().len(), 3);
}

#[tokio::test]
async fn a_gateway_that_is_not_there_is_unavailable() {
    let gateway = ScriptedGateway::start().await;
    let model = build(config(&gateway));
    gateway.stop().await;
    let (_, error) = ask(&model, "hi").await;
    assert!(matches!(error, Some(ModelError::Unavailable(_))), "{error:?}");
}

#[tokio::test]
async fn a_request_that_was_refused_is_not_sent_again() {
    let gateway = ScriptedGateway::start().await;
    let model = build(config(&gateway));
    for status in [307, 400, 401, 404, 422] {
        gateway.script([Answer::status(status).header("location", "/v1/other")]);
        let (_, error) = ask(&model, "hi").await;
        assert!(matches!(error, Some(ModelError::Refused { status: got }) if got == status), "{status} gave {error:?}");
    }
    assert_eq!(gateway.requests().len(), 5);
}

#[tokio::test]
async fn nothing_is_repeated_once_the_answer_has_begun() {
    let gateway = ScriptedGateway::start().await;
    let model = build(config(&gateway));
    let ((said, error), ()) = tokio::join!(ask(&model, "hi"), async {
        let mut call = gateway.expect_request().await;
        call.send_text("Hel");
        call.cut();
    });
    assert_eq!(said, [text("Hel")]);
    assert!(matches!(error, Some(ModelError::Interrupted)), "{error:?}");
    assert_eq!(gateway.requests().len(), 1);
}

#[tokio::test]
async fn the_gateway_is_not_asked_again_before_it_wants_to_be() {
    let gateway = ScriptedGateway::start().await;
    let model = build(config(&gateway));
    // The clock of these tests shows twelve; the date lies one second ahead.
    for when in ["1", "Sun, 01 Mar 2026 12:00:01 GMT"] {
        gateway.script([Answer::status(429).header("retry-after", when), Answer::text("now")]);
        let asked = Instant::now();
        let (said, _) = ask(&model, "hi").await;
        assert_eq!(text_of(&said), "now");
        assert!(asked.elapsed() >= Duration::from_secs(1), "{when}: only {:?}", asked.elapsed());
    }
}

#[tokio::test]
async fn a_gateway_that_asks_for_too_much_patience_is_unavailable_at_once() {
    let gateway = ScriptedGateway::start().await;
    let model = build(config(&gateway));
    gateway.script([Answer::status(503).header("retry-after", "3600")]);
    let (_, error) = ask(&model, "hi").await;
    assert!(matches!(error, Some(ModelError::Unavailable(_))), "{error:?}");
    assert_eq!(gateway.requests().len(), 1);
}
