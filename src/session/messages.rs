//! `get_conversation_messages`: what was said, newest first.

use crate::ids::SessionId;
use crate::protocol::{
    ErrorCode, MessageContent, MessageDirection, MessageItem, Messages, Participant, ParticipantKind, ResponseData,
};
use crate::store::{Direction, Message, Session};

use super::{Client, Done, Failure};

impl Client {
    pub(super) async fn get_messages(
        &mut self,
        session_id: SessionId,
        limit: u32,
        cursor: Option<String>,
    ) -> Result<Done, Failure> {
        let (session, reader) = self.enter(session_id).await?;
        let before = cursor.map(|cursor| cursor.parse().map_err(|_| unknown_cursor())).transpose()?;
        let page = self.sessions.store.messages(session.conversation, before, limit).await?;
        let oldest = page.items.last().map(|message| message.seq.to_string());
        let data = Messages {
            messages: page.items.into_iter().map(|message| on_the_wire(message, &session)).collect(),
            next_cursor: oldest.filter(|_| page.has_more),
            has_more: page.has_more,
        };
        Ok(Done::Response { status: 200, message: "Messages", data: ResponseData::Messages(data), reader })
    }
}

fn unknown_cursor() -> Failure {
    Failure {
        code: ErrorCode::ValidationError,
        message: "unknown 'cursor': use the 'nextCursor' of an earlier answer".to_owned(),
    }
}

fn on_the_wire(message: Message, session: &Session) -> MessageItem {
    let user = Participant { id: session.user_participant, kind: ParticipantKind::User, name: None };
    let agent = Participant { id: session.agent_participant, kind: ParticipantKind::AiAgent, name: None };
    let (direction, mut from, to) = match message.direction {
        Direction::Inbound => (MessageDirection::Inbound, user, agent),
        Direction::Outbound => (MessageDirection::Outbound, agent, user),
    };
    from.name = Some(message.participant_name);
    MessageItem {
        id: message.id,
        direction,
        content: MessageContent { text: message.text },
        from: Some(from),
        to: Some(to),
        created_at: message.created_at,
    }
}
