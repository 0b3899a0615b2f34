//! One device of a client: it keeps its place in each turn that it asked for, over any number of connections.
//!
//! It does what a good client does, and no more: shows its position after a break, sends again what was never answered, and
//! asks another node when one is silent.

mod approval;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::dice::Dice;
use super::history::{Ask, NOTHING_ASKS, Seen, What};
use super::link::{Frame, Lifetime, Link};
use super::plan::Fault;
use super::tool::AGENT;
use super::world::{Session, World};
use crate::ids::{ConversationId, SessionId};
use crate::protocol::{Action, CreateConversationSession, SendMessage};
use approval::Asks;

pub(super) use approval::Consent;

/// How long a node may say nothing about a turn before another is asked.
const SILENCE: Duration = Duration::from_secs(5);

/// How long a node may take to make a session.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// How long a device waits before it tries again to connect.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// How much longer than most a connection may live.
const LONG_LIFE: u64 = 8;

/// The shortest kind of life of a connection, in powers of two of bytes: it does not survive its handshake.
const SHORTEST_LIFE: u32 = 6;

/// The device.
pub(super) struct Device {
    reader: u64,
    world: Arc<World>,
    dice: Dice,
    session: Option<Session>,
    link: Option<Link>,
    /// The node of the link, or of the last one.
    node: Option<usize>,
    open: BTreeMap<String, Open>,
    /// Attaches that were not answered: their own request, and the turn's.
    attaches: HashMap<String, String>,
    asked: u64,
    /// It was asked to try again later.
    put_off: bool,
}

/// A request whose end the device does not know.
struct Open {
    message: String,
    accepted: bool,
    /// The newest number that it has.
    seq: u64,
    consent: Consent,
    asks: Asks,
}

impl Device {
    /// A device without a session.
    pub(super) fn new(world: Arc<World>) -> Self {
        let reader = world.readers.fetch_add(1, Ordering::Relaxed);
        let dice = Dice::of(world.seed, &format!("device {reader}"));
        let (open, attaches) = (BTreeMap::new(), HashMap::new());
        Self { reader, world, dice, session: None, link: None, node: None, open, attaches, asked: 0, put_off: false }
    }

    /// Another device with the same session. It connects to another node.
    pub(super) fn second(&self) -> Self {
        let mut second = Self::new(self.world.clone());
        second.node = self.node;
        if let Some(session) = &self.session {
            second.enter(session.clone());
        }
        second
    }

    /// Makes sure of a session and a connection, at most until then. Says whether it has them.
    pub(super) async fn ready(&mut self, until: Instant) -> bool {
        while self.link.is_none() && Instant::now() < until {
            if !self.come_back().await {
                sleep(AGAIN_AFTER).await;
            }
        }
        self.link.is_some()
    }

    /// Sends a message, now or as soon as there is a connection.
    pub(super) async fn say(&mut self, request: &str, message: &str, consent: Consent) {
        let message = message.to_owned();
        self.open.insert(request.to_owned(), Open { message, accepted: false, seq: 0, consent, asks: Asks::No });
        if self.link.is_some() {
            self.ask(request).await;
        }
    }

    /// Wants to see a turn that was accepted elsewhere, from its beginning.
    pub(super) fn replay(&mut self, request: &str) {
        let (message, consent, asks) = (String::new(), Consent::Silent, Asks::No);
        self.open.insert(request.to_owned(), Open { message, accepted: true, seq: 0, consent, asks });
    }

    /// Asks a turn to stop, if there is a connection.
    pub(super) async fn cancel(&mut self, request: &str) {
        let (Some(session), Some(link)) = (&self.session, &mut self.link) else { return };
        self.world.history.add(What::Asked { reader: self.reader, request: request.to_owned(), ask: Ask::Cancel });
        // A connection that breaks here shows with the next read.
        link.send(request, &Action::Cancel { session_id: Some(session.id) }).await.ok();
    }

    /// Reads until every request has ended, at most until then. Says whether they have. May be dropped at any time.
    pub(super) async fn settle(&mut self, until: Instant) -> bool {
        while !self.open.is_empty() && Instant::now() < until {
            self.step().await;
        }
        self.open.is_empty()
    }

    /// Ends what it does, whatever it still waits for.
    pub(super) fn leave(mut self) {
        if !self.open.is_empty() {
            self.world.history.add(What::Left { reader: self.reader });
        }
        self.lose("done");
    }

    async fn step(&mut self) {
        let unanswered = self.unanswered();
        let Some(link) = &mut self.link else {
            if !self.come_back().await {
                sleep(AGAIN_AFTER).await;
            }
            return;
        };
        let wait = unanswered.as_ref().map_or(SILENCE, |(_, at)| at.saturating_duration_since(Instant::now()));
        match (timeout(wait, link.next()).await, unanswered) {
            (Ok(Ok(frame)), _) => self.on_frame(&frame),
            (Ok(Err(why)), _) => self.lose(&why),
            (Err(_), Some((request, _))) => self.answer(&request).await,
            (Err(_), None) => self.lose("silence"),
        }
    }

    /// Connects to another node than the last, and asks for what is missing.
    async fn come_back(&mut self) -> bool {
        if std::mem::take(&mut self.put_off) {
            sleep(AGAIN_AFTER * 3).await;
        }
        let lifetime = self.lifetime();
        let Some((node, address)) = self.world.node(self.node, &mut self.dice) else { return false };
        self.node = Some(node);
        let Ok(link) = Link::connect(address, lifetime).await else { return false };
        self.link = Some(link);
        self.world.connected(self.reader, node);
        if self.session.is_none() && !self.create_session().await {
            self.lose("no session");
            return false;
        }
        self.unheard();
        let requests: Vec<String> = self.open.keys().cloned().collect();
        for request in requests {
            self.ask(&request).await;
        }
        true
    }

    async fn create_session(&mut self) -> bool {
        let Some(link) = &mut self.link else { return false };
        let action = Action::CreateConversationSession(CreateConversationSession {
            agent_id: AGENT,
            user_name: "Chaos".to_owned(),
            user_email: None,
            browser_fingerprint: None,
            metadata: serde_json::Map::new(),
            auth_context: None,
            conversation_id: None,
            supports: vec!["stream_resume".to_owned(), "going_away".to_owned()],
        });
        if link.send("create", &action).await.is_err() {
            return false;
        }
        let Ok(Ok(frame)) = timeout(ANSWER_WITHIN, link.next()).await else { return false };
        let id = |name: &str| frame.data.get(name).and_then(Value::as_str).and_then(|id| Uuid::parse_str(id).ok());
        let (Some(session), Some(conversation)) = (id("sessionId"), id("conversationId")) else { return false };
        let session = Session { id: SessionId(session), conversation: ConversationId(conversation) };
        self.world.made(&session);
        self.enter(session);
        true
    }

    fn enter(&mut self, session: Session) {
        let (id, conversation) = (session.id.to_string(), session.conversation.to_string());
        self.world.history.add(What::Session { reader: self.reader, session: id, conversation });
        self.session = Some(session);
    }

    /// Asks for what is missing of a request: its acceptance, or its frames.
    async fn ask(&mut self, request: &str) {
        let (Some(session), Some(open), Some(link)) = (&self.session, self.open.get(request), &mut self.link) else {
            return;
        };
        let (ask, action, own) = if open.accepted {
            self.asked += 1;
            let own = format!("attach-{}-{}", self.reader, self.asked);
            self.attaches.insert(own.clone(), request.to_owned());
            let turn_request_id = Some(request.to_owned());
            let action = Action::AttachSession { session_id: session.id, turn_request_id, after_seq: open.seq };
            (Ask::Attach { after: open.seq }, action, own)
        } else {
            let message = open.message.clone();
            let send = SendMessage { session_id: session.id, message: message.clone(), model: None };
            (Ask::Send { message }, Action::SendMessage(send), request.to_owned())
        };
        self.world.history.add(What::Asked { reader: self.reader, request: request.to_owned(), ask });
        // A connection that breaks here shows with the next read.
        link.send(&own, &action).await.ok();
    }

    fn on_frame(&mut self, frame: &Frame) {
        let seen = frame.seen();
        let request = frame.request_id.as_ref().map(|id| self.attaches.remove(id).unwrap_or_else(|| id.clone()));
        self.world.history.add(What::Saw { reader: self.reader, request: request.clone(), seen: seen.clone() });
        let Some(request) = request else { return };
        let Some(open) = self.open.get_mut(&request) else { return };
        match seen {
            Seen::Accepted => open.accepted = true,
            Seen::Refused { code } => match code.as_str() {
                // For the moment: another node may do better.
                "STORAGE_ERROR" | "RATE_LIMITED" | "INTERNAL_ERROR" => {
                    self.put_off = true;
                    self.lose("refused");
                }
                // Somebody has answered, perhaps this device on a connection that it lost.
                NOTHING_ASKS => open.asks = Asks::No,
                // A position that is not taken; the beginning always is.
                _ if open.accepted => {
                    open.seq = 0;
                    self.lose("refused");
                }
                _ => {
                    self.open.remove(&request);
                }
            },
            Seen::Attached { verdict, .. } => match verdict.as_str() {
                "delta" => {}
                // Who is still asked is told so by the frames that follow.
                "snapshot" => (open.seq, open.asks) = (0, Asks::No),
                _ => {
                    self.open.remove(&request);
                }
            },
            Seen::Text { seq, .. } | Seen::ToolEnded { seq, .. } => (open.seq, open.asks) = (seq, Asks::No),
            // It is shown together with the question.
            Seen::ToolCalled { seq, .. } => open.seq = seq,
            Seen::Asks { seq, .. } => (open.seq, open.asks) = (seq, Asks::asked(&mut self.dice)),
            Seen::Confirmed { .. } => open.asks = Asks::No,
            Seen::Restarted { .. } => (open.seq, open.asks) = (0, Asks::No),
            Seen::Ended { .. } => {
                self.open.remove(&request);
            }
            Seen::Other { .. } => {}
        }
    }

    /// Is not connected any more, and says why.
    fn lose(&mut self, why: &str) {
        if self.link.take().is_some() {
            self.attaches.clear();
            self.world.disconnected(self.reader, why);
        }
    }

    fn lifetime(&mut self) -> Lifetime {
        if !self.world.breaks(Fault::ClientCut) {
            return Lifetime::LONG;
        }
        if self.dice.one_in(6) {
            // Long enough to get something done.
            return Lifetime { read: self.world.cut_bytes.saturating_mul(LONG_LIFE), ..Lifetime::LONG };
        }
        // As many short lives as long ones: the size is drawn first, then the number.
        let size = 1 << self.dice.between(SHORTEST_LIFE.into(), self.world.cut_bytes.max(1).ilog2().into());
        let bytes = self.dice.between(1, size);
        if self.dice.one_in(5) {
            Lifetime { read: bytes, written: self.dice.between(1, 1000) }
        } else {
            Lifetime { read: bytes, ..Lifetime::LONG }
        }
    }
}
