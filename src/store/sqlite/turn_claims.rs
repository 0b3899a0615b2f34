//! Who runs a turn: claims, leases, and the queue.

use rusqlite::{Connection, Row, params};

use crate::ids::{AgentId, ConversationId, NodeId, SessionId, TurnId};
use crate::store::{Act, Claim, ClaimedTurn, HeldTurn, Met, StoreError};

use super::life;
use super::row::{all, column, first, id, id_option};

// First the one whose lease ran out longest ago.
const FREE: &str = "\
-- turn.claim: free
select coalesce(
    (select id from turns where state = 'running' and lease_until < ?1 order by lease_until limit 1),
    (select id from turns where state = 'queued' order by created_at, id limit 1)) as id";

const CLAIMED: &str = "\
-- turn.claim: claimed
select id, conversation_id, session_id, agent_id, request_id, model, traceparent, epoch, attempt, cancel_requested
from turns
where id = ?1";

const RUN_BY: &str = "\
-- turn.release: run by
select id
from turns
where holder = ?1 and state = 'running'";

const QUEUED: &str = "\
-- turn.queued
select count(*)
from turns
where state = 'queued'";

pub(super) fn claim(connection: &Connection, claim: Claim, now: i64) -> Result<Option<ClaimedTurn>, StoreError> {
    let free = first(connection, FREE, params![now], |row| id_option(row, "turns", "id"))?.flatten();
    let Some(turn) = free.map(TurnId) else { return Ok(None) };
    life::apply(connection, turn, Act::Claim(&claim), now)?;
    first(connection, CLAIMED, params![turn.to_string()], claimed)
}

pub(super) fn renew(
    connection: &Connection,
    claim: Claim,
    turns: &[TurnId],
    now: i64,
) -> Result<Vec<HeldTurn>, StoreError> {
    let mut held = Vec::new();
    for turn in turns {
        if let Met::Held { epoch, cancel_requested, .. } = life::apply(connection, *turn, Act::Renew(&claim), now)? {
            held.push(HeldTurn { id: *turn, epoch, cancel_requested });
        }
    }
    Ok(held)
}

pub(super) fn release(connection: &Connection, holder: NodeId, now: i64) -> Result<u64, StoreError> {
    let held = all(connection, RUN_BY, params![holder.to_string()], |row| Ok(TurnId(id(row, "turns", "id")?)))?;
    for turn in &held {
        life::apply(connection, *turn, Act::Release(holder), now)?;
    }
    Ok(held.len() as u64)
}

pub(super) fn queued(connection: &Connection) -> Result<u64, StoreError> {
    let waiting: i64 = connection.prepare_cached(QUEUED)?.query_row([], |row| row.get(0))?;
    Ok(waiting.unsigned_abs())
}

fn claimed(row: &Row<'_>) -> Result<ClaimedTurn, StoreError> {
    Ok(ClaimedTurn {
        id: TurnId(id(row, "turns", "id")?),
        conversation: ConversationId(id(row, "turns", "conversation_id")?),
        session: SessionId(id(row, "turns", "session_id")?),
        agent: AgentId(id(row, "turns", "agent_id")?),
        request_id: column(row, "turns", "request_id")?,
        model: column(row, "turns", "model")?,
        traceparent: column(row, "turns", "traceparent")?,
        epoch: column(row, "turns", "epoch")?,
        attempt: column(row, "turns", "attempt")?,
        cancel_requested: column(row, "turns", "cancel_requested")?,
    })
}
