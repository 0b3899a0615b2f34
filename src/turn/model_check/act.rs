//! What can happen in the world, and what comes of it.

use crate::store::{Act, Met, TurnState};

use super::super::lease;
use super::super::stream::State;
use super::Flaw;
use super::holder::Outcome;
use super::world::{A, B, EDGE, LEASE, Message, TICK, World, claim};

/// One thing that happens. Numbers are nodes, or readers.
#[derive(Clone, Debug)]
pub enum Action {
    /// Time passes, for everybody.
    Tick,
    /// A node claims the turn, and begins to run it.
    Claim(usize),
    /// A node's renewal reaches the store.
    Renew(usize),
    /// A node hears what the store said to its renewal.
    HearRenewal(usize),
    /// A node's agent makes a token.
    Say(usize),
    /// A node's agent fails.
    Fail(usize),
    /// A node writes the ending of its run.
    Finish(usize),
    /// A node parks the turn.
    Park(usize),
    /// A node shows what it has committed.
    Show(usize),
    /// A node that follows asks one that holds.
    Ask(usize, usize),
    /// A node that follows looks into the store.
    LookUp(usize),
    /// Something arrives.
    Deliver(Message),
    /// Something arrives, and will arrive again.
    Double(Message),
    /// Something is lost.
    Lose(Message),
    /// A node stops for any time.
    Pause(usize),
    /// It goes on.
    Continue(usize),
    /// A node dies, and is started anew.
    Crash(usize),
    /// A node gives its turn back.
    Release(usize),
    /// Somebody presses Stop, on a node that runs the turn or on any other.
    Stop(Option<usize>),
    /// A node that runs the turn is told of it.
    HearStop(usize),
    /// A person approves.
    Approve,
    /// Nobody did in time.
    Expire,
    /// A reader takes what there is next.
    Read(usize),
    /// A reader comes to a node, which asks this one that holds, or gets no answer and looks into the store.
    Come(usize, usize, Option<usize>),
}

/// How often a turn may be run.
pub const MAX_ATTEMPTS: i32 = 2;

impl World {
    /// Everything that may be able to happen; [`World::after`] knows. Leaving out early what cannot saves most of the time.
    pub fn actions(&self) -> Vec<Action> {
        let mut actions = vec![Action::Tick];
        if self.row.life.state == TurnState::Parked {
            actions.extend([Action::Approve, Action::Expire]);
        }
        if self.left.stops > 0 {
            actions.push(Action::Stop(None));
        }
        for node in [A, B, EDGE] {
            self.actions_of(node, &mut actions);
        }
        for message in &self.flight {
            actions.extend([Action::Deliver(message.clone()), Action::Double(message.clone())]);
            // One that never arrives is lost; saying so matters only when it makes room.
            if self.flight.len() >= self.left.in_flight {
                actions.push(Action::Lose(message.clone()));
            }
        }
        for (index, reader) in self.readers.iter().enumerate() {
            if self.left.slow_readers {
                actions.push(Action::Read(index));
            }
            if reader.end.is_none() && (reader.at.is_none() || self.left.moves > 0) {
                for to in [A, EDGE].into_iter().filter(|to| reader.at != Some(*to)) {
                    actions.push(Action::Come(index, to, None));
                    actions.extend(self.runners(to).map(|whom| Action::Come(index, to, Some(whom))));
                }
            }
        }
        actions
    }

    /// Nodes other than this one that run the turn, or believe so.
    fn runners(&self, node: usize) -> impl Iterator<Item = usize> {
        [A, B].into_iter().filter(move |whom| *whom != node && self.nodes[*whom].run.is_some())
    }

    fn actions_of(&self, node: usize, actions: &mut Vec<Action>) {
        let (here, left) = (&self.nodes[node], &self.left);
        if left.crashes > 0 && here.run.is_some() {
            actions.push(Action::Crash(node));
        }
        if here.paused {
            return actions.push(Action::Continue(node));
        }
        if node != EDGE && left.epochs > 0 && self.row.life.is_free(0) {
            actions.push(Action::Claim(node));
        }
        let Some(run) = &here.run else {
            if self.follows(node) {
                actions.push(Action::LookUp(node));
                actions.extend(self.runners(node).map(|whom| Action::Ask(node, whom)));
            }
            return;
        };
        if left.pauses > 0 {
            actions.push(Action::Pause(node));
        }
        if left.stops > 0 {
            actions.push(Action::Stop(Some(node)));
        }
        actions.push(if run.renewing.is_some() { Action::HearRenewal(node) } else { Action::Renew(node) });
        if run.committed.is_some() {
            return actions.push(Action::Show(node));
        }
        if run.made < left.tokens {
            actions.push(Action::Say(node));
        } else if self.needs_approval(run) {
            actions.push(Action::Park(node));
        }
        actions.push(Action::Finish(node));
        if left.failures > 0 {
            actions.push(Action::Fail(node));
        }
        if left.releases > 0 {
            actions.push(Action::Release(node));
        }
        if self.row.life.cancel_requested && !run.cancelled {
            actions.push(Action::HearStop(node));
        }
    }

    /// The world after something happened; `None` when it cannot happen now.
    pub fn after(&self, action: &Action, flaw: Option<Flaw>) -> Option<Box<Self>> {
        let mut world = Box::new(self.clone());
        let happened = match action {
            Action::Tick => world.tick(),
            Action::Claim(node) => world.claim(*node, flaw),
            Action::Renew(node) => world.renew(*node, flaw),
            Action::HearRenewal(node) => world.hear_renewal(*node, flaw),
            Action::Say(node) => world.say(*node, flaw),
            Action::Fail(node) => world.fail(*node, flaw),
            Action::Finish(node) => world.finish(*node, flaw),
            Action::Park(node) => world.park(*node, flaw),
            Action::Show(node) => world.show(*node),
            Action::Ask(node, whom) => world.ask(*node, *whom),
            Action::LookUp(node) => world.follows(*node) && world.look(*node, flaw).is_some(),
            Action::Deliver(message) => world.deliver(message, false, flaw),
            Action::Double(message) => world.deliver(message, true, flaw),
            Action::Lose(message) => world.flight.remove(message),
            Action::Pause(node) => world.pause(*node),
            Action::Continue(node) => std::mem::take(&mut world.nodes[*node].paused),
            Action::Crash(node) => world.crash(*node),
            Action::Release(node) => world.release(*node),
            Action::Stop(node) => world.stop(*node),
            Action::HearStop(node) => world.hear_stop(*node),
            Action::Approve => world.left.epochs > 0 && world.row.life.apply(Act::Answer, 0) == Met::Done,
            Action::Expire => world.row.life.apply(Act::Expire, 0) == Met::Done,
            Action::Read(reader) => world.read(*reader),
            Action::Come(reader, to, whom) => world.come(*reader, *to, *whom, flaw),
        };
        if !happened {
            return None;
        }
        if self.row.life.state.is_final() && self.row != world.row {
            world.broken = Some("what has ended never changes");
        }
        if !world.left.slow_readers {
            world.read_all();
        }
        world.tidy();
        Some(world)
    }

    fn tick(&mut self) -> bool {
        let life = &mut self.row.life;
        // The last run that there may be renews in time, or the search would find that the turn never ends.
        if self.left.epochs == 0 && life.lease_until == Some(0) {
            return false;
        }
        life.lease_until = life.lease_until.map(|until| (until - 1).max(-1));
        life.parked_until = life.parked_until.map(|until| (until - 1).max(0));
        self.nodes.iter_mut().for_each(|node| node.tick());
        true
    }

    fn claim(&mut self, node: usize, flaw: Option<Flaw>) -> bool {
        let claim = claim(node, &self.nodes[node]);
        let queued = self.row.life.state == TurnState::Queued;
        if self.left.epochs == 0 || (flaw == Some(Flaw::ALeaseNeverRunsOut) && !queued) {
            return false;
        }
        let Met::Held { epoch, attempt, cancel_requested } = self.row.life.apply(Act::Claim(&claim), 0) else {
            return false;
        };
        self.left.epochs -= 1;
        self.lose(node, flaw);
        let parked = self.row.parked.clone();
        self.truth.push(parked.iter().flat_map(|parked| parked.pieces.clone()).collect());
        self.nodes[node].begin(epoch, attempt, cancel_requested, parked);
        true
    }

    /// A node that follows asks one that holds the turn and may speak for it.
    fn ask(&mut self, node: usize, whom: usize) -> bool {
        if !self.follows(node) {
            return false;
        }
        let slow = self.left.slow_answers;
        if slow && self.flight.len() >= self.left.in_flight {
            return false;
        }
        let Some(attached) = self.attach(node, whom) else { return false };
        if slow {
            return self.flight.insert(Message::Reply { to: node, attached });
        }
        self.nodes[node].stream.as_mut().is_some_and(|stream| stream.heal(attached))
    }

    /// A node follows the turn: somebody there watches it, and it runs elsewhere.
    pub fn follows(&self, node: usize) -> bool {
        let node = &self.nodes[node];
        !node.paused && node.run.is_none() && node.stream.as_ref().is_some_and(|stream| !stream.has_ended())
    }

    /// What a holder answers to a node that asks where to go on.
    pub fn attach(&mut self, node: usize, whom: usize) -> Option<super::super::lineage::Attached> {
        let (epoch, seq) = self.nodes[node].stream.as_ref().map_or((0, 0), State::position);
        let there = &mut self.nodes[whom];
        let run = there.run.as_ref().filter(|_| whom != node && !there.paused)?;
        if !lease::may_speak(TICK * run.age, LEASE) {
            return None;
        }
        Some(there.stream.as_mut()?.attach(epoch, seq, usize::MAX))
    }

    fn deliver(&mut self, message: &Message, again: bool, flaw: Option<Flaw>) -> bool {
        let to = &mut self.nodes[message.to()];
        if to.paused {
            return false;
        }
        // A node that runs the turn itself takes nothing from the bus.
        if let Some(stream) = to.stream.as_mut().filter(|stream| to.run.is_none() && !stream.has_ended()) {
            match message.clone() {
                Message::Frame { epoch, seq, piece, .. } => {
                    let ours = stream.position().0;
                    let epoch = if flaw == Some(Flaw::OldFramesAreTaken) { epoch.max(ours) } else { epoch };
                    stream.offer(epoch, seq, piece);
                }
                Message::Reply { attached, .. } => {
                    stream.heal(attached);
                }
            }
        }
        again || self.flight.remove(message)
    }

    fn pause(&mut self, node: usize) -> bool {
        let Some(left) = self.left.pauses.checked_sub(1) else { return false };
        self.left.pauses = left;
        self.nodes[node].paused = true;
        true
    }

    fn crash(&mut self, node: usize) -> bool {
        let Some(left) = self.left.crashes.checked_sub(1) else { return false };
        let Some(run) = &self.nodes[node].run else { return false };
        let life = &self.row.life;
        if self.left.epochs == 0 && run.epoch == life.epoch && life.state == TurnState::Running {
            return false;
        }
        self.left.crashes = left;
        // Whoever was told of it is gone.
        self.stopped &= !run.cancelled || life.cancel_requested;
        let starts = self.nodes[node].starts + 1;
        self.nodes[node] = super::world::Node { starts, ..Default::default() };
        for reader in self.readers.iter_mut().filter(|reader| reader.at == Some(node)) {
            reader.at = None;
        }
        true
    }

    fn release(&mut self, node: usize) -> bool {
        let Some(left) = self.left.releases.checked_sub(1) else { return false };
        let holder = claim(node, &self.nodes[node]).holder;
        let here = &mut self.nodes[node];
        if self.left.epochs == 0 || !here.run.as_ref().is_some_and(|run| run.committed.is_none() && !run.cancelled) {
            return false;
        }
        self.left.releases = left;
        here.run = None;
        let before = self.row.life.attempt;
        if self.row.life.apply(Act::Release(holder), 0) == Met::Done && self.row.life.attempt != before - 1 {
            self.broken = Some("giving a turn back consumes no attempt");
        }
        true
    }

    fn stop(&mut self, node: Option<usize>) -> bool {
        let Some(left) = self.left.stops.checked_sub(1) else { return false };
        match node {
            Some(node) => {
                let Some(run) = &mut self.nodes[node].run else { return false };
                run.cancelled = true;
            }
            None => {
                if self.cancel() == Met::Refused {
                    return false;
                }
            }
        }
        self.left.stops = left;
        self.stopped = true;
        true
    }

    fn hear_stop(&mut self, node: usize) -> bool {
        let Some(run) = &mut self.nodes[node].run else { return false };
        let marked = self.row.life.cancel_requested && run.epoch == self.row.life.epoch;
        marked && !std::mem::replace(&mut run.cancelled, true)
    }

    fn finish(&mut self, node: usize, flaw: Option<Flaw>) -> bool {
        let Some(run) = self.nodes[node].run.as_ref().filter(|run| run.committed.is_none()) else { return false };
        let outcome = if run.cancelled {
            Outcome::Cancelled
        } else if run.attempt > MAX_ATTEMPTS {
            Outcome::Failed
        } else if run.made == self.left.tokens && !self.needs_approval(run) {
            Outcome::Completed
        } else {
            return false;
        };
        self.commit(node, outcome, flaw);
        true
    }

    /// Nobody has approved what this run is about to do.
    pub fn needs_approval(&self, run: &super::world::Run) -> bool {
        self.left.asks && self.row.parked.as_ref().is_none_or(|parked| run.epoch <= parked.epoch)
    }
}
