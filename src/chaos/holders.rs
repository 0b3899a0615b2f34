//! Which node works on which message, for whoever wants to strike it at a certain moment.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

/// A moment in a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// The model is about to say this token of an answer, or has said it.
    Token(u64),
    /// A tool has taken effect and not answered.
    ToolCall,
}

/// What is known of the nodes' work.
#[derive(Default)]
pub(super) struct Holders {
    nodes: Mutex<HashMap<String, usize>>,
    trap: Mutex<Option<Trap>>,
}

/// Somebody who waits for a moment.
struct Trap {
    moment: Moment,
    tell: oneshot::Sender<usize>,
}

impl Holders {
    /// The node for which this moment comes next; waits for it. Whoever waited before is told nothing.
    pub(super) async fn at(&self, moment: Moment) -> Option<usize> {
        let (tell, told) = oneshot::channel();
        *lock(&self.trap) = Some(Trap { moment, tell });
        told.await.ok()
    }

    /// A node asks the model about this message.
    pub(super) fn asks_the_model(&self, message: &str, node: usize) {
        lock(&self.nodes).insert(message.to_owned(), node);
    }

    /// An answer has come to this token on this node.
    pub(super) fn reached(&self, node: usize, token: u64) {
        self.spring(node, |moment| matches!(moment, Moment::Token(wanted) if wanted <= token));
    }

    /// Whoever works on this message has called a tool.
    pub(super) fn calls_a_tool(&self, message: &str) {
        let node = lock(&self.nodes).get(message).copied();
        if let Some(node) = node {
            self.spring(node, |moment| moment == Moment::ToolCall);
        }
    }

    fn spring(&self, node: usize, is_it: impl FnOnce(Moment) -> bool) {
        if let Some(Trap { tell, .. }) = lock(&self.trap).take_if(|trap| is_it(trap.moment)) {
            // Nobody waits any more when the run is over.
            let _ = tell.send(node);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
