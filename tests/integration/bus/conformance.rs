//! What every bus does, in process or through a broker.

use std::collections::HashSet;
use std::time::Duration;

use switchboard::bus::{BusError, MAX_MESSAGE, Outgoing, Subject};
use switchboard::ids::{NodeId, TurnId};

use super::{Cluster, Limits, conversation, message, next, next_text, patiently};

macro_rules! conformance {
    ($($name:ident),+ $(,)?) => {
        mod local {
            $(#[tokio::test] async fn $name() { super::$name::<crate::bus::LocalCluster>().await; })+
        }
        mod nats {
            $(#[tokio::test] async fn $name() { super::$name::<crate::bus::NatsCluster>().await; })+
        }
    };
}

conformance! {
    a_message_reaches_every_subscriber_but_not_its_sender,
    a_subject_is_only_its_own,
    a_publishers_messages_arrive_in_order,
    a_dropped_subscription_gets_nothing_more_and_leaves_the_gauge,
    a_queue_group_delivers_each_message_to_one_member,
    a_member_that_left_gets_nothing_more,
    a_request_is_answered_by_another_node,
    a_request_that_nobody_serves_is_refused_at_once,
    a_node_does_not_serve_its_own_requests,
    a_request_without_an_answer_times_out,
    many_requests_at_once_each_get_their_own_answer,
    a_slow_subscription_drops_counts_and_grows_the_generation,
    a_trace_context_is_carried_both_with_messages_and_requests,
    a_message_too_large_for_the_bus_is_dropped_and_counted,
    everything_is_counted_on_both_sides,
    every_label_value_exists_from_the_start,
}

async fn a_message_reaches_every_subscriber_but_not_its_sender<C: Cluster>() {
    let cluster = C::start(Limits::default()).await;
    let (a, b, c) = (cluster.node().await, cluster.node().await, cluster.node().await);
    let subject = conversation();
    let (mut at_a, mut at_b) = (a.subscribe(&subject).await, b.subscribe(&subject).await);
    let (mut at_c, mut again_at_c) = (c.subscribe(&subject).await, c.subscribe(&subject).await);

    a.publish(&subject, "from a");
    for subscription in [&mut at_b, &mut at_c, &mut again_at_c] {
        assert_eq!(next_text(subscription).await, "from a");
    }
    b.publish(&subject, "from b");
    assert_eq!(next_text(&mut at_a).await, "from b", "and not its own before it");
}

async fn a_subject_is_only_its_own<C: Cluster>() {
    let cluster = C::start(Limits::default()).await;
    let (a, b) = (cluster.node().await, cluster.node().await);
    let user = |org: &str, user: &str| Subject::User { org: org.into(), user: user.into() };
    for (listens, foreign) in [
        (user("acme", "jo"), user("acme", "jo.x")),
        (user("*", ">"), user("acme", "jo")),
        (user("*", "*"), user("acme", "jo")),
        (Subject::Org(">".into()), Subject::Org("acme".into())),
        (conversation(), conversation()),
    ] {
        let mut subscription = b.subscribe(&listens).await;
        a.publish(&foreign, "foreign");
        a.publish(&listens, "own");
        assert_eq!(next_text(&mut subscription).await, "own");
    }
}

async fn a_publishers_messages_arrive_in_order<C: Cluster>() {
    let cluster = C::start(Limits { subscription_capacity: 1000, publish_queue: 1000, ..Limits::default() }).await;
    let (a, b) = (cluster.node().await, cluster.node().await);
    let subject = conversation();
    let mut subscription = b.subscribe(&subject).await;
    for number in 0..1000 {
        a.publish(&subject, number.to_string());
    }
    for number in 0..1000 {
        assert_eq!(next_text(&mut subscription).await, number.to_string());
    }
}

async fn a_dropped_subscription_gets_nothing_more_and_leaves_the_gauge<C: Cluster>() {
    let cluster = C::start(Limits::default()).await;
    let (a, b) = (cluster.node().await, cluster.node().await);
    let subject = conversation();
    let first = b.subscribe(&subject).await;
    let mut second = b.subscribe(&subject).await;
    assert_eq!(b.metric("subscriptions", None), 2.0);

    drop(first);
    a.publish(&subject, "for the second");
    assert_eq!(next_text(&mut second).await, "for the second");
    drop(second);
    assert_eq!(b.metric("subscriptions", None), 0.0);
    b.settle().await;
    let asked = a.bus.request(&subject, message("anybody?")).await;
    assert_eq!(asked, Err(BusError::NoResponders), "nothing is left of it on the bus either");
}

async fn a_queue_group_delivers_each_message_to_one_member<C: Cluster>() {
    let cluster = C::start(Limits::default()).await;
    let (a, b, c) = (cluster.node().await, cluster.node().await, cluster.node().await);
    let mut own = a.join(&Subject::Runners).await;
    let (mut at_b, mut at_c) = (b.join(&Subject::Runners).await, c.join(&Subject::Runners).await);
    for number in 0..100 {
        a.publish(&Subject::Runners, number.to_string());
    }
    let (mut seen, mut by_b) = (HashSet::new(), 0);
    for _ in 0..100 {
        let (message, b_got_it) = tokio::select! {
            message = next_text(&mut at_b) => (message, true),
            message = next_text(&mut at_c) => (message, false),
            _ = own.next() => panic!("a member got what its own node sent"),
        };
        assert!(seen.insert(message));
        by_b += usize::from(b_got_it);
    }
    assert!((1..100).contains(&by_b), "both took part: {by_b}");
    // Nothing is left over: what is sent now is the next to arrive.
    let mut watcher = c.subscribe(&Subject::Runners).await;
    a.publish(&Subject::Runners, "last");
    let last = async {
        tokio::select! { it = next_text(&mut at_b) => it, it = next_text(&mut at_c) => it }
    };
    assert_eq!(last.await, "last");
    assert_eq!(next_text(&mut watcher).await, "last", "a plain subscription sees it as well");
}

async fn a_member_that_left_gets_nothing_more<C: Cluster>() {
    let cluster = C::start(Limits::default()).await;
    let (a, b, c) = (cluster.node().await, cluster.node().await, cluster.node().await);
    let (leaves, mut stays) = (b.join(&Subject::Runners).await, c.join(&Subject::Runners).await);
    drop(leaves);
    b.settle().await;
    for number in 0..20 {
        a.publish(&Subject::Runners, number.to_string());
        assert_eq!(next_text(&mut stays).await, number.to_string());
    }
}

async fn a_request_is_answered_by_another_node<C: Cluster>() {
    let cluster = C::start(Limits::default()).await;
    let (a, b) = (cluster.node().await, cluster.node().await);
    let subject = Subject::Turn(TurnId::new());
    let mut requests = b.subscribe(&subject).await;
    let holder = async {
        let request = next(&mut requests).await;
        assert_eq!(request.payload, "attach");
        request.reply.expect("a request has a way back").send("the transcript".into());
    };
    let (answer, ()) = tokio::join!(a.bus.request(&subject, message("attach")), holder);
    assert_eq!(answer.unwrap(), "the transcript");
    a.publish(&subject, "no request");
    assert!(next(&mut requests).await.reply.is_none());
    assert_eq!(a.metric("requests_total", Some("ok")), 1.0);
}

async fn a_request_that_nobody_serves_is_refused_at_once<C: Cluster>() {
    let cluster = C::start(Limits { request_timeout: Duration::from_secs(600), ..Limits::default() }).await;
    let a = cluster.node().await;
    let asked = patiently(a.bus.request(&Subject::Turn(TurnId::new()), message("attach"))).await;
    assert_eq!(asked, Err(BusError::NoResponders));
    assert_eq!(a.metric("requests_total", Some("no_responders")), 1.0);
}

async fn a_node_does_not_serve_its_own_requests<C: Cluster>() {
    let cluster = C::start(Limits::default()).await;
    let a = cluster.node().await;
    let subject = Subject::Node(NodeId::new());
    let _own = a.subscribe(&subject).await;
    assert_eq!(a.bus.request(&subject, message("")).await, Err(BusError::NoResponders));
}

async fn a_request_without_an_answer_times_out<C: Cluster>() {
    let cluster = C::start(Limits { request_timeout: Duration::from_millis(100), ..Limits::default() }).await;
    let (a, b) = (cluster.node().await, cluster.node().await);
    let subject = Subject::Turn(TurnId::new());
    let mut requests = b.subscribe(&subject).await;
    assert_eq!(patiently(a.bus.request(&subject, message("1"))).await, Err(BusError::Timeout));
    assert_eq!(a.metric("requests_total", Some("timeout")), 1.0);

    // An answer that comes too late goes to nobody, not to the next request.
    let late = next(&mut requests).await;
    let answer = async {
        late.reply.unwrap().send("too late".into());
        next(&mut requests).await.reply.unwrap().send("in time".into());
    };
    let (second, ()) = tokio::join!(a.bus.request(&subject, message("2")), answer);
    assert_eq!(second.unwrap(), "in time");
}

async fn many_requests_at_once_each_get_their_own_answer<C: Cluster>() {
    let cluster = C::start(Limits::default()).await;
    let (a, b) = (cluster.node().await, cluster.node().await);
    let subject = Subject::Turn(TurnId::new());
    let mut requests = b.subscribe(&subject).await;
    let holder = async {
        let mut waiting = Vec::new();
        for _ in 0..50 {
            waiting.push(next(&mut requests).await);
        }
        // In the other order than asked.
        for request in waiting.into_iter().rev() {
            request.reply.unwrap().send(request.payload);
        }
    };
    let ask = |number: usize| {
        let (a, subject) = (&a, &subject);
        async move { (number, a.bus.request(subject, message(number.to_string())).await.unwrap()) }
    };
    let (answers, ()) = tokio::join!(futures_util::future::join_all((0..50).map(ask)), holder);
    for (number, answer) in answers {
        assert_eq!(answer, number.to_string());
    }
}

async fn a_slow_subscription_drops_counts_and_grows_the_generation<C: Cluster>() {
    let cluster = C::start(Limits { subscription_capacity: 8, ..Limits::default() }).await;
    let (a, b) = (cluster.node().await, cluster.node().await);
    let (slow, fine) = (conversation(), conversation());
    let (mut slow_at_b, mut fine_at_b) = (b.subscribe(&slow).await, b.subscribe(&fine).await);
    let before = b.bus.state().borrow().generation;
    for number in 0..20 {
        a.publish(&slow, number.to_string());
    }
    a.publish(&fine, "not held up");
    assert_eq!(next_text(&mut fine_at_b).await, "not held up");
    b.until(|state| state.generation == before + 12).await;
    assert_eq!(b.dropped("slow_subscription"), 12.0);
    for number in 0..8 {
        assert_eq!(next_text(&mut slow_at_b).await, number.to_string(), "the oldest are kept");
    }
    a.publish(&slow, "and on");
    assert_eq!(next_text(&mut slow_at_b).await, "and on");
    assert_eq!(a.dropped("slow_subscription"), 0.0, "the sender has nothing to do with it");
}

async fn a_trace_context_is_carried_both_with_messages_and_requests<C: Cluster>() {
    let cluster = C::start(Limits::default()).await;
    let (a, b) = (cluster.node().await, cluster.node().await);
    let subject = conversation();
    let mut subscription = b.subscribe(&subject).await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let traced = || Outgoing { traceparent: Some(trace.into()), ..message("x") };

    a.bus.publish(&subject, traced());
    assert_eq!(next(&mut subscription).await.traceparent.as_deref(), Some(trace));
    a.publish(&subject, "x");
    assert_eq!(next(&mut subscription).await.traceparent, None);
    let holder = async {
        let request = next(&mut subscription).await;
        request.reply.unwrap().send(request.traceparent.unwrap().into());
    };
    let (answer, ()) = tokio::join!(a.bus.request(&subject, traced()), holder);
    assert_eq!(answer.unwrap(), trace);
}

async fn a_message_too_large_for_the_bus_is_dropped_and_counted<C: Cluster>() {
    let cluster = C::start(Limits::default()).await;
    let (a, b) = (cluster.node().await, cluster.node().await);
    let subject = conversation();
    let mut subscription = b.subscribe(&subject).await;
    a.publish(&subject, "x".repeat(MAX_MESSAGE + 1));
    assert_eq!(a.dropped("too_large"), 1.0);
    let asked = a.bus.request(&subject, message("x".repeat(MAX_MESSAGE + 1))).await;
    assert_eq!(asked, Err(BusError::TooLarge));
    a.publish(&subject, "x".repeat(MAX_MESSAGE));
    assert_eq!(next(&mut subscription).await.payload.len(), MAX_MESSAGE);
}

async fn everything_is_counted_on_both_sides<C: Cluster>() {
    let cluster = C::start(Limits::default()).await;
    let (a, b) = (cluster.node().await, cluster.node().await);
    let subject = conversation();
    let mut subscription = b.subscribe(&subject).await;
    let count =
        |name: &str| (a.metric(&format!("published_{name}"), None), b.metric(&format!("received_{name}"), None));
    let before = (count("total"), count("bytes_total"));
    for text in ["four", "sixsix"] {
        a.publish(&subject, text);
        next(&mut subscription).await;
    }
    let ((published, received), (bytes_out, bytes_in)) = before;
    assert_eq!(count("total"), (published + 2.0, received + 2.0));
    assert_eq!(count("bytes_total"), (bytes_out + 10.0, bytes_in + 10.0));
    assert_eq!((a.metric("connected", None), a.metric("reconnects_total", None)), (1.0, 0.0));
    assert!(a.bus.state().borrow().connected);
}

async fn every_label_value_exists_from_the_start<C: Cluster>() {
    let cluster = C::start(Limits::default()).await;
    let a = cluster.node().await;
    for reason in ["disconnected", "queue_full", "slow_subscription", "too_large"] {
        assert_eq!(a.dropped(reason), 0.0);
    }
    for result in ["ok", "no_responders", "timeout", "disconnected", "too_large"] {
        assert_eq!(a.metric("requests_total", Some(result)), 0.0);
    }
}
