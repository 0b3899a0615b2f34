//! What happens to a node when its broker is full, frozen, killed, late or hostile.

use std::time::Duration;

use switchboard::bus::{BusError, NatsConfig, Subject};
use switchboard::ids::TurnId;

use super::{Node, config, conversation, message, next, next_text, patiently};
use crate::support::services;

#[tokio::test]
async fn publishing_never_blocks_and_counts_what_the_queue_does_not_hold() {
    let server = services::own_nats().await;
    let a = Node::on_nats(NatsConfig { publish_queue: 4, ..config(&server) }).await;
    let b = Node::on_nats(config(&server)).await;
    let subject = conversation();
    let mut subscription = b.subscribe(&subject).await;
    a.settle().await;
    // On this runtime of one thread the client cannot write in between.
    for number in 0..10 {
        a.publish(&subject, number.to_string());
    }
    assert_eq!(a.dropped("queue_full"), 6.0);
    for number in 0..4 {
        assert_eq!(next_text(&mut subscription).await, number.to_string());
    }
    a.publish(&subject, "there is room again");
    assert_eq!(next_text(&mut subscription).await, "there is room again");
}

#[tokio::test]
async fn a_task_that_used_up_its_budget_still_publishes() {
    let server = services::own_nats().await;
    let (a, b) = (Node::on_nats(config(&server)).await, Node::on_nats(config(&server)).await);
    let subject = conversation();
    let mut subscription = b.subscribe(&subject).await;
    while tokio::task::coop::has_budget_remaining() {
        tokio::task::consume_budget().await;
    }
    a.publish(&subject, "still");
    assert_eq!(next_text(&mut subscription).await, "still");
    assert_eq!(a.dropped("queue_full"), 0.0);
}

#[tokio::test]
async fn a_broker_that_was_down_is_a_gap_and_nothing_else() {
    let server = services::own_nats().await;
    let (a, b) = (Node::on_nats(config(&server)).await, Node::on_nats(config(&server)).await);
    let (old, new) = (conversation(), conversation());
    let mut old_at_b = b.subscribe(&old).await;
    let (before_a, before_b) = (a.bus.state().borrow().generation, b.bus.state().borrow().generation);

    server.stop().await.unwrap();
    a.until(|state| !state.connected).await;
    b.until(|state| !state.connected).await;
    assert_eq!(a.metric("connected", None), 0.0);
    a.publish(&old, "lost");
    assert_eq!(a.dropped("disconnected"), 1.0);
    assert_eq!(a.bus.request(&old, message("")).await, Err(BusError::Disconnected));
    let mut new_at_b = patiently(b.bus.subscribe(&new)).await.unwrap();
    let given_up = patiently(b.bus.subscribe(&new)).await.unwrap();
    assert_eq!(b.metric("subscriptions", None), 3.0);
    drop(given_up);
    assert_eq!(b.metric("subscriptions", None), 2.0);

    server.start_again().await.unwrap();
    assert_eq!(a.until(|state| state.connected).await.generation, before_a + 1);
    assert_eq!(b.until(|state| state.connected).await.generation, before_b + 1);
    assert_eq!(b.metric("reconnects_total", None), 1.0);
    b.settle().await;
    for (subject, subscription) in [(&old, &mut old_at_b), (&new, &mut new_at_b)] {
        a.publish(subject, "back");
        assert_eq!(next_text(subscription).await, "back", "and nothing that was sent during the outage");
    }
}

/// What a node does with a grown generation is to ask for what it missed; it must not be answered before it listens.
#[tokio::test]
async fn a_subscription_made_during_an_outage_is_there_before_the_node_is_told() {
    let server = services::own_nats().await;
    let (holder, watcher) = (Node::on_nats(config(&server)).await, Node::on_nats(config(&server)).await);
    let (turn, subject) = (Subject::Turn(TurnId::new()), conversation());
    let mut requests = holder.subscribe(&turn).await;
    server.stop().await.unwrap();
    watcher.until(|state| !state.connected).await;
    let mut subscriptions = Vec::new();
    for _ in 0..200 {
        subscriptions.push(watcher.bus.subscribe(&subject).await.unwrap());
    }
    server.start_again().await.unwrap();
    holder.until(|state| state.connected).await;
    holder.settle().await;
    let attach = async {
        watcher.until(|state| state.connected).await;
        watcher.bus.request(&turn, message("attach")).await
    };
    let answer = async {
        let request = next(&mut requests).await;
        holder.publish(&subject, "after the transcript");
        request.reply.unwrap().send("the transcript".into());
    };
    assert_eq!(tokio::join!(attach, answer).0.unwrap(), "the transcript");
    for subscription in &mut subscriptions {
        assert_eq!(next_text(subscription).await, "after the transcript");
    }
}

#[tokio::test]
async fn a_node_boots_without_a_broker_and_connects_when_there_is_one() {
    let server = services::own_nats().await;
    server.stop().await.unwrap();
    let node = patiently(Node::on_nats(config(&server))).await;
    assert!(!node.bus.state().borrow().connected);
    let subject = conversation();
    let mut subscription = patiently(node.bus.subscribe(&subject)).await.unwrap();
    node.publish(&subject, "to nobody");
    assert_eq!(node.dropped("disconnected"), 1.0);
    patiently(node.bus.flush()).await;

    server.start_again().await.unwrap();
    let state = node.until(|state| state.connected).await;
    assert_eq!(state.generation, 1, "what was sent before it listened is a gap");
    assert_eq!(node.metric("reconnects_total", None), 0.0);
    node.settle().await;
    Node::on_nats(config(&server)).await.publish(&subject, "hello");
    assert_eq!(next_text(&mut subscription).await, "hello");
}

#[tokio::test]
async fn a_request_in_flight_fails_when_the_broker_dies() {
    let server = services::own_nats().await;
    let patient = NatsConfig { request_timeout: Duration::from_secs(600), ..config(&server) };
    let (a, b) = (Node::on_nats(patient.clone()).await, Node::on_nats(patient).await);
    let subject = Subject::Turn(TurnId::new());
    let mut requests = b.subscribe(&subject).await;
    let dies = async {
        let request = next(&mut requests).await;
        server.stop().await.unwrap();
        request
    };
    let request = message("attach");
    let (answer, request) = tokio::join!(patiently(a.bus.request(&subject, request)), dies);
    assert_eq!(answer, Err(BusError::Disconnected));
    b.until(|state| !state.connected).await;
    request.reply.unwrap().send("never arrives".into());
    assert_eq!(b.dropped("disconnected"), 1.0);
}

#[tokio::test]
async fn a_frozen_broker_blocks_nobody() {
    let server = services::own_nats().await;
    let short = Duration::from_millis(100);
    let node = Node::on_nats(NatsConfig {
        request_timeout: short,
        flush_timeout: short,
        publish_queue: 64,
        ping_interval: Duration::from_millis(100),
        connect_timeout: short,
        ..config(&server)
    })
    .await;
    server.pause().await.unwrap();
    let subject = conversation();
    // Which error it is depends on whether the probes have given the connection up by then.
    patiently(node.bus.request(&subject, message(""))).await.unwrap_err();
    patiently(node.bus.flush()).await;
    patiently(node.bus.subscribe(&subject)).await.unwrap();
    // The buffers of the system and of the client take some; then the queue is full, or the connection is given up.
    patiently(async {
        while node.dropped("queue_full") + node.dropped("disconnected") == 0.0 {
            node.publish(&subject, "x".repeat(100_000));
            tokio::task::yield_now().await;
        }
    })
    .await;
    node.until(|state| !state.connected).await;
}

/// A process that ends after a flush loses nothing: here, a runtime that ends.
#[tokio::test]
async fn flushing_delivers_what_was_published() {
    let server = services::own_nats().await;
    let b = Node::on_nats(config(&server)).await;
    let subject = conversation();
    let mut subscription = b.subscribe(&subject).await;
    elsewhere(async {
        let a = Node::on_nats(config(&server)).await;
        for number in 0..500 {
            a.publish(&subject, number.to_string());
        }
        patiently(a.bus.flush()).await;
    });
    for number in 0..500 {
        assert_eq!(next_text(&mut subscription).await, number.to_string());
    }
}

/// The client tells by events, and drops those that do not fit while nobody can read them.
#[tokio::test]
async fn a_lost_connection_is_noticed_under_a_flood_of_other_events() {
    let server = services::own_nats().await;
    let b = Node::on_nats(NatsConfig { subscription_capacity: 1, ..config(&server) }).await;
    let subject = conversation();
    let mut subscription = b.subscribe(&subject).await;
    // While this thread, and with it the whole node, stands still: a flood of messages, and the end of the server.
    elsewhere(async {
        let a = Node::on_nats(config(&server)).await;
        for number in 0..5000 {
            a.publish(&subject, number.to_string());
        }
        patiently(a.bus.flush()).await;
        server.stop().await.unwrap();
    });
    b.until(|state| !state.connected).await;
    assert!(b.dropped("slow_subscription") > 0.0);
    assert_eq!(next_text(&mut subscription).await, "0");
    server.start_again().await.unwrap();
    b.until(|state| state.connected).await;
}

/// Does the work on a thread and a runtime of its own, while this thread stands still; both are gone afterwards.
fn elsewhere(work: impl Future<Output = ()> + Send) {
    let run = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
    std::thread::scope(|scope| scope.spawn(run).join().unwrap());
}
