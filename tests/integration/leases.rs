//! Who runs a turn, and what a turn costs the store and the bus.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use prometheus::Registry;
use serde_json::json;
use switchboard::ids::NodeId;
use switchboard::model::{ChatMessage, Deltas, Model, ModelError, Prompt, Script, Scripted};
use switchboard::node::{Config, ModelChoice, Role, StoreChoice};
use switchboard::store::Claim;

use crate::support::eventually::assert_eventually;
use crate::support::node::{Shared, TestNode};
use crate::support::services;

const PATIENCE: Duration = Duration::from_secs(20);

const OPERATIONS: &str = "switchboard_store_operations_total";

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_turn_costs_three_transactions_however_long_its_answer() {
    let words: Vec<String> = (0..500).map(|word| format!("{word} ")).collect();
    let model = Scripted::new([Script::saying(["warm"]), Script::saying(words.iter().map(String::as_str))]);
    let node = Shared::real(&model).await.start(Role::All).await;
    let mut client = node.connect().await;
    let session = client.session().await;
    client.converse(&session, "warm", "up").await;
    // The sweep for queued turns and the health check go on by themselves, turn or no turn.
    let background = ["turn.claim", "turn.queued", "turn.renew", "turn.expire", "schema.check"];
    let count = || {
        let of = |operation: &str| node.metric(OPERATIONS, &[("operation", operation)]);
        node.metric(OPERATIONS, &[]) - background.into_iter().map(of).sum::<f64>()
    };
    let before = count();
    client.converse(&session, "r1", "talk").await;
    assert_eq!(count() - before, 3.0, "message with turn, history, ending");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_whose_sockets_are_local_costs_the_bus_the_same_whatever_its_length() {
    let long: Vec<String> = (0..300).map(|word| format!("{word} ")).collect();
    let model = Scripted::new([
        Script::saying(["warm"]),
        Script::saying(["short"]),
        Script::saying(long.iter().map(String::as_str)),
    ]);
    let shared = Shared::real(&model).await;
    let (node, idle) = (shared.start(Role::All).await, shared.start(Role::All).await);
    let mut client = node.connect().await;
    let session = client.session().await;
    let published = || node.metric("switchboard_bus_published_total", &[]);
    client.converse(&session, "warm", "up").await;
    let mut costs = Vec::new();
    for request in ["short", "long"] {
        let before = published();
        client.converse(&session, request, "talk").await;
        costs.push(published() - before);
    }
    assert_eq!(costs[0], costs[1]);
    assert!(costs[0] <= 1.0, "one announcement: {costs:?}");
    assert_eq!(idle.metric("switchboard_bus_received_total", &[]), 0.0, "a node without interest hears nothing");
    node.stop().await;
    idle.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_finds_its_node_full_runs_on_another() {
    let (script, gate) = Script::saying(["mine"]).gated();
    let model = Scripted::new([script, Script::saying(["theirs"])]);
    let shared = Shared::real(&model).await;
    let mut small = shared.config(Role::All);
    small.turn.max_turns = 1;
    let full = TestNode::start(small).await;
    let free = shared.start(Role::Runner).await;
    let (mut first, mut second) = (full.connect().await, full.connect().await);
    let (mine, theirs) = (first.session().await, second.session().await);
    first.say(&mine, "r1", "hi").await;
    assert_eq!(second.converse(&theirs, "r2", "hi").await.text, "theirs");
    assert_eq!(free.metric("switchboard_turns_total", &[("outcome", "completed")]), 1.0);
    gate.open_all();
    assert_eq!(first.turn("r1").await.text, "mine");
    full.stop().await;
    free.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_finds_every_node_full_runs_when_a_slot_is_free() {
    let (script, gate) = Script::saying(["first"]).gated();
    let shared = Shared::real(&Scripted::new([script, Script::saying(["second"])])).await;
    let mut config: Config = shared.config(Role::All);
    config.turn.max_turns = 1;
    let node = TestNode::start(config).await;
    let (mut one, mut two) = (node.connect().await, node.connect().await);
    let (first, second) = (one.session().await, two.session().await);
    one.say(&first, "r1", "hi").await;
    two.say(&second, "r2", "hi").await;
    assert_eq!(node.metric("switchboard_turns_accepted_total", &[("result", "queued")]), 1.0);
    gate.open_all();
    assert_eq!(one.turn("r1").await.text, "first");
    assert_eq!(two.turn("r2").await.text, "second");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_took_down_every_node_that_ran_it_fails_in_plain_words() {
    let shared = Shared::real(&Scripted::new([Script::saying(["alive"])])).await;
    let edge = shared.start(Role::Edge).await;
    let mut client = edge.connect().await;
    let session = client.session().await;
    client.say(&session, "r1", "poison").await;
    let store = shared.store.clone().open(&Registry::new()).await.unwrap();
    for attempt in 1..=3 {
        let claim = Claim { holder: NodeId::new(), lease: Duration::from_millis(1) };
        let claimed = assert_eventually("the turn can be taken", Duration::from_secs(10), async || {
            store.claim_turn(&claim).await.unwrap()
        })
        .await;
        assert_eq!(claimed.attempt, attempt);
    }
    let runner = shared.start(Role::Runner).await;
    let end = client.turn("r1").await.end;
    assert_eq!((&end["type"], &end["error"]["code"]), (&json!("error"), &json!("AGENT_ERROR")));
    assert_eq!(client.converse(&session, "r2", "still there?").await.text, "alive");
    edge.stop().await;
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_lost_its_turn_says_nothing_more_and_the_new_one_answers() {
    let (script, gate) = Script::saying(["old ", "never"]).gated();
    let model = Scripted::new([script, Script::saying(["new answer"])]);
    let shared = Shared::real(&model).await;
    let mut config = shared.config(Role::All);
    config.turn.lease = Duration::from_secs(1);
    let first = TestNode::start(config).await;
    let mut client = first.connect().await;
    let session = client.session().await;
    client.say(&session, "r1", "hi").await;
    gate.open();
    client.expect("stream_token").await;
    // Another node takes the turn, as it would from a holder that was paused for longer than its lease.
    let store = shared.store.clone().open(&Registry::new()).await.unwrap();
    let thief = NodeId::new();
    steal(&shared, thief).await;
    assert_eventually("the old holder notices", Duration::from_secs(10), async || {
        first.metric("switchboard_turns_total", &[("outcome", "lost")]) == 1.0
    })
    .await;
    gate.open_all();
    assert_eq!(store.release_turns(thief).await.unwrap(), 1);
    let turn = client.turn("r1").await;
    assert_eq!(turn.text, "", "a client that cannot tell old text from new gets no more text");
    assert_eq!(turn.end["data"]["data"]["response"]["responseParts"], json!(["new answer"]));
    client.expect_silence().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_replaced_holder_says_and_writes_is_refused_and_counted() {
    let (old_script, old_gate) = Script::saying(["old ", "never"]).gated();
    let (new_script, new_gate) = Script::saying(["new ", "answer"]).gated();
    let shared = Shared::real(&Scripted::new([old_script, new_script])).await;
    let mut config = shared.config(Role::Runner);
    // So long that it does not ask whether the turn is still its own.
    config.turn.lease = Duration::from_secs(600);
    let (edge, old) = (shared.start(Role::Edge).await, TestNode::start(config).await);
    let mut client = edge.connect().await;
    let session = client.session_with(json!({"supports": ["stream_resume"]})).await;
    client.say(&session, "r1", "hi").await;
    old_gate.open();
    assert_eq!(client.expect("stream_token").await["token"], "old ");
    let thief = NodeId::new();
    steal(&shared, thief).await;
    let store = shared.store.clone().open(&Registry::new()).await.unwrap();
    assert_eq!(store.release_turns(thief).await.unwrap(), 1);
    let new = shared.start(Role::Runner).await;
    assert_eq!(client.expect("turn_restarted").await["epoch"], 3);
    new_gate.open();
    assert_eq!(client.expect("stream_token").await["token"], "new ");

    old_gate.open_all();
    assert_eventually("the frames are refused", PATIENCE, async || {
        edge.metric("switchboard_fenced_frames_total", &[]) >= 1.0
    })
    .await;
    assert_eventually("the ending is refused", PATIENCE, async || {
        old.metric("switchboard_fenced_writes_total", &[]) == 1.0
    })
    .await;
    new_gate.open_all();
    let turn = client.turn("r1").await;
    assert_eq!(turn.text, "answer");
    assert_eq!(turn.end["data"]["data"]["response"]["responseParts"], json!(["new answer"]));
    for node in [edge, old, new] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_threads_are_all_busy_keeps_its_turn() {
    let (script, gate) = Script::saying(["still ", "mine"]).gated();
    let shared = Shared::real(&Scripted::new([script])).await;
    let mut config = shared.config(Role::All);
    config.turn.lease = Duration::from_secs(1);
    let other = TestNode::start(Config { role: Role::Runner, ..config.clone() }).await;
    // One thread, so that one task that does not give it back stops all of the node's others.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let node = runtime.spawn(TestNode::start(config)).await.unwrap();
    let mut client = node.connect().await;
    let session = client.session().await;
    client.say(&session, "r1", "hi").await;
    gate.open();
    client.expect("stream_token").await;
    let (let_go, held) = std::sync::mpsc::channel::<()>();
    let busy = runtime.spawn(async move { held.recv().is_err() });
    let (epoch, leased_until) = running(&shared).await;
    assert_eventually("two more leases were begun", PATIENCE, async || {
        let (now, renewed_until) = running(&shared).await;
        assert_eq!(now, epoch, "the turn was taken");
        renewed_until > leased_until + Duration::from_secs(2)
    })
    .await;
    drop(let_go);
    assert!(busy.await.unwrap());
    gate.open_all();
    let turn = client.turn("r1").await;
    assert_eq!(turn.end["data"]["data"]["response"]["responseParts"], json!(["still mine"]));
    assert_eq!(other.metric("switchboard_turns_total", &[]), 0.0);
    runtime.spawn(node.stop()).await.unwrap();
    runtime.shutdown_background();
    other.stop().await;
}

/// The epoch of the running turn, and when its lease runs out.
async fn running(shared: &Shared) -> (i64, SystemTime) {
    let (client, connection) = services::connect(database(shared)).await;
    let row =
        client.query_one("select epoch, lease_until from turns where state = 'running'", &[]).await.expect("it runs");
    drop(client);
    connection.await.unwrap().unwrap();
    (row.get(0), row.get(1))
}

/// Panics at the word "poison"; else answers as it was told to.
struct Poisonous(Scripted);

#[async_trait]
impl Model for Poisonous {
    async fn answer(&self, prompt: Prompt) -> Result<Deltas, ModelError> {
        assert!(prompt.messages.last() != Some(&ChatMessage::User("poison".to_owned())), "poisoned on purpose");
        self.0.answer(prompt).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_panics_whoever_runs_it_fails_in_plain_words_and_the_node_lives() {
    let mut config = Shared::real(&Scripted::default()).await.config(Role::All);
    config.model = ModelChoice::Given(Arc::new(Poisonous(Scripted::new([Script::saying(["alive"])]))));
    config.turn.lease = Duration::from_millis(300);
    config.turn.sweep = Duration::from_millis(100);
    let node = TestNode::start(config).await;
    let mut client = node.connect().await;
    let session = client.session().await;
    client.say(&session, "r1", "poison").await;
    let end = client.turn("r1").await.end;
    assert_eq!((&end["type"], &end["error"]["code"]), (&json!("error"), &json!("AGENT_ERROR")));
    assert_eq!(client.converse(&session, "r2", "still there?").await.text, "alive");
    // A run is over a moment after its client has heard of the end.
    assert_eventually("nothing runs", PATIENCE, async || node.metric("switchboard_turns_in_flight", &[]) == 0.0).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_only_a_replaced_holder_was_told_of_ends_the_turn_all_the_same() {
    let (script, _gate) = Script::saying(["old ", "never"]).gated();
    let model = Scripted::new([script, Script::saying(["nobody wants this any more"])]);
    let shared = Shared::real(&model).await;
    let node = shared.start(Role::All).await;
    let mut client = node.connect().await;
    let session = client.session().await;
    client.say(&session, "r1", "hi").await;
    let store = shared.store.clone().open(&Registry::new()).await.unwrap();
    let thief = NodeId::new();
    steal(&shared, thief).await;
    client.send(json!({"action": "cancel", "requestId": "r1", "sessionId": session["sessionId"]})).await;
    assert_eventually("the old holder notices", Duration::from_secs(10), async || {
        node.metric("switchboard_turns_total", &[("outcome", "lost")]) == 1.0
    })
    .await;
    assert_eventually("the stop is in the store", Duration::from_secs(10), async || {
        let claim = Claim { holder: thief, lease: Duration::from_secs(60) };
        let active = store.active_turn(session["conversationId"].as_str()?.parse().ok()?).await.unwrap()?;
        store.renew_leases(&claim, &[active.id]).await.unwrap().first()?.cancel_requested.then_some(())
    })
    .await;
    assert_eq!(store.release_turns(thief).await.unwrap(), 1);
    let turn = client.turn("r1").await;
    assert_eq!((turn.text.as_str(), &turn.end["type"]), ("", &json!("cancelled")));
    node.stop().await;
}

/// Gives the running turn to another holder, behind the node's back.
pub async fn steal(shared: &Shared, thief: NodeId) {
    let (client, connection) = services::connect(database(shared)).await;
    let sql = "update turns set holder = $1, epoch = epoch + 1, lease_until = now() + interval '1 minute' where state = 'running'";
    assert_eq!(client.execute(sql, &[&thief.0]).await.unwrap(), 1);
    drop(client);
    connection.await.unwrap().unwrap();
}

fn database(shared: &Shared) -> &str {
    let StoreChoice::Postgres(config) = &shared.store else { panic!("not on Postgres") };
    config.url.expose()
}
