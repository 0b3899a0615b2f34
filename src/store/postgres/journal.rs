//! A turn's journal, and the wait for a person.

use tokio_postgres::Row;
use tokio_postgres::types::Json;

use crate::ids::{ConversationId, TurnId};
use crate::store::text::clean;
use crate::store::{
    EXPIRED, Finished, JournalStep, NewSteps, Operation, Park, Parking, StepBody, StoreError, TurnState,
};

use super::connection::Connections;
use super::row::column;
use super::turn_claims::microseconds;
use super::turns;

// The lock keeps a claim away until the steps are in: who claims next reads them.
const RECORD: &str = "\
-- step.record
with held as (
    select id from turns
    where id = $1 and epoch = $2 and holder = $3 and state = 'running'
    for no key update
), written as (
    insert into turn_steps (turn_id, step, epoch, kind, payload)
    select held.id, $4::integer + (n - 1)::integer, $2, kind, payload
    from held, unnest($5::text[], $6::json[]) with ordinality as new (kind, payload, n)
    on conflict do nothing
)
select id from held";

const LIST: &str = "\
-- step.list
select turn_id as id, step, epoch, kind, payload
from turn_steps
where turn_id = $1
order by step";

// Who was parked has shown that it makes progress: its attempts count anew.
const PARK: &str = "\
-- turn.park
with held as (
    select id, cancel_requested from turns
    where id = $1 and epoch = $2 and holder = $3 and state = 'running'
    for no key update
), parked as (
    update turns t
    set state = 'parked', holder = null, lease_until = null, attempt = 0, last_seq = $4,
        parked_until = now() + $5::bigint * interval '1 microsecond'
    from held
    where t.id = held.id and not held.cancel_requested
    returning t.id
), written as (
    insert into turn_steps (turn_id, step, epoch, kind, payload)
    select id, $6, $2, $7, $8 from parked
    on conflict do nothing
)
select id, cancel_requested from held";

const ANSWER: &str = "\
-- turn.confirm
with answered as (
    update turns
    set state = 'queued', parked_until = null
    where conversation_id = $1 and request_id = coalesce($2, request_id) and state = 'parked' and parked_until > now()
    returning id, epoch
), written as (
    insert into turn_steps (turn_id, step, epoch, kind, payload)
    select a.id, (select coalesce(max(s.step), 0) + 1 from turn_steps s where s.turn_id = a.id), a.epoch, 'answered', $3
    from answered a
)
select id from answered";

const EXPIRE: &str = "\
-- turn.expire
update turns
set state = 'failed', error_code = $1, finished_at = now(), parked_until = null, last_seq = last_seq + 1
where id in (
    select id from turns
    where state = 'parked' and parked_until <= now()
    order by parked_until
    limit $2
    for update skip locked)
returning id, conversation_id";

pub(super) async fn record(connections: &Connections, new: &NewSteps) -> Result<Finished, StoreError> {
    let kinds: Vec<_> = new.steps.iter().map(|step| step.kind.as_str()).collect();
    let payloads: Vec<_> = new.steps.iter().map(|step| Json(&step.payload)).collect();
    let held = connections
        .run(Operation::StepRecord, RECORD, &[&new.turn.0, &new.epoch, &new.holder.0, &new.first, &kinds, &payloads])
        .await?;
    Ok(if held.is_empty() { Finished::Fenced } else { Finished::Committed })
}

pub(super) async fn list(connections: &Connections, turn: TurnId) -> Result<Vec<JournalStep>, StoreError> {
    connections.run(Operation::StepList, LIST, &[&turn.0]).await?.all(|row| {
        Ok(JournalStep {
            step: column(row, "turn_steps", "step")?,
            epoch: column(row, "turn_steps", "epoch")?,
            body: StepBody { kind: column(row, "turn_steps", "kind")?, payload: column(row, "turn_steps", "payload")? },
        })
    })
}

pub(super) async fn park(connections: &Connections, park: &Park) -> Result<Parking, StoreError> {
    let held = connections
        .run(
            Operation::TurnPark,
            PARK,
            &[
                &park.turn.0,
                &park.epoch,
                &park.holder.0,
                &park.last_seq,
                &microseconds(park.patience),
                &park.step,
                &park.body.kind,
                &Json(&park.body.payload),
            ],
        )
        .await?;
    if let Some(cancel_requested) = held.first(|row| column::<bool>(row, "turns", "cancel_requested"))? {
        return Ok(if cancel_requested { Parking::CancelRequested } else { Parking::Parked });
    }
    let now = turns::get(connections, park.turn).await?;
    let repeated = now.is_some_and(|turn| turn.state == TurnState::Parked && turn.epoch == park.epoch);
    Ok(if repeated { Parking::Parked } else { Parking::Fenced })
}

pub(super) async fn answer(
    connections: &Connections,
    conversation: ConversationId,
    request_id: Option<&str>,
    approved: bool,
) -> Result<Option<TurnId>, StoreError> {
    let payload = serde_json::json!({ "approved": approved });
    connections
        .run(Operation::TurnConfirm, ANSWER, &[&conversation.0, &request_id.map(clean), &Json(payload)])
        .await?
        .first(|row| Ok(TurnId(column(row, "turns", "id")?)))
}

pub(super) async fn expire(connections: &Connections, limit: u32) -> Result<Vec<(TurnId, ConversationId)>, StoreError> {
    let read =
        |row: &Row| Ok((TurnId(column(row, "turns", "id")?), ConversationId(column(row, "turns", "conversation_id")?)));
    connections.run(Operation::TurnExpire, EXPIRE, &[&EXPIRED, &i64::from(limit)]).await?.all(read)
}
