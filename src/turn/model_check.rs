//! A model of the turn's life, searched exhaustively: whatever a small world can do, in whichever order, keeps the promises.
//!
//! The world consists of the values that production decides with. What is not production's own is who may be late: a node
//! that is paused between two steps, a frame that arrives twice, late or never, a clock that goes on meanwhile. Each of
//! [`Flaw`] turns one guard off, and the search must find what that guard is for.

mod act;
mod holder;
mod reader;
mod search;
mod world;

use crate::store::TurnState;

use act::{Action, MAX_ATTEMPTS};
use search::{Found, Model, explore};
use world::{A, Budget, EDGE, World};

/// A guard that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// A holder whose lease may be over goes on speaking.
    AHolderInDoubtSpeaks,
    /// What was held back is sent with an ending that is not committed yet.
    AnEndingSendsWhatWasHeldBack,
    /// A renewal counts from the moment its answer arrives.
    ALeaseBeginsWhenItIsHeardOf,
    /// The store takes an ending whoever writes it.
    AnEndingForgetsItsEpoch,
    /// The terminal frame is sent first.
    TheEndIsToldBeforeItIsCommitted,
    /// A follower takes frames of replaced holders.
    OldFramesAreTaken,
    /// A node that looks into the store does not keep the epoch that it finds there.
    TheStoresEpochIsIgnored,
    /// A client that resumes is believed by number alone.
    ANumberMeansTheSameInEveryRun,
    /// Nobody takes the turn of a node that died.
    ALeaseNeverRunsOut,
    /// Only the run that somebody stopped knows of it.
    AStopIsLostWithItsRun,
}

/// A world, and the guard that is missing in it.
struct Lives {
    budget: Budget,
    /// Where the readers wait, and whether their frames are numbered.
    readers: &'static [(usize, bool)],
    flaw: Option<Flaw>,
}

impl Model for Lives {
    type State = Box<World>;
    type Action = Action;

    fn begin(&self) -> Box<World> {
        Box::new(World::new(self.budget, self.readers))
    }

    fn next(&self, world: &Box<World>) -> Vec<(Action, Box<World>)> {
        let after = |action: Action| world.after(&action, self.flaw).map(|world| (action, world));
        world.actions().into_iter().filter_map(after).collect()
    }

    fn broken(&self, world: &Box<World>) -> Option<&'static str> {
        let told = world.row.life.cancel_requested || world.row.life.state.is_final();
        let known = world.nodes.iter().flat_map(|node| &node.run).any(|run| run.cancelled);
        world.broken.or((world.stopped && !told && !known).then_some("a stop is not forgotten"))
    }

    fn has_ended(&self, world: &Box<World>) -> bool {
        world.row.life.state.is_final() && world.readers.iter().all(|reader| reader.end.is_some())
    }

    fn shows(&self, world: &Box<World>) -> Vec<&'static str> {
        let (life, parked) = (&world.row.life, world.row.parked.as_ref());
        let runs = || world.nodes.iter().filter_map(|node| node.run.as_ref());
        let went_on = parked.is_some_and(|parked| life.epoch > parked.epoch) && life.state == TurnState::Running;
        let shown = [
            ("a takeover", parked.is_none() && life.epoch > 1 && life.state == TurnState::Running),
            ("a holder that was replaced and does not know it", runs().any(|run| run.epoch < life.epoch)),
            ("words held back", runs().any(|run| !run.held_back.is_empty())),
            ("a turn given up", runs().any(|run| run.attempt > MAX_ATTEMPTS)),
            ("a turn given back", parked.is_none() && life.epoch > 0 && life.state == TurnState::Queued),
            ("a run that goes on after an approval", went_on),
            ("an approval that nobody gave", life.error_code.as_deref() == Some(crate::store::EXPIRED)),
            ("a stop that a paused node has not heard of", {
                let mut paused = world.nodes.iter().filter(|node| node.paused).filter_map(|node| node.run.as_ref());
                life.cancel_requested && paused.any(|run| !run.cancelled)
            }),
            ("a reader whose text began again", world.readers.iter().any(|reader| reader.numbered && reader.epoch > 1)),
            (
                "a reader with the answer",
                world
                    .readers
                    .iter()
                    .any(|reader| reader.end.is_some() && !reader.text.is_empty() && reader.text == world.row.answer),
            ),
        ];
        shown.into_iter().filter_map(|(name, is_shown)| is_shown.then_some(name)).collect()
    }
}

/// Two runs, one token each, one reader's move, and nothing that goes wrong but time and the bus.
const CALM: Budget = Budget {
    epochs: 2,
    crashes: 0,
    pauses: 0,
    releases: 0,
    stops: 0,
    moves: 1,
    failures: 0,
    in_flight: 0,
    tokens: 1,
    asks: false,
    slow_renewals: false,
    slow_answers: false,
    slow_readers: false,
};

/// A reader on the node that only has sockets, whose frames are numbered.
const NUMBERED: &[(usize, bool)] = &[(EDGE, true)];
/// One whose frames are not.
const PLAIN: &[(usize, bool)] = &[(EDGE, false)];
/// Both, on two nodes.
const BOTH: &[(usize, bool)] = &[(EDGE, true), (A, false)];

const LOSSY: Budget = Budget { crashes: 1, tokens: 2, in_flight: 2, ..CALM };
const LATE: Budget = Budget { in_flight: 2, slow_answers: true, slow_readers: true, ..CALM };
const PAUSED: Budget = Budget { pauses: 1, slow_renewals: true, moves: 0, ..CALM };
const DYING: Budget = Budget { epochs: 3, crashes: 1, releases: 1, ..CALM };
const ASKING: Budget = Budget { epochs: 3, asks: true, ..CALM };
const STOPPED: Budget = Budget { releases: 1, stops: 1, failures: 1, ..CALM };

/// Looks at every state of a world, and for states that show each of these.
fn keeps_every_promise(budget: Budget, readers: &'static [(usize, bool)], wanted: &[&str]) {
    let Found { states, steps, broken, dead_end, shown } = explore(&Lives { budget, readers, flaw: None });
    assert!(broken.is_none(), "after {states} states: {broken:#?}");
    assert!(dead_end.is_none(), "no end can be reached after {dead_end:#?}");
    for name in wanted {
        assert!(shown.contains_key(name), "no state shows {name}: {shown:#?}");
    }
    // Shown by `--nocapture`: a world that is too small proves nothing.
    eprintln!("{states} states, {steps} steps, every one of them keeps every promise");
}

/// Looks for the state in which the missing guard is missed.
fn breaks(promise: &str, flaw: Flaw, budget: Budget, readers: &'static [(usize, bool)]) {
    let found = explore(&Lives { budget, readers, flaw: Some(flaw) });
    let Some((broken, way)) = found.broken else { panic!("{flaw:?} breaks nothing in {} states", found.states) };
    assert_eq!(broken, promise, "{way:#?}");
}

#[test]
fn a_turn_keeps_its_promises_on_a_bus_that_loses_doubles_and_reorders() {
    let shown = ["a takeover", "a reader whose text began again", "a reader with the answer"];
    keeps_every_promise(LOSSY, NUMBERED, &shown);
}

#[test]
fn a_reader_without_numbers_never_sees_the_same_text_twice() {
    keeps_every_promise(Budget { in_flight: 1, ..CALM }, PLAIN, &["a takeover", "a reader with the answer"]);
    keeps_every_promise(Budget { in_flight: 1, asks: true, ..CALM }, PLAIN, &["a run that goes on after an approval"]);
}

#[test]
fn two_readers_on_two_nodes_are_told_the_same_answer() {
    keeps_every_promise(Budget { in_flight: 1, ..CALM }, BOTH, &["a takeover", "a reader with the answer"]);
}

#[test]
fn a_turn_keeps_its_promises_when_answers_and_readers_are_late() {
    keeps_every_promise(
        LATE,
        NUMBERED,
        &["a holder that was replaced and does not know it", "a reader with the answer"],
    );
}

#[test]
fn a_turn_keeps_its_promises_while_its_holder_is_paused() {
    let shown = ["a takeover", "a holder that was replaced and does not know it", "words held back"];
    keeps_every_promise(PAUSED, NUMBERED, &shown);
    let stopped = Budget { pauses: 1, stops: 1, moves: 0, ..CALM };
    keeps_every_promise(stopped, NUMBERED, &["a stop that a paused node has not heard of"]);
}

#[test]
fn a_turn_keeps_its_promises_while_holders_die_and_are_drained() {
    keeps_every_promise(DYING, NUMBERED, &["a takeover", "a turn given back", "a turn given up"]);
}

#[test]
fn a_turn_keeps_its_promises_while_it_waits_for_a_person() {
    let shown = ["a run that goes on after an approval", "an approval that nobody gave", "a reader with the answer"];
    keeps_every_promise(ASKING, NUMBERED, &shown);
    keeps_every_promise(Budget { asks: true, stops: 1, moves: 0, ..CALM }, NUMBERED, &[]);
}

#[test]
fn a_turn_keeps_its_promises_when_it_is_stopped_and_when_it_fails() {
    keeps_every_promise(STOPPED, NUMBERED, &["a turn given back", "a reader with the answer"]);
}

#[test]
#[ignore = "takes minutes and more than a gigabyte: 1.7 million states"]
fn a_turn_keeps_its_promises_in_a_wide_world() {
    let wide = Budget { epochs: 3, crashes: 1, releases: 1, stops: 1, in_flight: 1, asks: true, ..CALM };
    keeps_every_promise(wide, NUMBERED, &["a takeover", "a run that goes on after an approval"]);
}

#[test]
fn a_turn_that_no_other_node_may_take_is_found_to_have_no_end() {
    let found = explore(&Lives { budget: DYING, readers: NUMBERED, flaw: Some(Flaw::ALeaseNeverRunsOut) });
    assert!(found.broken.is_none() && found.dead_end.is_some());
}

#[test]
fn a_holder_that_does_not_fence_itself_is_found() {
    breaks("only the holder speaks", Flaw::AHolderInDoubtSpeaks, CALM, NUMBERED);
}

#[test]
fn an_ending_that_sends_what_was_held_back_too_soon_is_found() {
    breaks("only the holder speaks", Flaw::AnEndingSendsWhatWasHeldBack, CALM, NUMBERED);
}

#[test]
fn a_lease_that_is_counted_from_its_answer_is_found() {
    breaks("only the holder speaks", Flaw::ALeaseBeginsWhenItIsHeardOf, PAUSED, NUMBERED);
}

#[test]
fn an_ending_without_its_epoch_is_found() {
    breaks("only the newest epoch's ending counts", Flaw::AnEndingForgetsItsEpoch, CALM, NUMBERED);
}

#[test]
fn a_terminal_frame_before_its_commit_is_found() {
    breaks("only the holder speaks", Flaw::TheEndIsToldBeforeItIsCommitted, LOSSY, NUMBERED);
}

#[test]
fn a_receiver_that_takes_older_epochs_is_found() {
    breaks("a reader has exactly what was said", Flaw::OldFramesAreTaken, LOSSY, NUMBERED);
}

#[test]
fn a_node_that_ignores_the_epoch_of_the_store_is_found() {
    breaks("no older epoch after a newer one", Flaw::TheStoresEpochIsIgnored, CALM, NUMBERED);
}

#[test]
fn a_reader_that_resumes_by_number_alone_is_found() {
    breaks("in the end a reader has the answer", Flaw::ANumberMeansTheSameInEveryRun, CALM, NUMBERED);
}

#[test]
fn a_stop_that_is_lost_with_its_run_is_found() {
    breaks("a stop is not forgotten", Flaw::AStopIsLostWithItsRun, STOPPED, NUMBERED);
}
