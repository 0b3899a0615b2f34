//! A turn's row as [`Life`] sees it: read, changed by the one function that decides, and written back.
//!
//! One transaction writes at a time, so what was read is still true when it is written.

use rusqlite::{Connection, Row, params};

use crate::ids::{MessageId, NodeId, TurnId};
use crate::store::{Act, Life, Met, StoreError, TurnState};

use super::row::{column, first, id_option, word};

const READ: &str = "\
-- turn.life
select id, state, epoch, attempt, holder, lease_until, cancel_requested, parked_until, last_seq, answer_message_id, error_code
from turns
where id = ?1";

const WRITE: &str = "\
-- turn.live
update turns
set state = ?2, epoch = ?3, attempt = ?4, holder = ?5, lease_until = ?6, cancel_requested = ?7, parked_until = ?8,
    last_seq = ?9, answer_message_id = ?10, error_code = ?11, finished_at = ?12
where id = ?1";

/// What became of a turn.
pub(super) struct Applied {
    /// What the one who asked is told.
    pub met: Met,
    /// Something was asked for that was not so before: the row has to be written.
    pub changed: bool,
    /// The turn, as it is now.
    pub life: Life,
}

/// Asks for something to become of a turn, and writes nothing yet. `None`: there is no such turn.
pub(super) fn ask(
    connection: &Connection,
    turn: TurnId,
    act: Act<'_>,
    now: i64,
) -> Result<Option<Applied>, StoreError> {
    let Some(before) = first(connection, READ, params![turn.to_string()], life)? else { return Ok(None) };
    let mut life = before.clone();
    let met = life.apply(act, now);
    Ok(Some(Applied { met, changed: life != before, life }))
}

/// Asks for something to become of a turn, and writes it.
pub(super) fn apply(connection: &Connection, turn: TurnId, act: Act<'_>, now: i64) -> Result<Met, StoreError> {
    let Some(applied) = ask(connection, turn, act, now)? else { return Ok(Met::Refused) };
    write(connection, turn, &applied, now)?;
    Ok(applied.met)
}

/// Writes what [`ask`] decided.
pub(super) fn write(connection: &Connection, turn: TurnId, applied: &Applied, now: i64) -> Result<(), StoreError> {
    let Applied { changed: true, life, .. } = applied else { return Ok(()) };
    connection.prepare_cached(WRITE)?.execute(params![
        turn.to_string(),
        life.state.as_str(),
        life.epoch,
        life.attempt,
        life.holder.map(|holder| holder.to_string()),
        life.lease_until,
        life.cancel_requested,
        life.parked_until,
        life.last_seq,
        life.answer.map(|message| message.to_string()),
        life.error_code,
        // Nothing changes once it has ended, so this is the moment in which it does.
        life.state.is_final().then_some(now),
    ])?;
    Ok(())
}

fn life(row: &Row<'_>) -> Result<Life, StoreError> {
    Ok(Life {
        state: word(row, "turns", "state", TurnState::parse)?,
        epoch: column(row, "turns", "epoch")?,
        attempt: column(row, "turns", "attempt")?,
        holder: id_option(row, "turns", "holder")?.map(NodeId),
        lease_until: column(row, "turns", "lease_until")?,
        cancel_requested: column(row, "turns", "cancel_requested")?,
        parked_until: column(row, "turns", "parked_until")?,
        last_seq: column(row, "turns", "last_seq")?,
        answer: id_option(row, "turns", "answer_message_id")?.map(MessageId),
        error_code: column(row, "turns", "error_code")?,
    })
}
