//! A store with a database of its own, and short ways to fill it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use switchboard::ids::{AgentId, ConversationId, MessageId, NodeId, ParticipantId, SessionId, TurnId};
use switchboard::store::postgres::{self, Postgres};
use switchboard::store::sqlite::{self, Location, Sqlite};
use switchboard::store::{
    Acceptance, Claim, ClaimedTurn, Finish, Finished, Metrics, NewSession, NewTurn, Outcome, Owner, Session,
    SharedStore, TurnUsage,
};
use uuid::Uuid;

use crate::support::services;

use super::life::Eye;

/// Longer than any test: a lease that does not run out.
pub const LONG: Duration = Duration::from_secs(3600);
/// A lease that has run out by the next look.
pub const TINY: Duration = Duration::from_millis(1);

/// Two independent ways into one database, migrated unless the name says otherwise.
pub struct Fixture {
    /// One node's store.
    pub store: SharedStore,
    /// Another node's.
    pub other: SharedStore,
    /// The counters of `store`.
    pub metrics: Metrics,
    database: Database,
}

enum Database {
    Postgres(String),
    Sqlite(Folder),
}

/// Metrics that nobody scrapes.
pub fn metrics() -> Metrics {
    Metrics::register(&Registry::new()).expect("fresh names")
}

/// A folder that is removed with this value.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("store-{}", Uuid::new_v4().simple()));
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    pub fn database(&self) -> PathBuf {
        self.0.join("switchboard.db")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

impl Fixture {
    pub async fn postgres() -> Self {
        Self::new(Database::Postgres(services::database().await)).await
    }

    pub async fn sqlite() -> Self {
        Self::new(Database::Sqlite(Folder::new())).await
    }

    async fn new(database: Database) -> Self {
        let metrics = metrics();
        let (store, other) = (open(&database, metrics.clone()).await, open(&database, self::metrics()).await);
        store.migrate().await.expect("a migration");
        Self { store, other, metrics, database }
    }

    /// One more way into the database.
    pub async fn another(&self) -> SharedStore {
        open(&self.database, metrics()).await
    }

    /// A database of the same kind that nobody has migrated.
    pub async fn unmigrated(&self) -> Self {
        let database = match &self.database {
            Database::Postgres(_) => Database::Postgres(services::database().await),
            Database::Sqlite(_) => Database::Sqlite(Folder::new()),
        };
        let metrics = metrics();
        let (store, other) = (open(&database, metrics.clone()).await, open(&database, self::metrics()).await);
        Self { store, other, metrics, database }
    }

    /// Runs SQL that both databases understand, beside the store.
    pub async fn sql(&self, sql: &str) -> Result<(), String> {
        match &self.database {
            Database::Postgres(url) => {
                let (client, connection) =
                    tokio_postgres::connect(url, tokio_postgres::NoTls).await.map_err(|error| error.to_string())?;
                let driver = tokio::spawn(connection);
                let result = client.batch_execute(sql).await.map_err(|error| format!("{:?}", error.as_db_error()));
                drop(client);
                drop(driver.await);
                result
            }
            Database::Sqlite(folder) => {
                let connection = rusqlite::Connection::open(folder.database()).map_err(|error| error.to_string())?;
                connection.busy_timeout(Duration::from_secs(10)).map_err(|error| error.to_string())?;
                connection.execute_batch(sql).map_err(|error| error.to_string())
            }
        }
    }

    /// A way to see rows beside the store.
    pub async fn eye(&self) -> Eye {
        match &self.database {
            Database::Postgres(url) => {
                let (client, _) = services::connect(url).await;
                Eye::Postgres(client)
            }
            Database::Sqlite(folder) => {
                let connection = rusqlite::Connection::open(folder.database()).unwrap();
                connection.busy_timeout(Duration::from_secs(10)).unwrap();
                Eye::Sqlite(connection)
            }
        }
    }

    /// A session of a new conversation of `owner`.
    pub async fn session(&self, owner: &Owner) -> Session {
        self.store.create_session(&new_session(owner)).await.unwrap().expect("a new session")
    }

    /// A session of somebody whom no other test knows.
    pub async fn any_session(&self) -> Session {
        self.session(&owner("somebody")).await
    }

    /// Accepts a message as a queued turn.
    pub async fn queue(&self, session: &Session, request_id: &str) -> NewTurn {
        let new = new_turn(session, request_id);
        assert_eq!(self.store.accept_turn(&new).await.unwrap(), Acceptance::Accepted { epoch: 0 });
        new
    }

    /// Accepts a message as a turn that `holder` runs.
    pub async fn start(&self, session: &Session, request_id: &str, holder: NodeId) -> NewTurn {
        let new = NewTurn { claim: Some(claim(holder, LONG)), ..new_turn(session, request_id) };
        assert_eq!(self.store.accept_turn(&new).await.unwrap(), Acceptance::Accepted { epoch: 1 });
        new
    }

    /// One whole turn: this question, this answer.
    pub async fn talk(&self, session: &Session, question: &str, answer: &str) {
        let holder = NodeId::new();
        let request_id = MessageId::new().to_string();
        let new = NewTurn { text: question.into(), claim: Some(claim(holder, LONG)), ..new_turn(session, &request_id) };
        assert_eq!(self.store.accept_turn(&new).await.unwrap(), Acceptance::Accepted { epoch: 1 });
        let finish = Finish { text: answer.into(), ..finish(new.turn, 1, holder) };
        assert_eq!(self.store.finish_turn(&finish).await.unwrap(), Finished::Committed);
    }

    /// Claims a turn, which must be there.
    pub async fn claim(&self, holder: NodeId, lease: Duration) -> ClaimedTurn {
        self.store.claim_turn(&claim(holder, lease)).await.unwrap().expect("a turn to claim")
    }
}

async fn open(database: &Database, metrics: Metrics) -> SharedStore {
    match database {
        Database::Postgres(url) => {
            let config = postgres::Config { pool_size: 4, ..postgres::Config::new(url.as_str()) };
            Arc::new(Postgres::connect(config, metrics).unwrap())
        }
        Database::Sqlite(folder) => {
            let config = sqlite::Config::new(Location::File(folder.database()));
            Arc::new(Sqlite::open(config, metrics).await.unwrap())
        }
    }
}

pub fn owner(user: &str) -> Owner {
    Owner { org: "acme".into(), user: user.into() }
}

pub fn new_session(owner: &Owner) -> NewSession {
    NewSession {
        session: SessionId::new(),
        resume: None,
        conversation: ConversationId::new(),
        owner: owner.clone(),
        agent: AgentId::new(),
        agent_name: "Concierge".into(),
        user_participant: ParticipantId::new(),
        agent_participant: ParticipantId::new(),
        user_name: "Ada".into(),
        user_email: Some("ada@example.org".into()),
        browser_fingerprint: None,
        metadata: serde_json::json!({"page": "/pricing"}),
        supports: vec!["stream_resume".into()],
    }
}

pub fn new_turn(session: &Session, request_id: &str) -> NewTurn {
    NewTurn {
        turn: TurnId::new(),
        message: MessageId::new(),
        session: session.id,
        conversation: session.conversation,
        agent: session.agent,
        user_participant: session.user_participant,
        request_id: request_id.into(),
        text: "What does it cost?".into(),
        model: Some("large".into()),
        traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into()),
        claim: None,
    }
}

pub fn claim(holder: NodeId, lease: Duration) -> Claim {
    Claim { holder, lease }
}

/// A successful ending with an answer.
pub fn finish(turn: TurnId, epoch: i64, holder: NodeId) -> Finish {
    Finish {
        turn,
        epoch,
        holder,
        outcome: Outcome::Completed,
        text: "Nothing at all.".into(),
        message: MessageId::new(),
        usage: TurnUsage { prompt_tokens: 12, completion_tokens: 3, cost_usd: 0.25 },
        last_seq: 7,
    }
}
