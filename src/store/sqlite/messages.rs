//! Reading messages. They are written with the turns that bring them about.

use rusqlite::{Connection, Row, params};

use crate::ids::{ConversationId, MessageId, ParticipantId};
use crate::store::{Direction, Message, Page, StoreError};

use super::row::{all, column, id, page, time, word};

const LIST: &str = "\
-- message.list
select m.id, m.seq, m.direction, m.text, m.participant_id, p.name as participant_name, m.created_at
from messages m
join participants p on p.id = m.participant_id
where m.conversation_id = ?1 and m.seq < ?2
order by m.seq desc
limit ?3";

pub(super) fn list(
    connection: &Connection,
    conversation: ConversationId,
    before: Option<i64>,
    limit: u32,
) -> Result<Page<Message>, StoreError> {
    Ok(page(newest(connection, conversation, before, i64::from(limit) + 1)?, limit))
}

/// The newest ones are read, and then turned round.
pub(super) fn history(
    connection: &Connection,
    conversation: ConversationId,
    limit: u32,
) -> Result<Vec<Message>, StoreError> {
    let mut messages = newest(connection, conversation, None, i64::from(limit))?;
    messages.reverse();
    Ok(messages)
}

fn newest(
    connection: &Connection,
    conversation: ConversationId,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Message>, StoreError> {
    all(connection, LIST, params![conversation.to_string(), before.unwrap_or(i64::MAX), limit], message)
}

fn message(row: &Row<'_>) -> Result<Message, StoreError> {
    Ok(Message {
        id: MessageId(id(row, "messages", "id")?),
        seq: column(row, "messages", "seq")?,
        direction: word(row, "messages", "direction", Direction::parse)?,
        text: column(row, "messages", "text")?,
        participant: ParticipantId(id(row, "messages", "participant_id")?),
        participant_name: column(row, "participants", "participant_name")?,
        created_at: time(row, "messages", "created_at")?,
    })
}
