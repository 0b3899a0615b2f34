//! A turn outlives its socket: clients go and come back, to any node.

use std::time::Duration;

use prometheus::Registry;
use serde_json::{Value, json};
use switchboard::bus::{self, Bus, NatsBus, Outgoing, Subject};
use switchboard::model::{Script, Scripted};
use switchboard::node::{BusChoice, Role};

use crate::support::client::{Client, send_message};
use crate::support::eventually::assert_eventually;
use crate::support::node::{Shared, TestNode};

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_whose_client_is_gone_ends_and_its_answer_is_found_on_another_node() {
    let (script, gate) = Script::saying(["first ", "second"]).gated();
    let shared = Shared::real(&Scripted::new([script])).await;
    let (a, b) = (shared.start(Role::All).await, shared.start(Role::All).await);
    let mut client = a.connect().await;
    let session = client.session().await;
    client.say(&session, "r1", "hi").await;
    gate.open();
    client.expect("stream_token").await;
    client.cut();
    gate.open_all();
    let mut back = b.connect().await;
    let newest = assert_eventually("the answer is in the history", Duration::from_secs(10), async || {
        let mut other = b.connect().await;
        let action =
            json!({"action": "get_conversation_messages", "requestId": "m", "sessionId": session["sessionId"]});
        let page = other.ask(action).await;
        (page["data"]["messages"].as_array()?.len() == 2).then(|| page["data"]["messages"][0].clone())
    })
    .await;
    assert_eq!((&newest["direction"], &newest["content"]["text"]), (&json!("outbound"), &json!("first second")));
    back.expect_silence().await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_comes_back_in_mid_turn_gets_the_ending_and_no_text_twice() {
    let (script, gate) = Script::saying(["first ", "second"]).gated();
    let shared = Shared::real(&Scripted::new([script])).await;
    let (a, b) = (shared.start(Role::All).await, shared.start(Role::All).await);
    for node in [&a, &b] {
        assert_eq!(node.metric("switchboard_sockets", &[]), 0.0);
    }
    let mut client = a.connect().await;
    let session = client.session().await;
    client.say(&session, "r1", "hi").await;
    gate.open();
    client.expect("stream_token").await;
    client.cut();
    let (mut here, mut there) = (a.connect().await, b.connect().await);
    for client in [&mut here, &mut there] {
        client.ask(json!({"action": "get_session", "requestId": "g", "sessionId": session["sessionId"]})).await;
    }
    gate.open_all();
    for client in [&mut here, &mut there] {
        let turn = client.turn("r1").await;
        assert_eq!(turn.events.len(), 1, "only the ending: {:?}", turn.events);
        assert_eq!(turn.end["data"]["data"]["response"]["responseParts"], json!(["first second"]));
        client.expect_silence().await;
    }
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_sent_again_after_a_cut_is_accepted_again_and_answered_once() {
    let model = Scripted::new([Script::saying(["only once"])]);
    let node = TestNode::alone(&model).await;
    let mut client = node.connect().await;
    let session = client.session().await;
    client.converse(&session, "r1", "hi").await;
    let mut back = node.connect().await;
    let again = back.ask(send_message(&session, "r1", "hi")).await;
    assert_eq!(again["status"], 202);
    let turn = back.turn("r1").await;
    assert_eq!(turn.events.len(), 1, "{:?}", turn.events);
    assert_eq!(turn.end["data"]["data"]["response"]["responseParts"], json!(["only once"]));
    assert_eq!(model.prompts().len(), 1);
    back.expect_silence().await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_follows_sees_the_turns_of_another_and_one_that_does_not_sees_none() {
    let shared = Shared::real(&Scripted::new([Script::saying(["seen ", "by two"])])).await;
    let (a, b) = (shared.start(Role::All).await, shared.start(Role::All).await);
    let (mut speaker, mut follower, mut stranger) = (a.connect().await, b.connect().await, b.connect().await);
    let session = speaker.session().await;
    let resume = json!({"conversationId": session["conversationId"], "supports": ["follow"]});
    follower.session_with(resume).await;
    stranger.session_with(json!({"conversationId": session["conversationId"]})).await;
    assert_eq!(speaker.converse(&session, "r1", "hi").await.text, "seen by two");
    assert_eq!(follower.turn("r1").await.text, "seen by two");
    stranger.expect_silence().await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_are_numbered_without_a_gap_for_a_session_that_asked_and_for_no_other() {
    let (script, gate) = Script::saying(["a", "b", "c"]).gated();
    let node = TestNode::alone(&Scripted::new([script])).await;
    let (mut numbered, mut plain) = (node.connect().await, node.connect().await);
    let session = numbered.session_with(json!({"supports": ["stream_resume"]})).await;
    let other = json!({"conversationId": session["conversationId"], "supports": ["follow"]});
    plain.session_with(other).await;
    numbered.say(&session, "r1", "hi").await;
    let mut last = 0;
    for expected in ["a", "b", "c"] {
        gate.open();
        let event = numbered.expect("stream_token").await;
        assert_eq!((&event["token"], &event["epoch"]), (&json!(expected), &json!(1)));
        last += 1;
        assert_eq!(event["seq"], last);
    }
    gate.open_all();
    assert_eq!(numbered.turn("r1").await.end["seq"], last + 1);
    let turn = plain.turn("r1").await;
    assert!(turn.events.iter().all(|event| event.get("seq").is_none() && event.get("epoch").is_none()));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_sent_again_in_mid_turn_brings_all_of_the_text_although_the_socket_knew_of_the_turn() {
    let (script, gate) = Script::saying(["one ", "two"]).gated();
    let shared = Shared::real(&Scripted::new([script])).await;
    let (a, b) = (shared.start(Role::All).await, shared.start(Role::All).await);
    let (mut first, mut second) = (a.connect().await, b.connect().await);
    let session = first.session_with(json!({"supports": ["stream_resume"]})).await;
    first.say(&session, "r1", "count").await;
    gate.open();
    first.expect("stream_token").await;
    // By this the other socket joins the turn, and would only be told of its end.
    second.ask(json!({"action": "get_session", "requestId": "g", "sessionId": session["sessionId"]})).await;
    second.say(&session, "r1", "count").await;
    gate.open_all();
    assert_eq!(first.turn("r1").await.text, "two");
    assert_eq!(second.turn("r1").await.text, "one two");
    second.expect_silence().await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_bus_says_of_a_turn_long_after_its_end_reaches_nobody() {
    let (script, gate) = Script::saying(["third"]).gated();
    let model = Scripted::new([Script::saying(["first"]), Script::saying(["second"]), script]);
    let shared = Shared::real(&model).await;
    let BusChoice::Nats(config) = &shared.bus else { panic!("not on NATS") };
    let bus = NatsBus::connect((**config).clone(), bus::Metrics::register(&Registry::new()).unwrap()).await.unwrap();
    let (a, b) = (shared.start(Role::All).await, shared.start(Role::All).await);
    let (mut speaker, mut other) = (a.connect().await, b.connect().await);
    let session = speaker.session().await;
    other.ask(json!({"action": "get_session", "requestId": "g", "sessionId": session["sessionId"]})).await;
    let subject = Subject::Conversation(session["conversationId"].as_str().unwrap().parse().unwrap());
    let mut overheard = bus.subscribe(&subject).await.unwrap();
    for (request, text) in [("r1", "first"), ("r2", "second")] {
        assert_eq!(speaker.converse(&session, request, "hi").await.text, text);
        assert_eq!(other.turn(request).await.text, text);
    }
    let announcement = overheard.next().await.unwrap().payload;
    // While nothing runs, and while the node that hears it runs another turn of the conversation.
    bus.publish(&subject, Outgoing { payload: announcement.clone(), traceparent: None });
    other.say(&session, "r3", "hi").await;
    bus.publish(&subject, Outgoing { payload: announcement, traceparent: None });
    bus.flush().await;
    gate.open_all();
    for client in [&mut other, &mut speaker] {
        assert_eq!(client.turn("r3").await.text, "third");
        client.expect_silence().await;
    }
    a.stop().await;
    b.stop().await;
}

/// Reads numbered frames to the end of a turn: `(seq, text or type)`, collapsed frames as they come.
async fn numbered_rest(client: &mut Client, request_id: &str) -> (String, Vec<u64>, Value) {
    let turn = client.turn(request_id).await;
    let numbers = turn.events.iter().map(|event| event["seq"].as_u64().expect("a number")).collect();
    (turn.text, numbers, turn.end)
}

fn attach(session: &Value, after: u64) -> Value {
    json!({"action": "attach_session", "requestId": "a", "sessionId": session["sessionId"], "afterSeq": after})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_shows_its_position_to_any_node_gets_exactly_the_rest() {
    let (script, gate) = Script::saying(["one ", "two ", "three ", "four"]).gated();
    let shared = Shared::real(&Scripted::new([script])).await;
    let (a, b) = (shared.start(Role::All).await, shared.start(Role::All).await);
    let mut client = a.connect().await;
    let session = client.session_with(json!({"supports": ["stream_resume"]})).await;
    client.say(&session, "r1", "count").await;
    for _ in 0..3 {
        gate.open();
        client.expect("stream_token").await;
    }
    let (mut here, mut there, mut lost) = (a.connect().await, b.connect().await, b.connect().await);
    for (client, after, verdict) in [(&mut here, 1, "delta"), (&mut there, 2, "delta"), (&mut lost, 0, "snapshot")] {
        let answer = client.ask(attach(&session, after)).await;
        assert_eq!(
            (&answer["data"]["verdict"], &answer["data"]["turn"]["seq"]),
            (&json!(verdict), &json!(3)),
            "{answer}"
        );
        assert_eq!(answer["data"]["turn"]["state"], "running");
    }
    assert_eq!(here.expect("stream_token").await["token"], "two three ");
    assert_eq!(there.expect("stream_token").await["token"], "three ");
    assert_eq!(lost.expect("stream_token").await["token"], "one two three ");
    gate.open_all();
    for client in [&mut here, &mut there, &mut lost] {
        let (text, numbers, end) = numbered_rest(client, "r1").await;
        assert_eq!((text.as_str(), numbers), ("four", vec![4, 5]));
        assert_eq!(end["data"]["data"]["response"]["responseParts"], json!(["one two three four"]));
        client.expect_silence().await;
    }
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_turn_is_resumed_whole_or_just_its_ending_and_a_wrong_position_is_refused() {
    let node = TestNode::alone(&Scripted::new([Script::saying(["a", "b", "c"])])).await;
    let mut client = node.connect().await;
    let session = client.session_with(json!({"supports": ["stream_resume"]})).await;
    let last = client.converse(&session, "r1", "hi").await.end["seq"].as_u64().unwrap();
    let mut back = node.connect().await;
    assert_eq!(back.ask(attach(&session, 0)).await["data"]["verdict"], "snapshot");
    assert_eq!(numbered_rest(&mut back, "r1").await.0, "abc");
    assert_eq!(back.ask(attach(&session, last - 1)).await["data"]["verdict"], "delta");
    assert_eq!(numbered_rest(&mut back, "r1").await.1, [last]);
    assert_eq!(back.ask(attach(&session, last)).await["data"]["verdict"], "delta");
    back.expect_silence().await;
    assert_eq!(back.refusal(attach(&session, last + 1)).await, "VALIDATION_ERROR");
    let mut unknown = attach(&session, 0);
    unknown["turnRequestId"] = json!("never sent");
    assert_eq!(back.ask(unknown).await["data"]["verdict"], "gone");
    let plain = back.session().await;
    assert_eq!(back.refusal(attach(&plain, 0)).await, "VALIDATION_ERROR");
    back.expect_silence().await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resuming_client_is_told_when_another_node_begins_the_answer_again() {
    let (first, gate) = Script::saying(["old ", "never"]).gated();
    let model = Scripted::new([first, Script::saying(["new ", "answer"])]);
    let shared = Shared::real(&model).await;
    let mut config = shared.config(Role::Runner);
    config.drain = Duration::ZERO;
    let dying = TestNode::start(config).await;
    let edge = shared.start(Role::Edge).await;
    let mut client = edge.connect().await;
    let session = client.session_with(json!({"supports": ["stream_resume"]})).await;
    client.say(&session, "r1", "hi").await;
    gate.open();
    assert_eq!(client.expect("stream_token").await["token"], "old ");
    let heir = shared.start(Role::Runner).await;
    dying.stop().await;
    assert_eq!(client.expect("turn_restarted").await["epoch"], 2);
    let turn = client.turn("r1").await;
    assert_eq!(turn.text, "new answer");
    assert!(turn.events.iter().all(|event| event["epoch"] == 2), "{:?}", turn.events);
    client.expect_silence().await;
    edge.stop().await;
    heir.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_close_is_announced_to_those_who_asked_and_to_nobody_else() {
    let node = TestNode::alone(&Scripted::new([])).await;
    let (mut told, mut plain) = (node.connect().await, node.connect().await);
    told.session_with(json!({"supports": ["going_away"]})).await;
    plain.session().await;
    let stopping = tokio::spawn(node.stop());
    let hint = told.expect("going_away").await;
    assert!(hint["reconnectInMs"].as_u64().is_some_and(|hint| hint < 1000), "{hint}");
    assert_eq!(told.closed().await, Some(1012));
    assert_eq!(plain.closed().await, Some(1012));
    stopping.await.unwrap();
}
