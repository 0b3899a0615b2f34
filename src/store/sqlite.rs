//! The store in one SQLite file, for one node: nothing to install, and an acknowledged write survives a crash.
//!
//! SQLite blocks. No call of it may happen on a thread of the runtime: all go through [`threads`], to a thread of their own.

mod agents;
mod config;
mod conversations;
mod error;
mod journal;
mod life;
mod messages;
mod migrate;
mod open;
mod row;
mod sessions;
mod threads;
mod turn_claims;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::clock::Clock;
use crate::ids::{AgentId, ConversationId, NodeId, SessionId, TurnId};

use super::{
    Acceptance, Agent, Cancellation, Claim, ClaimedTurn, ConversationQuery, ConversationSummary, Finish, Finished,
    HeldTurn, JournalStep, Message, Metrics, NewSession, NewSteps, NewTurn, Operation, Owner, Page, Park, Parking,
    Session, SharedStore, Store, StoreError, Turn,
};
use threads::Threads;

pub use config::{Config, Location};

/// A store in SQLite. Cheap to clone; the threads and the file close when the last clone is dropped.
#[derive(Clone)]
pub struct Sqlite {
    threads: Threads,
    clock: Clock,
}

impl Sqlite {
    /// Opens the database, which is made when it does not exist (but not its folder).
    pub async fn open(config: Config, metrics: Metrics) -> Result<Self, StoreError> {
        let clock = config.clock.clone();
        Ok(Self { threads: Threads::start(config, metrics).await?, clock })
    }

    /// The store's clock, in microseconds since 1970. Read on the writing thread, so that times grow with the writes.
    fn now(&self) -> impl FnOnce() -> i64 + Send + 'static {
        let clock = self.clock.clone();
        move || clock.now().timestamp_micros()
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn migrate(&self) -> Result<(), StoreError> {
        let now = self.now();
        self.threads.write(Operation::SchemaMigrate, move |connection| migrate::migrate(connection, now())).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.threads.read(Operation::SchemaCheck, migrate::check).await
    }

    async fn agent(&self, id: AgentId) -> Result<Option<Agent>, StoreError> {
        self.threads.read(Operation::AgentGet, move |connection| agents::get(connection, id)).await
    }

    async fn put_agents(&self, agents: &[Agent]) -> Result<u64, StoreError> {
        let (agents, now) = (agents.to_owned(), self.now());
        self.threads.write(Operation::AgentPut, move |connection| agents::put(connection, &agents, now())).await
    }

    async fn create_session(&self, new: &NewSession) -> Result<Option<Session>, StoreError> {
        let operation = if new.resume.is_some() { Operation::SessionResume } else { Operation::SessionCreate };
        let (new, now) = (new.clone(), self.now());
        self.threads.write(operation, move |connection| sessions::create(connection, &new, now())).await
    }

    async fn session(&self, id: SessionId) -> Result<Option<Session>, StoreError> {
        let now = self.now();
        self.threads.read(Operation::SessionGet, move |connection| sessions::get(connection, id, now())).await
    }

    async fn list_conversations(
        &self,
        owner: &Owner,
        query: &ConversationQuery,
    ) -> Result<Page<ConversationSummary>, StoreError> {
        let (owner, query) = (owner.clone(), query.clone());
        let list = move |connection: &_| conversations::list(connection, &owner, &query);
        self.threads.read(Operation::ConversationList, list).await
    }

    async fn rename_conversation(&self, owner: &Owner, id: ConversationId, title: &str) -> Result<bool, StoreError> {
        let (owner, title) = (owner.clone(), title.to_owned());
        let rename = move |connection: &_| conversations::rename(connection, &owner, id, &title);
        self.threads.write(Operation::ConversationRename, rename).await
    }

    async fn messages(
        &self,
        conversation: ConversationId,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Page<Message>, StoreError> {
        let list = move |connection: &_| messages::list(connection, conversation, before, limit);
        self.threads.read(Operation::MessageList, list).await
    }

    async fn history(&self, conversation: ConversationId, limit: u32) -> Result<Vec<Message>, StoreError> {
        let history = move |connection: &_| messages::history(connection, conversation, limit);
        self.threads.read(Operation::MessageHistory, history).await
    }

    async fn accept_turn(&self, new: &NewTurn) -> Result<Acceptance, StoreError> {
        let (new, now) = (new.clone(), self.now());
        self.threads.write(Operation::TurnAccept, move |connection| turns::accept(connection, &new, now())).await
    }

    async fn claim_turn(&self, claim: &Claim) -> Result<Option<ClaimedTurn>, StoreError> {
        let (claim, now) = (*claim, self.now());
        self.threads.write(Operation::TurnClaim, move |connection| turn_claims::claim(connection, claim, now())).await
    }

    async fn renew_leases(&self, claim: &Claim, turns: &[TurnId]) -> Result<Vec<HeldTurn>, StoreError> {
        let (claim, turns, now) = (*claim, turns.to_owned(), self.now());
        let renew = move |connection: &_| turn_claims::renew(connection, claim, &turns, now());
        self.threads.write(Operation::TurnRenew, renew).await
    }

    async fn release_turns(&self, holder: NodeId) -> Result<u64, StoreError> {
        let now = self.now();
        let release = move |connection: &_| turn_claims::release(connection, holder, now());
        self.threads.write(Operation::TurnRelease, release).await
    }

    async fn cancel_turn(
        &self,
        conversation: ConversationId,
        request_id: Option<&str>,
    ) -> Result<Cancellation, StoreError> {
        let (request_id, now) = (request_id.map(str::to_owned), self.now());
        let cancel = move |connection: &_| turns::cancel(connection, conversation, request_id.as_deref(), now());
        self.threads.write(Operation::TurnCancel, cancel).await
    }

    async fn finish_turn(&self, finish: &Finish) -> Result<Finished, StoreError> {
        let (finish, now) = (finish.clone(), self.now());
        self.threads.write(Operation::TurnFinish, move |connection| turns::finish(connection, &finish, now())).await
    }

    async fn record_steps(&self, steps: &NewSteps) -> Result<Finished, StoreError> {
        let (steps, now) = (steps.clone(), self.now());
        self.threads.write(Operation::StepRecord, move |connection| journal::record(connection, &steps, now())).await
    }

    async fn steps(&self, turn: TurnId) -> Result<Vec<JournalStep>, StoreError> {
        self.threads.read(Operation::StepList, move |connection| journal::list(connection, turn)).await
    }

    async fn park_turn(&self, park: &Park) -> Result<Parking, StoreError> {
        let (park, now) = (park.clone(), self.now());
        self.threads.write(Operation::TurnPark, move |connection| journal::park(connection, &park, now())).await
    }

    async fn answer_turn(
        &self,
        conversation: ConversationId,
        request_id: Option<&str>,
        approved: bool,
    ) -> Result<Option<TurnId>, StoreError> {
        let (request_id, now) = (request_id.map(str::to_owned), self.now());
        let answer =
            move |connection: &_| journal::answer(connection, conversation, request_id.as_deref(), approved, now());
        self.threads.write(Operation::TurnConfirm, answer).await
    }

    async fn expire_turns(&self, limit: u32) -> Result<Vec<(TurnId, ConversationId)>, StoreError> {
        let now = self.now();
        self.threads.write(Operation::TurnExpire, move |connection| journal::expire(connection, limit, now())).await
    }

    async fn turn(&self, id: TurnId) -> Result<Option<Turn>, StoreError> {
        self.threads.read(Operation::TurnGet, move |connection| turns::get(connection, id)).await
    }

    async fn active_turn(&self, conversation: ConversationId) -> Result<Option<Turn>, StoreError> {
        self.threads.read(Operation::TurnActive, move |connection| turns::active(connection, conversation)).await
    }

    async fn newest_turn(
        &self,
        conversation: ConversationId,
        request_id: Option<&str>,
    ) -> Result<Option<Turn>, StoreError> {
        let request_id = request_id.map(str::to_owned);
        let newest = move |connection: &_| turns::newest(connection, conversation, request_id.as_deref());
        self.threads.read(Operation::TurnNewest, newest).await
    }

    async fn queued_turns(&self) -> Result<u64, StoreError> {
        self.threads.read(Operation::TurnQueued, turn_claims::queued).await
    }

    /// Every call goes to the threads in any case, and none of them waits for a network.
    fn aside(&self, _: Duration) -> SharedStore {
        Arc::new(self.clone())
    }
}
