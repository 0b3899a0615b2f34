//! Declared agents: what a file says of them, and what a turn works with.
//!
//! A declaration holds no secret, only the names of the variables that do: it may be read, kept and shown.

mod file;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::agent::{HttpClients, HttpTool, HttpToolSpec, Tool};
use crate::ids::AgentId;
use crate::model::ToolSpec;
use crate::store::{Agent, DeclaredTool, SharedStore, StoreError};

pub use file::{Mistakes, read};

/// How long a look-up counts. An edited agent is used everywhere after this long.
const REMEMBERED: Duration = Duration::from_secs(10);

/// How many look-ups are remembered; when full, all are forgotten.
const CAPACITY: usize = 10_000;

/// The name of an agent that nobody declared.
const DEFAULT_NAME: &str = "Assistant";

/// The instructions of an agent that nobody declared.
const DEFAULT_INSTRUCTIONS: &str = "You are a helpful assistant. Answer in the language of the person you talk to.";

/// Looks agents up, remembered for a few seconds so that a turn costs no look-up of its own.
pub struct Agents {
    store: SharedStore,
    clients: HttpClients,
    max_result_bytes: usize,
    known: Mutex<HashMap<AgentId, (Instant, Arc<Declared>)>>,
}

/// An agent with its tools ready to be called.
pub struct Declared {
    /// What was declared.
    pub agent: Agent,
    /// Its tools.
    pub tools: Vec<Arc<dyn Tool>>,
}

impl Agents {
    /// Agents of this store, whose tools are called through these clients and answer at most so many bytes.
    pub fn new(store: SharedStore, clients: HttpClients, max_result_bytes: usize) -> Self {
        Self { store, clients, max_result_bytes, known: Mutex::default() }
    }

    /// The agent of this id; one that was never declared is a plain assistant.
    pub async fn get(&self, id: AgentId) -> Result<Arc<Declared>, StoreError> {
        let now = Instant::now();
        if let Some((at, agent)) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&id)
            && now - *at < REMEMBERED
        {
            return Ok(agent.clone());
        }
        let agent = self.store.agent(id).await?.unwrap_or_else(|| undeclared(id));
        let tools = agent.tools.iter().filter_map(|tool| self.tool(id, tool)).collect();
        let declared = Arc::new(Declared { agent, tools });
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= CAPACITY {
            known.clear();
        }
        known.insert(id, (now, declared.clone()));
        Ok(declared)
    }

    /// A tool that cannot be used is left out, for the agent can do without; [`read`] lets none of these pass.
    fn tool(&self, agent: AgentId, declared: &DeclaredTool) -> Option<Arc<dyn Tool>> {
        let made =
            http_tool(declared, self.max_result_bytes).and_then(|spec| HttpTool::new(spec, self.clients.clone()));
        match made {
            Ok(tool) => Some(Arc::new(tool)),
            Err(error) => {
                tracing::error!(agent.id = %agent, tool = %declared.name, %error, "declared tool cannot be used");
                None
            }
        }
    }
}

fn http_tool(declared: &DeclaredTool, max_result_bytes: usize) -> Result<HttpToolSpec, String> {
    let headers = declared.headers.iter().map(|(name, header)| {
        let name = name.parse().map_err(|_| format!("'{name}' is no name of a header"))?;
        Ok((name, header.env.clone()))
    });
    let timeout = declared.timeout_seconds.map(Duration::try_from_secs_f64).transpose();
    Ok(HttpToolSpec {
        spec: ToolSpec {
            name: declared.name.clone(),
            description: declared.description.clone(),
            parameters: declared.parameters.clone(),
        },
        url: file::address(&declared.url)?,
        headers: headers.collect::<Result<_, String>>()?,
        timeout: timeout.map_err(|error| error.to_string())?,
        confirm: declared.confirm,
        idempotent: declared.idempotent,
        max_result_bytes,
    })
}

fn undeclared(id: AgentId) -> Agent {
    Agent {
        id,
        name: DEFAULT_NAME.to_owned(),
        instructions: DEFAULT_INSTRUCTIONS.to_owned(),
        model: None,
        max_iterations: None,
        tools: Vec::new(),
    }
}
