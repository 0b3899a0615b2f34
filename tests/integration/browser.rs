//! The chat page in a real browser, against real nodes.

use std::time::Duration;

use serde_json::json;
use switchboard::model::{Script, Scripted};
use switchboard::node::{Config, ModelChoice, StoreChoice};
use switchboard::store::sqlite;

use crate::support::browser::Browser;
use crate::support::eventually::assert_eventually;
use crate::support::node::{TestNode, config, given};

fn url(node: &TestNode) -> String {
    format!("http://{}/", node.address())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_types_watches_the_answer_grow_and_finds_it_again_after_a_reload() {
    let (script, gate) = Script::saying(["The **first** part, ", "the second part, ", "the end."]).gated();
    let node = TestNode::alone(&Scripted::new([script])).await;
    let browser = Browser::open(1100, 800).await;
    browser.go(&url(&node)).await;
    browser.shows("connection", "Connected").await;
    browser.say("Hello there").await;
    browser.shows("message-user", "Hello there").await;
    for part in ["The first part,", "the second part,"] {
        gate.open();
        browser.shows("message-assistant", part).await;
        assert!(!browser.texts("message-assistant").await.concat().contains("the end."), "not before it was said");
    }
    gate.open_all();
    browser.shows("message-assistant", "The first part, the second part, the end.").await;
    browser.shows("conversation", "Hello there").await;
    browser.reload().await;
    browser.shows("message-assistant", "The first part, the second part, the end.").await;
    assert_eq!(browser.texts("message-text").await, ["Hello there", "The first part, the second part, the end."]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_stops_the_answer_and_the_chat_goes_on() {
    let (script, gate) = Script::saying(["Some words ", "that never come"]).gated();
    let node = TestNode::alone(&Scripted::new([script, Script::saying(["Next answer"])])).await;
    let browser = Browser::open(1100, 800).await;
    browser.go(&url(&node)).await;
    browser.say("Talk").await;
    gate.open();
    browser.shows("message-assistant", "Some words").await;
    browser.click("stop").await;
    browser.shows("stopped", "stopped").await;
    gate.closed().await;
    browser.say("Go on").await;
    browser.shows("message-assistant", "Next answer").await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_reconnects_by_itself_and_picks_the_answer_up_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let file = sqlite::Location::File(folder.path().join("switchboard.db"));
    let (script, gate) = Script::saying(["Before the cut, ", "after the cut."]).gated();
    let model = Scripted::new([script]);
    let start = |listen| {
        let config = Config {
            listen,
            store: StoreChoice::Sqlite(sqlite::Config::new(file.clone())),
            model: given(&model),
            ..config()
        };
        TestNode::start(config)
    };
    let first = start(([127, 0, 0, 1], 0).into()).await;
    let address = first.address();
    let browser = Browser::open(1100, 800).await;
    browser.go(&url(&first)).await;
    browser.say("Hello").await;
    gate.open();
    browser.shows("message-assistant", "Before the cut,").await;
    let stopping = tokio::spawn(first.stop());
    assert_eventually("the page sees that it is cut off", Duration::from_secs(20), async || {
        !browser.texts("connection").await.concat().contains("Connected")
    })
    .await;
    gate.open_all();
    stopping.await.unwrap();
    let second = start(address).await;
    browser.shows("connection", "Connected").await;
    browser.shows("message-assistant", "Before the cut, after the cut.").await;
    assert_eq!(
        browser.texts("message-text").await,
        ["Hello", "Before the cut, after the cut."],
        "nothing is there twice"
    );
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_text_is_shown_as_text_and_nothing_is_asked_of_another_host() {
    let hostile = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script> [x](javascript:alert(1))";
    let node = TestNode::alone(&Scripted::new([Script::saying([hostile])])).await;
    let browser = Browser::open(1100, 800).await;
    browser.go(&url(&node)).await;
    browser.say("<b>bold?</b>").await;
    browser.shows("message-user", "<b>bold?</b>").await;
    browser.shows("message-assistant", "<img src=x").await;
    assert_ne!(browser.run("return document.title").await, json!("owned"));
    let links = "return document.querySelectorAll('[data-testid=message-assistant] :is(img,script,a[href^=javascript])').length";
    assert_eq!(browser.run(links).await, json!(0));
    let hosts = "return [...new Set(performance.getEntriesByType('resource').map(e => new URL(e.name).host))]";
    assert_eq!(browser.run(hosts).await, json!([node.address().to_string()]));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_phone_nothing_is_wider_than_the_screen_and_chats_are_a_tap_away() {
    let node = TestNode::alone(&Scripted::new([Script::saying([
        "A `long_word_without_any_break_in_it_that_goes_on_and_on_and_on_and_on` here",
    ])]))
    .await;
    let browser = Browser::open(500, 800).await;
    browser.go(&url(&node)).await;
    browser.say("Hello").await;
    browser.shows("message-assistant", "long_word").await;
    let fits = "return document.documentElement.scrollWidth <= document.documentElement.clientWidth";
    assert_eq!(browser.run(fits).await, json!(true));
    browser.click("menu").await;
    browser.click("new-chat").await;
    browser.element("empty").await;
    browser.shows_no("message-user").await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_is_told_in_a_sentence_with_a_way_to_try_again() {
    let node = TestNode::start(config()).await;
    let browser = Browser::open(1100, 800).await;
    browser.go(&url(&node)).await;
    browser.say("Anyone?").await;
    browser.shows("message-error", "gateway").await;
    browser.element("retry").await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_asks_first_and_the_answer_goes_on_where_it_was_also_after_a_reload() {
    let node = TestNode::start(Config { model: ModelChoice::Demo(Duration::ZERO), ..config() }).await;
    let browser = Browser::open(1100, 800).await;
    browser.go(&url(&node)).await;
    browser.say("Please order a tea").await;
    browser.shows("confirm", "Place an order for a tea").await;
    browser.reload().await;
    browser.shows("confirm", "Place an order for a tea").await;
    browser.shows("message-assistant", "I can pretend to order a tea").await;
    browser.click("confirm-allow").await;
    browser.shows("message-assistant", "Pretended to order a tea").await;
    browser.shows("message-assistant", "I can pretend to order a tea").await;
    assert!(browser.texts("confirm").await.is_empty());
    browser.say("order another").await;
    browser.shows("confirm", "another").await;
    browser.click("confirm-refuse").await;
    browser.shows("message-assistant", "declined").await;
    node.stop().await;
}
