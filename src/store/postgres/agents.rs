//! Declared agents.

use tokio_postgres::Row;
use tokio_postgres::types::Json;

use crate::ids::AgentId;
use crate::store::text::{clean, clean_option};
use crate::store::{Agent, DeclaredTool, Operation, StoreError};

use super::connection::Connections;
use super::row::column;

const GET: &str = "\
-- agent.get
select id, name, instructions, model, max_iterations, tools
from agents
where id = $1";

// One row per agent, the arrays side by side. What is unchanged keeps its row, and its time.
const PUT: &str = "\
-- agent.put
insert into agents as old (id, name, instructions, model, max_iterations, tools)
select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::integer[], $6::json[])
on conflict (id) do update
set name = excluded.name, instructions = excluded.instructions, model = excluded.model,
    max_iterations = excluded.max_iterations, tools = excluded.tools, updated_at = now()
where (old.name, old.instructions, old.model, old.max_iterations, old.tools::text)
    is distinct from (excluded.name, excluded.instructions, excluded.model, excluded.max_iterations, excluded.tools::text)
returning id";

pub(super) async fn put(connections: &Connections, agents: &[Agent]) -> Result<u64, StoreError> {
    let ids: Vec<_> = agents.iter().map(|agent| agent.id.0).collect();
    let names: Vec<_> = agents.iter().map(|agent| clean(&agent.name)).collect();
    let instructions: Vec<_> = agents.iter().map(|agent| clean(&agent.instructions)).collect();
    let models: Vec<_> = agents.iter().map(|agent| clean_option(&agent.model)).collect();
    let iterations: Vec<_> =
        agents.iter().map(|agent| agent.max_iterations.map(|most| i32::try_from(most).unwrap_or(i32::MAX))).collect();
    let tools: Vec<Json<&Vec<DeclaredTool>>> = agents.iter().map(|agent| Json(&agent.tools)).collect();
    let changed =
        connections.run(Operation::AgentPut, PUT, &[&ids, &names, &instructions, &models, &iterations, &tools]).await?;
    Ok(changed.len() as u64)
}

pub(super) async fn get(connections: &Connections, id: AgentId) -> Result<Option<Agent>, StoreError> {
    connections.run(Operation::AgentGet, GET, &[&id.0]).await?.first(agent)
}

fn agent(row: &Row) -> Result<Agent, StoreError> {
    Ok(Agent {
        id: AgentId(column(row, "agents", "id")?),
        name: column(row, "agents", "name")?,
        instructions: column(row, "agents", "instructions")?,
        model: column(row, "agents", "model")?,
        max_iterations: column::<Option<i32>>(row, "agents", "max_iterations")?.map(i32::unsigned_abs),
        tools: column::<Json<_>>(row, "agents", "tools")?.0,
    })
}
