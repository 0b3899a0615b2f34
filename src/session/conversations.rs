//! `list_conversations` and `rename_conversation`: the caller's own conversations, and no others.

use chrono::DateTime;

use crate::ids::ConversationId;
use crate::protocol::{ConversationItem, Conversations, ErrorCode, Renamed, ResponseData};
use crate::store::{ConversationCursor, ConversationQuery};

use super::{Client, Done, Failure};

impl Client {
    pub(super) async fn list_conversations(
        &mut self,
        limit: u32,
        cursor: Option<String>,
        text: Option<String>,
    ) -> Result<Done, Failure> {
        let after = cursor
            .map(|cursor| {
                decode(&cursor).ok_or_else(|| Failure {
                    code: ErrorCode::ValidationError,
                    message: "unknown 'cursor': use the 'nextCursor' of an earlier answer".to_owned(),
                })
            })
            .transpose()?;
        let query = ConversationQuery { limit, after, text };
        let page = self.sessions.store.list_conversations(&self.owner, &query).await?;
        let last = page.items.last().map(|row| encode(ConversationCursor { updated_at: row.updated_at, id: row.id }));
        let conversations = page
            .items
            .into_iter()
            .map(|row| ConversationItem {
                conversation_id: row.id,
                title: row.title,
                updated_at: row.updated_at,
                message_count: row.message_count,
            })
            .collect();
        let data =
            Conversations { conversations, next_cursor: last.filter(|_| page.has_more), has_more: page.has_more };
        Ok(Done::Response {
            status: 200,
            message: "Conversations",
            data: ResponseData::Conversations(data),
            reader: None,
        })
    }

    pub(super) async fn rename_conversation(&mut self, id: ConversationId, title: String) -> Result<Done, Failure> {
        if !self.sessions.store.rename_conversation(&self.owner, id, &title).await? {
            return Err(Failure {
                code: ErrorCode::ConversationNotFound,
                message: format!("conversation '{id}' not found"),
            });
        }
        let data = ResponseData::Renamed(Renamed { conversation_id: id, title });
        Ok(Done::Response { status: 200, message: "Conversation renamed", data, reader: None })
    }
}

/// A place in the list as the client carries it: `<microseconds since 1970>_<conversation>`.
fn encode(cursor: ConversationCursor) -> String {
    format!("{}_{}", cursor.updated_at.timestamp_micros(), cursor.id)
}

fn decode(text: &str) -> Option<ConversationCursor> {
    let (micros, id) = text.split_once('_')?;
    Some(ConversationCursor {
        updated_at: DateTime::from_timestamp_micros(micros.parse().ok()?)?,
        id: id.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_the_client() {
        let cursor = ConversationCursor {
            updated_at: DateTime::from_timestamp_micros(1_700_000_000_123_456).unwrap(),
            id: ConversationId::new(),
        };
        assert_eq!(decode(&encode(cursor)), Some(cursor));
    }

    #[test]
    fn a_cursor_that_no_answer_gave_is_refused() {
        for text in ["", "_", "1_x", "x_00000000-0000-4000-8000-000000000001", "99999999999999999999_x"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
