//! The store in Postgres, for any number of nodes.
//!
//! Every operation is one statement, so that it is one round trip and one transaction without `begin` and `commit`; what
//! must happen together is chained in common table expressions. Rows are locked in the order turn, conversation.

mod agents;
mod config;
mod connection;
mod conversations;
mod error;
mod journal;
mod messages;
mod migrate;
mod row;
mod sessions;
mod tls;
mod turn_claims;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::ids::{AgentId, ConversationId, NodeId, SessionId, TurnId};

use super::{
    Acceptance, Agent, Cancellation, Claim, ClaimedTurn, ConversationQuery, ConversationSummary, Finish, Finished,
    HeldTurn, JournalStep, Message, Metrics, NewSession, NewSteps, NewTurn, Owner, Page, Park, Parking, Session,
    SharedStore, Store, StoreError, Turn,
};
use connection::Connections;

pub use config::Config;

/// A store in Postgres 15 or later. Cheap to clone; all clones share one pool, and one connection beside it.
#[derive(Clone)]
pub struct Postgres {
    connections: Connections,
}

impl Postgres {
    /// Makes the store without connecting: the server may be down until the first call.
    ///
    /// Refuses a URL that cannot be read with [`StoreError::Internal`]. Reads the platform's root certificates when the
    /// URL asks for TLS.
    pub fn connect(config: Config, metrics: Metrics) -> Result<Self, StoreError> {
        Ok(Self { connections: Connections::new(&config, metrics)? })
    }
}

#[async_trait]
impl Store for Postgres {
    async fn migrate(&self) -> Result<(), StoreError> {
        migrate::migrate(&self.connections).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        migrate::check(&self.connections).await
    }

    async fn agent(&self, id: AgentId) -> Result<Option<Agent>, StoreError> {
        agents::get(&self.connections, id).await
    }

    async fn put_agents(&self, agents: &[Agent]) -> Result<u64, StoreError> {
        agents::put(&self.connections, agents).await
    }

    async fn create_session(&self, new: &NewSession) -> Result<Option<Session>, StoreError> {
        sessions::create(&self.connections, new).await
    }

    async fn session(&self, id: SessionId) -> Result<Option<Session>, StoreError> {
        sessions::get(&self.connections, id).await
    }

    async fn list_conversations(
        &self,
        owner: &Owner,
        query: &ConversationQuery,
    ) -> Result<Page<ConversationSummary>, StoreError> {
        conversations::list(&self.connections, owner, query).await
    }

    async fn rename_conversation(&self, owner: &Owner, id: ConversationId, title: &str) -> Result<bool, StoreError> {
        conversations::rename(&self.connections, owner, id, title).await
    }

    async fn messages(
        &self,
        conversation: ConversationId,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Page<Message>, StoreError> {
        messages::list(&self.connections, conversation, before, limit).await
    }

    async fn history(&self, conversation: ConversationId, limit: u32) -> Result<Vec<Message>, StoreError> {
        messages::history(&self.connections, conversation, limit).await
    }

    async fn accept_turn(&self, new: &NewTurn) -> Result<Acceptance, StoreError> {
        turns::accept(&self.connections, new).await
    }

    async fn claim_turn(&self, claim: &Claim) -> Result<Option<ClaimedTurn>, StoreError> {
        turn_claims::claim(&self.connections, claim).await
    }

    async fn renew_leases(&self, claim: &Claim, turns: &[TurnId]) -> Result<Vec<HeldTurn>, StoreError> {
        turn_claims::renew(&self.connections, claim, turns).await
    }

    async fn release_turns(&self, holder: NodeId) -> Result<u64, StoreError> {
        turn_claims::release(&self.connections, holder).await
    }

    async fn cancel_turn(
        &self,
        conversation: ConversationId,
        request_id: Option<&str>,
    ) -> Result<Cancellation, StoreError> {
        turns::cancel(&self.connections, conversation, request_id).await
    }

    async fn finish_turn(&self, finish: &Finish) -> Result<Finished, StoreError> {
        turns::finish(&self.connections, finish).await
    }

    async fn record_steps(&self, steps: &NewSteps) -> Result<Finished, StoreError> {
        journal::record(&self.connections, steps).await
    }

    async fn steps(&self, turn: TurnId) -> Result<Vec<JournalStep>, StoreError> {
        journal::list(&self.connections, turn).await
    }

    async fn park_turn(&self, park: &Park) -> Result<Parking, StoreError> {
        journal::park(&self.connections, park).await
    }

    async fn answer_turn(
        &self,
        conversation: ConversationId,
        request_id: Option<&str>,
        approved: bool,
    ) -> Result<Option<TurnId>, StoreError> {
        journal::answer(&self.connections, conversation, request_id, approved).await
    }

    async fn expire_turns(&self, limit: u32) -> Result<Vec<(TurnId, ConversationId)>, StoreError> {
        journal::expire(&self.connections, limit).await
    }

    async fn turn(&self, id: TurnId) -> Result<Option<Turn>, StoreError> {
        turns::get(&self.connections, id).await
    }

    async fn active_turn(&self, conversation: ConversationId) -> Result<Option<Turn>, StoreError> {
        turns::active(&self.connections, conversation).await
    }

    async fn newest_turn(
        &self,
        conversation: ConversationId,
        request_id: Option<&str>,
    ) -> Result<Option<Turn>, StoreError> {
        turns::newest(&self.connections, conversation, request_id).await
    }

    async fn queued_turns(&self) -> Result<u64, StoreError> {
        turn_claims::queued(&self.connections).await
    }

    fn aside(&self, patience: Duration) -> SharedStore {
        Arc::new(Self { connections: self.connections.aside(patience) })
    }
}
