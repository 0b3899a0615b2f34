//! The bus within one process: the embedded default of a single node, and several nodes of a test.
//!
//! It keeps the rules of a broker, the unpleasant ones too (bounded queues, nothing comes back to its sender), so that
//! what works on it works on NATS.

mod queue;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{oneshot, watch};

use self::queue::{Queue, Receiver};
use super::metrics::DropReason;
use super::{Bus, BusError, BusState, Incoming, MAX_MESSAGE, Metrics, Outgoing, Reply, Subject, Subscription};

/// The limits of an in-process bus.
#[derive(Clone, Debug)]
pub struct LocalConfig {
    /// Messages that wait in one subscription; more are dropped. Default 1024: ten seconds of a fast answer.
    pub subscription_capacity: usize,
    /// How long a request waits for its answer. Default 2 s, as on NATS.
    pub request_timeout: Duration,
}

impl Default for LocalConfig {
    fn default() -> Self {
        Self { subscription_capacity: 1024, request_timeout: Duration::from_secs(2) }
    }
}

/// What the nodes of one process share. Cheap to clone.
#[derive(Clone, Default)]
pub struct LocalHub(Arc<Hub>);

#[derive(Default)]
struct Hub {
    config: LocalConfig,
    seating: Mutex<Seating>,
}

/// Who listens to what. Messages are queued under its lock, which gives every subject one order.
#[derive(Default)]
struct Seating {
    next_id: u64,
    topics: HashMap<Subject, Topic>,
}

#[derive(Default)]
struct Topic {
    seats: Vec<Seat>,
    members: Vec<Seat>,
    /// Counts messages to the queue group, whose members take turns.
    round: usize,
}

/// One subscription.
struct Seat {
    id: u64,
    node: Arc<Node>,
    queue: Arc<Queue>,
}

/// One node on the hub.
struct Node {
    state: watch::Sender<BusState>,
    metrics: Metrics,
}

impl LocalHub {
    /// Makes a hub with the default limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a hub with other limits.
    pub fn with_config(config: LocalConfig) -> Self {
        Self(Arc::new(Hub { config, seating: Mutex::default() }))
    }

    /// Returns the bus of one more node.
    pub fn bus(&self, metrics: Metrics) -> LocalBus {
        metrics.set_connected(true);
        let state = watch::Sender::new(BusState { connected: true, generation: 0 });
        LocalBus { hub: self.0.clone(), node: Arc::new(Node { state, metrics }) }
    }
}

impl Hub {
    fn with<T>(&self, work: impl FnOnce(&mut Seating) -> T) -> T {
        work(&mut self.seating.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn leave(&self, subject: &Subject, id: u64) {
        self.with(|seating| {
            if let Some(topic) = seating.topics.get_mut(subject) {
                topic.seats.retain(|seat| seat.id != id);
                topic.members.retain(|seat| seat.id != id);
                if topic.seats.is_empty() && topic.members.is_empty() {
                    seating.topics.remove(subject);
                }
            }
        });
    }
}

impl Topic {
    /// Queues a message for every other node's subscription and one other node's member; returns how many were addressed.
    fn deliver(&mut self, from: &Arc<Node>, make: impl Fn() -> Incoming) -> usize {
        let others = |seat: &&Seat| !Arc::ptr_eq(&seat.node, from);
        let members: Vec<_> = self.members.iter().filter(others).collect();
        let chosen = (!members.is_empty()).then(|| members[self.round % members.len()]);
        self.round = self.round.wrapping_add(1);
        self.seats.iter().filter(others).chain(chosen).map(|seat| seat.push(make())).count()
    }
}

impl Seat {
    fn push(&self, message: Incoming) {
        if self.queue.push(message).is_err() {
            self.node.metrics.on_dropped(DropReason::SlowSubscription);
            self.node.state.send_modify(|state| state.generation += 1);
        }
    }
}

/// One node's view of a [`LocalHub`].
pub struct LocalBus {
    hub: Arc<Hub>,
    node: Arc<Node>,
}

impl LocalBus {
    /// Makes the bus of a single node, which has nobody to talk to.
    pub fn new(metrics: Metrics) -> Self {
        LocalHub::new().bus(metrics)
    }

    /// Sends to all others who listen; returns how many they are.
    fn send(&self, subject: &Subject, message: Outgoing, reply: impl Fn() -> Option<Reply>) -> usize {
        self.node.metrics.on_published(message.payload.len());
        let incoming =
            || Incoming { payload: message.payload.clone(), traceparent: message.traceparent.clone(), reply: reply() };
        self.hub.with(|seating| match seating.topics.get_mut(subject) {
            Some(topic) => topic.deliver(&self.node, incoming),
            None => 0,
        })
    }

    fn sit(&self, subject: &Subject, pick: impl FnOnce(&mut Topic) -> &mut Vec<Seat>) -> Subscription {
        let queue = Arc::new(Queue::new(self.hub.config.subscription_capacity));
        let id = self.hub.with(|seating| {
            seating.next_id += 1;
            let seat = Seat { id: seating.next_id, node: self.node.clone(), queue: queue.clone() };
            pick(seating.topics.entry(subject.clone()).or_default()).push(seat);
            seating.next_id
        });
        let (hub, subject) = (self.hub.clone(), subject.clone());
        Subscription::new(Receiver::new(queue, self.node.metrics.clone(), move || hub.leave(&subject, id)))
    }

    async fn ask(&self, subject: &Subject, message: Outgoing) -> Result<Bytes, BusError> {
        if message.payload.len() > MAX_MESSAGE {
            return Err(BusError::TooLarge);
        }
        let (answer, answered) = oneshot::channel();
        // Several may be asked; the first answer counts.
        let answer = Arc::new(Mutex::new(Some(answer)));
        let asked = self.send(subject, message, || {
            let answer = answer.clone();
            Some(Reply::new(move |payload: Bytes| {
                if let Some(answer) = answer.lock().unwrap_or_else(PoisonError::into_inner).take() {
                    let _ = answer.send(payload);
                }
            }))
        });
        if asked == 0 {
            return Err(BusError::NoResponders);
        }
        match tokio::time::timeout(self.hub.config.request_timeout, answered).await {
            Ok(Ok(payload)) => {
                self.node.metrics.on_received(payload.len());
                Ok(payload)
            }
            Ok(Err(_)) | Err(_) => Err(BusError::Timeout),
        }
    }
}

#[async_trait]
impl Bus for LocalBus {
    fn publish(&self, subject: &Subject, message: Outgoing) {
        if message.payload.len() > MAX_MESSAGE {
            self.node.metrics.on_dropped(DropReason::TooLarge);
        } else {
            self.send(subject, message, || None);
        }
    }

    async fn subscribe(&self, subject: &Subject) -> Result<Subscription, BusError> {
        Ok(self.sit(subject, |topic| &mut topic.seats))
    }

    async fn join(&self, subject: &Subject) -> Result<Subscription, BusError> {
        Ok(self.sit(subject, |topic| &mut topic.members))
    }

    async fn request(&self, subject: &Subject, message: Outgoing) -> Result<Bytes, BusError> {
        self.node.metrics.on_request(self.ask(subject, message).await)
    }

    fn state(&self) -> watch::Receiver<BusState> {
        self.node.state.subscribe()
    }

    /// Returns at once: a message is delivered when `publish` returns.
    async fn flush(&self) {}
}
