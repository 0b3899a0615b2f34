//! A turn's journal, and the wait for a person. Nobody else writes meanwhile, so what was true when it was looked at is
//! still true when it is written.

use rusqlite::{Connection, params};

use crate::ids::{ConversationId, TurnId};
use crate::store::text::clean;
use crate::store::{
    ANSWERED, EXPIRED, Finished, JournalStep, NewSteps, Park, Parking, StepBody, StoreError, TurnState,
};

use super::row::{all, column, first, id, json};
use super::turn_claims::lease_end;
use super::turns;

const HELD: &str = "\
-- step.record: held
select id, cancel_requested
from turns
where id = ?1 and epoch = ?2 and holder = ?3 and state = 'running'";

const WRITE: &str = "\
-- step.record
insert into turn_steps (turn_id, step, epoch, kind, payload, created_at)
values (?1, ?2, ?3, ?4, ?5, ?6)
on conflict do nothing";

const LIST: &str = "\
-- step.list
select turn_id as id, step, epoch, kind, payload
from turn_steps
where turn_id = ?1
order by step";

// Who was parked has shown that it makes progress: its attempts count anew.
const PARK: &str = "\
-- turn.park
update turns
set state = 'parked', holder = null, lease_until = null, attempt = 0, last_seq = ?2, parked_until = ?3
where id = ?1";

const ANSWER: &str = "\
-- turn.confirm
update turns
set state = 'queued', parked_until = null
where conversation_id = ?1 and request_id = coalesce(?2, request_id) and state = 'parked' and parked_until > ?3
returning id, epoch, (select coalesce(max(step), 0) + 1 from turn_steps where turn_id = turns.id) as next";

const EXPIRE: &str = "\
-- turn.expire
update turns
set state = 'failed', error_code = ?1, finished_at = ?3, parked_until = null, last_seq = last_seq + 1
where id in (select id from turns where state = 'parked' and parked_until <= ?3 order by parked_until limit ?2)
returning id, conversation_id";

pub(super) fn record(connection: &Connection, new: &NewSteps, now: i64) -> Result<Finished, StoreError> {
    let turn = new.turn.to_string();
    if first(connection, HELD, params![turn, new.epoch, new.holder.to_string()], |_| Ok(()))?.is_none() {
        return Ok(Finished::Fenced);
    }
    for (step, number) in new.steps.iter().zip(new.first..) {
        write(connection, &turn, number, new.epoch, step, now)?;
    }
    Ok(Finished::Committed)
}

fn write(
    connection: &Connection,
    turn: &str,
    number: i32,
    epoch: i64,
    step: &StepBody,
    now: i64,
) -> Result<(), StoreError> {
    let payload = step.payload.to_string();
    connection.prepare_cached(WRITE)?.execute(params![turn, number, epoch, step.kind, payload, now])?;
    Ok(())
}

pub(super) fn list(connection: &Connection, turn: TurnId) -> Result<Vec<JournalStep>, StoreError> {
    all(connection, LIST, params![turn.to_string()], |row| {
        Ok(JournalStep {
            step: column(row, "turn_steps", "step")?,
            epoch: column(row, "turn_steps", "epoch")?,
            body: StepBody { kind: column(row, "turn_steps", "kind")?, payload: json(row, "turn_steps", "payload")? },
        })
    })
}

pub(super) fn park(connection: &Connection, park: &Park, now: i64) -> Result<Parking, StoreError> {
    let turn = park.turn.to_string();
    let held = first(connection, HELD, params![turn, park.epoch, park.holder.to_string()], |row| {
        column::<bool>(row, "turns", "cancel_requested")
    })?;
    match held {
        Some(true) => Ok(Parking::CancelRequested),
        Some(false) => {
            let until = lease_end(now, park.patience);
            connection.prepare_cached(PARK)?.execute(params![turn, park.last_seq, until])?;
            write(connection, &turn, park.step, park.epoch, &park.body, now)?;
            Ok(Parking::Parked)
        }
        None => {
            let turn = turns::get(connection, park.turn)?;
            let repeated = turn.is_some_and(|turn| turn.state == TurnState::Parked && turn.epoch == park.epoch);
            Ok(if repeated { Parking::Parked } else { Parking::Fenced })
        }
    }
}

pub(super) fn answer(
    connection: &Connection,
    conversation: ConversationId,
    request_id: Option<&str>,
    approved: bool,
    now: i64,
) -> Result<Option<TurnId>, StoreError> {
    let answered = first(connection, ANSWER, params![conversation.to_string(), request_id.map(clean), now], |row| {
        Ok((TurnId(id(row, "turns", "id")?), column(row, "turns", "epoch")?, column(row, "turns", "next")?))
    })?;
    let Some((turn, epoch, next)) = answered else { return Ok(None) };
    let step = StepBody { kind: ANSWERED.to_owned(), payload: serde_json::json!({ "approved": approved }) };
    write(connection, &turn.to_string(), next, epoch, &step, now)?;
    Ok(Some(turn))
}

pub(super) fn expire(
    connection: &Connection,
    limit: u32,
    now: i64,
) -> Result<Vec<(TurnId, ConversationId)>, StoreError> {
    all(connection, EXPIRE, params![EXPIRED, limit, now], |row| {
        Ok((TurnId(id(row, "turns", "id")?), ConversationId(id(row, "turns", "conversation_id")?)))
    })
}
