//! A subscription's queue. It holds no memory while it is empty: a node has one for every conversation it watches.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_util::Stream;

use crate::bus::metrics::Subscribed;
use crate::bus::{Incoming, Metrics};

pub(super) struct Queue {
    capacity: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    messages: VecDeque<Incoming>,
    reader: Option<Waker>,
}

/// The queue had no room for the message.
pub(super) struct Full;

impl Queue {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, inner: Mutex::default() }
    }

    pub(super) fn push(&self, message: Incoming) -> Result<(), Full> {
        let reader = self.with(|inner| {
            if inner.messages.len() >= self.capacity {
                return Err(Full);
            }
            inner.messages.push_back(message);
            Ok(inner.reader.take())
        })?;
        if let Some(reader) = reader {
            reader.wake();
        }
        Ok(())
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Incoming> {
        self.with(|inner| match inner.messages.pop_front() {
            Some(message) => {
                if inner.messages.is_empty() {
                    inner.messages = VecDeque::new();
                }
                Poll::Ready(message)
            }
            None => {
                inner.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        work(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The queue's reading end. Leaves the subject when it is dropped.
pub(super) struct Receiver<F: FnMut()> {
    queue: Arc<Queue>,
    metrics: Metrics,
    leave: F,
    _subscribed: Subscribed,
}

impl<F: FnMut()> Receiver<F> {
    pub(super) fn new(queue: Arc<Queue>, metrics: Metrics, leave: F) -> Self {
        let subscribed = metrics.subscription();
        Self { queue, metrics, leave, _subscribed: subscribed }
    }
}

impl<F: FnMut() + Unpin> Stream for Receiver<F> {
    type Item = Incoming;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Incoming>> {
        let message = std::task::ready!(self.queue.poll(cx));
        self.metrics.on_received(message.payload.len());
        Poll::Ready(Some(message))
    }
}

impl<F: FnMut()> Drop for Receiver<F> {
    fn drop(&mut self) {
        (self.leave)();
    }
}
