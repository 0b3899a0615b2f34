//! A message and its answer.

use std::time::Duration;

use serde_json::{Value, json};
use switchboard::model::{ModelError, Script, Scripted};
use switchboard::node::{Config, ModelChoice};

use super::stage;
use crate::support::browser::{Browser, ESCAPE};
use crate::support::node::{TestNode, config};

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_appears_token_by_token_while_it_is_made() {
    let (script, gate) = Script::saying(["One ", "two ", "**three**."]).gated();
    let (node, browser) = stage([script]).await;
    browser.see("empty").await;
    browser.say("Count").await;
    browser.expect_answers(&[""], "running").await;
    gate.open();
    browser.expect_answers(&["One"], "running").await;
    gate.open();
    browser.expect_answers(&["One two"], "running").await;
    gate.open_all();
    browser.expect_answers(&["One two three."], "done").await;
    browser.expect_questions(&["Count"]).await;
    browser.expect("document.querySelector('[data-testid=message-text] strong').textContent", json!("three")).await;
    browser.expect("document.querySelector('[data-testid=empty]').hidden", json!(true)).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_ends_the_answer_and_keeps_what_was_said() {
    let (first, gate) = Script::saying(["Far too ", "much"]).gated();
    let (second, second_gate) = Script::saying(["Again ", "too much"]).gated();
    let (node, browser) = stage([first, second, Script::saying(["short"])]).await;
    browser.say("Talk").await;
    gate.open();
    browser.expect_answers(&["Far too"], "running").await;
    browser.click("stop").await;
    browser.expect_text("stopped", "stopped").await;
    browser.expect_answers(&["Far too"], "stopped").await;
    gate.closed().await;

    browser.say("Again").await;
    second_gate.open();
    browser.expect_answers(&["Far too", "Again"], "running").await;
    browser.press(ESCAPE).await;
    browser.expect_answers(&["Far too", "Again"], "stopped").await;
    second_gate.closed().await;

    browser.say("And now").await;
    browser.expect_answers(&["Far too", "Again", "short"], "done").await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn enter_sends_and_shift_enter_begins_a_line() {
    let (node, browser) = stage([Script::saying(["fine"])]).await;
    let composer = browser.see("composer").await;
    composer.send_keys("first\u{E008}\u{E007}\u{E008}second").await.unwrap();
    browser.expect("document.querySelector('[data-testid=composer]').value", json!("first\nsecond")).await;
    browser.say("").await;
    browser.expect_questions(&["first\nsecond"]).await;
    browser.expect_answers(&["fine"], "done").await;
    browser.expect("document.querySelector('[data-testid=composer]').value", json!("")).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thinking_is_folded_away_and_stays_out_of_the_answer() {
    let (node, browser) = stage([Script::default().reasoning("The person greets.").text("Hello!")]).await;
    browser.say("Hi").await;
    browser.expect_answers(&["Hello!"], "done").await;
    let thinking = "[...document.querySelectorAll('[data-testid=thinking]')].map((one) => [one.open, one.textContent])";
    browser.expect(thinking, json!([[false, "ThinkingThe person greets."]])).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_message_says_why_and_can_be_sent_again() {
    let node = TestNode::start(config()).await;
    let browser = Browser::open(&format!("http://{}/", node.address())).await;
    for is_again in [false, true] {
        if is_again {
            browser.click("retry").await;
        } else {
            browser.say("Anybody there?").await;
        }
        browser.see("retry").await;
        let note = browser.text("message-error").await;
        assert!(note.contains("set SWITCHBOARD_GATEWAY_URL"), "{note}");
    }
    browser.expect_questions(&["Anybody there?"]).await;
    browser.expect_text("message-state", "not sent").await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_fails_keeps_its_text_and_offers_another_try() {
    let failing = Script::saying(["Half an "]).failing(ModelError::Unavailable("broken".to_owned()));
    let model = Scripted::new([failing, Script::saying(["A whole one"])]);
    let node = TestNode::alone(&model).await;
    let browser = Browser::open(&format!("http://{}/", node.address())).await;
    browser.say("Answer").await;
    browser.expect_answers(&["Half an"], "failed").await;
    browser.click("retry").await;
    browser.expect_answers(&["Half an", "A whole one"], "done").await;
    browser.expect_questions(&["Answer", "Answer"]).await;
    assert_eq!(
        browser.run("return document.querySelectorAll('[data-testid=still-answering]').length", Value::Null).await,
        0
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_asks_first_and_the_answer_goes_on_where_it_was_also_after_a_reload() {
    let node = TestNode::start(Config { model: ModelChoice::Demo(Duration::ZERO), ..config() }).await;
    let browser = Browser::open(&format!("http://{}/", node.address())).await;
    let says = async |part: &str| {
        let answers = "[...document.querySelectorAll('[data-testid=message-assistant]')].map((one) => one.innerText)";
        browser.expect(&format!("{answers}.at(-1)?.includes({part:?}) ?? false"), json!(true)).await;
    };
    browser.say("Please order a tea").await;
    says("Place an order for a tea").await;
    browser.reload().await;
    browser.see("confirm").await;
    says("Place an order for a tea").await;
    says("I can pretend to order a tea").await;
    browser.click("confirm-allow").await;
    says("Pretended to order a tea").await;
    says("I can pretend to order a tea").await;
    assert!(browser.all("confirm").await.is_empty());
    browser.say("order another").await;
    browser.see("confirm").await;
    browser.click("confirm-refuse").await;
    says("declined").await;
    node.stop().await;
}
