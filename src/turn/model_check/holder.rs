//! What a node does with the turn that it runs; `turn::run` and `turn::lease`, without waiting.

use crate::ids::{MessageId, TurnId};
use crate::store::{self, Act, Finish, Met, Park, StepBody, TurnState, TurnUsage};
use uuid::Uuid;

use super::super::lease;
use super::super::transcript::{Channel, Piece};
use super::Flaw;
use super::act::MAX_ATTEMPTS;
use super::world::{A, B, EDGE, LEASE, Message, Renewed, Row, TICK, World, claim, text_of};

/// A request for approval, as a client sees it.
const REQUEST: &str = "{\"type\":\"write_confirmation_required\",}";

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Completed,
    Failed,
    Cancelled,
}

impl Row {
    /// What a reader must be told at the end.
    pub fn terminal(&self) -> String {
        format!("{}:{}", self.life.state.as_str(), self.answer)
    }
}

impl World {
    /// A run has lost the turn, or has ended. What it was told must not be forgotten with it.
    pub fn lose(&mut self, node: usize, flaw: Option<Flaw>) {
        let Some(run) = self.nodes[node].run.take() else { return };
        if run.cancelled && flaw != Some(Flaw::AStopIsLostWithItsRun) {
            self.cancel();
        }
    }

    /// Asks the store for the turn to end. One that is parked is ended by another run, which there always is.
    pub fn cancel(&mut self) -> Met {
        let was_parked = self.row.life.state == TurnState::Parked;
        let met = self.row.life.apply(Act::Cancel, 0);
        if was_parked {
            self.left.epochs = self.left.epochs.max(1);
        }
        met
    }

    pub fn renew(&mut self, node: usize, flaw: Option<Flaw>) -> bool {
        let claim = claim(node, &self.nodes[node]);
        let here = &mut self.nodes[node];
        let Some(run) = here.run.as_mut().filter(|run| run.renewing.is_none()) else { return false };
        let renewed = match self.row.life.apply(Act::Renew(&claim), 0) {
            Met::Held { epoch, .. } if epoch > run.epoch => Renewed::Lost,
            Met::Held { cancel_requested: true, .. } => Renewed::Cancelled,
            Met::Held { .. } => Renewed::Held,
            Met::Done | Met::CancelRequested | Met::Refused => Renewed::Lost,
        };
        run.renewing = Some((0, renewed));
        if !self.left.slow_renewals {
            self.hear_renewal(node, flaw);
        }
        true
    }

    pub fn hear_renewal(&mut self, node: usize, flaw: Option<Flaw>) -> bool {
        let Some(run) = &mut self.nodes[node].run else { return false };
        let Some((asked, renewed)) = run.renewing.take() else { return false };
        let committed = run.committed.is_some();
        match renewed {
            Renewed::Lost if committed => {}
            Renewed::Lost => self.lose(node, flaw),
            Renewed::Held | Renewed::Cancelled => {
                run.age = if flaw == Some(Flaw::ALeaseBeginsWhenItIsHeardOf) { 0 } else { asked };
                run.cancelled |= renewed == Renewed::Cancelled;
            }
        }
        true
    }

    pub fn say(&mut self, node: usize, flaw: Option<Flaw>) -> bool {
        let tokens = self.left.tokens;
        let Some(run) = &mut self.nodes[node].run else { return false };
        if run.committed.is_some() || run.cancelled || run.attempt > MAX_ATTEMPTS || run.made == tokens {
            return false;
        }
        let token = char::from(b'a' + u8::try_from(run.epoch * 4).unwrap_or(0) + u8::try_from(run.made).unwrap_or(0));
        run.made += 1;
        let piece = Piece::Text(Channel::Token, token.to_string());
        self.truth[usize::try_from(run.epoch).unwrap_or(0)].push(piece.clone());
        run.held_back.push(piece);
        if lease::may_speak(TICK * run.age, LEASE) || flaw == Some(Flaw::AHolderInDoubtSpeaks) {
            self.send_held_back(node);
        }
        true
    }

    fn send_held_back(&mut self, node: usize) {
        let held_back = self.nodes[node].run.as_mut().map(|run| std::mem::take(&mut run.held_back));
        for piece in held_back.into_iter().flatten() {
            self.send(node, piece);
        }
    }

    /// Puts a piece into the stream here, and on the bus if another node reads along.
    fn send(&mut self, node: usize, piece: Piece) {
        let holder = claim(node, &self.nodes[node]).holder;
        let here = &mut self.nodes[node];
        let (Some(run), Some(stream)) = (&here.run, &mut here.stream) else { return };
        let (life, epoch) = (&self.row.life, run.epoch);
        if run.committed.is_none() && (life.holder != Some(holder) || life.epoch != epoch) {
            self.broken = Some("only the holder speaks");
        }
        let Some(seq) = stream.push(epoch, |transcript| transcript.append(piece.clone())) else { return };
        let publish = stream.is_attached();
        for to in [A, B, EDGE].into_iter().filter(|to| publish && *to != node) {
            if self.is_watched(to) && self.flight.len() < self.left.in_flight {
                self.flight.insert(Message::Frame { to, epoch, seq, piece: piece.clone() });
            }
        }
    }

    pub fn fail(&mut self, node: usize, flaw: Option<Flaw>) -> bool {
        let Some(left) = self.left.failures.checked_sub(1) else { return false };
        let Some(run) = &self.nodes[node].run else { return false };
        if run.committed.is_some() || run.cancelled {
            return false;
        }
        let in_touch = lease::may_speak(TICK * run.age, LEASE);
        if !in_touch && self.left.epochs == 0 {
            return false;
        }
        self.left.failures = left;
        if in_touch {
            self.commit(node, Outcome::Failed, flaw);
        } else {
            self.lose(node, flaw);
        }
        true
    }

    /// Commits an ending; what was held back is part of it, and is sent once it is committed.
    pub fn commit(&mut self, node: usize, outcome: Outcome, flaw: Option<Flaw>) {
        if flaw == Some(Flaw::AnEndingSendsWhatWasHeldBack) {
            self.send_held_back(node);
        }
        let holder = claim(node, &self.nodes[node]).holder;
        let here = &self.nodes[node];
        let (Some(run), Some(stream)) = (&here.run, &here.stream) else { return };
        let (epoch, outcome) = (run.epoch, store_outcome(outcome));
        let text = match outcome {
            store::Outcome::Failed(_) => String::new(),
            store::Outcome::Completed | store::Outcome::Cancelled => {
                stream.text() + &run.held_back.iter().filter_map(text_of).collect::<String>()
            }
        };
        let last_seq = stream.position().1 + run.held_back.len() as u64 + 1;
        let mut finish = Finish {
            turn: TurnId(Uuid::nil()),
            epoch,
            holder,
            outcome,
            text,
            message: MessageId(Uuid::from_u128(u128::try_from(epoch).unwrap_or(0))),
            usage: TurnUsage::default(),
            last_seq: i64::try_from(last_seq).unwrap_or(i64::MAX),
        };
        if flaw == Some(Flaw::AnEndingForgetsItsEpoch) {
            finish.epoch = self.row.life.epoch;
            finish.holder = self.row.life.holder.unwrap_or(holder);
        }
        if flaw == Some(Flaw::TheEndIsToldBeforeItIsCommitted) {
            self.send_held_back(node);
            self.send(node, Piece::End(format!("{}:{}", finish.outcome.state().as_str(), finish.text)));
        }
        let before = self.row.life.clone();
        if self.row.life.apply(Act::Finish(&finish), 0) != Met::Done {
            return self.lose(node, flaw);
        }
        if before.state != TurnState::Running || before.epoch != epoch {
            self.broken = Some("only the newest epoch's ending counts");
        }
        self.row.answer = finish.text;
        let end = Piece::End(self.row.terminal());
        if let Some(run) = &mut self.nodes[node].run {
            run.committed = Some(end);
        }
    }

    pub fn park(&mut self, node: usize, flaw: Option<Flaw>) -> bool {
        let holder = claim(node, &self.nodes[node]).holder;
        let here = &self.nodes[node];
        let (Some(run), Some(stream)) = (&here.run, &here.stream) else { return false };
        let idle = run.committed.is_none() && !run.cancelled && run.attempt <= MAX_ATTEMPTS;
        if !idle || run.made < self.left.tokens || !self.needs_approval(run) {
            return false;
        }
        let request = Piece::Event(REQUEST.to_owned());
        let parked = stream.to_park(run.held_back.iter().cloned().chain([request.clone()]));
        let park = Park {
            turn: TurnId(Uuid::nil()),
            epoch: run.epoch,
            holder,
            step: 1,
            body: StepBody { kind: String::new(), payload: serde_json::Value::Null },
            last_seq: i64::try_from(parked.pieces.len()).unwrap_or(i64::MAX),
            patience: TICK,
        };
        match self.row.life.apply(Act::Park(&park), 0) {
            Met::Done => {
                self.truth[usize::try_from(parked.epoch).unwrap_or(0)].push(request.clone());
                self.row.parked = Some(parked);
                if let Some(run) = &mut self.nodes[node].run {
                    run.committed = Some(request);
                }
            }
            Met::CancelRequested => self.commit(node, Outcome::Cancelled, flaw),
            Met::Held { .. } | Met::Refused => self.lose(node, flaw),
        }
        true
    }

    /// Shows what was committed, and is done.
    pub fn show(&mut self, node: usize) -> bool {
        let Some(piece) = self.nodes[node].run.as_ref().and_then(|run| run.committed.clone()) else { return false };
        self.send_held_back(node);
        self.send(node, piece);
        self.lose(node, None);
        true
    }
}

fn store_outcome(outcome: Outcome) -> store::Outcome {
    match outcome {
        Outcome::Completed => store::Outcome::Completed,
        Outcome::Failed => store::Outcome::Failed("AGENT_ERROR".to_owned()),
        Outcome::Cancelled => store::Outcome::Cancelled,
    }
}
