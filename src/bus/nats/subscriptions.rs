//! Subscriptions, which may be made while the connection is down.
//!
//! The client would queue each of them as a command until the connection is back, however many come and go during an
//! outage; here they wait instead, and only those that still live are made.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_nats::Subscriber;
use futures_util::{FutureExt, Stream, StreamExt};
use tokio::sync::oneshot;

use super::outlet::{Outlet, TRACEPARENT};
use crate::bus::metrics::Subscribed;
use crate::bus::{BusError, Incoming, Subscription};

pub(super) struct Subscriptions {
    outlet: Arc<Outlet>,
    timeout: Duration,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    next_id: u64,
    orders: BTreeMap<u64, Order>,
}

/// A subscription that is to be made.
struct Order {
    subject: String,
    group: Option<&'static str>,
    made: oneshot::Sender<Subscriber>,
}

impl Subscriptions {
    pub(super) fn new(outlet: Arc<Outlet>, timeout: Duration) -> Self {
        Self { outlet, timeout, waiting: Mutex::default() }
    }

    /// Subscribes now, or as soon as the connection is there.
    pub(super) async fn open(
        self: &Arc<Self>,
        subject: String,
        group: Option<&'static str>,
    ) -> Result<Subscription, BusError> {
        let source = if self.outlet.connected() {
            Source::Live(self.subscribe(subject, group).await?)
        } else {
            let (made, subscriber) = oneshot::channel();
            let place = self.queue_up(Order { subject, group, made });
            // The connection may have come in between, and then nobody else looks at the order.
            match self.outlet.connected().then(|| place.withdraw()).flatten() {
                Some(order) => Source::Live(self.subscribe(order.subject, order.group).await?),
                None => Source::Waiting { made: subscriber, _place: place },
            }
        };
        let subscribed = self.outlet.metrics().subscription();
        Ok(Subscription::new(Messages { source, outlet: self.outlet.clone(), _subscribed: subscribed }))
    }

    /// Makes every subscription that waits; called when the connection is there, before anybody is told.
    pub(super) async fn make_waiting(&self) {
        while let Some((id, order)) = self.with(|waiting| waiting.orders.pop_first()) {
            match self.subscribe(order.subject.clone(), order.group).await {
                // When the stream is gone by now, the subscriber unsubscribes as it is dropped.
                Ok(subscriber) => drop(order.made.send(subscriber)),
                Err(_) => {
                    self.with(|waiting| waiting.orders.insert(id, order));
                    return;
                }
            }
        }
    }

    async fn subscribe(&self, subject: String, group: Option<&'static str>) -> Result<Subscriber, BusError> {
        let client = self.outlet.client();
        let subscribing = async {
            match group {
                Some(group) => client.queue_subscribe(subject, group.into()).await,
                None => client.subscribe(subject).await,
            }
        };
        match tokio::time::timeout(self.timeout, subscribing).await {
            Ok(Ok(subscriber)) => Ok(subscriber),
            Ok(Err(_)) => Err(BusError::Disconnected),
            Err(_) => Err(BusError::Timeout),
        }
    }

    fn queue_up(self: &Arc<Self>, order: Order) -> Place {
        let id = self.with(|waiting| {
            waiting.next_id += 1;
            waiting.orders.insert(waiting.next_id, order);
            waiting.next_id
        });
        Place { id, subscriptions: self.clone() }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Waiting) -> T) -> T {
        work(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// An order's place among those that wait; dropping it withdraws the order.
struct Place {
    id: u64,
    subscriptions: Arc<Subscriptions>,
}

impl Place {
    fn withdraw(&self) -> Option<Order> {
        self.subscriptions.with(|waiting| waiting.orders.remove(&self.id))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.withdraw();
    }
}

enum Source {
    Waiting { made: oneshot::Receiver<Subscriber>, _place: Place },
    Live(Subscriber),
}

/// The stream of one subscription.
struct Messages {
    source: Source,
    outlet: Arc<Outlet>,
    _subscribed: Subscribed,
}

impl Messages {
    fn incoming(&self, message: async_nats::Message) -> Incoming {
        self.outlet.metrics().on_received(message.payload.len());
        let traceparent = message.headers.as_ref().and_then(|headers| headers.get(TRACEPARENT));
        Incoming {
            traceparent: traceparent.map(|value| value.as_str().to_owned()),
            reply: message.reply.map(|subject| self.outlet.reply(subject)),
            payload: message.payload,
        }
    }
}

impl Stream for Messages {
    type Item = Incoming;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Incoming>> {
        loop {
            match &mut self.source {
                Source::Live(subscriber) => {
                    let message = ready!(subscriber.poll_next_unpin(cx));
                    return Poll::Ready(message.map(|message| self.incoming(message)));
                }
                Source::Waiting { made, .. } => match ready!(made.poll_unpin(cx)) {
                    Ok(subscriber) => self.source = Source::Live(subscriber),
                    Err(_) => return Poll::Ready(None),
                },
            }
        }
    }
}
