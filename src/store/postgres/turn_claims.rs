//! Who runs a turn: claims, leases, and the queue.

use std::time::Duration;

use tokio_postgres::Row;
use uuid::Uuid;

use crate::ids::{AgentId, ConversationId, NodeId, SessionId, TurnId};
use crate::store::{Claim, ClaimedTurn, HeldTurn, Operation, StoreError};

use super::connection::Connections;
use super::row::column;

// Two look-ups, each in its own index, instead of one with `or`, which would walk over every turn that runs. A row that
// another node is claiming is skipped, not waited for.
const CLAIM: &str = "\
-- turn.claim
with abandoned as materialized (
    select id from turns
    where state = 'running' and lease_until < now()
    order by lease_until
    limit 1
    for update skip locked
), waiting as materialized (
    select id from turns
    where state = 'queued' and not exists (select from abandoned)
    order by created_at, id
    limit 1
    for update skip locked
)
update turns
set state = 'running', epoch = epoch + 1, attempt = attempt + 1, holder = $1,
    lease_until = now() + $2::bigint * interval '1 microsecond'
where id = (select id from abandoned union all select id from waiting)
returning id, conversation_id, session_id, agent_id, request_id, model, traceparent, epoch, attempt, cancel_requested";

const RENEW: &str = "\
-- turn.renew
update turns
set lease_until = now() + $2::bigint * interval '1 microsecond'
where holder = $1 and state = 'running' and id = any($3)
returning id, epoch, cancel_requested";

const RELEASE: &str = "\
-- turn.release
update turns
set state = 'queued', holder = null, lease_until = null, attempt = attempt - 1
where holder = $1 and state = 'running'
returning id";

const QUEUED: &str = "\
-- turn.queued
select count(*) as waiting
from turns
where state = 'queued'";

pub(super) async fn claim(connections: &Connections, claim: &Claim) -> Result<Option<ClaimedTurn>, StoreError> {
    connections.run(Operation::TurnClaim, CLAIM, &[&claim.holder.0, &microseconds(claim.lease)]).await?.first(claimed)
}

pub(super) async fn renew(
    connections: &Connections,
    claim: &Claim,
    turns: &[TurnId],
) -> Result<Vec<HeldTurn>, StoreError> {
    let turns: Vec<Uuid> = turns.iter().map(|turn| turn.0).collect();
    let read = |row: &Row| {
        Ok(HeldTurn {
            id: TurnId(column(row, "turns", "id")?),
            epoch: column(row, "turns", "epoch")?,
            cancel_requested: column(row, "turns", "cancel_requested")?,
        })
    };
    connections
        .run(Operation::TurnRenew, RENEW, &[&claim.holder.0, &microseconds(claim.lease), &turns])
        .await?
        .all(read)
}

pub(super) async fn release(connections: &Connections, holder: NodeId) -> Result<u64, StoreError> {
    Ok(connections.run(Operation::TurnRelease, RELEASE, &[&holder.0]).await?.len() as u64)
}

pub(super) async fn queued(connections: &Connections) -> Result<u64, StoreError> {
    let waiting: i64 = connections
        .run(Operation::TurnQueued, QUEUED, &[])
        .await?
        .first(|row| column(row, "turns", "waiting"))?
        .unwrap_or_default();
    Ok(waiting.unsigned_abs())
}

fn claimed(row: &Row) -> Result<ClaimedTurn, StoreError> {
    Ok(ClaimedTurn {
        id: TurnId(column(row, "turns", "id")?),
        conversation: ConversationId(column(row, "turns", "conversation_id")?),
        session: SessionId(column(row, "turns", "session_id")?),
        agent: AgentId(column(row, "turns", "agent_id")?),
        request_id: column(row, "turns", "request_id")?,
        model: column(row, "turns", "model")?,
        traceparent: column(row, "turns", "traceparent")?,
        epoch: column(row, "turns", "epoch")?,
        attempt: column(row, "turns", "attempt")?,
        cancel_requested: column(row, "turns", "cancel_requested")?,
    })
}

/// A duration as the statements take it.
pub(super) fn microseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
