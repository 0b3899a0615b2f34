//! Requests that wait for their answers, all on one inbox.
//!
//! The client has an inbox of its own, but it never forgets a request that ran into its timeout, and lets the ones in
//! flight wait in vain when the connection is lost.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::{StatusCode, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::oneshot;

use super::NatsConfigError;
use super::outlet::Outlet;
use crate::bus::BusError;

type Pending = HashMap<u64, oneshot::Sender<Result<Bytes, BusError>>>;

pub(super) struct Requests {
    inbox: String,
    outlet: Arc<Outlet>,
    next_id: AtomicU64,
    pending: Mutex<Pending>,
}

/// An answer that is waited for. Dropping it forgets the request.
pub(super) struct Answer {
    id: u64,
    receiver: oneshot::Receiver<Result<Bytes, BusError>>,
    requests: Arc<Requests>,
}

impl Requests {
    /// Subscribes to the inbox. The stream returned belongs to [`Requests::receive`].
    pub(super) async fn open(inbox: String, outlet: Arc<Outlet>) -> Result<(Arc<Self>, Subscriber), NatsConfigError> {
        let replies = outlet.client().subscribe(format!("{inbox}.*")).await.map_err(NatsConfigError::client)?;
        Ok((Arc::new(Self { inbox, outlet, next_id: AtomicU64::new(0), pending: Mutex::default() }), replies))
    }

    /// Hands every answer to the request that waits for it, until the client is closed.
    pub(super) async fn receive(self: Arc<Self>, mut replies: Subscriber) {
        while let Some(message) = replies.next().await {
            self.outlet.metrics().on_received(message.payload.len());
            let id = message.subject.rsplit('.').next().and_then(|token| token.parse().ok());
            let Some(waiting) = id.and_then(|id| self.with(|pending| pending.remove(&id))) else { continue };
            let _ = waiting.send(match message.status {
                Some(StatusCode::NO_RESPONDERS) => Err(BusError::NoResponders),
                Some(_) | None => Ok(message.payload),
            });
        }
    }

    /// Returns where the next answer is to be sent, and the answer.
    pub(super) fn expect(self: &Arc<Self>) -> (async_nats::Subject, Answer) {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.with(|pending| pending.insert(id, sender));
        (format!("{}.{id}", self.inbox).into(), Answer { id, receiver, requests: self.clone() })
    }

    /// Lets every waiting request fail: its answer was lost with the connection.
    pub(super) fn fail_all(&self) {
        self.with(|pending| pending.clear());
    }

    fn with<T>(&self, work: impl FnOnce(&mut Pending) -> T) -> T {
        work(&mut self.pending.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Answer {
    pub(super) async fn wait(mut self, timeout: Duration) -> Result<Bytes, BusError> {
        match tokio::time::timeout(timeout, &mut self.receiver).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(BusError::Disconnected),
            Err(_) => Err(BusError::Timeout),
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.requests.with(|pending| pending.remove(&self.id));
    }
}
