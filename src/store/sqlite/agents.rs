//! Declared agents.

use rusqlite::{Connection, Row, params};

use crate::ids::AgentId;
use crate::store::{Agent, StoreError};

use super::row::{column, first, id};

const GET: &str = "\
-- agent.get
select id, name, instructions, model
from agents
where id = ?1";

pub(super) fn get(connection: &Connection, id: AgentId) -> Result<Option<Agent>, StoreError> {
    first(connection, GET, params![id.to_string()], agent)
}

fn agent(row: &Row<'_>) -> Result<Agent, StoreError> {
    Ok(Agent {
        id: AgentId(id(row, "agents", "id")?),
        name: column(row, "agents", "name")?,
        instructions: column(row, "agents", "instructions")?,
        model: column(row, "agents", "model")?,
    })
}
