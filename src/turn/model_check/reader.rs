//! What a reader is told, and what a node does when one comes; `turn::resume`, `turn::join` and `turn::follow`, without
//! waiting.

use crate::store::TurnState;

use super::super::place::{Place, Told};
use super::super::stream::{Resume, State, ToldBy};
use super::super::transcript::Next;
use super::Flaw;
use super::world::{Reader, World};

/// A frame, as a client gets it.
struct Frame {
    epoch: i64,
    seq: u64,
    body: Body,
}

enum Body {
    Text(String),
    Event,
    End(String),
}

impl World {
    /// Readers take all that there is.
    pub fn read_all(&mut self) {
        for index in 0..self.readers.len() {
            while self.broken.is_none() && self.read(index) {}
        }
    }

    /// A reader takes what there is next; says whether there was something.
    pub fn read(&mut self, index: usize) -> bool {
        let reader = &mut self.readers[index];
        let Some(node) = reader.at.map(|at| &self.nodes[at]).filter(|node| !node.paused) else { return false };
        let Some(stream) = &node.stream else { return false };
        let told = reader.place.next(|epoch, seq| {
            stream.read(epoch, seq).map(|seq, next| Frame {
                epoch,
                seq,
                body: match next {
                    Next::Text { text, .. } => Body::Text(text.to_owned()),
                    Next::Event { .. } => Body::Event,
                    Next::End { frame, .. } => Body::End(frame.to_string()),
                },
            })
        });
        match told {
            Told::Nothing => return false,
            Told::Restarted(epoch) => {
                self.broken = self.broken.or(reader.hear_of(epoch));
                (reader.text, reader.seq) = (String::new(), 0);
            }
            Told::Frame(frame) => self.take(index, frame),
        }
        true
    }

    fn take(&mut self, index: usize, Frame { epoch, seq, body }: Frame) {
        let reader = &mut self.readers[index];
        if reader.numbered {
            self.broken = self.broken.or(reader.hear_of(epoch));
            if seq <= reader.seq {
                self.broken = Some("no number is told twice");
            }
        }
        reader.seq = seq;
        match body {
            Body::Text(_) if reader.returned => self.broken = Some("no text is told twice"),
            Body::Text(text) => reader.text.push_str(&text),
            Body::Event => {}
            Body::End(end) => {
                if reader.end.replace(end).is_some() {
                    self.broken = Some("there is one ending");
                }
                return self.check_end(index);
            }
        }
        let reader = &self.readers[index];
        let true_to = |epoch: usize| self.said(epoch as i64, u64::MAX).starts_with(&reader.text);
        let is_true =
            if reader.numbered { self.said(epoch, seq) == reader.text } else { (0..self.truth.len()).any(true_to) };
        if !is_true {
            self.broken = Some("a reader has exactly what was said");
        }
    }

    /// A reader was told how the turn ended.
    fn check_end(&mut self, index: usize) {
        let (reader, life) = (&self.readers[index], &self.row.life);
        if !life.state.is_final() || reader.end != Some(self.row.terminal()) {
            self.broken = Some("an ending is the one that the store has");
            return;
        }
        // A client without numbers whose text began again gets the answer with the ending, and no more text. A node that
        // learns of the ending from the store begins again after a park, too.
        let began_again = !self.said(life.epoch, u64::MAX).starts_with(&reader.text) || self.row.parked.is_some();
        let whole = reader.numbered || !began_again;
        if life.answer.is_some() && whole && !reader.returned && reader.text != self.row.answer {
            self.broken = Some("in the end a reader has the answer");
        }
    }

    /// A reader comes to a node, whose holder answers, or nobody does.
    pub fn come(&mut self, index: usize, to: usize, whom: Option<usize>, flaw: Option<Flaw>) -> bool {
        let reader = &self.readers[index];
        if self.nodes[to].paused || reader.end.is_some() {
            return false;
        }
        if reader.at.is_some() {
            let Some(left) = self.left.moves.checked_sub(1) else { return false };
            self.left.moves = left;
        }
        let (numbered, after) = (reader.numbered, reader.seq);
        let holds = self.nodes[to].run.is_some();
        self.open(to, flaw);
        let here = self.nodes[to].stream.get_or_insert_default();
        let told_by = if holds || here.has_ended() {
            // Nobody is asked.
            whom.is_none().then_some(if holds { ToldBy::Holder } else { ToldBy::Store })
        } else if let Some(whom) = whom {
            self.attach(to, whom).and_then(|attached| {
                let healed = self.nodes[to].stream.as_mut()?.heal(attached);
                Some(if healed { ToldBy::Holder } else { ToldBy::Nobody })
            })
        } else {
            self.look(to, flaw)
        };
        let Some(told_by) = told_by else { return false };
        let (stored, state) = (self.row.life.epoch, self.row.life.state);
        let stream = self.nodes[to].stream.get_or_insert_default();
        let (epoch, newest) = stream.position();
        let reader = &mut self.readers[index];
        reader.at = Some(to);
        if !numbered {
            reader.returned = true;
            reader.place = Place::only_end(epoch, false);
            // What is over is in the conversation's history, which a client that comes back asks for.
            if self.row.life.state.is_final() {
                (reader.at, reader.end) = (None, Some(self.row.terminal()));
            }
            return true;
        }
        let verdict = match flaw {
            Some(Flaw::ANumberMeansTheSameInEveryRun) if after > 0 && after <= newest => Resume::Exactly,
            _ => stream.resume(stored, state, after, told_by),
        };
        match verdict {
            Resume::Exactly => reader.place = Place::at(epoch, after, true),
            Resume::Anew => {
                reader.place = Place::at(epoch, 0, true);
                (reader.text, reader.seq) = (String::new(), 0);
            }
            Resume::Ahead => self.broken = Some("a true position is never refused"),
        }
        true
    }

    /// The turn's stream on a node that a reader comes to, which looks into the store first.
    fn open(&mut self, to: usize, flaw: Option<Flaw>) {
        let (life, watched) = (self.row.life.clone(), self.is_watched(to));
        if self.nodes[to].run.as_ref().is_some_and(|run| run.epoch < life.epoch) {
            self.lose(to, flaw);
        }
        let here = &mut self.nodes[to];
        let over = here.stream.as_ref().is_none_or(|stream| stream.has_ended() && !watched);
        if over && here.run.is_none() {
            here.stream = Some(State::default());
            if life.state.is_final() {
                self.conclude(to);
                return;
            }
        }
        self.fence(to, flaw);
    }

    fn fence(&mut self, node: usize, flaw: Option<Flaw>) {
        if flaw != Some(Flaw::TheStoresEpochIsIgnored) {
            self.nodes[node].stream.get_or_insert_default().fence(self.row.life.epoch);
        }
    }

    fn conclude(&mut self, node: usize) {
        let (life, end) = (&self.row.life, self.row.terminal());
        let stream = self.nodes[node].stream.get_or_insert_default();
        stream.conclude(life.epoch, life.last_seq.unsigned_abs(), &self.row.answer, end);
    }

    /// A node that follows looks into the store.
    pub fn look(&mut self, node: usize, flaw: Option<Flaw>) -> Option<ToldBy> {
        let life = self.row.life.clone();
        let stream = self.nodes[node].stream.as_mut()?;
        match life.state {
            TurnState::Completed | TurnState::Failed | TurnState::Cancelled => self.conclude(node),
            TurnState::Queued | TurnState::Parked => {
                if let Some(parked) = self.row.parked.clone().filter(|_| stream.lacks(life.epoch, life.last_seq)) {
                    stream.restore(parked);
                }
            }
            TurnState::Running => self.fence(node, flaw),
        }
        let is_over = life.state != TurnState::Running && life.state != TurnState::Queued;
        Some(if is_over { ToldBy::Store } else { ToldBy::Nobody })
    }
}

impl Reader {
    /// An epoch is told to the client; says which promise that breaks.
    fn hear_of(&mut self, epoch: i64) -> Option<&'static str> {
        let older = epoch < self.epoch;
        self.epoch = epoch;
        older.then_some("no older epoch after a newer one")
    }
}
