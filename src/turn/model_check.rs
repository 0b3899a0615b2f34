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
use world::{A, B, Budget, EDGE, World};

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
    type State = World;
    type Action = Action;

    fn begin(&self) -> World {
        World::new(self.budget, self.readers)
    }

    fn next(&self, world: &World) -> Vec<(Action, World)> {
        let after = |action: Action| world.after(&action, self.flaw).map(|world| (action, world));
        world.actions().into_iter().filter_map(after).collect()
    }

    fn broken(&self, world: &World) -> Option<&'static str> {
        let told = world.row.life.cancel_requested || world.row.life.state.is_final();
        let known = world.nodes.iter().flat_map(|node| &node.run).any(|run| run.cancelled);
        world.broken.or((world.stopped && !told && !known).then_some("a stop is not forgotten"))
    }

    fn has_ended(&self, world: &World) -> bool {
        world.row.life.state.is_final() && world.readers.iter().all(|reader| reader.end.is_some())
    }

    fn shows(&self, world: &World) -> Vec<&'static str> {
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

const TAKEOVER: Budget = Budget {
    epochs: 3,
    crashes: 1,
    pauses: 1,
    releases: 0,
    stops: 0,
    moves: 1,
    failures: 0,
    in_flight: 2,
    tokens: 2,
    asks: false,
    slow_renewals: false,
    slow_answers: false,
    slow_readers: false,
};

fn keeps_every_promise(budget: Budget, readers: &'static [(usize, bool)], shows: &[&str]) {
    let began = std::time::Instant::now();
    let Found { states, steps, broken, dead_end, shown } = explore(&Lives { budget, readers, flaw: None });
    eprintln!("{states} states, {steps} steps, {:?}; {shown:#?}", began.elapsed());
    assert!(broken.is_none(), "after {states} states: {broken:#?}");
    assert!(dead_end.is_none(), "no end can be reached after {dead_end:#?}");
    for name in shows {
        assert!(shown.contains_key(name), "no state shows {name}");
    }
}

fn breaks(promise: &str, flaw: Flaw, budget: Budget, readers: &'static [(usize, bool)]) {
    let found = explore(&Lives { budget, readers, flaw: Some(flaw) });
    let Some((broken, way)) = found.broken else { panic!("{flaw:?} breaks nothing in {} states", found.states) };
    assert_eq!(broken, promise, "{way:#?}");
}

#[test]
fn sizes() {
    let b = TAKEOVER;
    let b = Budget { crashes: 0, pauses: 0, tokens: 1, in_flight: 1, ..b };
    let budgets = [
        Budget { epochs: 2, tokens: 2, ..b },
        Budget { epochs: 2, pauses: 1, slow_renewals: true, in_flight: 0, moves: 0, ..b },
        Budget { epochs: 2, asks: true, in_flight: 0, ..b },
        Budget { epochs: 2, asks: true, ..b },
        Budget { epochs: 3, asks: true, ..b },
        Budget { epochs: 2, asks: true, stops: 1, in_flight: 0, ..b },
        Budget { epochs: 2, releases: 1, stops: 1, failures: 1, in_flight: 0, ..b },
        Budget { epochs: 3, crashes: 1, releases: 1, in_flight: 0, ..b },
    ];
    for budget in budgets {
        eprintln!("{budget:?}");
        keeps_every_promise(budget, &[(EDGE, true)], &[]);
    }
}

#[test]
fn a_turn_keeps_its_promises_while_holders_die_and_are_paused() {
    keeps_every_promise(TAKEOVER, &[(EDGE, true)], &["a takeover"]);
}
