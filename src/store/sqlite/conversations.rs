//! Listing and titling conversations.

use rusqlite::{Connection, Row, params};

use crate::ids::ConversationId;
use crate::store::text::{clean, clean_option};
use crate::store::{ConversationQuery, ConversationSummary, Owner, Page, StoreError};

use super::row::{all, column, id, page, time};

const LIST: &str = "\
-- conversation.list
select c.id, coalesce(c.title, c.preview, '') as title, c.updated_at, c.last_seq
from conversations c
where c.org = ?1 and c.owner = ?2 and c.last_seq > 0
  and (c.updated_at, c.id) < (coalesce(?3, 9223372036854775807), coalesce(?4, ''))
  and (?5 is null
       or contains_text(c.title, ?5)
       or contains_text((
              select m.text from messages m
              where m.conversation_id = c.id and m.direction = 'inbound' order by m.seq limit 1), ?5))
order by c.updated_at desc, c.id desc
limit ?6";

const RENAME: &str = "\
-- conversation.rename
update conversations
set title = ?4
where id = ?3 and org = ?1 and owner = ?2";

pub(super) fn list(
    connection: &Connection,
    owner: &Owner,
    query: &ConversationQuery,
) -> Result<Page<ConversationSummary>, StoreError> {
    let parameters = params![
        clean(&owner.org),
        clean(&owner.user),
        query.after.map(|after| after.updated_at.timestamp_micros()),
        query.after.map(|after| after.id.to_string()),
        clean_option(&query.text),
        i64::from(query.limit) + 1,
    ];
    Ok(page(all(connection, LIST, parameters, summary)?, query.limit))
}

pub(super) fn rename(
    connection: &Connection,
    owner: &Owner,
    id: ConversationId,
    title: &str,
) -> Result<bool, StoreError> {
    let parameters = params![clean(&owner.org), clean(&owner.user), id.to_string(), clean(title)];
    Ok(connection.prepare_cached(RENAME)?.execute(parameters)? > 0)
}

fn summary(row: &Row<'_>) -> Result<ConversationSummary, StoreError> {
    Ok(ConversationSummary {
        id: ConversationId(id(row, "conversations", "id")?),
        title: column(row, "conversations", "title")?,
        updated_at: time(row, "conversations", "updated_at")?,
        message_count: column(row, "conversations", "last_seq")?,
    })
}
