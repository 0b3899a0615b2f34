//! What the bus loses, doubles or delivers in the wrong order is found by its numbers, healed by the holder, and counted.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use prometheus::Registry;
use serde_json::json;
use switchboard::bus::{
    Bus, BusError, BusState, Envelope, LocalBus, LocalHub, Metrics, Outgoing, Subject, Subscription,
};
use switchboard::model::{Script, Scripted};
use switchboard::node::{BusChoice, Config, Role};
use tokio::sync::watch;

use crate::support::eventually::assert_eventually;
use crate::support::node::{Shared, TestNode};

const FRAMES: &str = "switchboard_turn_frames_total";
const GAPS: &str = "switchboard_stream_gaps_total";

const PATIENCE: Duration = Duration::from_secs(20);

/// A bus that does badly what a test says, to frames by their numbers.
struct Bad {
    bus: LocalBus,
    lose: &'static [u64],
    double: &'static [u64],
    /// Delivered only after the next one.
    delay: &'static [u64],
    late: Mutex<Option<(Subject, Outgoing)>>,
}

#[async_trait]
impl Bus for Bad {
    fn publish(&self, subject: &Subject, message: Outgoing) {
        let seq = Envelope::decode(message.payload.clone()).map_or(0, |envelope| envelope.seq);
        if self.lose.contains(&seq) {
            return;
        }
        if self.delay.contains(&seq) {
            *self.late.lock().unwrap() = Some((subject.clone(), message));
            return;
        }
        if self.double.contains(&seq) {
            self.bus.publish(subject, message.clone());
        }
        self.bus.publish(subject, message);
        if let Some((subject, message)) = self.late.lock().unwrap().take() {
            self.bus.publish(&subject, message);
        }
    }

    async fn subscribe(&self, subject: &Subject) -> Result<Subscription, BusError> {
        self.bus.subscribe(subject).await
    }

    async fn join(&self, subject: &Subject) -> Result<Subscription, BusError> {
        self.bus.join(subject).await
    }

    async fn request(&self, subject: &Subject, message: Outgoing) -> Result<Bytes, BusError> {
        self.bus.request(subject, message).await
    }

    fn state(&self) -> watch::Receiver<BusState> {
        self.bus.state()
    }

    async fn flush(&self) {
        self.bus.flush().await;
    }
}

/// Reads an answer of eight tokens on a node that gets its frames over this bus. Returns how many gaps that node found.
async fn gaps_of(bad: impl FnOnce(LocalBus) -> Bad) -> f64 {
    let words = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let (script, gate) = Script::saying(words).gated();
    let hub = LocalHub::new();
    let shared = Shared::real(&Scripted::new([script])).await;
    let bus = Arc::new(bad(hub.bus(Metrics::register(&Registry::new()).unwrap())));
    let runner = TestNode::start(Config { bus: BusChoice::Given(bus), ..shared.config(Role::Runner) }).await;
    let edge = TestNode::start(Config { bus: BusChoice::Shared(hub), ..shared.config(Role::Edge) }).await;
    let mut client = edge.connect().await;
    let session = client.session_with(json!({"supports": ["stream_resume"]})).await;
    client.say(&session, "r1", "hi").await;
    gate.open();
    let first = client.expect("stream_token").await;
    assert_eq!((&first["token"], &first["seq"]), (&json!("a"), &json!(1)), "the edge has attached");
    for sent in 2..=words.len() {
        // One by one: tokens that wait for each other share a frame.
        gate.open();
        assert_eventually("the runner sent one more", PATIENCE, async || {
            runner.metric(FRAMES, &[("kind", "token")]) == sent as f64
        })
        .await;
    }
    gate.open_all();
    let turn = client.turn("r1").await;
    assert_eq!(turn.text, "bcdefgh", "each letter once and in order");
    assert_eq!(turn.end["data"]["data"]["response"]["responseParts"], json!(["abcdefgh"]));
    assert_eq!(turn.end["seq"], 9);
    let found = edge.metric(GAPS, &[]);
    edge.stop().await;
    runner.stop().await;
    found
}

fn good(bus: LocalBus) -> Bad {
    Bad { bus, lose: &[], double: &[], delay: &[], late: Mutex::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_are_lost_are_fetched_from_the_holder() {
    assert!(gaps_of(|bus| Bad { lose: &[3, 4, 6], ..good(bus) }).await >= 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_come_late_are_a_gap_and_shown_once() {
    assert!(gaps_of(|bus| Bad { delay: &[2, 5], ..good(bus) }).await >= 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_come_twice_are_shown_once_and_are_no_gap() {
    assert_eq!(gaps_of(|bus| Bad { double: &[2, 3, 7, 9], ..good(bus) }).await, 0.0);
}
