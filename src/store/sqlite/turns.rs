//! A turn's beginning and end, and reading it.

use rusqlite::{Connection, Row, params};

use crate::ids::{ConversationId, MessageId, NodeId, SessionId, TurnId};
use crate::store::text::{clean, clean_option, preview};
use crate::store::{
    Acceptance, Answer, Cancellation, Direction, Finish, Finished, NewTurn, StoreError, Turn, TurnState, TurnUsage,
};

use super::row::{column, first, id, id_option, word};
use super::turn_claims::lease_end;

const ACCEPT: &str = "\
-- turn.accept
insert into turns (id, conversation_id, session_id, agent_id, request_id, model, traceparent,
                   state, epoch, attempt, holder, lease_until, created_at)
values (?1, ?2, ?3, ?4, ?5, ?6, ?7,
        case when ?8 is null then 'queued' else 'running' end,
        ?8 is not null, ?8 is not null, ?8, ?9, ?10)
on conflict do nothing
returning id, epoch";

const COUNT: &str = "\
-- message.count
update conversations
set last_seq = last_seq + 1, updated_at = max(updated_at, ?2), preview = coalesce(preview, ?3)
where id = ?1
returning id, last_seq, updated_at";

const SAY: &str = "\
-- message.say
insert into messages (id, conversation_id, seq, direction, participant_id, text, created_at)
values (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

const HELD: &str = "\
-- turn.finish: held
select t.id, t.conversation_id, s.agent_participant_id
from turns t
join sessions s on s.id = t.session_id
where t.id = ?1 and t.epoch = ?2 and t.holder = ?3 and t.state = 'running'";

const FINISH: &str = "\
-- turn.finish
update turns
set state = ?2, finished_at = ?9, holder = null, lease_until = null, error_code = ?3, last_seq = ?4,
    prompt_tokens = ?5, completion_tokens = ?6, cost_usd = ?7, answer_message_id = ?8
where id = ?1";

const CANCEL: &str = "\
-- turn.cancel
update turns
set cancel_requested = 1,
    state = case when state = 'running' then state else 'cancelled' end,
    finished_at = case when state = 'running' then null else ?3 end,
    parked_until = null,
    -- The terminal frame follows what was shown before the turn was parked.
    last_seq = case when state = 'running' or last_seq = 0 then last_seq else last_seq + 1 end
where conversation_id = ?1 and request_id = coalesce(?2, request_id) and state in ('queued', 'running', 'parked')
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

const GET: &str = select_turn!("turn.get", "t.id = ?1");
const FIND: &str = select_turn!("turn.find", "t.session_id = ?1 and t.request_id = ?2");
const ACTIVE: &str =
    select_turn!("turn.active", "t.conversation_id = ?1 and t.state in ('queued', 'running', 'parked')");
// By the store's clock: ids are chosen by nodes, whose clocks differ.
const NEWEST: &str = select_turn!(
    "turn.newest",
    "t.conversation_id = ?1 and t.request_id = coalesce(?2, t.request_id)
order by t.created_at desc, t.id desc
limit 1"
);

pub(super) fn accept(connection: &Connection, new: &NewTurn, now: i64) -> Result<Acceptance, StoreError> {
    let request_id = clean(&new.request_id);
    let parameters = params![
        new.turn.to_string(),
        new.conversation.to_string(),
        new.session.to_string(),
        new.agent.to_string(),
        request_id,
        clean_option(&new.model),
        clean_option(&new.traceparent),
        new.claim.map(|claim| claim.holder.to_string()),
        new.claim.map(|claim| lease_end(now, claim.lease)),
        now,
    ];
    let Some(epoch) = first(connection, ACCEPT, parameters, |row| column(row, "turns", "epoch"))? else {
        let same = first(connection, FIND, params![new.session.to_string(), request_id], turn)?;
        return Ok(same.map_or(Acceptance::Busy, |turn| Acceptance::Duplicate(Box::new(turn))));
    };
    let said = Said {
        message: new.message,
        conversation: new.conversation.to_string(),
        direction: Direction::Inbound,
        participant: new.user_participant.to_string(),
        text: &new.text,
    };
    say(connection, &said, now)?;
    Ok(Acceptance::Accepted { epoch })
}

// Nobody else writes meanwhile, so what was true of the turn when it was looked at is still true when it is updated.
pub(super) fn finish(connection: &Connection, finish: &Finish, now: i64) -> Result<Finished, StoreError> {
    let key = params![finish.turn.to_string(), finish.epoch, finish.holder.to_string()];
    let held = first(connection, HELD, key, |row| {
        Ok((id(row, "turns", "conversation_id")?, id(row, "sessions", "agent_participant_id")?))
    })?;
    let Some((conversation, participant)) = held else {
        let repeated = get(connection, finish.turn)?.is_some_and(|turn| turn.ended_by(finish));
        return Ok(if repeated { Finished::Committed } else { Finished::Fenced });
    };
    if !finish.text.is_empty() {
        let said = Said {
            message: finish.message,
            conversation: conversation.to_string(),
            direction: Direction::Outbound,
            participant: participant.to_string(),
            text: &finish.text,
        };
        say(connection, &said, now)?;
    }
    connection.prepare_cached(FINISH)?.execute(params![
        finish.turn.to_string(),
        finish.outcome.state().as_str(),
        finish.outcome.error_code(),
        finish.last_seq,
        finish.usage.prompt_tokens,
        finish.usage.completion_tokens,
        finish.usage.cost_usd,
        (!finish.text.is_empty()).then(|| finish.message.to_string()),
        now,
    ])?;
    Ok(Finished::Committed)
}

/// A message on its way in.
struct Said<'a> {
    message: MessageId,
    conversation: String,
    direction: Direction,
    participant: String,
    text: &'a str,
}

/// Numbers a message and writes it.
fn say(connection: &Connection, said: &Said<'_>, now: i64) -> Result<(), StoreError> {
    let text = clean(said.text);
    let beginning = match said.direction {
        Direction::Inbound => Some(preview(&text)),
        Direction::Outbound => None,
    };
    let counted = first(connection, COUNT, params![said.conversation, now, beginning], |row| {
        Ok((column(row, "conversations", "last_seq")?, column(row, "conversations", "updated_at")?))
    })?;
    let (seq, created_at): (i64, i64) =
        counted.ok_or_else(|| StoreError::Internal(format!("no conversation {}", said.conversation)))?;
    connection.prepare_cached(SAY)?.execute(params![
        said.message.to_string(),
        said.conversation,
        seq,
        said.direction.as_str(),
        said.participant,
        text,
        created_at,
    ])?;
    Ok(())
}

pub(super) fn cancel(
    connection: &Connection,
    conversation: ConversationId,
    request_id: Option<&str>,
    now: i64,
) -> Result<Cancellation, StoreError> {
    let met = first(connection, CANCEL, params![conversation.to_string(), request_id.map(clean), now], |row| {
        let turn = TurnId(id(row, "turns", "id")?);
        let state = word(row, "turns", "state", TurnState::parse)?;
        Ok(if state.is_final() { Cancellation::Cancelled { turn } } else { Cancellation::Requested { turn } })
    })?;
    Ok(met.unwrap_or(Cancellation::NothingRuns))
}

pub(super) fn get(connection: &Connection, id: TurnId) -> Result<Option<Turn>, StoreError> {
    first(connection, GET, params![id.to_string()], turn)
}

pub(super) fn active(connection: &Connection, conversation: ConversationId) -> Result<Option<Turn>, StoreError> {
    first(connection, ACTIVE, params![conversation.to_string()], turn)
}

pub(super) fn newest(
    connection: &Connection,
    conversation: ConversationId,
    request_id: Option<&str>,
) -> Result<Option<Turn>, StoreError> {
    first(connection, NEWEST, params![conversation.to_string(), request_id.map(clean)], turn)
}

fn turn(row: &Row<'_>) -> Result<Turn, StoreError> {
    let answer = match id_option(row, "turns", "answer_message_id")? {
        Some(message) => Some(Answer { message: MessageId(message), text: column(row, "messages", "answer")? }),
        None => None,
    };
    Ok(Turn {
        id: TurnId(id(row, "turns", "id")?),
        conversation: ConversationId(id(row, "turns", "conversation_id")?),
        session: SessionId(id(row, "turns", "session_id")?),
        request_id: column(row, "turns", "request_id")?,
        state: word(row, "turns", "state", TurnState::parse)?,
        epoch: column(row, "turns", "epoch")?,
        attempt: column(row, "turns", "attempt")?,
        holder: id_option(row, "turns", "holder")?.map(NodeId),
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
