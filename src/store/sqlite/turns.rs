//! A turn's beginning and end, and reading it.

use rusqlite::{Connection, Row, params};

use crate::ids::{ConversationId, MessageId, NodeId, SessionId, TurnId};
use crate::store::text::{clean, clean_option, preview};
use crate::store::{
    Acceptance, Act, Answer, Cancellation, Direction, Finish, Finished, Life, Met, NewTurn, StoreError, Turn,
    TurnState, TurnUsage,
};

use super::life;
use super::row::{column, first, id, id_option, word};

const ACCEPT: &str = "\
-- turn.accept
insert into turns (id, conversation_id, session_id, agent_id, request_id, model, traceparent,
                   state, epoch, attempt, holder, lease_until, created_at)
values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
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

const SPEAKER: &str = "\
-- turn.finish: speaker
select t.id, t.conversation_id, s.agent_participant_id
from turns t
join sessions s on s.id = t.session_id
where t.id = ?1";

const USED: &str = "\
-- turn.finish
update turns
set prompt_tokens = ?2, completion_tokens = ?3, cost_usd = ?4
where id = ?1";

const NAMED: &str = "\
-- turn.named
select id
from turns
where conversation_id = ?1 and request_id = coalesce(?2, request_id) and state in ('queued', 'running', 'parked')";

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
    let life = Life::accepted(new.claim.as_ref(), now);
    let parameters = params![
        new.turn.to_string(),
        new.conversation.to_string(),
        new.session.to_string(),
        new.agent.to_string(),
        request_id,
        clean_option(&new.model),
        clean_option(&new.traceparent),
        life.state.as_str(),
        life.epoch,
        life.attempt,
        life.holder.map(|holder| holder.to_string()),
        life.lease_until,
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

pub(super) fn finish(connection: &Connection, finish: &Finish, now: i64) -> Result<Finished, StoreError> {
    let Some(applied) = life::ask(connection, finish.turn, Act::Finish(finish), now)? else {
        return Ok(Finished::Fenced);
    };
    if applied.changed {
        if let Some(message) = applied.life.answer {
            say_answer(connection, finish, message, now)?;
        }
        life::write(connection, finish.turn, &applied, now)?;
        let TurnUsage { prompt_tokens, completion_tokens, cost_usd } = finish.usage;
        let used = params![finish.turn.to_string(), prompt_tokens, completion_tokens, cost_usd];
        connection.prepare_cached(USED)?.execute(used)?;
    }
    Ok(if applied.met == Met::Done { Finished::Committed } else { Finished::Fenced })
}

fn say_answer(connection: &Connection, finish: &Finish, message: MessageId, now: i64) -> Result<(), StoreError> {
    let speaker = first(connection, SPEAKER, params![finish.turn.to_string()], |row| {
        Ok((id(row, "turns", "conversation_id")?, id(row, "sessions", "agent_participant_id")?))
    })?;
    let (conversation, participant) =
        speaker.ok_or_else(|| StoreError::Internal(format!("no session of turn {}", finish.turn)))?;
    let said = Said {
        message,
        conversation: conversation.to_string(),
        direction: Direction::Outbound,
        participant: participant.to_string(),
        text: &finish.text,
    };
    say(connection, &said, now)
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
    let Some(turn) = named(connection, conversation, request_id)? else { return Ok(Cancellation::NothingRuns) };
    let Some(applied) = life::ask(connection, turn, Act::Cancel, now)? else { return Ok(Cancellation::NothingRuns) };
    life::write(connection, turn, &applied, now)?;
    Ok(Cancellation::met(turn, applied.life.state))
}

/// The conversation's active turn, if it goes by this request id (any, when there is none).
pub(super) fn named(
    connection: &Connection,
    conversation: ConversationId,
    request_id: Option<&str>,
) -> Result<Option<TurnId>, StoreError> {
    let parameters = params![conversation.to_string(), request_id.map(clean)];
    first(connection, NAMED, parameters, |row| Ok(TurnId(id(row, "turns", "id")?)))
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
