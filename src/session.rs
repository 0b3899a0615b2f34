//! What a client may do, one file per action. Knows no socket: it takes a request and says what to answer.
//!
//! Every session-addressed action goes through [`Client::session`], the one place that decides whose session it is.

mod attach;
mod cancel;
mod confirm;
mod conversations;
mod create;
mod get;
mod messages;
mod send;

use std::sync::Arc;

use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::clock::Clock;
use crate::ids::SessionId;
use crate::protocol::{Action, Capability, ErrorCode, Event, Refusal, Request, ResponseData};
use crate::store::{Owner, Session, SharedStore, StoreError};
use crate::turn::{Inbox, Interest, Reader, Turns, View};

/// What clients may do, at most.
#[derive(Clone, Debug)]
pub struct Config {
    /// Sessions that one socket may use.
    pub sessions_per_socket: usize,
    /// The longest message, in bytes.
    pub message_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { sessions_per_socket: 16, message_bytes: 32 * 1024 }
    }
}

/// What every client's actions stand on. Cheap to clone.
#[derive(Clone)]
pub struct Sessions {
    config: Arc<Config>,
    store: SharedStore,
    turns: Turns,
    clock: Clock,
}

impl Config {
    /// Puts the parts together.
    pub fn build(self, store: SharedStore, turns: Turns, clock: Clock) -> Sessions {
        Sessions { config: Arc::new(self), store, turns, clock }
    }
}

/// One client: who it is, and the sessions it has named.
pub struct Client {
    sessions: Sessions,
    owner: Owner,
    traceparent: Option<String>,
    inbox: Arc<Inbox>,
    /// A few at most, mostly one: a list is smaller than a map, and no slower.
    known: Vec<Known>,
}

struct Known {
    session: Arc<Session>,
    view: View,
    going_away: bool,
    interest: Interest,
}

/// What to send after an action: at most one frame, and then the frames of at most one turn.
#[derive(Default)]
pub struct Answer {
    /// The answer itself; `None` for an action that is answered by a turn's frames, or not at all.
    pub frame: Option<Utf8Bytes>,
    /// A turn to read from now on.
    pub reader: Option<Reader>,
    /// The code, when the answer is an error.
    pub error: Option<ErrorCode>,
}

/// What an action succeeded with.
enum Done {
    Response { status: u16, message: &'static str, data: ResponseData, reader: Option<Reader> },
    Pong,
    Silent { reader: Option<Reader> },
}

/// Why an action failed: what the client is told.
struct Failure {
    code: ErrorCode,
    message: String,
}

impl Sessions {
    /// The time, in epoch milliseconds.
    pub fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    /// The client behind a new socket. `traceparent` came with its handshake.
    pub fn client(&self, owner: Owner, inbox: Arc<Inbox>, traceparent: Option<String>) -> Client {
        Client { sessions: self.clone(), owner, traceparent, inbox, known: Vec::new() }
    }
}

impl Client {
    /// Does what the client asks, and says what to answer.
    pub async fn on_request(&mut self, request: Request) -> Answer {
        let Request { request_id, action } = request;
        let done = self.on_action(request_id.as_deref(), action).await;
        let (request_id, now) = (request_id.as_deref(), self.sessions.now_ms());
        match done {
            Ok(Done::Response { status, message, data, reader }) => {
                let frame = Event::response(request_id, now, status, message, data).encode();
                Answer { frame: Some(frame), reader, error: None }
            }
            Ok(Done::Pong) => Answer { frame: Some(Event::pong(request_id, now).encode()), ..Answer::default() },
            Ok(Done::Silent { reader }) => Answer { reader, ..Answer::default() },
            Err(Failure { code, message }) => {
                self.refuse(Refusal { request_id: request_id.map(str::to_owned), code, message })
            }
        }
    }

    /// One of its sessions wants to be told before the node goes away.
    pub fn supports_going_away(&self) -> bool {
        self.known.iter().any(|known| known.going_away)
    }

    /// The time, in epoch milliseconds.
    pub fn now_ms(&self) -> i64 {
        self.sessions.now_ms()
    }

    /// Answers what is no request, or one that may not be tried.
    pub fn refuse(&self, refusal: Refusal) -> Answer {
        let Refusal { request_id, code, message } = refusal;
        let frame = Event::error(request_id.as_deref(), self.sessions.now_ms(), code, &message).encode();
        Answer { frame: Some(frame), reader: None, error: Some(code) }
    }

    async fn on_action(&mut self, request_id: Option<&str>, action: Action) -> Result<Done, Failure> {
        match action {
            Action::Ping => Ok(Done::Pong),
            Action::CreateConversationSession(new) => self.create_session(new).await,
            Action::GetSession { session_id } => self.get_session(session_id).await,
            Action::SendMessage(send) => self.send_message(request_id, send).await,
            Action::GetConversationMessages { session_id, limit, cursor } => {
                self.get_messages(session_id, limit, cursor).await
            }
            Action::ListConversations { limit, cursor, query } => self.list_conversations(limit, cursor, query).await,
            Action::RenameConversation { conversation_id, title } => {
                self.rename_conversation(conversation_id, title).await
            }
            Action::Cancel { session_id } => self.cancel(request_id, session_id).await,
            Action::ConfirmToolAction { session_id, approved } => {
                self.confirm_tool_action(request_id, session_id, approved).await
            }
            Action::VerifyOtp { .. } => Err(unsupported("verify_otp")),
            Action::SubmitInteraction(_) => Err(unsupported("submit_interaction")),
            Action::AttachSession { session_id, turn_request_id, after_seq } => {
                self.attach_session(session_id, turn_request_id, after_seq).await
            }
        }
    }

    /// The session of this id, if it is the caller's. From the first time on, this socket watches its conversation.
    async fn session(&mut self, id: SessionId) -> Result<(Arc<Session>, View), Failure> {
        if let Some(known) = self.known(id) {
            return Ok((known.session.clone(), known.view));
        }
        let session = self.look_up(id).await?;
        self.watch(session).await
    }

    /// As [`Client::session`]; the first time, also joins the turn that runs.
    async fn enter(&mut self, id: SessionId) -> Result<(Arc<Session>, Option<Reader>), Failure> {
        let is_new = self.known(id).is_none();
        let (session, view) = self.session(id).await?;
        let reader = if is_new { self.sessions.turns.join(&session, &self.inbox, view).await? } else { None };
        self.settle(id);
        Ok((session, reader))
    }

    /// This socket has what ran in the session before it came.
    fn settle(&self, id: SessionId) {
        if let Some(known) = self.known(id) {
            known.interest.settle();
        }
    }

    fn known(&self, id: SessionId) -> Option<&Known> {
        self.known.iter().find(|known| known.session.id == id)
    }

    /// As the store has it now; somebody else's session is as good as none.
    async fn look_up(&self, id: SessionId) -> Result<Session, Failure> {
        let session = self.sessions.store.session(id).await?;
        session
            .filter(|session| session.owner == self.owner)
            .ok_or_else(|| Failure { code: ErrorCode::SessionNotFound, message: format!("session '{id}' not found") })
    }

    fn may_watch_another(&self) -> Result<(), Failure> {
        let limit = self.sessions.config.sessions_per_socket;
        if self.known.len() < limit {
            return Ok(());
        }
        Err(Failure {
            code: ErrorCode::RateLimited,
            message: format!("this connection uses {limit} sessions, the most it may; open another connection"),
        })
    }

    async fn watch(&mut self, session: Session) -> Result<(Arc<Session>, View), Failure> {
        self.may_watch_another()?;
        let view = View {
            numbered: Capability::StreamResume.is_in(&session.supports),
            follow: Capability::Follow.is_in(&session.supports),
        };
        let interest = self.sessions.turns.watch(&session, &self.inbox, view).await;
        let session = Arc::new(session);
        let going_away = Capability::GoingAway.is_in(&session.supports);
        self.known.reserve_exact(1);
        self.known.push(Known { session: session.clone(), view, going_away, interest });
        Ok((session, view))
    }
}

fn unsupported(action: &str) -> Failure {
    Failure {
        code: ErrorCode::UnsupportedAction,
        message: format!("action '{action}' is not supported by this server"),
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "store call failed");
        match error {
            StoreError::Unavailable(_) => Self {
                code: ErrorCode::StorageError,
                message: "the store is out of reach for the moment; try again".to_owned(),
            },
            StoreError::SchemaTooNew { .. }
            | StoreError::SchemaTooOld { .. }
            | StoreError::Corrupt(_)
            | StoreError::Internal(_) => Self {
                code: ErrorCode::InternalError,
                message: "something went wrong on the server; it has been logged".to_owned(),
            },
        }
    }
}

/// The owner of every conversation on a server without authentication: whoever reaches the port is the same user.
pub fn everyone() -> Owner {
    Owner { org: "default".to_owned(), user: "anonymous".to_owned() }
}
