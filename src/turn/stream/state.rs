//! What a node knows of one turn's stream, and every decision about it. Pure: no lock, no clock, no IO.
//!
//! [`super::TurnStream`] is a lock and wake-ups around this, and the model of a turn's life (`turn::model_check`) is built
//! of the very same values: a decision that is taken elsewhere is one that nothing has checked.

use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::protocol;
use crate::store::TurnState;

use super::super::lineage::{Attached, Lineage, Parked};
use super::super::transcript::{Channel, Next, Piece, Transcript};

/// The pieces of a turn that are here, and whose they are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    epoch: i64,
    /// Some node runs the turn under this epoch: what an earlier run said, or still says, is shown to nobody.
    fence: i64,
    lineage: Lineage,
    transcript: Transcript,
    /// A remote node attached: frames must be published.
    attached: bool,
    /// Up to here the pieces are the holder's own. What follows was made from the stored answer.
    exact_until: u64,
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

/// What there is for a reader at some position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<T> {
    /// Nothing, for now.
    Nothing,
    /// A frame, or the text of several.
    Frame {
        /// The number of the last frame that it stands for.
        seq: u64,
        /// The frame.
        frame: T,
        /// It is the terminal one.
        ended: bool,
        /// A person's approval is asked for, and nothing shows that it was given.
        asks: bool,
    },
    /// Numbers without text of their own.
    Skip {
        /// The last of them.
        seq: u64,
    },
    /// Another holder goes on with the turn; what was read stays as it was.
    WentOn {
        /// Its epoch.
        epoch: i64,
    },
    /// Another holder took the turn; its text starts again.
    Restarted {
        /// Its epoch.
        epoch: i64,
    },
}

/// Who told this node last what it missed of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToldBy {
    /// The node that runs the turn, this one or another.
    Holder,
    /// The store, of a turn that nobody runs.
    Store,
    /// Nobody: the holder is dead, or there is no way to it.
    Nobody,
}

/// Where a client that comes back reads on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// Right after the number that it shows.
    Exactly,
    /// At the beginning: the number may mean other text here than it did where the client saw it.
    Anew,
    /// Nowhere: the turn has not come so far.
    Ahead,
}

impl<T> Found<T> {
    /// The same with another frame, made from its number and this one.
    pub fn map<U>(self, make: impl FnOnce(u64, T) -> U) -> Found<U> {
        match self {
            Self::Nothing => Found::Nothing,
            Self::Frame { seq, frame, ended, asks } => Found::Frame { seq, frame: make(seq, frame), ended, asks },
            Self::Skip { seq } => Found::Skip { seq },
            Self::WentOn { epoch } => Found::WentOn { epoch },
            Self::Restarted { epoch } => Found::Restarted { epoch },
        }
    }
}

impl Default for State {
    /// Nothing is here. Epoch 0: no holder yet.
    fn default() -> Self {
        Self {
            epoch: 0,
            fence: 0,
            lineage: Lineage::of(0),
            transcript: Transcript::default(),
            attached: false,
            exact_until: u64::MAX,
        }
    }
}

impl State {
    /// Begins a run: a later epoch than the one so far starts the text again, or goes on where the turn was parked. `false`:
    /// a run of this epoch or a later one is here already, and nothing changes.
    pub fn begin(&mut self, epoch: i64, parked: Option<Parked>) -> bool {
        if epoch <= self.epoch {
            return false;
        }
        match parked {
            None => self.restart(epoch),
            Some(parked) => {
                self.go_on(epoch, parked.next_lineage(epoch));
                self.append_missing(0, parked.pieces);
            }
        }
        true
    }

    /// The store knows of a run under this epoch. What is here of an earlier one is not read any more, and no such piece is
    /// taken: a holder that does not know yet that it was replaced must not be believed.
    pub fn fence(&mut self, epoch: i64) {
        self.fence = self.fence.max(epoch);
    }

    /// All pieces so far and those that are about to follow, for the time that the turn is parked.
    pub fn to_park(&self, following: impl IntoIterator<Item = Piece>) -> Parked {
        let mut pieces = self.transcript.pieces(0, usize::MAX);
        pieces.extend(following);
        Parked { epoch: self.epoch, lineage: self.lineage, pieces }
    }

    /// Appends what the run of this epoch made, and returns its number; `None`, and nothing is appended, when a later run
    /// began here.
    pub fn push(&mut self, epoch: i64, append: impl FnOnce(&mut Transcript) -> u64) -> Option<u64> {
        (epoch == self.epoch).then(|| append(&mut self.transcript))
    }

    /// Takes a frame that the bus brought.
    pub fn offer(&mut self, epoch: i64, seq: u64, piece: Piece) -> Offer {
        if epoch < self.epoch.max(self.fence) {
            return Offer::Fenced;
        }
        if epoch > self.epoch {
            if seq > 1 {
                // It may go on from what is here, or not: the holder knows.
                return Offer::Gap;
            }
            self.restart(epoch);
        }
        let last = self.transcript.last_seq();
        if seq <= last {
            return Offer::Repeated;
        }
        if seq > last + 1 {
            return Offer::Gap;
        }
        self.transcript.append(piece);
        Offer::Applied
    }

    /// Takes pieces that the holder sent on request; says whether it is the holder.
    pub fn heal(&mut self, attached: Attached) -> bool {
        if attached.epoch < self.epoch.max(self.fence) {
            return false;
        }
        if attached.epoch > self.epoch {
            self.go_on(attached.epoch, attached.lineage);
        }
        self.append_missing(attached.after, attached.pieces);
        true
    }

    /// What a turn said before it was parked, under this epoch and up to this number, is not all here. 0: it was not parked.
    pub fn lacks(&self, epoch: i64, last_seq: i64) -> bool {
        let (here, seq) = self.position();
        last_seq != 0 && (here != epoch || seq < last_seq.unsigned_abs())
    }

    /// Takes the transcript of a turn that was parked elsewhere; says whether it is as new as what is here.
    pub fn restore(&mut self, parked: Parked) -> bool {
        let Parked { epoch, lineage, pieces } = parked;
        self.heal(Attached { epoch, lineage, after: 0, pieces, has_more: false })
    }

    /// Ends the stream with what the store has: the text this node missed, then the terminal frame as number `last_seq`. 0:
    /// the store does not know how many frames there were, and no position counts any more. `false`: it has ended already.
    pub fn conclude(&mut self, epoch: i64, last_seq: u64, answer: &str, frame: String) -> bool {
        if self.transcript.has_ended() {
            return false;
        }
        if epoch > self.epoch {
            self.restart(epoch);
        }
        self.exact_until = self.transcript.last_seq();
        self.lineage.unbroken &= last_seq > 0;
        let here = self.transcript.text(Channel::Token);
        let missing = answer.strip_prefix(here.as_str()).unwrap_or_default();
        // The text comes last, and nothing is joined with it or with the text before it: whoever has it has the number after
        // which only the ending follows, and whoever has not is where the holder's own pieces end.
        let text_at = last_seq.saturating_sub(u64::from(!missing.is_empty()));
        while self.transcript.last_seq() + 1 < text_at {
            self.transcript.append(Piece::Event(String::new()));
        }
        if !missing.is_empty() {
            self.transcript.append_text(Channel::Token, missing);
        }
        self.transcript.append(Piece::End(frame));
        true
    }

    /// Marks that a remote node reads along, and gives it what it misses.
    pub fn attach(&mut self, epoch: i64, after: u64, max_bytes: usize) -> Attached {
        self.attached = true;
        let last = self.transcript.last_seq();
        let known = epoch == self.epoch || self.lineage.goes_on_from(epoch, after);
        let after = if known { after.min(last) } else { 0 };
        let pieces = self.transcript.pieces(after, max_bytes);
        let has_more = after + (pieces.len() as u64) < last;
        Attached { epoch: self.epoch, lineage: self.lineage, after, pieces, has_more }
    }

    /// A remote node reads along.
    pub fn is_attached(&self) -> bool {
        self.attached
    }

    /// The epoch and the number of the newest frame here.
    pub fn position(&self) -> (i64, u64) {
        (self.epoch, self.transcript.last_seq())
    }

    /// Where the pieces here come from.
    pub fn lineage(&self) -> Lineage {
        self.lineage
    }

    /// The text of the answer so far.
    pub fn text(&self) -> String {
        self.transcript.text(Channel::Token)
    }

    /// The terminal frame is here.
    pub fn has_ended(&self) -> bool {
        self.transcript.has_ended()
    }

    /// Where a client reads on that has every frame up to number `after`. `epoch` and `state` are the turn's in the store,
    /// read before anybody was asked for what is missing.
    ///
    /// A position is refused only when it is known how far the turn has come. A holder knows while the turn runs; once it has
    /// committed more than it has shown, another node may have told the client of it.
    pub fn resume(&self, epoch: i64, state: TurnState, after: u64, told_by: ToldBy) -> Resume {
        let newest = self.transcript.last_seq();
        let certain = epoch <= self.epoch.max(1) && self.lineage.is_certain(after);
        let complete = match told_by {
            ToldBy::Holder => state == TurnState::Running,
            ToldBy::Store => true,
            ToldBy::Nobody => false,
        };
        if certain && after > newest && (complete || self.has_ended()) {
            return Resume::Ahead;
        }
        if certain && after > 0 && after <= newest && self.is_exact(after) { Resume::Exactly } else { Resume::Anew }
    }

    /// What there is for a reader that has `(epoch, seq)`.
    pub fn read(&self, epoch: i64, seq: u64) -> Found<Next<'_>> {
        if self.epoch < self.fence {
            return Found::Nothing;
        }
        if epoch != self.epoch {
            let now = self.epoch;
            let same = self.lineage.goes_on_from(epoch, seq);
            return if same { Found::WentOn { epoch: now } } else { Found::Restarted { epoch: now } };
        }
        let Some(next) = self.transcript.next(seq) else { return Found::Nothing };
        let (last, ended, asks) = match &next {
            Next::Text { seq, text: "", .. } => return Found::Skip { seq: *seq },
            Next::Event { seq, frame } if frame.is_empty() => return Found::Skip { seq: *seq },
            Next::Text { seq, .. } => (*seq, false, false),
            Next::Event { seq, frame } => (*seq, false, self.asks(*seq, frame)),
            Next::End { seq, .. } => (*seq, true, false),
        };
        Found::Frame { seq: last, frame: next, ended, asks }
    }

    /// This frame asks for approval, and at most what belongs to the request follows it.
    fn asks(&self, seq: u64, frame: &Utf8Bytes) -> bool {
        protocol::asks_for_approval(frame.as_ref()) && self.transcript.last_seq() <= seq + 1
    }

    /// What follows this position is what the holder sent after it: nothing was put together from the stored answer, or
    /// only the terminal frame is missing.
    fn is_exact(&self, after: u64) -> bool {
        let only_end_follows = self.transcript.has_ended() && after + 1 >= self.transcript.last_seq();
        after <= self.exact_until || only_end_follows
    }

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
        self.exact_until = u64::MAX;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Piece {
        Piece::Text(Channel::Token, text.to_owned())
    }

    fn said(pieces: &[&str]) -> State {
        let mut state = State::default();
        state.begin(1, None);
        for piece in pieces {
            state.push(1, |transcript| transcript.append(text(piece)));
        }
        state
    }

    /// Every position that a client can be at, with the text that it has there.
    fn positions(state: &State) -> Vec<(u64, String)> {
        let (mut at, mut shown, mut positions) = (0, String::new(), Vec::new());
        loop {
            match state.read(1, at) {
                Found::Frame { seq, frame: Next::Text { text, .. }, .. } => {
                    shown.push_str(text);
                    at = seq;
                    positions.push((at, shown.clone()));
                }
                Found::Skip { seq } => at = seq,
                Found::Frame { .. } | Found::Nothing | Found::WentOn { .. } | Found::Restarted { .. } => {
                    return positions;
                }
            }
        }
    }

    #[test]
    fn text_that_comes_from_the_store_leaves_no_position_that_means_other_text_elsewhere() {
        // More than one frame carries at once.
        let long = "x".repeat(100_000);
        let mut missed = said(&["one "]);
        missed.conclude(1, 5, &format!("one two {long}"), "{end}".into());
        let mut heard = said(&["one ", "two ", &long]);
        heard.push(1, |transcript| transcript.append(Piece::Event("{}".into())));
        heard.push(1, |transcript| transcript.append(Piece::End("{end}".into())));
        assert_eq!(heard.position(), missed.position());
        for (after, shown) in positions(&missed) {
            let before: String =
                heard.transcript.pieces(0, usize::MAX).iter().take(after as usize).map(words).collect();
            assert!(shown == before, "at {after}: {} bytes instead of {}", shown.len(), before.len());
        }
    }

    fn words(piece: &Piece) -> &str {
        match piece {
            Piece::Text(_, text) => text,
            Piece::Event(_) | Piece::End(_) => "",
        }
    }

    #[test]
    fn no_position_counts_when_the_store_does_not_know_how_far_a_turn_came() {
        let mut elsewhere = State::default();
        elsewhere.conclude(1, 0, "", "{cancelled}".into());
        for after in 1..4 {
            let resume = elsewhere.resume(1, TurnState::Cancelled, after, ToldBy::Store);
            assert_eq!(resume, Resume::Anew, "after {after}");
        }
    }

    #[test]
    fn a_holder_that_committed_more_than_it_has_shown_refuses_no_position() {
        let holder = said(&["one "]);
        assert_eq!(holder.resume(1, TurnState::Running, 2, ToldBy::Holder), Resume::Ahead);
        assert_eq!(holder.resume(1, TurnState::Parked, 2, ToldBy::Holder), Resume::Anew);
        assert_eq!(holder.resume(1, TurnState::Completed, 2, ToldBy::Holder), Resume::Anew);
        assert_eq!(holder.resume(1, TurnState::Completed, 1, ToldBy::Holder), Resume::Exactly);
    }
}
