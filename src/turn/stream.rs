//! One turn's stream on this node: the holder pushes into it, or a follower does with what the bus brought; sockets read.
//!
//! Sockets pull: a push wakes them, and each takes what it misses when its client can take more. So a slow client costs a
//! position, not a queue, and its backlog of text collapses by itself. A push never waits. What is decided under the lock is
//! decided by [`state::State`], which is pure.

mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::clock::Clock;
use crate::ids::{ConversationId, SessionId, TurnId};
use crate::protocol::{self, Event};
use crate::store::Turn;

use super::inbox::{Inbox, Outbound};
use super::lineage::{Attached, Lineage, Parked};
use super::transcript::{Channel, Next, Piece, Transcript};

pub use state::{Found, Offer, Resume, State, ToldBy};

/// What a turn is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// The turn.
    pub turn: TurnId,
    /// Its conversation.
    pub conversation: ConversationId,
    /// The session that sent the message.
    pub session: SessionId,
    /// The client's name for the request; on every frame.
    pub request_id: Arc<str>,
}

impl About {
    /// What a turn of the store is called.
    pub(super) fn of(turn: &Turn) -> Self {
        Self {
            turn: turn.id,
            conversation: turn.conversation,
            session: turn.session,
            request_id: turn.request_id.as_str().into(),
        }
    }
}

/// A turn's frames on this node.
pub struct TurnStream {
    /// What the turn is called.
    pub about: About,
    clock: Clock,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    state: State,
    /// The newest frame as it was encoded, which every reader that keeps up shares.
    newest: Option<Encoded>,
    readers: Vec<Arc<Inbox>>,
}

struct Encoded {
    epoch: i64,
    seq: u64,
    plain: Utf8Bytes,
    numbered: Option<Utf8Bytes>,
}

/// A frame that was just pushed, for the bus.
pub struct Pushed {
    /// Its number.
    pub seq: u64,
    /// The client's bytes.
    pub frame: Utf8Bytes,
    /// A remote node waits for it.
    pub publish: bool,
}

impl TurnStream {
    /// A stream with nothing in it.
    pub(super) fn new(about: About, clock: Clock) -> Self {
        Self { about, clock, inner: Mutex::default() }
    }

    /// Begins a run; see [`State::begin`].
    pub fn begin(&self, epoch: i64, parked: Option<Parked>) {
        self.change(|state| state.begin(epoch, parked));
    }

    /// The store knows of a run under this epoch; see [`State::fence`].
    pub(super) fn fence(&self, epoch: i64) {
        self.lock().state.fence(epoch);
    }

    /// All pieces so far and those that are about to follow, for the time that the turn is parked.
    pub(super) fn to_park(&self, following: impl IntoIterator<Item = Piece>) -> Parked {
        self.lock().state.to_park(following)
    }

    /// Takes the transcript of a turn that was parked elsewhere.
    pub(super) fn restore(&self, parked: Parked) {
        self.change(|state| state.restore(parked));
    }

    /// Appends text that the agent of this epoch's run produced; `None`, and nothing is appended, when a later run began.
    pub fn push_text(&self, epoch: i64, channel: Channel, text: &str) -> Option<Pushed> {
        let frame = self.encode_text(channel, text);
        self.push(epoch, frame, |transcript| transcript.append_text(channel, text))
    }

    /// Appends any other frame that the holder made; `None` as above.
    pub fn push_event(&self, epoch: i64, frame: Utf8Bytes) -> Option<Pushed> {
        let piece = Piece::Event(frame.to_string());
        self.push(epoch, frame, |transcript| transcript.append(piece))
    }

    /// Appends the terminal frame; `None` as above.
    pub fn push_end(&self, epoch: i64, frame: Utf8Bytes) -> Option<Pushed> {
        let piece = Piece::End(frame.to_string());
        self.push(epoch, frame, |transcript| transcript.append(piece))
    }

    /// Takes a frame that the bus brought.
    pub fn offer(&self, epoch: i64, seq: u64, piece: Piece, frame: Utf8Bytes) -> Offer {
        let mut inner = self.lock();
        let offer = inner.state.offer(epoch, seq, piece);
        if offer == Offer::Applied {
            inner.newest = Some(Encoded { epoch, seq, plain: frame, numbered: None });
            inner.wake();
        }
        offer
    }

    /// Takes pieces that the holder sent on request; says whether it is the holder.
    pub fn heal(&self, attached: Attached) -> bool {
        self.change(|state| state.heal(attached))
    }

    /// Ends the stream with what the store has; see [`State::conclude`].
    pub fn conclude(&self, epoch: i64, last_seq: u64, answer: &str, frame: Utf8Bytes) {
        self.change(|state| state.conclude(epoch, last_seq, answer, frame.to_string()));
    }

    /// Marks that a remote node reads along, and gives it what it misses.
    pub fn attach(&self, epoch: i64, after: u64, max_bytes: usize) -> Attached {
        self.lock().state.attach(epoch, after, max_bytes)
    }

    /// Where the pieces here come from.
    pub fn lineage(&self) -> Lineage {
        self.lock().state.lineage()
    }

    /// The epoch and the number of the newest frame here.
    pub fn position(&self) -> (i64, u64) {
        self.lock().state.position()
    }

    /// What a turn said before it was parked is not all here; see [`State::lacks`].
    pub(super) fn lacks(&self, epoch: i64, last_seq: i64) -> bool {
        self.lock().state.lacks(epoch, last_seq)
    }

    /// Where a client of this turn reads on that has every frame up to number `after`, and the position of the newest frame;
    /// see [`State::resume`].
    pub(super) fn resume(&self, turn: &Turn, after: u64, told_by: ToldBy) -> (Resume, (i64, u64)) {
        let inner = self.lock();
        (inner.state.resume(turn.epoch, turn.state, after, told_by), inner.state.position())
    }

    /// The time for a frame made now, in epoch milliseconds.
    pub(super) fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    /// The text of the answer so far.
    pub(super) fn text(&self) -> String {
        self.lock().state.text()
    }

    /// The terminal frame is here.
    pub fn has_ended(&self) -> bool {
        self.lock().state.has_ended()
    }

    /// Wakes this inbox on every push, until [`TurnStream::forget`].
    pub(super) fn wake_on_push(&self, inbox: &Arc<Inbox>) {
        self.lock().readers.push(inbox.clone());
    }

    pub(super) fn forget(&self, inbox: &Arc<Inbox>) {
        let mut inner = self.lock();
        if let Some(place) = inner.readers.iter().position(|reader| Arc::ptr_eq(reader, inbox)) {
            inner.readers.swap_remove(place);
        }
    }

    /// The next frame for a reader that has `(epoch, seq)`, encoded; see [`State::read`].
    pub(super) fn read(&self, epoch: i64, seq: u64, numbered: bool) -> Found<Outbound> {
        let mut guard = self.lock();
        let Inner { state, newest, .. } = &mut *guard;
        state.read(epoch, seq).map(|last, next| {
            let collapsed = last > seq + 1;
            let plain = match next {
                Next::Event { frame, .. } | Next::End { frame, .. } => frame.clone(),
                Next::Text { channel, text, .. } => {
                    let newest = newest.as_mut().filter(|newest| (newest.epoch, newest.seq) == (epoch, last));
                    if let Some(newest) = newest.filter(|_| !collapsed) {
                        return Outbound { frame: newest.frame(numbered), collapsed };
                    }
                    self.encode_text(channel, text)
                }
            };
            let frame = if numbered { protocol::numbered(&plain, epoch, last) } else { plain };
            Outbound { frame, collapsed }
        })
    }

    fn push(&self, epoch: i64, frame: Utf8Bytes, append: impl FnOnce(&mut Transcript) -> u64) -> Option<Pushed> {
        let mut inner = self.lock();
        let seq = inner.state.push(epoch, append)?;
        inner.newest = Some(Encoded { epoch, seq, plain: frame.clone(), numbered: None });
        inner.wake();
        Some(Pushed { seq, frame, publish: inner.state.is_attached() })
    }

    fn encode_text(&self, channel: Channel, text: &str) -> Utf8Bytes {
        let now = self.clock.now_ms();
        match channel {
            Channel::Token => Event::stream_token(&self.about.request_id, now, text).encode(),
            Channel::Reasoning => Event::stream_reasoning(&self.about.request_id, now, text).encode(),
        }
    }

    /// Changes the state, and wakes the readers when the change says that it was one.
    fn change(&self, change: impl FnOnce(&mut State) -> bool) -> bool {
        let mut inner = self.lock();
        let changed = change(&mut inner.state);
        if changed {
            inner.wake();
        }
        changed
    }

    /// A panic while it was held leaves at worst a frame unsent, which readers see as the end of the stream being late.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn wake(&self) {
        for reader in &self.readers {
            reader.wake();
        }
    }
}

impl Encoded {
    /// The frame as a reader wants it; the numbered form is made once, when the first reader asks for it.
    fn frame(&mut self, numbered: bool) -> Utf8Bytes {
        if !numbered {
            return self.plain.clone();
        }
        let (plain, epoch, seq) = (&self.plain, self.epoch, self.seq);
        self.numbered.get_or_insert_with(|| protocol::numbered(plain, epoch, seq)).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> TurnStream {
        let (turn, conversation, session) = (TurnId::new(), ConversationId::new(), SessionId::new());
        TurnStream::new(About { turn, conversation, session, request_id: "r1".into() }, Clock::system())
    }

    #[test]
    fn a_run_that_lost_its_turn_to_a_later_one_on_the_same_node_adds_nothing() {
        let stream = stream();
        stream.begin(1, None);
        assert!(stream.push_text(1, Channel::Token, "old ").is_some());
        stream.begin(2, None);
        assert!(stream.push_text(2, Channel::Token, "new ").is_some());
        assert!(stream.push_text(1, Channel::Token, "late ").is_none());
        assert!(stream.push_end(1, "{end}".into()).is_none());
        assert!(stream.push_text(2, Channel::Token, "answer").is_some());
        assert_eq!(stream.text(), "new answer");
        assert_eq!(stream.position(), (2, 2));
    }
    #[test]
    fn what_a_replaced_holder_says_is_neither_shown_nor_taken() {
        let stream = stream();
        let attached = |epoch| Attached {
            epoch,
            lineage: Lineage::of(epoch),
            after: 0,
            pieces: vec![Piece::Text(Channel::Token, format!("of {epoch}"))],
            has_more: false,
        };
        assert!(stream.heal(attached(1)));
        stream.fence(2);
        assert!(matches!(stream.read(1, 0, true), Found::Nothing));
        assert!(!stream.heal(attached(1)));
        assert_eq!(stream.offer(1, 2, Piece::Event("{}".into()), "{}".into()), Offer::Fenced);
        assert!(stream.heal(attached(2)));
        assert!(matches!(stream.read(2, 0, true), Found::Frame { .. }));
        assert_eq!(stream.text(), "of 2");
    }
}
