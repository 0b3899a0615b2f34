//! Who runs a turn: claims, leases, and the queue.

use std::time::Duration;

use rusqlite::{Connection, Row, params};

use crate::ids::{AgentId, ConversationId, NodeId, SessionId, TurnId};
use crate::store::{Claim, ClaimedTurn, HeldTurn, StoreError};

use super::row::{all, column, first, id};

const CLAIM: &str = "\
-- turn.claim
update turns
set state = 'running', epoch = epoch + 1, attempt = attempt + 1, holder = ?1, lease_until = ?2
where id = coalesce(
    (select id from turns where state = 'running' and lease_until < ?3 order by lease_until limit 1),
    (select id from turns where state = 'queued' order by created_at, id limit 1))
returning id, conversation_id, session_id, agent_id, request_id, model, traceparent, epoch, attempt, cancel_requested";

const RENEW: &str = "\
-- turn.renew
update turns
set lease_until = ?2
where holder = ?1 and state = 'running' and id in (select value from json_each(?3))
returning id, epoch, cancel_requested";

const RELEASE: &str = "\
-- turn.release
update turns
set state = 'queued', holder = null, lease_until = null, attempt = attempt - 1
where holder = ?1 and state = 'running'";

const QUEUED: &str = "\
-- turn.queued
select count(*)
from turns
where state = 'queued'";

pub(super) fn claim(connection: &Connection, claim: Claim, now: i64) -> Result<Option<ClaimedTurn>, StoreError> {
    first(connection, CLAIM, params![claim.holder.to_string(), lease_end(now, claim.lease), now], claimed)
}

pub(super) fn renew(
    connection: &Connection,
    claim: Claim,
    turns: &[TurnId],
    now: i64,
) -> Result<Vec<HeldTurn>, StoreError> {
    let turns = serde_json::json!(turns).to_string();
    all(connection, RENEW, params![claim.holder.to_string(), lease_end(now, claim.lease), turns], |row| {
        Ok(HeldTurn {
            id: TurnId(id(row, "turns", "id")?),
            epoch: column(row, "turns", "epoch")?,
            cancel_requested: column(row, "turns", "cancel_requested")?,
        })
    })
}

pub(super) fn release(connection: &Connection, holder: NodeId) -> Result<u64, StoreError> {
    Ok(connection.prepare_cached(RELEASE)?.execute(params![holder.to_string()])? as u64)
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

/// When a lease that begins now ends, in microseconds since 1970.
pub(super) fn lease_end(now: i64, lease: Duration) -> i64 {
    now.saturating_add(i64::try_from(lease.as_micros()).unwrap_or(i64::MAX))
}
