//! One turn's stream on this node: the holder pushes into it, or a follower does with what the bus brought; sockets read.
//!
//! Sockets pull: a push wakes them, and each takes what it misses when its client can take more. So a slow client costs a
//! position, not a queue, and its backlog of text collapses by itself. A push never waits.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::clock::Clock;
use crate::ids::{ConversationId, SessionId, TurnId};
use crate::protocol::{self, Event};
use crate::store::Turn;

use super::inbox::Inbox;
use super::lineage::{Attached, Lineage, Parked};
use super::transcript::{Channel, Next, Piece, Transcript};

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
    state: Mutex<State>,
}

struct State {
    epoch: i64,
    /// Some node runs the turn under this epoch: what an earlier run said, or still says, is shown to nobody.
    fence: i64,
    lineage: Lineage,
    transcript: Transcript,
    /// The newest frame as it was encoded, which every reader that keeps up shares.
    newest: Option<Encoded>,
    readers: Vec<Arc<Inbox>>,
    /// A remote node attached: frames must be published.
    attached: bool,
    /// Up to here the pieces are the holder's own. What follows was made from the stored answer.
    exact_until: u64,
}

struct Encoded {
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

/// What became of a frame that the bus brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// It was the next one.
    Applied,
    /// It was here already.
    Repeated,
    /// It comes from a holder that another has replaced.
    Fenced,
    /// Frames before it are missing.
    Gap,
}

impl TurnStream {
    /// A stream with nothing in it. Epoch 0: no holder yet.
    pub(super) fn new(about: About, clock: Clock) -> Self {
        let state = State {
            epoch: 0,
            fence: 0,
            lineage: Lineage::of(0),
            transcript: Transcript::default(),
            newest: None,
            readers: Vec::new(),
            attached: false,
            exact_until: u64::MAX,
        };
        Self { about, clock, state: Mutex::new(state) }
    }

    /// Begins a run: a later epoch than the one so far starts the text again, or goes on where the turn was parked.
    pub fn begin(&self, epoch: i64, parked: Option<Parked>) {
        let mut state = self.lock();
        if epoch <= state.epoch {
            return;
        }
        match parked {
            None => state.restart(epoch),
            Some(parked) => {
                state.go_on(epoch, parked.next_lineage(epoch));
                state.append_missing(0, parked.pieces);
            }
        }
        state.wake();
    }

    /// The store knows of a run under this epoch. What is here of an earlier one is not read any more, and no such piece is
    /// taken: a holder that does not know yet that it was replaced must not be believed.
    pub(super) fn fence(&self, epoch: i64) {
        let mut state = self.lock();
        state.fence = state.fence.max(epoch);
    }

    /// All pieces so far and those that are about to follow, for the time that the turn is parked.
    pub(super) fn to_park(&self, events: &[Utf8Bytes]) -> Parked {
        let state = self.lock();
        let mut pieces = state.transcript.pieces(0, usize::MAX);
        pieces.extend(events.iter().map(|frame| Piece::Event(frame.to_string())));
        Parked { epoch: state.epoch, lineage: state.lineage, pieces }
    }

    /// Takes the transcript of a turn that was parked elsewhere.
    pub(super) fn restore(&self, parked: Parked) {
        self.heal(Attached {
            epoch: parked.epoch,
            lineage: parked.lineage,
            after: 0,
            pieces: parked.pieces,
            has_more: false,
        });
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
        let mut state = self.lock();
        if epoch < state.epoch.max(state.fence) {
            return Offer::Fenced;
        }
        if epoch > state.epoch {
            if seq > 1 {
                // It may go on from what is here, or not: the holder knows.
                return Offer::Gap;
            }
            state.restart(epoch);
        }
        let last = state.transcript.last_seq();
        if seq <= last {
            return Offer::Repeated;
        }
        if seq > last + 1 {
            return Offer::Gap;
        }
        state.transcript.append(piece);
        state.newest = Some(Encoded { seq, plain: frame, numbered: None });
        state.wake();
        Offer::Applied
    }

    /// Takes pieces that the holder sent on request; says whether it is the holder.
    pub fn heal(&self, attached: Attached) -> bool {
        let mut state = self.lock();
        if attached.epoch < state.epoch.max(state.fence) {
            return false;
        }
        if attached.epoch > state.epoch {
            state.go_on(attached.epoch, attached.lineage);
        }
        state.append_missing(attached.after, attached.pieces);
        state.wake();
        true
    }

    /// Ends the stream with what the store has: the text this node missed, then the terminal frame as number `last_seq`.
    pub fn conclude(&self, epoch: i64, last_seq: u64, answer: &str, frame: Utf8Bytes) {
        let mut state = self.lock();
        if state.transcript.has_ended() {
            return;
        }
        if epoch > state.epoch {
            state.restart(epoch);
        }
        state.exact_until = state.transcript.last_seq();
        if let Some(missing) = answer.strip_prefix(state.transcript.text(Channel::Token).as_str())
            && !missing.is_empty()
        {
            state.transcript.append_text(Channel::Token, missing);
        }
        while state.transcript.last_seq() + 1 < last_seq {
            state.transcript.append_text(Channel::Token, "");
        }
        state.transcript.append(Piece::End(frame.to_string()));
        state.wake();
    }

    /// Marks that a remote node reads along, and gives it what it misses.
    pub fn attach(&self, epoch: i64, after: u64, max_bytes: usize) -> Attached {
        let mut state = self.lock();
        state.attached = true;
        let last = state.transcript.last_seq();
        let known = epoch == state.epoch || state.lineage.goes_on_from(epoch, after);
        let after = if known { after.min(last) } else { 0 };
        let pieces = state.transcript.pieces(after, max_bytes);
        let has_more = after + (pieces.len() as u64) < last;
        Attached { epoch: state.epoch, lineage: state.lineage, after, pieces, has_more }
    }

    /// Where the pieces here come from.
    pub fn lineage(&self) -> Lineage {
        self.lock().lineage
    }

    /// The epoch and the number of the newest frame here.
    pub fn position(&self) -> (i64, u64) {
        let state = self.lock();
        (state.epoch, state.transcript.last_seq())
    }

    /// The time for a frame made now, in epoch milliseconds.
    pub(super) fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    /// What follows this position is what the holder sent after it: nothing was put together from the stored answer, or
    /// only the terminal frame is missing.
    pub(super) fn is_exact(&self, after: u64) -> bool {
        let state = self.lock();
        let only_end_follows = state.transcript.has_ended() && after + 1 >= state.transcript.last_seq();
        after <= state.exact_until || only_end_follows
    }

    /// The text of the answer so far.
    pub(super) fn text(&self) -> String {
        self.lock().transcript.text(Channel::Token)
    }

    /// The terminal frame is here.
    pub fn has_ended(&self) -> bool {
        self.lock().transcript.has_ended()
    }

    /// Wakes this inbox on every push, until [`TurnStream::forget`].
    pub(super) fn wake_on_push(&self, inbox: &Arc<Inbox>) {
        self.lock().readers.push(inbox.clone());
    }

    pub(super) fn forget(&self, inbox: &Arc<Inbox>) {
        let mut state = self.lock();
        if let Some(place) = state.readers.iter().position(|reader| Arc::ptr_eq(reader, inbox)) {
            state.readers.swap_remove(place);
        }
    }

    /// The next frame for a reader that has `(epoch, seq)`; see [`super::Reader`].
    pub(super) fn read(&self, epoch: i64, seq: u64, numbered: bool) -> Read {
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.epoch < state.fence {
            return Read::Nothing;
        }
        if epoch != state.epoch {
            let epoch_now = state.epoch;
            return if state.lineage.goes_on_from(epoch, seq) {
                Read::WentOn { epoch: epoch_now }
            } else {
                Read::Restarted { epoch: epoch_now }
            };
        }
        let (last, frame, ended) = match state.transcript.next(seq) {
            None => return Read::Nothing,
            Some(Next::Event { seq, frame }) => (seq, Some(frame.clone()), false),
            Some(Next::End { seq, frame }) => (seq, Some(frame.clone()), true),
            Some(Next::Text { seq: last, text: "", .. }) => (last, None, false),
            Some(Next::Text { seq: last, channel, text }) => {
                if last == seq + 1
                    && let Some(newest) = state.newest.as_mut().filter(|newest| newest.seq == last)
                {
                    let frame = newest.frame(epoch, numbered);
                    return Read::Frame { seq: last, frame, collapsed: false, ended: false, asks: false };
                }
                (last, Some(self.encode_text(channel, text)), false)
            }
        };
        let Some(frame) = frame else {
            return Read::Skip { seq: last };
        };
        let asks = protocol::asks_for_approval(frame.as_ref()) && state.transcript.last_seq() <= last + 1;
        let frame = if numbered { protocol::numbered(&frame, epoch, last) } else { frame };
        Read::Frame { seq: last, frame, collapsed: last > seq + 1, ended, asks }
    }

    fn push(&self, epoch: i64, frame: Utf8Bytes, append: impl FnOnce(&mut Transcript) -> u64) -> Option<Pushed> {
        let mut state = self.lock();
        if epoch != state.epoch {
            return None;
        }
        let seq = append(&mut state.transcript);
        state.newest = Some(Encoded { seq, plain: frame.clone(), numbered: None });
        state.wake();
        Some(Pushed { seq, frame, publish: state.attached })
    }

    fn encode_text(&self, channel: Channel, text: &str) -> Utf8Bytes {
        let now = self.clock.now_ms();
        match channel {
            Channel::Token => Event::stream_token(&self.about.request_id, now, text).encode(),
            Channel::Reasoning => Event::stream_reasoning(&self.about.request_id, now, text).encode(),
        }
    }

    /// A panic while it was held leaves at worst a frame unsent, which readers see as the end of the stream being late.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What [`TurnStream::read`] found.
pub(super) enum Read {
    Nothing,
    Frame {
        seq: u64,
        frame: Utf8Bytes,
        collapsed: bool,
        ended: bool,
        /// A person's approval is asked for, and nothing shows that it was given.
        asks: bool,
    },
    /// Numbers without text of their own.
    Skip {
        seq: u64,
    },
    /// Another holder goes on with the turn; what was read stays as it was.
    WentOn {
        epoch: i64,
    },
    /// Another holder took the turn; its text starts again.
    Restarted {
        epoch: i64,
    },
}

impl State {
    /// Turns to a later epoch, and keeps what is here if that is a beginning of it.
    fn go_on(&mut self, epoch: i64, lineage: Lineage) {
        if !lineage.goes_on_from(self.epoch, self.transcript.last_seq()) {
            self.restart(epoch);
        }
        (self.epoch, self.lineage) = (epoch, lineage);
    }

    /// Appends those of the pieces behind position `after` that are not here yet.
    fn append_missing(&mut self, after: u64, pieces: Vec<Piece>) {
        let here = self.transcript.last_seq();
        let Some(known) = here.checked_sub(after) else { return };
        for piece in pieces.into_iter().skip(usize::try_from(known).unwrap_or(usize::MAX)) {
            self.transcript.append(piece);
        }
    }

    fn restart(&mut self, epoch: i64) {
        self.epoch = epoch;
        self.lineage = Lineage::of(epoch);
        self.transcript = Transcript::default();
        self.newest = None;
        self.exact_until = u64::MAX;
    }

    fn wake(&self) {
        for reader in &self.readers {
            reader.wake();
        }
    }
}

impl Encoded {
    /// The frame as a reader wants it; the numbered form is made once, when the first reader asks for it.
    fn frame(&mut self, epoch: i64, numbered: bool) -> Utf8Bytes {
        if !numbered {
            return self.plain.clone();
        }
        let (plain, seq) = (&self.plain, self.seq);
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
        assert!(matches!(stream.read(1, 0, true), Read::Nothing));
        assert!(!stream.heal(attached(1)));
        assert_eq!(stream.offer(1, 2, Piece::Event("{}".into()), "{}".into()), Offer::Fenced);
        assert!(stream.heal(attached(2)));
        assert!(matches!(stream.read(2, 0, true), Read::Frame { .. }));
        assert_eq!(stream.text(), "of 2");
    }
}
