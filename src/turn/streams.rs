//! Which conversations this node's sockets watch, and the stream of the turn that is active in each.
//!
//! Interest decides what travels: the bus subject of a conversation is subscribed while at least one socket here watches it,
//! and not a moment longer. One lock guards the table; it is never held across an await.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::bus::{Envelope, SharedBus, Subject};
use crate::clock::Clock;
use crate::ids::{ConversationId, SessionId, TurnId};
use crate::store::{Session, SharedStore, Turn};

use super::follow::{self, Follow};
use super::inbox::{Inbox, Reader, View};
use super::metrics::Metrics;
use super::stream::{About, TurnStream};

/// The conversations that this node watches or runs.
pub struct Streams {
    pub(super) bus: SharedBus,
    pub(super) store: SharedStore,
    pub(super) clock: Clock,
    pub(super) metrics: Metrics,
    pub(super) tasks: TaskTracker,
    table: Mutex<HashMap<ConversationId, Conversation>>,
}

#[derive(Default)]
struct Conversation {
    watchers: Vec<Watcher>,
    /// The stream of the newest turn, until it has ended and nobody watches.
    stream: Option<Arc<TurnStream>>,
    /// The epoch of this node's run of that turn; while there is one, nothing that the bus says of the turn counts.
    held: Option<i64>,
    /// Feeds the stream from the bus, for a turn that another node runs.
    follower: Option<Follower>,
    /// The newest turn that the bus spoke of, so that each is looked up once.
    heard_of: Option<TurnId>,
    /// The newest turn that this node knows of; ids are made in the order of time.
    newest: Option<TurnId>,
    /// Ends the bus subscription when dropped.
    feed: Option<DropGuard>,
}

struct Watcher {
    session: SessionId,
    inbox: Arc<Inbox>,
    view: View,
    /// It came back, and may have seen text of a turn that this node is about to learn of.
    returning: bool,
}

struct Follower {
    turn: TurnId,
    envelopes: mpsc::Sender<Envelope>,
    _stop: DropGuard,
}

/// A socket's interest in a conversation; it ends when this is dropped.
pub struct Interest {
    streams: Arc<Streams>,
    conversation: ConversationId,
    session: SessionId,
    inbox: Arc<Inbox>,
}

impl Streams {
    pub(super) fn new(
        bus: SharedBus,
        store: SharedStore,
        clock: Clock,
        metrics: Metrics,
        tasks: TaskTracker,
    ) -> Arc<Self> {
        Arc::new(Self { bus, store, clock, metrics, tasks, table: Mutex::default() })
    }

    /// Begins to watch a conversation: turns that start from now on reach the socket by themselves, those of its own
    /// session always, others when it follows. Until [`Interest::settle`] it only gets how they end.
    pub(super) async fn watch(self: &Arc<Self>, session: &Session, inbox: &Arc<Inbox>, view: View) -> Interest {
        let conversation = session.conversation;
        let interest = Interest { streams: self.clone(), conversation, session: session.id, inbox: inbox.clone() };
        let first = {
            let mut table = self.lock();
            let entry = table.entry(conversation).or_default();
            entry.watchers.reserve_exact(1);
            entry.watchers.push(Watcher { session: session.id, inbox: inbox.clone(), view, returning: true });
            if entry.feed.is_some() {
                None
            } else {
                let stop = CancellationToken::new();
                entry.feed = Some(stop.clone().drop_guard());
                Some(stop)
            }
        };
        if let Some(stop) = first {
            self.feed(conversation, stop).await;
        }
        interest
    }

    /// The stream of a turn, made if this node does not have it yet. Watchers get it by themselves, except `origin`, the
    /// socket that sent the message: it takes its reader with the answer to that action.
    pub(super) fn open(&self, about: &About, origin: Option<&Arc<Inbox>>) -> Arc<TurnStream> {
        let (stream, readers) = {
            let mut table = self.lock();
            let entry = table.entry(about.conversation).or_default();
            if let Some(stream) = entry.stream.as_ref().filter(|stream| stream.about.turn == about.turn) {
                return stream.clone();
            }
            let stream = Arc::new(TurnStream::new(about.clone(), self.clock.clone()));
            entry.stream = Some(stream.clone());
            entry.newest = entry.newest.max(Some(about.turn));
            entry.held = None;
            entry.follower = None;
            let wanted = |watcher: &&Watcher| {
                (watcher.session == about.session || watcher.view.follow)
                    && !origin.is_some_and(|origin| Arc::ptr_eq(origin, &watcher.inbox))
            };
            let readers: Vec<Reader> =
                entry.watchers.iter().filter(wanted).map(|watcher| watcher.reader(stream.clone())).collect();
            (stream, readers)
        };
        for reader in readers {
            reader.deliver();
        }
        stream
    }

    /// Opens a turn's stream for the run that this node holds, and is about to begin.
    pub(super) fn hold(&self, about: &About, epoch: i64) -> Arc<TurnStream> {
        let stream = self.open(about, None);
        if let Some(entry) = self.lock().get_mut(&about.conversation) {
            entry.held = entry.held.max(Some(epoch));
            entry.follower = None;
        }
        stream
    }

    /// The run of this epoch is over here. When the turn has not ended, whoever watches it follows its next holder; when
    /// that is this node again, the later run has the stream already, and nothing changes.
    pub(super) fn release(self: &Arc<Self>, about: &About, epoch: i64) {
        let watched = {
            let mut table = self.lock();
            let Some(entry) = table.get_mut(&about.conversation) else { return };
            let Some(stream) = entry.stream.as_ref().filter(|stream| stream.about.turn == about.turn) else { return };
            if entry.held != Some(epoch) {
                return;
            }
            entry.held = None;
            let unfinished = !stream.has_ended();
            if !unfinished {
                entry.stream = None;
            }
            let watched = !entry.watchers.is_empty();
            if !watched {
                table.remove(&about.conversation);
            }
            watched && unfinished
        };
        if watched {
            self.follow(about, Follow::Patiently);
        }
    }

    /// Feeds a turn's stream from the node that runs it, as long as somebody here watches; does nothing when this node
    /// runs it or follows it already.
    pub(super) fn follow(self: &Arc<Self>, about: &About, how: Follow) -> Arc<TurnStream> {
        if self.holds_another(about) {
            return self.ending_of(about);
        }
        let stream = self.open(about, None);
        let mut table = self.lock();
        let entry = table.entry(about.conversation).or_default();
        let known = entry.follower.as_ref().is_some_and(|follower| follower.turn == about.turn);
        if entry.held.is_some() || known || stream.has_ended() {
            return stream;
        }
        let stop = CancellationToken::new();
        let (sender, envelopes) = mpsc::channel(follow::QUEUE);
        entry.follower = Some(Follower { turn: about.turn, envelopes: sender, _stop: stop.clone().drop_guard() });
        self.tasks.spawn(follow::run(self.clone(), stream.clone(), envelopes, how, stop));
        stream
    }

    /// This node runs another turn of the conversation. There is one active turn at a time, so this one has ended.
    fn holds_another(&self, about: &About) -> bool {
        self.lock().get(&about.conversation).is_some_and(|entry| {
            entry.held.is_some() && entry.stream.as_ref().is_some_and(|stream| stream.about.turn != about.turn)
        })
    }

    /// A stream of its own for a turn that ended while it was looked at.
    fn ending_of(self: &Arc<Self>, about: &About) -> Arc<TurnStream> {
        let stream = self.detached(about);
        let (streams, ended) = (self.clone(), stream.clone());
        self.tasks.spawn(async move { follow::ask(&streams, &ended).await });
        stream
    }

    /// The follower of a turn has nothing left to do.
    pub(super) fn unfollow(&self, about: &About) {
        let mut table = self.lock();
        let Some(entry) = table.get_mut(&about.conversation) else { return };
        if entry.follower.as_ref().is_some_and(|follower| follower.turn == about.turn) {
            entry.follower = None;
            entry.stream = None;
            if entry.watchers.is_empty() {
                table.remove(&about.conversation);
            }
        }
    }

    /// A stream of its own for a turn that has ended.
    pub(super) fn detached(&self, about: &About) -> Arc<TurnStream> {
        Arc::new(TurnStream::new(about.clone(), self.clock.clone()))
    }

    /// The stream of this turn, when this node has it.
    pub(super) fn get(&self, conversation: ConversationId, turn: TurnId) -> Option<Arc<TurnStream>> {
        let table = self.lock();
        table.get(&conversation)?.stream.as_ref().filter(|stream| stream.about.turn == turn).cloned()
    }

    /// Takes what the bus brought about a conversation.
    pub(super) fn receive(self: &Arc<Self>, envelope: Envelope) {
        let mut table = self.lock();
        let Some(entry) = table.get_mut(&envelope.conversation) else { return };
        if entry.watchers.is_empty() {
            return;
        }
        let turn = envelope.turn;
        let current = entry.stream.as_ref().is_some_and(|stream| stream.about.turn == turn);
        if current && entry.held.is_some() {
            let ours = entry.stream.as_ref().map_or(0, |stream| stream.position().0);
            if envelope.epoch < ours {
                self.metrics.fenced_frames.inc();
            }
            return;
        }
        if let Some(follower) = entry.follower.as_ref().filter(|follower| follower.turn == turn) {
            if follower.envelopes.try_send(envelope).is_err() {
                self.metrics.gaps.inc();
            }
            return;
        }
        if entry.heard_of.replace(turn) == Some(turn) {
            return;
        }
        drop(table);
        self.look_up(envelope);
    }

    /// Subscribes to a conversation and passes on what comes, until `stop`.
    async fn feed(self: &Arc<Self>, conversation: ConversationId, stop: CancellationToken) {
        let subject = Subject::Conversation(conversation);
        let mut subscription = match self.bus.subscribe(&subject).await {
            Ok(subscription) => subscription,
            Err(error) => {
                tracing::warn!(%conversation, %error, "conversation not subscribed; its followers go by the store");
                return;
            }
        };
        let streams = self.clone();
        self.tasks.spawn(async move {
            loop {
                let incoming = tokio::select! {
                    () = stop.cancelled() => break,
                    incoming = subscription.next() => incoming,
                };
                let Some(incoming) = incoming else { break };
                match Envelope::decode(incoming.payload) {
                    Some(envelope) if envelope.conversation == conversation => streams.receive(envelope),
                    Some(_) | None => streams.metrics.unreadable_envelopes.inc(),
                }
            }
        });
    }

    /// A socket was told of this turn; the bus has nothing new to say about it once it has ended.
    pub(super) fn know(&self, turn: &Turn) {
        if let Some(entry) = self.lock().get_mut(&turn.conversation) {
            entry.newest = entry.newest.max(Some(turn.id));
        }
    }

    /// The bus speaks of a turn that this node does not know: the store tells what it is called, and whether it is still
    /// active. One that has ended was either very short or is old news, for the bus may be very late.
    fn look_up(self: &Arc<Self>, envelope: Envelope) {
        let streams = self.clone();
        self.tasks.spawn(async move {
            match streams.store.turn(envelope.turn).await {
                Ok(Some(turn)) if turn.conversation == envelope.conversation => {
                    if !turn.state.is_final() || streams.is_news(&turn) {
                        streams.follow_if_wanted(&About::of(&turn));
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(turn.id = %envelope.turn, %error, "announced turn not looked up");
                    // Its next frame may have more luck.
                    if let Some(entry) = streams.lock().get_mut(&envelope.conversation) {
                        entry.heard_of = None;
                    }
                }
            }
        });
    }

    fn is_news(&self, turn: &Turn) -> bool {
        self.lock().get(&turn.conversation).is_some_and(|entry| Some(turn.id) > entry.newest)
    }

    fn follow_if_wanted(self: &Arc<Self>, about: &About) {
        let wanted = self.lock().get(&about.conversation).is_some_and(|entry| {
            entry.watchers.iter().any(|watcher| watcher.session == about.session || watcher.view.follow)
        });
        if wanted {
            self.follow(about, Follow::AtOnce);
        }
    }

    fn unwatch(&self, interest: &Interest) {
        let mut table = self.lock();
        let Some(entry) = table.get_mut(&interest.conversation) else { return };
        let place = entry.watchers.iter().position(|watcher| interest.is(watcher));
        if let Some(place) = place {
            entry.watchers.swap_remove(place);
        }
        if entry.watchers.is_empty() {
            entry.feed = None;
            entry.follower = None;
            if entry.held.is_none() {
                table.remove(&interest.conversation);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ConversationId, Conversation>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watcher {
    fn reader(&self, stream: Arc<TurnStream>) -> Reader {
        if self.returning {
            Reader::only_end(stream, self.inbox.clone(), self.view)
        } else {
            Reader::whole(stream, self.inbox.clone(), self.view)
        }
    }
}

impl Interest {
    /// The socket has joined what ran before it came: from now on it gets new turns whole.
    pub fn settle(&self) {
        let mut table = self.streams.lock();
        let watchers = table.get_mut(&self.conversation).map(|entry| &mut entry.watchers).into_iter().flatten();
        for watcher in watchers.filter(|watcher| self.is(watcher)) {
            watcher.returning = false;
        }
    }

    fn is(&self, watcher: &Watcher) -> bool {
        watcher.session == self.session && Arc::ptr_eq(&watcher.inbox, &self.inbox)
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        self.streams.unwatch(self);
    }
}
