//! Declared agents, remembered for a few seconds so that a turn costs no look-up of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::ids::AgentId;
use crate::store::{Agent, SharedStore, StoreError};

/// How long a look-up counts. An edited agent is used everywhere after this long.
const REMEMBERED: Duration = Duration::from_secs(10);

/// How many look-ups are remembered; when full, all are forgotten.
const CAPACITY: usize = 10_000;

/// The name of an agent that nobody declared.
const DEFAULT_NAME: &str = "Assistant";

/// The instructions of an agent that nobody declared.
const DEFAULT_INSTRUCTIONS: &str = "You are a helpful assistant. Answer in the language of the person you talk to.";

/// Looks agents up.
pub struct Agents {
    store: SharedStore,
    known: Mutex<HashMap<AgentId, (Instant, Arc<Agent>)>>,
}

impl Agents {
    pub(super) fn new(store: SharedStore) -> Self {
        Self { store, known: Mutex::default() }
    }

    /// The agent of this id; one that was never declared is a plain assistant.
    pub async fn get(&self, id: AgentId) -> Result<Arc<Agent>, StoreError> {
        let now = Instant::now();
        if let Some((at, agent)) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&id)
            && now - *at < REMEMBERED
        {
            return Ok(agent.clone());
        }
        let agent = Arc::new(self.store.agent(id).await?.unwrap_or_else(|| undeclared(id)));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= CAPACITY {
            known.clear();
        }
        known.insert(id, (now, agent.clone()));
        Ok(agent)
    }
}

fn undeclared(id: AgentId) -> Agent {
    Agent { id, name: DEFAULT_NAME.to_owned(), instructions: DEFAULT_INSTRUCTIONS.to_owned(), model: None }
}
