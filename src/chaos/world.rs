//! What all clients of a run share.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::Config;
use super::dice::Dice;
use super::history::{History, What};
use super::node::Node;
use super::plan::Fault;
use crate::ids::{ConversationId, SessionId};

/// A session that a client has.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) conversation: ConversationId,
}

/// The nodes as clients see them, and what clients leave behind.
pub(super) struct World {
    pub(super) seed: u64,
    /// The nodes' lease, in milliseconds.
    pub(super) lease_ms: u64,
    /// Most bytes that a connection reads before it breaks.
    pub(super) cut_bytes: u64,
    pub(super) history: History,
    pub(super) nodes: Vec<Arc<Node>>,
    /// Faults that clients bring about.
    pub(super) faults: Vec<Fault>,
    /// The load is over: clients break nothing any more.
    pub(super) calm: AtomicBool,
    /// The number of the next reader.
    pub(super) readers: AtomicU64,
    /// Every session that was made.
    sessions: Mutex<Vec<Session>>,
    /// The node that each reader is connected to.
    connections: Mutex<HashMap<u64, usize>>,
}

impl World {
    pub(super) fn new(config: &Config, history: History, nodes: Vec<Arc<Node>>) -> Self {
        let (seed, cut_bytes, faults) = (config.seed, config.cut_bytes, config.faults.clone());
        let lease_ms = u64::try_from(config.lease.as_millis()).unwrap_or(u64::MAX);
        let (calm, readers) = (AtomicBool::new(false), AtomicU64::new(1));
        let (sessions, connections) = (Mutex::default(), Mutex::default());
        Self { seed, lease_ms, cut_bytes, history, nodes, faults, calm, readers, sessions, connections }
    }

    /// Clients bring this fault about, at this time.
    pub(super) fn breaks(&self, fault: Fault) -> bool {
        self.faults.contains(&fault) && !self.calm.load(Ordering::Relaxed)
    }

    /// Some node that runs, another than `last` if there is one.
    pub(super) fn node(&self, last: Option<usize>, dice: &mut Dice) -> Option<(usize, SocketAddr)> {
        let up: Vec<_> = self.nodes.iter().filter_map(|node| Some((node.index, node.address()?))).collect();
        let others: Vec<_> = up.iter().copied().filter(|(node, _)| Some(*node) != last).collect();
        dice.pick(&others).or(up.first()).copied()
    }

    pub(super) fn made(&self, session: &Session) {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).push(session.clone());
    }

    /// Every session that was made.
    pub(super) fn sessions(&self) -> Vec<Session> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn connected(&self, reader: u64, node: usize) {
        self.history.add(What::Connected { reader, node });
        self.connections().insert(reader, node);
    }

    pub(super) fn disconnected(&self, reader: u64, why: &str) {
        self.history.add(What::Disconnected { reader, why: why.to_owned() });
        self.connections().remove(&reader);
    }

    /// The node that some reader is connected to.
    pub(super) fn node_of_a_reader(&self, dice: &mut Dice) -> Option<usize> {
        let mut nodes: Vec<_> = self.connections().iter().map(|(reader, node)| (*reader, *node)).collect();
        nodes.sort_unstable();
        dice.pick(&nodes).map(|(_, node)| *node)
    }

    fn connections(&self) -> std::sync::MutexGuard<'_, HashMap<u64, usize>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
