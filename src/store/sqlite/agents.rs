//! Declared agents.

use rusqlite::{Connection, Row, params};

use crate::ids::AgentId;
use crate::store::text::{clean, clean_option};
use crate::store::{Agent, StoreError};

use super::row::{column, first, id, json};

const GET: &str = "\
-- agent.get
select id, name, instructions, model, max_iterations, tools
from agents
where id = ?1";

// What is unchanged keeps its row, and its time.
const PUT: &str = "\
-- agent.put
insert into agents (id, name, instructions, model, max_iterations, tools, created_at, updated_at)
values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)
on conflict (id) do update
set name = excluded.name, instructions = excluded.instructions, model = excluded.model,
    max_iterations = excluded.max_iterations, tools = excluded.tools, updated_at = excluded.updated_at
where (name, instructions, tools) != (excluded.name, excluded.instructions, excluded.tools)
    or model is not excluded.model or max_iterations is not excluded.max_iterations";

pub(super) fn put(connection: &Connection, agents: &[Agent], now: i64) -> Result<u64, StoreError> {
    let mut changed = 0;
    for agent in agents {
        let tools = serde_json::to_string(&agent.tools).map_err(|error| StoreError::Internal(error.to_string()))?;
        changed += connection.prepare_cached(PUT)?.execute(params![
            agent.id.to_string(),
            clean(&agent.name),
            clean(&agent.instructions),
            clean_option(&agent.model),
            agent.max_iterations,
            tools,
            now,
        ])?;
    }
    Ok(changed as u64)
}

pub(super) fn get(connection: &Connection, id: AgentId) -> Result<Option<Agent>, StoreError> {
    first(connection, GET, params![id.to_string()], agent)
}

fn agent(row: &Row<'_>) -> Result<Agent, StoreError> {
    Ok(Agent {
        id: AgentId(id(row, "agents", "id")?),
        name: column(row, "agents", "name")?,
        instructions: column(row, "agents", "instructions")?,
        model: column(row, "agents", "model")?,
        max_iterations: column(row, "agents", "max_iterations")?,
        tools: json(row, "agents", "tools")?,
    })
}
