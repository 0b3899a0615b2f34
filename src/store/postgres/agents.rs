//! Declared agents.

use tokio_postgres::Row;

use crate::ids::AgentId;
use crate::store::{Agent, Operation, StoreError};

use super::connection::Connections;
use super::row::column;

const GET: &str = "\
-- agent.get
select id, name, instructions, model
from agents
where id = $1";

pub(super) async fn get(connections: &Connections, id: AgentId) -> Result<Option<Agent>, StoreError> {
    connections.run(Operation::AgentGet, GET, &[&id.0]).await?.first(agent)
}

fn agent(row: &Row) -> Result<Agent, StoreError> {
    Ok(Agent {
        id: AgentId(column(row, "agents", "id")?),
        name: column(row, "agents", "name")?,
        instructions: column(row, "agents", "instructions")?,
        model: column(row, "agents", "model")?,
    })
}
