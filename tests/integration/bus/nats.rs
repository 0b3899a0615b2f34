//! What happens to a node when its broker is full, frozen, killed, late or hostile.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use switchboard::bus::{BusError, NatsConfig, Subject};
use switchboard::ids::TurnId;
use tokio::time::Instant;
use tracing_subscriber::fmt::MakeWriter;

use super::{Node, Server, conversation, message, next, next_text, patiently};

#[tokio::test]
async fn publishing_never_blocks_and_counts_what_the_queue_does_not_hold() {
    let server = Server::start(0, &[]).await;
    let a = Node::on_nats(NatsConfig { publish_queue: 4, ..server.config() }).await;
    let b = Node::on_nats(server.config()).await;
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
    let server = Server::start(0, &[]).await;
    let (a, b) = (Node::on_nats(server.config()).await, Node::on_nats(server.config()).await);
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
    let server = Server::start(0, &[]).await;
    let (a, b) = (Node::on_nats(server.config()).await, Node::on_nats(server.config()).await);
    let (old, new) = (conversation(), conversation());
    let mut old_at_b = b.subscribe(&old).await;
    let (before_a, before_b) = (a.bus.state().borrow().generation, b.bus.state().borrow().generation);

    let port = server.kill().await;
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

    let _server = Server::start(port, &[]).await;
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
    let server = Server::start(0, &[]).await;
    let (holder, watcher) = (Node::on_nats(server.config()).await, Node::on_nats(server.config()).await);
    let (turn, subject) = (Subject::Turn(TurnId::new()), conversation());
    let mut requests = holder.subscribe(&turn).await;
    let port = server.kill().await;
    watcher.until(|state| !state.connected).await;
    let mut subscriptions = Vec::new();
    for _ in 0..200 {
        subscriptions.push(watcher.bus.subscribe(&subject).await.unwrap());
    }
    let _server = Server::start(port, &[]).await;
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
    let port = Server::start(0, &[]).await.kill().await;
    let config = NatsConfig { servers: vec![format!("nats://127.0.0.1:{port}")], ..NatsConfig::default() };
    let node = patiently(Node::on_nats(config.clone())).await;
    assert!(!node.bus.state().borrow().connected);
    let subject = conversation();
    let mut subscription = patiently(node.bus.subscribe(&subject)).await.unwrap();
    node.publish(&subject, "to nobody");
    assert_eq!(node.dropped("disconnected"), 1.0);
    patiently(node.bus.flush()).await;

    let _server = Server::start(port, &[]).await;
    let state = node.until(|state| state.connected).await;
    assert_eq!(state.generation, 1, "what was sent before it listened is a gap");
    assert_eq!(node.metric("reconnects_total", None), 0.0);
    node.settle().await;
    Node::on_nats(config).await.publish(&subject, "hello");
    assert_eq!(next_text(&mut subscription).await, "hello");
}

#[tokio::test]
async fn a_request_in_flight_fails_when_the_broker_dies() {
    let server = Server::start(0, &[]).await;
    let config = NatsConfig { request_timeout: Duration::from_secs(600), ..server.config() };
    let (a, b) = (Node::on_nats(config.clone()).await, Node::on_nats(config).await);
    let subject = Subject::Turn(TurnId::new());
    let mut requests = b.subscribe(&subject).await;
    let dies = async {
        let request = next(&mut requests).await;
        server.kill().await;
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
    let server = Server::start(0, &[]).await;
    let short = Duration::from_millis(100);
    let node = Node::on_nats(NatsConfig {
        request_timeout: short,
        flush_timeout: short,
        publish_queue: 64,
        ping_interval: Duration::from_millis(100),
        connect_timeout: short,
        ..server.config()
    })
    .await;
    server.freeze().await;
    let subject = conversation();
    assert_eq!(patiently(node.bus.request(&subject, message(""))).await, Err(BusError::Timeout));
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

#[tokio::test]
async fn flushing_delivers_what_was_published() {
    let server = Server::start(0, &[]).await;
    let (a, b) = (Node::on_nats(server.config()).await, Node::on_nats(server.config()).await);
    let subject = conversation();
    let mut subscription = b.subscribe(&subject).await;
    for number in 0..500 {
        a.publish(&subject, number.to_string());
    }
    patiently(a.bus.flush()).await;
    drop(a);
    for number in 0..500 {
        assert_eq!(next_text(&mut subscription).await, number.to_string());
    }
}

#[tokio::test]
async fn user_and_password_or_a_token_come_from_the_address() {
    for (arguments, login) in
        [(&["--user", "jo", "--pass", "p@ss:word"][..], "jo:p%40ss%3Aword"), (&["--auth", "s3cret"][..], "s3cret")]
    {
        let server = Server::start(0, arguments).await;
        let servers = vec![format!("nats://{login}@127.0.0.1:{}", server.port)];
        let node = Node::on_nats(NatsConfig { servers, ..NatsConfig::default() }).await;
        node.until(|state| state.connected).await;
        node.settle().await;
    }
}

#[tokio::test]
async fn wrong_credentials_leave_the_node_disconnected_logged_once_and_in_no_hurry() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let mut server = Server::start(0, &["--user", "jo", "--pass", "right"]).await;
    let started = Instant::now();
    let node = Node::on_nats(NatsConfig {
        servers: vec![format!("nats://jo:wr0ng@127.0.0.1:{}", server.port)],
        reconnect_min: Duration::from_millis(50),
        ..NatsConfig::default()
    })
    .await;
    for _ in 0..4 {
        server.logged("authentication error").await;
    }
    assert!(started.elapsed() >= Duration::from_millis(25 + 50 + 100), "{:?}", started.elapsed());
    assert!(!node.bus.state().borrow().connected);
    assert_eq!(node.bus.request(&conversation(), message("")).await, Err(BusError::Disconnected));
    let log = log.text();
    let ours: Vec<_> = log.lines().filter(|line| line.contains("switchboard::bus")).collect();
    assert_eq!(ours.len(), 1, "{ours:?}");
    assert!(ours[0].contains("ERROR") && ours[0].contains("authorization violation"), "{ours:?}");
    assert!(!log.contains("wr0ng"), "{log}");
}

/// Collects what is logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
