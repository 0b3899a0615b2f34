//! The connection is cut, the node goes away: nothing is lost, nothing is said twice.

use std::time::Duration;

use prometheus::Registry;
use serde_json::json;
use switchboard::ids::NodeId;
use switchboard::model::{Script, Scripted};
use switchboard::node::{Config, Role, StoreChoice};
use switchboard::store::sqlite;

use crate::leases::steal;
use crate::support::browser::Browser;
use crate::support::line::Line;
use crate::support::node::{Shared, TestNode, config, given};

async fn stage(scripts: impl IntoIterator<Item = Script>) -> (TestNode, Line, Browser, Scripted) {
    let model = Scripted::new(scripts);
    let node = TestNode::alone(&model).await;
    let line = Line::to(node.address()).await;
    let browser = Browser::open(&format!("http://{}/", line.address())).await;
    browser.expect_connection("open").await;
    (node, line, browser, model)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_cut_off_goes_on_where_it_stopped() {
    let (script, gate) = Script::saying(["Here, ", "away, ", "back ", "again"]).gated();
    let (node, line, browser, _) = stage([script]).await;
    browser.say("Go").await;
    gate.open();
    browser.expect_answers(&["Here,"], "running").await;
    line.down();
    browser.expect_connection("waiting").await;
    gate.open();
    gate.open();
    line.up();
    browser.expect_answers(&["Here, away, back"], "running").await;
    browser.expect_connection("open").await;
    gate.open_all();
    browser.expect_answers(&["Here, away, back again"], "done").await;
    browser.expect_questions(&["Go"]).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_ended_while_the_line_was_down_is_there_once() {
    let (script, gate) = Script::saying(["all ", "of it"]).gated();
    let (node, line, browser, _) = stage([script]).await;
    browser.say("Go").await;
    gate.open();
    browser.expect_answers(&["all"], "running").await;
    line.down();
    gate.open_all();
    gate.closed().await;
    line.up();
    browser.expect_answers(&["all of it"], "done").await;
    browser.expect_questions(&["Go"]).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_another_run_begins_anew_keeps_its_text_in_view_until_there_is_a_new_one() {
    const OUTDATED: &str = "document.querySelector('[data-testid=message-assistant]').dataset.outdated ?? null";
    let (old_script, old_gate) = Script::saying(["An old ", "text"]).gated();
    let (new_script, new_gate) = Script::saying(["A new ", "one"]).gated();
    let shared = Shared::real(&Scripted::new([old_script, new_script])).await;
    let mut config = shared.config(Role::All);
    config.turn.lease = Duration::from_millis(600);
    let node = TestNode::start(config).await;
    let browser = Browser::open(&format!("http://{}/", node.address())).await;
    browser.expect_connection("open").await;
    browser.say("Go").await;
    old_gate.open();
    browser.expect_answers(&["An old"], "running").await;
    let thief = NodeId::new();
    steal(&shared, thief).await;
    old_gate.closed().await;
    let store = shared.store.clone().open(&Registry::new()).await.unwrap();
    assert_eq!(store.release_turns(thief).await.unwrap(), 1);
    browser.expect(OUTDATED, json!("")).await;
    browser.expect_answers(&["An old"], "running").await;
    new_gate.open();
    browser.expect_answers(&["A new"], "running").await;
    browser.expect(OUTDATED, json!(null)).await;
    new_gate.open_all();
    browser.expect_answers(&["A new one"], "done").await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_typed_while_the_line_is_down_is_sent_once_when_it_is_back() {
    let (node, line, browser, model) = stage([Script::saying(["before"]), Script::saying(["after"])]).await;
    browser.say("one").await;
    browser.expect_answers(&["before"], "done").await;
    line.down();
    browser.expect_connection("waiting").await;
    browser.say("two").await;
    browser.expect_text("message-state", "sending…").await;
    // A reload would not lose it either: it is kept until a 202.
    line.up();
    browser.expect_answers(&["before", "after"], "done").await;
    browser.expect_questions(&["one", "two"]).await;
    assert_eq!(model.prompts().len(), 2);
    browser.reload().await;
    browser.expect_questions(&["one", "two"]).await;
    browser.expect_answers(&["before", "after"], "done").await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_went_away_in_mid_answer_and_came_back_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = StoreChoice::Sqlite(sqlite::Config::new(sqlite::Location::File(folder.path().join("switchboard.db"))));
    let (script, gate) = Script::saying(["Before the end, ", "after it"]).gated();
    let model = Scripted::new([Script::saying(["old"]), script, Script::saying(["new"])]);
    let settings = |listen| Config { listen, store: store.clone(), model: given(&model), ..config() };
    let node = TestNode::start(settings(([127, 0, 0, 1], 0).into())).await;
    let address = node.address();
    let browser = Browser::open(&format!("http://{address}/")).await;
    browser.say("one").await;
    browser.expect_answers(&["old"], "done").await;
    browser.say("two").await;
    gate.open();
    browser.expect_answers(&["old", "Before the end,"], "running").await;
    let stopping = tokio::spawn(node.stop());
    browser.expect("document.querySelector('[data-testid=connection]').dataset.state === 'open'", json!(false)).await;
    gate.open_all();
    stopping.await.unwrap();

    let node = TestNode::start(settings(address)).await;
    browser.expect_connection("open").await;
    browser.expect_answers(&["old", "Before the end, after it"], "done").await;
    browser.say("three").await;
    browser.expect_answers(&["old", "Before the end, after it", "new"], "done").await;
    browser.expect_questions(&["one", "two", "three"]).await;
    node.stop().await;
}
