//! Sessions, and the conversations and participants that come with them.

use tokio_postgres::Row;

use crate::ids::{AgentId, ConversationId, ParticipantId, SessionId};
use crate::store::text::{clean, clean_option, is_owner};
use crate::store::{NewSession, Operation, Owner, Session, StoreError};

use super::connection::Connections;
use super::row::column;

const CREATE: &str = "\
-- session.create
with conversation as (
    insert into conversations (id, org, owner)
    values ($2, $3, $4)
    on conflict (id) do nothing
    returning id, org, owner, updated_at
), seats as (
    insert into participants (id, conversation_id, role, name, email)
    select seat.id, conversation.id, seat.role, seat.name, seat.email
    from conversation, (values ($5::uuid, 'user', $6, $7), ($8::uuid, 'agent', $10, null)) as seat (id, role, name, email)
), session as (
    insert into sessions (id, conversation_id, agent_id, agent_name, user_participant_id, agent_participant_id,
                          supports, browser_fingerprint, metadata)
    select $1, conversation.id, $9, $10, $5, $8, $11, $12, $13
    from conversation
    returning *
)
select session.id, session.conversation_id, conversation.org, conversation.owner, session.agent_id, session.agent_name,
       session.user_participant_id, session.agent_participant_id, session.supports,
       conversation.updated_at as last_active_at, now() as read_at
from session, conversation";

const RESUME: &str = "\
-- session.resume
with conversation as (
    select c.id, c.org, c.owner, c.updated_at, person.id as person, agent.id as agent
    from conversations c
    join participants person on person.conversation_id = c.id and person.role = 'user'
    join participants agent on agent.conversation_id = c.id and agent.role = 'agent'
    where c.id = $2 and c.org = $3 and c.owner = $4
), session as (
    insert into sessions (id, conversation_id, agent_id, agent_name, user_participant_id, agent_participant_id,
                          supports, browser_fingerprint, metadata)
    select $1, conversation.id, $5, $6, conversation.person, conversation.agent, $7, $8, $9
    from conversation
    on conflict (id) do nothing
    returning *
)
select session.id, session.conversation_id, conversation.org, conversation.owner, session.agent_id, session.agent_name,
       session.user_participant_id, session.agent_participant_id, session.supports,
       greatest(conversation.updated_at, session.created_at) as last_active_at, now() as read_at
from session, conversation";

const GET: &str = "\
-- session.get
select s.id, s.conversation_id, c.org, c.owner, s.agent_id, s.agent_name, s.user_participant_id, s.agent_participant_id,
       s.supports, greatest(c.updated_at, s.created_at) as last_active_at, now() as read_at
from sessions s
join conversations c on c.id = s.conversation_id
where s.id = $1";

pub(super) async fn create(connections: &Connections, new: &NewSession) -> Result<Option<Session>, StoreError> {
    let (org, owner) = (clean(&new.owner.org), clean(&new.owner.user));
    let agent_name = clean(&new.agent_name);
    let supports: Vec<_> = new.supports.iter().map(|name| clean(name)).collect();
    let fingerprint = clean_option(&new.browser_fingerprint);
    let (user_name, user_email) = (clean(&new.user_name), clean_option(&new.user_email));
    let rows = match new.resume {
        None => {
            connections
                .run(
                    Operation::SessionCreate,
                    CREATE,
                    &[
                        &new.session.0,
                        &new.conversation.0,
                        &org,
                        &owner,
                        &new.user_participant.0,
                        &user_name,
                        &user_email,
                        &new.agent_participant.0,
                        &new.agent.0,
                        &agent_name,
                        &supports,
                        &fingerprint,
                        &new.metadata,
                    ],
                )
                .await?
        }
        Some(conversation) => {
            connections
                .run(
                    Operation::SessionResume,
                    RESUME,
                    &[
                        &new.session.0,
                        &conversation.0,
                        &org,
                        &owner,
                        &new.agent.0,
                        &agent_name,
                        &supports,
                        &fingerprint,
                        &new.metadata,
                    ],
                )
                .await?
        }
    };
    match rows.first(session)? {
        Some(made) => Ok(Some(made)),
        None => made_before(connections, new).await,
    }
}

/// Nothing was written: this very session was made before, or there is no such conversation.
async fn made_before(connections: &Connections, new: &NewSession) -> Result<Option<Session>, StoreError> {
    let wanted = new.resume.unwrap_or(new.conversation);
    Ok(get(connections, new.session)
        .await?
        .filter(|found| found.conversation == wanted && is_owner(&found.owner, &new.owner)))
}

pub(super) async fn get(connections: &Connections, id: SessionId) -> Result<Option<Session>, StoreError> {
    connections.run(Operation::SessionGet, GET, &[&id.0]).await?.first(session)
}

fn session(row: &Row) -> Result<Session, StoreError> {
    Ok(Session {
        id: SessionId(column(row, "sessions", "id")?),
        conversation: ConversationId(column(row, "sessions", "conversation_id")?),
        owner: Owner { org: column(row, "conversations", "org")?, user: column(row, "conversations", "owner")? },
        agent: AgentId(column(row, "sessions", "agent_id")?),
        agent_name: column(row, "sessions", "agent_name")?,
        user_participant: ParticipantId(column(row, "sessions", "user_participant_id")?),
        agent_participant: ParticipantId(column(row, "sessions", "agent_participant_id")?),
        supports: column(row, "sessions", "supports")?,
        last_active_at: column(row, "conversations", "last_active_at")?,
        read_at: column(row, "sessions", "read_at")?,
    })
}
