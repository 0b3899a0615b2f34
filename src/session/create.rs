//! `create_conversation_session`: a seat in a new conversation, or in one of the caller's own.

use crate::ids::{ConversationId, ParticipantId, SessionId};
use crate::protocol::{CreateConversationSession, ErrorCode, ResponseData, SessionCreated};
use crate::store::{NewSession, Session};

use super::{Client, Done, Failure};

impl Client {
    pub(super) async fn create_session(&mut self, new: CreateConversationSession) -> Result<Done, Failure> {
        self.may_watch_another()?;
        let declared = self.sessions.turns.agents().get(new.agent_id).await?;
        let new = NewSession {
            session: SessionId::new(),
            resume: new.conversation_id,
            conversation: ConversationId::new(),
            owner: self.owner.clone(),
            agent: declared.agent.id,
            agent_name: declared.agent.name.clone(),
            user_participant: ParticipantId::new(),
            agent_participant: ParticipantId::new(),
            user_name: new.user_name,
            user_email: new.user_email,
            browser_fingerprint: new.browser_fingerprint,
            metadata: new.metadata.into(),
            supports: new.supports,
        };
        let Some(session) = self.sessions.store.create_session(&new).await? else {
            let id = new.resume.map(|id| id.to_string()).unwrap_or_default();
            return Err(Failure {
                code: ErrorCode::ConversationNotFound,
                message: format!("conversation '{id}' not found"),
            });
        };
        let data = ResponseData::SessionCreated(created(&session));
        let (session, view) = self.watch(session).await?;
        let reader = match new.resume {
            Some(_) => self.sessions.turns.join(&session, &self.inbox, view).await?,
            None => None,
        };
        self.settle(session.id);
        Ok(Done::Response { status: 200, message: "Session created", data, reader })
    }
}

/// The six members by which every client knows a session.
pub(super) fn created(session: &Session) -> SessionCreated {
    SessionCreated {
        session_id: session.id,
        conversation_id: session.conversation,
        agent_id: session.agent,
        agent_name: session.agent_name.clone(),
        user_participant_id: session.user_participant,
        agent_participant_id: session.agent_participant,
    }
}
