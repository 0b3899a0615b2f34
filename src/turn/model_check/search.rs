//! A breadth-first search over every state that a model can reach, with the shortest way to the first that breaks a promise.
//!
//! States are told apart by 64 bits of their hash, so that only those that are still to be looked at are kept whole. The
//! edges are kept, too: a state from which no end can be reached any more is found by walking them backwards.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::fmt::Debug;
use std::hash::{Hash, Hasher};

/// A world, and what can happen in it.
pub trait Model {
    /// A state of the world.
    type State: Hash;
    /// One thing that happens.
    type Action: Clone + Debug;

    /// The world before anything happened.
    fn begin(&self) -> Self::State;

    /// Everything that can happen in a state, and the state after it.
    fn next(&self, state: &Self::State) -> Vec<(Self::Action, Self::State)>;

    /// The promise that a state breaks, if it breaks one.
    fn broken(&self, state: &Self::State) -> Option<&'static str>;

    /// Nothing is left to be waited for.
    fn has_ended(&self, state: &Self::State) -> bool;

    /// What a state is an example of.
    fn shows(&self, state: &Self::State) -> Vec<&'static str>;
}

/// What a search found.
#[derive(Debug)]
pub struct Found<A> {
    /// How many different states there are; so many were seen, when a promise was broken.
    pub states: usize,
    /// How many steps there are between them.
    pub steps: usize,
    /// The first broken promise, and the shortest way to it.
    pub broken: Option<(&'static str, Vec<A>)>,
    /// The way to a state from which no end can be reached.
    pub dead_end: Option<Vec<A>>,
    /// How many states show each thing that is looked for.
    pub shown: HashMap<&'static str, usize>,
}

/// More states than a model may have, so that one that grew too large fails instead of running for ever.
const MOST: usize = 3_000_000;

/// Looks at every state, until one breaks a promise.
pub fn explore<M: Model>(model: &M) -> Found<M::Action> {
    let mut search = Search::<M> { known: HashMap::new(), came_by: Vec::new(), edges: Vec::new(), ends: Vec::new() };
    let mut pending = VecDeque::new();
    let mut shown = HashMap::new();
    let first = model.begin();
    search.enter(&first, None);
    pending.push_back((0, first));
    while let Some((index, state)) = pending.pop_front() {
        assert!(search.came_by.len() < MOST, "more than {MOST} states");
        if let Some(promise) = model.broken(&state) {
            return search.found(Some((promise, search.way(index))), None, shown);
        }
        for name in model.shows(&state) {
            *shown.entry(name).or_default() += 1;
        }
        if model.has_ended(&state) {
            search.ends.push(index);
        }
        for (action, next) in model.next(&state) {
            let (to, is_new) = search.enter(&next, Some((index, action)));
            search.edges.push((index, to));
            if is_new {
                pending.push_back((to, next));
            }
        }
    }
    let dead_end = search.dead_end().map(|index| search.way(index));
    search.found(None, dead_end, shown)
}

struct Search<M: Model> {
    /// The place of each state, by its hash.
    known: HashMap<u64, usize>,
    /// How each state was reached first.
    came_by: Vec<Option<(usize, M::Action)>>,
    edges: Vec<(usize, usize)>,
    ends: Vec<usize>,
}

impl<M: Model> Search<M> {
    /// The place of a state, and whether it is new.
    fn enter(&mut self, state: &M::State, came_by: Option<(usize, M::Action)>) -> (usize, bool) {
        let mut mix = Mix(0);
        state.hash(&mut mix);
        match self.known.entry(mix.finish()) {
            Entry::Occupied(place) => (*place.get(), false),
            Entry::Vacant(place) => {
                let index = self.came_by.len();
                place.insert(index);
                self.came_by.push(came_by);
                (index, true)
            }
        }
    }

    fn way(&self, mut index: usize) -> Vec<M::Action> {
        let mut way = Vec::new();
        while let Some((before, action)) = &self.came_by[index] {
            way.push(action.clone());
            index = *before;
        }
        way.reverse();
        way
    }

    /// The first state from which no end can be reached.
    fn dead_end(&self) -> Option<usize> {
        let mut before = vec![Vec::new(); self.came_by.len()];
        for (from, to) in &self.edges {
            before[*to].push(*from);
        }
        let mut hopeful = vec![false; self.came_by.len()];
        let mut pending = self.ends.clone();
        while let Some(index) = pending.pop() {
            if !std::mem::replace(&mut hopeful[index], true) {
                pending.extend(&before[index]);
            }
        }
        hopeful.iter().position(|hopeful| !hopeful)
    }

    fn found(
        &self,
        broken: Option<(&'static str, Vec<M::Action>)>,
        dead_end: Option<Vec<M::Action>>,
        shown: HashMap<&'static str, usize>,
    ) -> Found<M::Action> {
        Found { states: self.came_by.len(), steps: self.edges.len(), broken, dead_end, shown }
    }
}

/// Multiplies and folds, number by number: several times as fast as the standard hash in a build that is not optimised.
struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.write_u64(u64::from(number));
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        let mixed = (self.0.rotate_left(25) ^ number).wrapping_add(0x9e37_79b9_7f4a_7c15);
        let wide = u128::from(mixed) * u128::from(0xa076_1d64_78bd_642f_u64);
        self.0 = (wide >> 64) as u64 ^ wide as u64;
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }
}
