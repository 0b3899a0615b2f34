//! The store is the only truth: what a client was told is accepted is committed here first.
//!
//! One trait, two implementations (Postgres, SQLite), one conformance suite that both pass. Every method is one
//! transaction. Times and leases go by the store's own clock, never by a node's. A text keeps every character but
//! U+0000, which becomes U+FFFD.

mod declared;
mod journal;
mod life;
mod metrics;
mod operation;
pub mod postgres;
mod schema;
pub mod sqlite;
mod text;
mod types;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::ids::{AgentId, ConversationId, NodeId, SessionId, TurnId};

pub use declared::{Agent, DeclaredHeader, DeclaredTool};
pub use journal::{ANSWERED, EXPIRED, JournalStep, NewSteps, Park, Parking, StepBody};
pub use life::{Act, Life, Met};
pub use metrics::Metrics;
pub use operation::Operation;
pub use types::*;

/// Where agents, conversations, sessions, messages and turns live.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Brings the schema up to this build's version. Safe from many nodes at once.
    ///
    /// Refuses a schema newer than this build with [`StoreError::SchemaTooNew`].
    async fn migrate(&self) -> Result<(), StoreError>;

    /// Proves that the store answers and that its schema is the one this build knows.
    async fn check(&self) -> Result<(), StoreError>;

    /// The agent of this id, if one was declared.
    async fn agent(&self, id: AgentId) -> Result<Option<Agent>, StoreError>;

    /// Declares these agents, all or none; one that was declared before is replaced. Returns how many are new or changed.
    async fn put_agents(&self, agents: &[Agent]) -> Result<u64, StoreError>;

    /// Makes a session, durable before this returns, in a new conversation or (`new.resume`) in one of the owner's.
    ///
    /// The same `new` again gives the same session.
    ///
    /// `None`: the conversation to resume is unknown or belongs to somebody else.
    async fn create_session(&self, new: &NewSession) -> Result<Option<Session>, StoreError>;

    /// The session of this id, whoever owns it.
    async fn session(&self, id: SessionId) -> Result<Option<Session>, StoreError>;

    /// The owner's conversations that have messages, most recent activity first (ties: larger id first).
    async fn list_conversations(
        &self,
        owner: &Owner,
        query: &ConversationQuery,
    ) -> Result<Page<ConversationSummary>, StoreError>;

    /// Titles a conversation; says whether the owner has it.
    async fn rename_conversation(&self, owner: &Owner, id: ConversationId, title: &str) -> Result<bool, StoreError>;

    /// Messages with `seq` below `before` (or the newest), newest first.
    async fn messages(
        &self,
        conversation: ConversationId,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Page<Message>, StoreError>;

    /// The newest `limit` messages, oldest first: what a model is shown.
    async fn history(&self, conversation: ConversationId, limit: u32) -> Result<Vec<Message>, StoreError>;

    /// Accepts a message in one commit: the message and a turn for it, already claimed when `new.claim` says so.
    ///
    /// Idempotent by (session, request id); at most one active turn per conversation.
    async fn accept_turn(&self, new: &NewTurn) -> Result<Acceptance, StoreError>;

    /// Claims a turn: `epoch` and `attempt` grow by one. First the one whose lease ran out longest ago, because its client
    /// already waits in the middle of an answer; else the oldest that is queued.
    async fn claim_turn(&self, claim: &Claim) -> Result<Option<ClaimedTurn>, StoreError>;

    /// Extends the leases of these turns; returns those that the holder still has. One that is missing is lost.
    ///
    /// Only named turns are extended: one that this holder claimed without learning of it runs out, and goes on elsewhere.
    async fn renew_leases(&self, claim: &Claim, turns: &[TurnId]) -> Result<Vec<HeldTurn>, StoreError>;

    /// Gives every turn of this holder back to the queue, without consuming an attempt. Returns how many.
    async fn release_turns(&self, holder: NodeId) -> Result<u64, StoreError>;

    /// Asks for the conversation's active turn to end, if it goes by this request id (any, when there is none): one that
    /// nobody has begun is cancelled at once; every other is marked, for its holder or, when it has none, for the next, to
    /// whom it is queued: what it has shown is kept.
    async fn cancel_turn(
        &self,
        conversation: ConversationId,
        request_id: Option<&str>,
    ) -> Result<Cancellation, StoreError>;

    /// Ends a turn this holder runs: its answer (if any) becomes a message, in the same commit.
    ///
    /// The same ending again is [`Finished::Committed`] and writes nothing, so it may be repeated after an
    /// [`StoreError::Unavailable`] that leaves open whether it was written.
    async fn finish_turn(&self, finish: &Finish) -> Result<Finished, StoreError>;

    /// Writes the next steps of a turn's journal, if the holder still has it. The same steps again are
    /// [`Finished::Committed`] and write nothing.
    async fn record_steps(&self, steps: &NewSteps) -> Result<Finished, StoreError>;

    /// A turn's journal, in order.
    async fn steps(&self, turn: TurnId) -> Result<Vec<JournalStep>, StoreError>;

    /// Parks a turn that this holder runs, until a person has answered; writes a step of its journal in the same commit.
    ///
    /// The same again is [`Parking::Parked`], as long as nobody has answered.
    async fn park_turn(&self, park: &Park) -> Result<Parking, StoreError>;

    /// Takes a person's answer to the conversation's parked turn, if it goes by this request id (any, when there is none):
    /// the first answer is written into the journal as a step of kind [`ANSWERED`], and the turn is queued again. `None`:
    /// nothing is parked under that name, or somebody answered before.
    async fn answer_turn(
        &self,
        conversation: ConversationId,
        request_id: Option<&str>,
        approved: bool,
    ) -> Result<Option<TurnId>, StoreError>;

    /// Fails parked turns whose time is up with [`EXPIRED`], at most `limit`; returns which.
    async fn expire_turns(&self, limit: u32) -> Result<Vec<(TurnId, ConversationId)>, StoreError>;

    /// The turn of this id.
    async fn turn(&self, id: TurnId) -> Result<Option<Turn>, StoreError>;

    /// The turn of a conversation that is queued, running or parked.
    async fn active_turn(&self, conversation: ConversationId) -> Result<Option<Turn>, StoreError>;

    /// The newest turn of a conversation, whatever became of it; of those that go by this request id, when there is one.
    async fn newest_turn(
        &self,
        conversation: ConversationId,
        request_id: Option<&str>,
    ) -> Result<Option<Turn>, StoreError>;

    /// How many turns wait in the queue.
    async fn queued_turns(&self) -> Result<u64, StoreError>;

    /// The same store for one thread with a runtime of its own: its calls wait neither for a connection that others use nor
    /// for a thread of theirs, and for an answer no longer than `patience`.
    fn aside(&self, patience: Duration) -> SharedStore;
}

/// A store that any part of the node may hold.
pub type SharedStore = Arc<dyn Store>;

/// Who takes turns, and for how long at a time.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// The node.
    pub holder: NodeId,
    /// How long a lease runs, by the store's clock.
    pub lease: Duration,
}

/// Why a store call did not succeed. Foreign errors are classified where they arise.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be reached, or did not answer in time. Trying again may help.
    #[error("the store is out of reach: {0}")]
    Unavailable(String),
    /// The schema is newer than this build.
    #[error("the store has schema version {found}, this build knows {known}; install a newer build")]
    SchemaTooNew {
        /// Version found.
        found: i64,
        /// Version this build knows.
        known: i64,
    },
    /// The schema is older than this build: `switchboard migrate` has not run.
    #[error("the store has schema version {found}, this build needs {known}; run `switchboard migrate`")]
    SchemaTooOld {
        /// Version found.
        found: i64,
        /// Version this build needs.
        known: i64,
    },
    /// A row could not be read; names the table, the column and the row.
    #[error("unreadable row: {0}")]
    Corrupt(String),
    /// Anything else: a defect of this build or of the store.
    #[error("store failure: {0}")]
    Internal(String),
}

impl StoreError {
    /// A row that cannot be read: which table and column, which row (its key), and why.
    fn corrupt(table: &str, column: &str, row: impl std::fmt::Display, why: impl std::fmt::Display) -> Self {
        Self::Corrupt(format!("{table}.{column} of {row}: {why}"))
    }
}
