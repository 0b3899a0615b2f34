//! A turn's journal, and the wait for a person.

use rusqlite::{Connection, params};

use crate::ids::{ConversationId, TurnId};
use crate::store::{ANSWERED, Act, Finished, JournalStep, Met, NewSteps, Park, Parking, StepBody, StoreError};

use super::row::{all, column, first, id, json};
use super::{life, turns};

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

const LAST: &str = "\
-- step.last
select turn_id as id, max(step) as last
from turn_steps
where turn_id = ?1
group by turn_id";

const OVERDUE: &str = "\
-- turn.expire: overdue
select id, conversation_id
from turns
where state = 'parked' and parked_until <= ?1
order by parked_until
limit ?2";

pub(super) fn record(connection: &Connection, new: &NewSteps, now: i64) -> Result<Finished, StoreError> {
    let turn = new.turn.to_string();
    let record = Act::Record { holder: new.holder, epoch: new.epoch };
    if life::apply(connection, new.turn, record, now)? != Met::Done {
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
    let Some(applied) = life::ask(connection, park.turn, Act::Park(park), now)? else { return Ok(Parking::Fenced) };
    if applied.changed {
        life::write(connection, park.turn, &applied, now)?;
        write(connection, &park.turn.to_string(), park.step, park.epoch, &park.body, now)?;
    }
    Ok(match applied.met {
        Met::Done => Parking::Parked,
        Met::CancelRequested => Parking::CancelRequested,
        Met::Held { .. } | Met::Refused => Parking::Fenced,
    })
}

pub(super) fn answer(
    connection: &Connection,
    conversation: ConversationId,
    request_id: Option<&str>,
    approved: bool,
    now: i64,
) -> Result<Option<TurnId>, StoreError> {
    let Some(turn) = turns::named(connection, conversation, request_id)? else { return Ok(None) };
    let Some(applied) = life::ask(connection, turn, Act::Answer, now)? else { return Ok(None) };
    if applied.met != Met::Done {
        return Ok(None);
    }
    life::write(connection, turn, &applied, now)?;
    let last = first(connection, LAST, params![turn.to_string()], |row| column::<i32>(row, "turn_steps", "last"))?;
    let step = StepBody { kind: ANSWERED.to_owned(), payload: serde_json::json!({ "approved": approved }) };
    write(connection, &turn.to_string(), last.unwrap_or(0) + 1, applied.life.epoch, &step, now)?;
    Ok(Some(turn))
}

pub(super) fn expire(
    connection: &Connection,
    limit: u32,
    now: i64,
) -> Result<Vec<(TurnId, ConversationId)>, StoreError> {
    let overdue = all(connection, OVERDUE, params![now, limit], |row| {
        Ok((TurnId(id(row, "turns", "id")?), ConversationId(id(row, "turns", "conversation_id")?)))
    })?;
    for (turn, _) in &overdue {
        life::apply(connection, *turn, Act::Expire, now)?;
    }
    Ok(overdue)
}
