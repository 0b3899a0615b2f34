//! Listing and titling conversations.

use tokio_postgres::Row;

use crate::ids::ConversationId;
use crate::store::text::{clean, clean_option};
use crate::store::{ConversationQuery, ConversationSummary, Operation, Owner, Page, StoreError};

use super::connection::Connections;
use super::row::column;

// The place to go on from is never null, so that the scan of the index begins there. `position` takes the text as it is: a
// % or _ in it is nothing special.
const LIST: &str = "\
-- conversation.list
select c.id, coalesce(c.title, c.preview, '') as title, c.updated_at, c.last_seq
from conversations c
where c.org = $1 and c.owner = $2 and c.last_seq > 0
  and (c.updated_at, c.id) < (coalesce($3::timestamptz, 'infinity'),
                              coalesce($4::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
  and ($5::text is null
       or position(lower($5) in lower(c.title)) > 0
       or position(lower($5) in lower((
              select m.text from messages m
              where m.conversation_id = c.id and m.direction = 'inbound' order by m.seq limit 1))) > 0)
order by c.updated_at desc, c.id desc
limit $6";

const RENAME: &str = "\
-- conversation.rename
update conversations
set title = $4
where id = $3 and org = $1 and owner = $2
returning id";

pub(super) async fn list(
    connections: &Connections,
    owner: &Owner,
    query: &ConversationQuery,
) -> Result<Page<ConversationSummary>, StoreError> {
    let (after_time, after_id) = (query.after.map(|after| after.updated_at), query.after.map(|after| after.id.0));
    let (org, user, text) = (clean(&owner.org), clean(&owner.user), clean_option(&query.text));
    let one_more = i64::from(query.limit) + 1;
    connections
        .run(Operation::ConversationList, LIST, &[&org, &user, &after_time, &after_id, &text, &one_more])
        .await?
        .page(query.limit, summary)
}

pub(super) async fn rename(
    connections: &Connections,
    owner: &Owner,
    id: ConversationId,
    title: &str,
) -> Result<bool, StoreError> {
    let (org, user, title) = (clean(&owner.org), clean(&owner.user), clean(title));
    let touched = connections.run(Operation::ConversationRename, RENAME, &[&org, &user, &id.0, &title]).await?;
    Ok(!touched.is_empty())
}

fn summary(row: &Row) -> Result<ConversationSummary, StoreError> {
    Ok(ConversationSummary {
        id: ConversationId(column(row, "conversations", "id")?),
        title: column(row, "conversations", "title")?,
        updated_at: column(row, "conversations", "updated_at")?,
        message_count: column(row, "conversations", "last_seq")?,
    })
}
