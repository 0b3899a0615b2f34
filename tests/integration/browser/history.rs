//! Conversations that were: reload, links, the list.

use serde_json::json;
use switchboard::model::{Script, Scripted};
use switchboard::node::Config;
use switchboard::session;

use super::stage;
use crate::support::browser::Browser;
use crate::support::node::{TestNode, config, given};

/// The titles in the list.
const TITLES: &str =
    "[...document.querySelectorAll('[data-testid=conversation] .title')].map((one) => one.textContent)";

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_shows_the_conversation_again() {
    let (node, browser) = stage([Script::saying(["first answer"]), Script::saying(["second answer"])]).await;
    browser.say("first question").await;
    browser.expect_answers(&["first answer"], "done").await;
    browser.say("second question").await;
    browser.expect_answers(&["first answer", "second answer"], "done").await;
    assert!(browser.url().await.contains("#c="), "{}", browser.url().await);
    browser.reload().await;
    browser.expect_answers(&["first answer", "second answer"], "done").await;
    browser.expect_questions(&["first question", "second question"]).await;
    // The link opens it in a window that has never seen it, too.
    let other = Browser::open(&browser.url().await).await;
    other.expect_answers(&["first answer", "second answer"], "done").await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_in_the_middle_of_an_answer_goes_on_with_it() {
    let (script, gate) = Script::saying(["once ", "upon ", "a time"]).gated();
    let (node, browser) = stage([script]).await;
    browser.say("Tell").await;
    gate.open();
    gate.open();
    browser.expect_answers(&["once upon"], "running").await;
    browser.reload().await;
    browser.expect_answers(&["once upon"], "running").await;
    gate.open_all();
    browser.expect_answers(&["once upon a time"], "done").await;
    browser.expect_questions(&["Tell"]).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conversations_are_kept_apart_and_an_answer_goes_on_while_another_is_read() {
    let (slow, gate) = Script::saying(["slowly ", "done"]).gated();
    let (node, browser) = stage([Script::saying(["about cats"]), slow]).await;
    browser.say("cats").await;
    browser.expect_answers(&["about cats"], "done").await;
    browser.click("new-chat").await;
    browser.see("empty").await;
    browser.say("dogs").await;
    gate.open();
    browser.expect_answers(&["slowly"], "running").await;
    browser.expect(TITLES, json!(["dogs", "cats"])).await;

    browser.click_at("conversation", 1).await;
    browser.expect_answers(&["about cats"], "done").await;
    browser.expect_text("title", "cats").await;
    gate.open_all();
    browser.back().await;
    browser.expect_text("title", "dogs").await;
    browser.expect_answers(&["slowly done"], "done").await;
    browser.expect_questions(&["dogs"]).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_is_found_by_its_words_and_given_a_name() {
    let (node, browser) = stage([Script::saying(["yes"]), Script::saying(["no"])]).await;
    browser.say("lighthouses").await;
    browser.expect_answers(&["yes"], "done").await;
    browser.click("new-chat").await;
    browser.say("keepers").await;
    browser.expect_answers(&["no"], "done").await;
    browser.expect(TITLES, json!(["keepers", "lighthouses"])).await;

    let search = browser.see("search").await;
    search.send_keys("LIGHT").await.unwrap();
    browser.expect(TITLES, json!(["lighthouses"])).await;
    search.send_keys("\u{E003}\u{E003}\u{E003}\u{E003}\u{E003}").await.unwrap();
    browser.expect(TITLES, json!(["keepers", "lighthouses"])).await;

    browser.run("document.querySelectorAll('[data-testid=rename]')[0].click()", json!(null)).await;
    browser.see("rename-input").await.send_keys("The keeper\u{E007}").await.unwrap();
    browser.expect_text("title", "The keeper").await;
    browser.reload().await;
    browser.expect(TITLES, json!(["The keeper", "lighthouses"])).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn earlier_messages_come_when_the_reader_scrolls_up_and_nothing_jumps() {
    let scripts = (0..40).map(|number| Script::saying([format!("answer {number}").as_str()]));
    let node = TestNode::alone(&Scripted::new(scripts)).await;
    let mut client = node.connect().await;
    let session = client.session().await;
    for number in 0..40 {
        client.converse(&session, &format!("r{number}"), &format!("question {number}")).await;
    }
    let conversation = session["conversationId"].as_str().unwrap();
    let browser = Browser::open(&format!("http://{}/#c={conversation}", node.address())).await;
    let count = "document.querySelectorAll('[data-testid=message-user]').length";
    browser.expect(count, json!(25)).await;
    let scroller = "document.querySelector('[data-testid=scroller]')";
    browser
        .expect(&format!("{scroller}.scrollTop + {scroller}.clientHeight >= {scroller}.scrollHeight - 2"), json!(true))
        .await;

    let place = format!(
        "{scroller}.scrollTop = 100; window.reading = document.querySelector('[data-testid=message-user]'); \
         window.place = window.reading.getBoundingClientRect().top"
    );
    browser.run(&place, json!(null)).await;
    browser.expect(count, json!(40)).await;
    browser.expect("Math.round(window.reading.getBoundingClientRect().top - window.place)", json!(0)).await;
    browser.see("jump").await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_conversations_can_be_read_than_one_connection_may_watch() {
    let model = Scripted::new(["cats", "dogs", "owls"].map(|animal| Script::saying([animal])));
    let session = session::Config { sessions_per_socket: 2, ..session::Config::default() };
    let node = TestNode::start(Config { session, model: given(&model), ..config() }).await;
    let browser = Browser::open(&format!("http://{}/", node.address())).await;
    for animal in ["cats", "dogs", "owls"] {
        browser.click("new-chat").await;
        browser.say(&format!("about {animal}")).await;
        browser.expect_answers(&[animal], "done").await;
    }
    browser.expect(TITLES, json!(["about owls", "about dogs", "about cats"])).await;
    for (place, animal) in [(2, "cats"), (1, "dogs"), (0, "owls")] {
        browser.click_at("conversation", place).await;
        browser.expect_answers(&[animal], "done").await;
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_a_conversation_that_is_gone_says_so_and_starts_afresh() {
    let (node, browser) = stage([Script::saying(["welcome"])]).await;
    browser.goto(&format!("http://{}/?x#c=00000000-0000-4000-8000-00000000dead", node.address())).await;
    let notice = browser.text("notice").await;
    assert!(notice.contains("does not exist"), "{notice}");
    assert!(!browser.url().await.contains("dead"));
    browser.say("hello").await;
    browser.expect_answers(&["welcome"], "done").await;
    node.stop().await;
}
