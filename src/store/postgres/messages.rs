//! Reading messages. They are written with the turns that bring them about.

use tokio_postgres::Row;

use crate::ids::{ConversationId, MessageId, ParticipantId};
use crate::store::{Direction, Message, Operation, Page, StoreError};

use super::connection::Connections;
use super::row::{Rows, column, word};

const LIST: &str = "\
-- message.list
select m.id, m.seq, m.direction, m.text, m.participant_id, p.name as participant_name, m.created_at
from messages m
join participants p on p.id = m.participant_id
where m.conversation_id = $1 and m.seq < $2
order by m.seq desc
limit $3";

pub(super) async fn list(
    connections: &Connections,
    conversation: ConversationId,
    before: Option<i64>,
    limit: u32,
) -> Result<Page<Message>, StoreError> {
    let one_more = i64::from(limit) + 1;
    newest(connections, Operation::MessageList, conversation, before, one_more).await?.page(limit, message)
}

/// The newest ones are read, and then turned round.
pub(super) async fn history(
    connections: &Connections,
    conversation: ConversationId,
    limit: u32,
) -> Result<Vec<Message>, StoreError> {
    let rows = newest(connections, Operation::MessageHistory, conversation, None, i64::from(limit)).await?;
    let mut messages = rows.all(message)?;
    messages.reverse();
    Ok(messages)
}

async fn newest(
    connections: &Connections,
    operation: Operation,
    conversation: ConversationId,
    before: Option<i64>,
    limit: i64,
) -> Result<Rows, StoreError> {
    connections.run(operation, LIST, &[&conversation.0, &before.unwrap_or(i64::MAX), &limit]).await
}

fn message(row: &Row) -> Result<Message, StoreError> {
    Ok(Message {
        id: MessageId(column(row, "messages", "id")?),
        seq: column(row, "messages", "seq")?,
        direction: word(row, "messages", "direction", Direction::parse)?,
        text: column(row, "messages", "text")?,
        participant: ParticipantId(column(row, "messages", "participant_id")?),
        participant_name: column(row, "participants", "participant_name")?,
        created_at: column(row, "messages", "created_at")?,
    })
}
