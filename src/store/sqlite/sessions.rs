//! Sessions, and the conversations and participants that come with them.

use rusqlite::{Connection, Row, params};

use crate::ids::{AgentId, ConversationId, ParticipantId, SessionId};
use crate::store::text::{clean, clean_option, is_owner};
use crate::store::{NewSession, Owner, Session, StoreError};

use super::row::{column, first, id, json, time};

const CREATE_CONVERSATION: &str = "\
-- session.create: conversation
insert into conversations (id, org, owner, created_at, updated_at)
values (?1, ?2, ?3, ?4, ?4)
on conflict (id) do nothing";

const CREATE_PARTICIPANT: &str = "\
-- session.create: participant
insert into participants (id, conversation_id, role, name, email, created_at)
values (?1, ?2, ?3, ?4, ?5, ?6)";

const CREATE: &str = "\
-- session.create
insert into sessions (id, conversation_id, agent_id, agent_name, user_participant_id, agent_participant_id,
                      supports, browser_fingerprint, metadata, created_at)
select ?1, c.id, ?3, ?4, person.id, agent.id, ?7, ?8, ?9, ?10
from conversations c
join participants person on person.conversation_id = c.id and person.role = 'user'
join participants agent on agent.conversation_id = c.id and agent.role = 'agent'
where c.id = ?2 and c.org = ?5 and c.owner = ?6
on conflict (id) do nothing";

const GET: &str = "\
-- session.get
select s.id, s.conversation_id, c.org, c.owner, s.agent_id, s.agent_name, s.user_participant_id, s.agent_participant_id,
       s.supports, max(c.updated_at, s.created_at) as last_active_at, ?2 as read_at
from sessions s
join conversations c on c.id = s.conversation_id
where s.id = ?1";

pub(super) fn create(connection: &Connection, new: &NewSession, now: i64) -> Result<Option<Session>, StoreError> {
    let wanted = new.resume.unwrap_or(new.conversation);
    if new.resume.is_none() {
        start_conversation(connection, new, now)?;
    }
    connection.prepare_cached(CREATE)?.execute(params![
        new.session.to_string(),
        wanted.to_string(),
        new.agent.to_string(),
        clean(&new.agent_name),
        clean(&new.owner.org),
        clean(&new.owner.user),
        to_json(&new.supports.iter().map(|name| clean(name)).collect::<Vec<_>>())?,
        clean_option(&new.browser_fingerprint),
        to_json(&new.metadata)?,
        now,
    ])?;
    // Nothing inserted: this very session was made before, or there is no such conversation.
    Ok(get(connection, new.session, now)?
        .filter(|found| found.conversation == wanted && is_owner(&found.owner, &new.owner)))
}

/// Does nothing when the conversation is there already.
fn start_conversation(connection: &Connection, new: &NewSession, now: i64) -> Result<(), StoreError> {
    let conversation = new.conversation.to_string();
    let made = connection.prepare_cached(CREATE_CONVERSATION)?.execute(params![
        conversation,
        clean(&new.owner.org),
        clean(&new.owner.user),
        now
    ])?;
    if made == 0 {
        return Ok(());
    }
    let mut seat = connection.prepare_cached(CREATE_PARTICIPANT)?;
    let (user_name, user_email) = (clean(&new.user_name), clean_option(&new.user_email));
    seat.execute(params![new.user_participant.to_string(), conversation, "user", user_name, user_email, now])?;
    let agent_name = clean(&new.agent_name);
    seat.execute(params![new.agent_participant.to_string(), conversation, "agent", agent_name, None::<&str>, now])?;
    Ok(())
}

pub(super) fn get(connection: &Connection, id: SessionId, now: i64) -> Result<Option<Session>, StoreError> {
    first(connection, GET, params![id.to_string(), now], session)
}

fn session(row: &Row<'_>) -> Result<Session, StoreError> {
    Ok(Session {
        id: SessionId(id(row, "sessions", "id")?),
        conversation: ConversationId(id(row, "sessions", "conversation_id")?),
        owner: Owner { org: column(row, "conversations", "org")?, user: column(row, "conversations", "owner")? },
        agent: AgentId(id(row, "sessions", "agent_id")?),
        agent_name: column(row, "sessions", "agent_name")?,
        user_participant: ParticipantId(id(row, "sessions", "user_participant_id")?),
        agent_participant: ParticipantId(id(row, "sessions", "agent_participant_id")?),
        supports: json(row, "sessions", "supports")?,
        last_active_at: time(row, "conversations", "last_active_at")?,
        read_at: time(row, "sessions", "read_at")?,
    })
}

fn to_json(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Internal(error.to_string()))
}
