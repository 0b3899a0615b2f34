//! Watches the connection: tells the node how it stands, lets what waits for it go on, and logs each trouble once.
//!
//! The client drops events when many come at once, so none is relied upon: the client's own state and counters are read
//! as well, and believed when they differ twice in a row.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{ClientError, Event};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{debug, error, info, warn};

use super::outlet::Outlet;
use super::requests::Requests;
use super::subscriptions::Subscriptions;
use crate::bus::BusState;
use crate::bus::metrics::DropReason;

/// How often the client's own state is looked at.
const RECONCILE: Duration = Duration::from_millis(500);

/// Different troubles that are logged during one outage or one connection; a flood of them says no more.
const TROUBLES: usize = 16;

pub(super) struct Link {
    outlet: Arc<Outlet>,
    requests: Arc<Requests>,
    subscriptions: Arc<Subscriptions>,
    state: watch::Sender<BusState>,
    /// Connections made so far, as far as the node was told.
    connects: u64,
    /// The client's state differed from what the node was told, at the last look.
    suspect: bool,
    troubles: HashSet<String>,
    attempted: Option<oneshot::Sender<()>>,
}

impl Link {
    /// Returns the link, its state, and a signal for the outcome of the first attempt to connect.
    pub(super) fn new(
        outlet: Arc<Outlet>,
        requests: Arc<Requests>,
        subscriptions: Arc<Subscriptions>,
    ) -> (Self, watch::Receiver<BusState>, oneshot::Receiver<()>) {
        let (state, watched) = watch::channel(BusState { connected: false, generation: 0 });
        let (attempted, outcome) = oneshot::channel();
        let link = Self {
            outlet,
            requests,
            subscriptions,
            state,
            connects: 0,
            suspect: false,
            troubles: HashSet::new(),
            attempted: Some(attempted),
        };
        (link, watched, outcome)
    }

    /// Follows the connection until the client is gone. Inputs: the client's events, and a tick to look for itself.
    pub(super) async fn run(mut self, mut events: mpsc::Receiver<Event>) {
        let mut tick = interval(RECONCILE);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.on_event(event).await,
                    None => return self.on_disconnected(),
                },
                _ = tick.tick() => self.reconcile().await,
            }
        }
    }

    async fn on_event(&mut self, event: Event) {
        match event {
            Event::Connected => {
                if self.shows_connected().await {
                    self.on_connected().await;
                }
            }
            Event::Disconnected | Event::Closed => self.on_disconnected(),
            Event::SlowConsumer(_) => {
                self.outlet.metrics().on_dropped(DropReason::SlowSubscription);
                self.state.send_modify(|state| state.generation += 1);
                if self.is_new("slow subscription") {
                    warn!("a subscription is not read fast enough, messages are dropped");
                }
            }
            Event::ClientError(trouble) => {
                self.first_attempt_ended();
                let reason = match trouble {
                    ClientError::Other(reason) => reason,
                    ClientError::MaxReconnects | ClientError::ServerNotInPool => trouble.to_string(),
                };
                if self.is_new(&reason) {
                    error!(reason, "cannot connect to nats, will keep trying");
                }
            }
            Event::ServerError(reason) => {
                let reason = reason.to_string();
                if self.is_new(&reason) {
                    warn!(reason, "nats reported an error");
                }
            }
            Event::LameDuckMode => info!("nats is about to shut down"),
            Event::Draining => debug!("the nats client drains"),
        }
    }

    /// The client tells of a connection a moment before its state shows it, by which messages are let through: waits for
    /// that, so that nobody who was told is refused. Does not wait long, the connection may be lost again.
    async fn shows_connected(&self) -> bool {
        let mut look = interval(Duration::from_millis(1));
        let shown = async {
            while !self.outlet.connected() {
                look.tick().await;
            }
        };
        timeout(RECONCILE, shown).await.is_ok()
    }

    async fn reconcile(&mut self) {
        let connected = self.outlet.connected();
        let differs = connected != self.state.borrow().connected || self.outlet.connects() > self.connects;
        match (differs && self.suspect, connected) {
            (true, true) => self.on_connected().await,
            (true, false) => self.on_disconnected(),
            (false, true) if !differs => self.subscriptions.make_waiting().await,
            (false, _) => {}
        }
        self.suspect = differs && !self.suspect;
    }

    async fn on_connected(&mut self) {
        // A subscription that waited is there before the node learns that it may ask for what it missed.
        self.subscriptions.make_waiting().await;
        let connects = self.outlet.connects();
        let made = connects.saturating_sub(self.connects);
        let reconnects = made.saturating_sub((self.connects == 0).into());
        self.connects = connects;
        let changed = self.state.send_if_modified(|state| {
            let changed = made > 0 || !state.connected;
            state.connected = true;
            state.generation += u64::from(changed);
            changed
        });
        self.outlet.metrics().set_connected(true);
        self.outlet.metrics().on_reconnected(reconnects);
        self.first_attempt_ended();
        self.troubles.clear();
        if changed {
            info!(reconnects = connects.saturating_sub(1), "connected to nats");
        }
    }

    fn on_disconnected(&mut self) {
        self.requests.fail_all();
        self.outlet.metrics().set_connected(false);
        let changed = self.state.send_if_modified(|state| std::mem::replace(&mut state.connected, false));
        if changed {
            self.troubles.clear();
            warn!("the connection to nats is lost, messages are dropped until it is back");
        }
    }

    fn first_attempt_ended(&mut self) {
        if let Some(attempted) = self.attempted.take() {
            let _ = attempted.send(());
        }
    }

    /// Whether this trouble was not logged yet, since the connection last changed.
    fn is_new(&mut self, trouble: &str) -> bool {
        self.troubles.len() < TROUBLES && self.troubles.insert(trouble.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use async_nats::ConnectOptions;
    use prometheus::Registry;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::bus::Metrics;

    #[tokio::test]
    async fn a_connection_made_and_lost_is_noticed_though_every_event_is_dropped() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let options = ConnectOptions::new().retry_on_initial_connect();
        let client = options.connect(address).await.unwrap();
        let outlet = Arc::new(Outlet::new(client, 1, Metrics::register(&Registry::new()).unwrap()));
        let subscriptions = Arc::new(Subscriptions::new(outlet.clone(), Duration::from_secs(1)));
        let (requests, _replies) = Requests::open("inbox".into(), outlet.clone()).await.unwrap();
        let (link, mut state, _attempted) = Link::new(outlet, requests, subscriptions);
        let (_silent, events) = mpsc::channel(1);
        let link = tokio::spawn(link.run(events));

        let (mut server, _) = listener.accept().await.unwrap();
        server.write_all(b"INFO {\"max_payload\":1048576}\r\n").await.unwrap();
        assert!(server.read(&mut [0; 1024]).await.unwrap() > 0);
        server.write_all(b"PONG\r\n").await.unwrap();
        let patience = Duration::from_secs(20);
        let connected = *timeout(patience, state.wait_for(|state| state.connected)).await.unwrap().unwrap();
        assert_eq!(connected.generation, 1);
        drop((server, listener));
        timeout(patience, state.wait_for(|state| !state.connected)).await.unwrap().unwrap();
        link.abort();
    }
}
