//! A turn's beginning and end, and reading it.

use tokio_postgres::Row;

use crate::ids::{ConversationId, MessageId, NodeId, SessionId, TurnId};
use crate::store::text::{clean, clean_option, preview};
use crate::store::{
    Acceptance, Answer, Cancellation, Finish, Finished, NewTurn, Operation, StoreError, Turn, TurnState, TurnUsage,
};

use super::connection::Connections;
use super::row::{column, word};
use super::turn_claims::microseconds;

// The clock is read again under the conversation's lock, so that times grow with seq; now() is when the statement began.
const ACCEPT: &str = "\
-- turn.accept
with turn as (
    insert into turns (id, conversation_id, session_id, agent_id, request_id, model, traceparent,
                       state, epoch, attempt, holder, lease_until)
    values ($1, $2, $3, $4, $5, $6, $7,
            case when $8::uuid is null then 'queued' else 'running' end,
            case when $8 is null then 0 else 1 end,
            case when $8 is null then 0 else 1 end,
            $8, now() + $9::bigint * interval '1 microsecond')
    on conflict do nothing
    returning conversation_id, epoch
), counted as (
    update conversations c
    set last_seq = c.last_seq + 1, updated_at = greatest(c.updated_at, clock_timestamp()), preview = coalesce(c.preview, $10)
    from turn
    where c.id = turn.conversation_id
    returning c.id, c.last_seq, c.updated_at, turn.epoch
), said as (
    insert into messages (id, conversation_id, seq, direction, participant_id, text, created_at)
    select $11, counted.id, counted.last_seq, 'inbound', $12, $13, counted.updated_at
    from counted
)
select $1 as id, epoch from turn";

const FINISH: &str = "\
-- turn.finish
with ended as (
    update turns
    set state = $4, finished_at = now(), holder = null, lease_until = null, error_code = $5, last_seq = $6,
        prompt_tokens = $7, completion_tokens = $8, cost_usd = $9,
        answer_message_id = case when $11 = '' then null else $10::uuid end
    where id = $1 and epoch = $2 and holder = $3 and state = 'running'
    returning id, conversation_id, session_id, answer_message_id
), counted as (
    update conversations c
    set last_seq = c.last_seq + 1, updated_at = greatest(c.updated_at, clock_timestamp())
    from ended
    where c.id = ended.conversation_id and ended.answer_message_id is not null
    returning c.id, c.last_seq, c.updated_at
), said as (
    insert into messages (id, conversation_id, seq, direction, participant_id, text, created_at)
    select ended.answer_message_id, counted.id, counted.last_seq, 'outbound', s.agent_participant_id, $11,
           counted.updated_at
    from ended
    join counted on counted.id = ended.conversation_id
    join sessions s on s.id = ended.session_id
)
select id from ended";

const CANCEL: &str = "\
-- turn.cancel
update turns
set cancel_requested = true,
    -- A run that began may have shown something: only another run knows what, keeps it, and ends the turn after it.
    state = case when state = 'running' then state when epoch = 0 then 'cancelled' else 'queued' end,
    finished_at = case when epoch = 0 then now() end,
    parked_until = null
where conversation_id = $1 and request_id = coalesce($2, request_id) and state in ('queued', 'running', 'parked')
returning id, state";

/// The columns that [`turn`] reads.
macro_rules! select_turn {
    ($head:literal, $condition:literal) => {
        concat!(
            "-- ",
            $head,
            "
select t.id, t.conversation_id, t.session_id, t.request_id, t.state, t.epoch, t.attempt, t.holder, t.last_seq,
       t.answer_message_id, m.text as answer, t.prompt_tokens, t.completion_tokens, t.cost_usd, t.error_code
from turns t
left join messages m on m.id = t.answer_message_id
where ",
            $condition
        )
    };
}

const GET: &str = select_turn!("turn.get", "t.id = $1");
const FIND: &str = select_turn!("turn.find", "t.session_id = $1 and t.request_id = $2");
const ACTIVE: &str =
    select_turn!("turn.active", "t.conversation_id = $1 and t.state in ('queued', 'running', 'parked')");
// By the store's clock: ids are chosen by nodes, whose clocks differ.
const NEWEST: &str = select_turn!(
    "turn.newest",
    "t.conversation_id = $1 and t.request_id = coalesce($2, t.request_id)
order by t.created_at desc, t.id desc
limit 1"
);

pub(super) async fn accept(connections: &Connections, new: &NewTurn) -> Result<Acceptance, StoreError> {
    let (request_id, text) = (clean(&new.request_id), clean(&new.text));
    let accepted = connections
        .run(
            Operation::TurnAccept,
            ACCEPT,
            &[
                &new.turn.0,
                &new.conversation.0,
                &new.session.0,
                &new.agent.0,
                &request_id,
                &clean_option(&new.model),
                &clean_option(&new.traceparent),
                &new.claim.map(|claim| claim.holder.0),
                &new.claim.map(|claim| microseconds(claim.lease)),
                &preview(&text),
                &new.message.0,
                &new.user_participant.0,
                &text,
            ],
        )
        .await?;
    if let Some(epoch) = accepted.first(|row| column(row, "turns", "epoch"))? {
        return Ok(Acceptance::Accepted { epoch });
    }
    // Refused by one of two unique indexes: the same request, or another turn that was active a moment ago.
    let same = connections.run(Operation::TurnFind, FIND, &[&new.session.0, &request_id]).await?.first(turn)?;
    Ok(same.map_or(Acceptance::Busy, |turn| Acceptance::Duplicate(Box::new(turn))))
}

pub(super) async fn finish(connections: &Connections, finish: &Finish) -> Result<Finished, StoreError> {
    let ended = connections
        .run(
            Operation::TurnFinish,
            FINISH,
            &[
                &finish.turn.0,
                &finish.epoch,
                &finish.holder.0,
                &finish.outcome.state().as_str(),
                &finish.outcome.error_code(),
                &finish.last_seq,
                &finish.usage.prompt_tokens,
                &finish.usage.completion_tokens,
                &finish.usage.cost_usd,
                &finish.message.0,
                &clean(&finish.text),
            ],
        )
        .await?;
    if !ended.is_empty() {
        return Ok(Finished::Committed);
    }
    let now = get(connections, finish.turn).await?;
    let repeated = now
        .is_some_and(|turn| finish.is(turn.epoch, turn.state, turn.last_seq, turn.answer.map(|answer| answer.message)));
    Ok(if repeated { Finished::Committed } else { Finished::Fenced })
}

pub(super) async fn cancel(
    connections: &Connections,
    conversation: ConversationId,
    request_id: Option<&str>,
) -> Result<Cancellation, StoreError> {
    let met = connections.run(Operation::TurnCancel, CANCEL, &[&conversation.0, &request_id.map(clean)]).await?;
    let read = |row: &Row| {
        let turn = TurnId(column(row, "turns", "id")?);
        let state = word(row, "turns", "state", TurnState::parse)?;
        Ok(Cancellation::met(turn, state))
    };
    Ok(met.first(read)?.unwrap_or(Cancellation::NothingRuns))
}

pub(super) async fn get(connections: &Connections, id: TurnId) -> Result<Option<Turn>, StoreError> {
    connections.run(Operation::TurnGet, GET, &[&id.0]).await?.first(turn)
}

pub(super) async fn active(
    connections: &Connections,
    conversation: ConversationId,
) -> Result<Option<Turn>, StoreError> {
    connections.run(Operation::TurnActive, ACTIVE, &[&conversation.0]).await?.first(turn)
}

pub(super) async fn newest(
    connections: &Connections,
    conversation: ConversationId,
    request_id: Option<&str>,
) -> Result<Option<Turn>, StoreError> {
    let parameters: super::connection::Parameters<'_> = &[&conversation.0, &request_id.map(clean)];
    connections.run(Operation::TurnNewest, NEWEST, parameters).await?.first(turn)
}

fn turn(row: &Row) -> Result<Turn, StoreError> {
    let message: Option<uuid::Uuid> = column(row, "turns", "answer_message_id")?;
    let answer = match message {
        Some(message) => Some(Answer { message: MessageId(message), text: column(row, "messages", "answer")? }),
        None => None,
    };
    Ok(Turn {
        id: TurnId(column(row, "turns", "id")?),
        conversation: ConversationId(column(row, "turns", "conversation_id")?),
        session: SessionId(column(row, "turns", "session_id")?),
        request_id: column(row, "turns", "request_id")?,
        state: word(row, "turns", "state", TurnState::parse)?,
        epoch: column(row, "turns", "epoch")?,
        attempt: column(row, "turns", "attempt")?,
        holder: column::<Option<uuid::Uuid>>(row, "turns", "holder")?.map(NodeId),
        last_seq: column(row, "turns", "last_seq")?,
        answer,
        usage: TurnUsage {
            prompt_tokens: column(row, "turns", "prompt_tokens")?,
            completion_tokens: column(row, "turns", "completion_tokens")?,
            cost_usd: column(row, "turns", "cost_usd")?,
        },
        error_code: column(row, "turns", "error_code")?,
    })
}
