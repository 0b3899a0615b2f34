//! A small world: one turn's row, nodes that run it and sockets on them, a bus that loses, doubles and reorders.
//!
//! What a node decides is decided by production's own values: [`Life`] for the row, [`State`] for a stream, [`Place`] for a
//! reader, `lease::may_speak` for a holder. The world adds who may be late, and remembers what was truly said, so that it
//! can tell when a reader was told something else.

use std::collections::BTreeSet;
use std::time::Duration;

use uuid::Uuid;

use crate::ids::NodeId;
use crate::store::{Claim, Life};

use super::super::lineage::{Attached, Parked};
use super::super::place::Place;
use super::super::stream::State;
use super::super::transcript::Piece;

/// A tick of every clock. A holder is silent from the first tick after its renewal on; its lease is over after the second.
pub const TICK: Duration = Duration::from_micros(1);

/// How long a lease runs.
pub const LEASE: Duration = TICK;

/// Ages of a renewal beyond this one are all the same: in doubt.
const OLD: u32 = 1;

/// A node that runs turns and has sockets.
pub const A: usize = 0;
/// One that only runs turns.
pub const B: usize = 1;
/// One that only has sockets.
pub const EDGE: usize = 2;

/// How much can happen, so that the search ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Claims, which is the newest epoch.
    pub epochs: i64,
    /// Nodes that die.
    pub crashes: u8,
    /// Nodes that are stopped for any time, and go on.
    pub pauses: u8,
    /// Nodes that give their turn back.
    pub releases: u8,
    /// People who press Stop.
    pub stops: u8,
    /// Readers that change to another node without need.
    pub moves: u8,
    /// Runs that fail.
    pub failures: u8,
    /// Frames and answers under way at a time; more are lost.
    pub in_flight: usize,
    /// Tokens of an answer, and of what is said before a person is asked.
    pub tokens: u32,
    /// The agent needs a person's approval after its first tokens.
    pub asks: bool,
    /// What the store says to a renewal takes time to arrive.
    pub slow_renewals: bool,
    /// What a holder answers takes time to arrive, or is lost.
    pub slow_answers: bool,
    /// Readers do not take at once what there is for them.
    pub slow_readers: bool,
}

/// The world.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub row: Row,
    pub nodes: [Node; 3],
    pub flight: BTreeSet<Message>,
    pub readers: Vec<Reader>,
    /// What may still happen.
    pub left: Budget,
    /// Every piece that the run of an epoch made, by epoch.
    pub truth: Vec<Vec<Piece>>,
    /// Somebody pressed Stop, and whoever was told of it is still there.
    pub stopped: bool,
    /// The promise that was just broken.
    pub broken: Option<&'static str>,
}

/// What the store has. Its times are relative: now is always 0.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    pub life: Life,
    /// The text of the message that the turn ended with.
    pub answer: String,
    /// The journal's last step of a turn that was parked.
    pub parked: Option<Parked>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Node {
    /// How often it was started anew; a holder is one start.
    pub starts: u8,
    pub paused: bool,
    pub run: Option<Run>,
    /// The turn's stream here, while the turn runs here or a reader watches it.
    pub stream: Option<State>,
}

/// A node's run of the turn.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    pub epoch: i64,
    pub attempt: i32,
    /// Ticks since the last renewal that succeeded was asked for.
    pub age: u32,
    /// A renewal that was asked for: since when, and what the store said.
    pub renewing: Option<(u32, Renewed)>,
    /// Tokens that the agent made.
    pub made: u32,
    /// Those that were not sent, because the lease was in doubt.
    pub held_back: Vec<Piece>,
    pub cancelled: bool,
    /// What is shown next, because it is committed; then the run is over.
    pub committed: Option<Piece>,
}

/// What the store said to a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Renewed {
    Held,
    Cancelled,
    Lost,
}

/// What is under way to a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Message {
    Frame { to: usize, epoch: i64, seq: u64, piece: Piece },
    Reply { to: usize, attached: Attached },
}

/// A client, and its socket's place in the stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reader {
    /// The client tells frames apart by number and can resume.
    pub numbered: bool,
    /// The node of its socket; none while it has none.
    pub at: Option<usize>,
    pub place: Place,
    /// The number of the newest frame that it has.
    pub seq: u64,
    /// The newest epoch that it was told of.
    pub epoch: i64,
    /// What it shows.
    pub text: String,
    /// It lost its socket, and cannot tell old text from new.
    pub returned: bool,
    /// The terminal frame.
    pub end: Option<String>,
}

impl World {
    /// A turn that node [`A`] claimed as it was accepted. Readers wait on these nodes, with numbered frames or without.
    pub fn new(left: Budget, readers: &[(usize, bool)]) -> Self {
        let nodes = [Node::default(), Node::default(), Node::default()];
        let claim = claim(A, &nodes[A]);
        let row = Row { life: Life::accepted(Some(&claim), 0), answer: String::new(), parked: None };
        let mut world = Self {
            row,
            nodes,
            flight: BTreeSet::new(),
            readers: Vec::new(),
            left: Budget { epochs: left.epochs - 1, ..left },
            truth: vec![Vec::new(); 2],
            stopped: false,
            broken: None,
        };
        for (at, numbered) in readers {
            world.nodes[*at].stream = Some(State::default());
            world.readers.push(Reader::new(*at, *numbered));
        }
        world.nodes[A].begin(1, 1, false, None);
        world
    }

    /// A reader has its socket on this node.
    pub fn is_watched(&self, node: usize) -> bool {
        self.readers.iter().any(|reader| reader.at == Some(node))
    }

    /// What nobody needs any more goes, as it does in a node's table of streams.
    pub fn tidy(&mut self) {
        for node in 0..self.nodes.len() {
            if self.nodes[node].run.is_none() && !self.is_watched(node) {
                self.nodes[node].stream = None;
            }
        }
        // A node subscribes while somebody there watches, and takes nothing once the stream has ended.
        let listens = [A, B, EDGE].map(|place| {
            let node = &self.nodes[place];
            let ended = node.run.is_none() && node.stream.as_ref().is_some_and(State::has_ended);
            self.is_watched(place) && !ended
        });
        self.flight.retain(|message| listens[message.to()]);
        if self.row.life.state.is_final() && self.nodes.iter().all(|node| node.run.is_none()) {
            self.left = Budget { moves: self.left.moves, ..Budget::default() };
        }
        for epoch in 0..self.truth.len() {
            if !self.is_remembered(epoch as i64) {
                self.truth[epoch].clear();
            }
        }
    }

    /// Somebody may still tell of the run of this epoch, or was told of it.
    fn is_remembered(&self, epoch: i64) -> bool {
        let told = |reader: &Reader| if reader.numbered { reader.epoch == epoch } else { !reader.text.is_empty() };
        epoch == self.row.life.epoch
            || self.row.parked.as_ref().is_some_and(|parked| parked.epoch == epoch)
            || self.nodes.iter().any(|node| node.run.as_ref().is_some_and(|run| run.epoch == epoch))
            || self.nodes.iter().any(|node| node.stream.as_ref().is_some_and(|stream| stream.position().0 == epoch))
            || self.flight.iter().any(|message| message.epoch() == epoch)
            || self.readers.iter().any(told)
    }

    /// All that the run of an epoch said up to a number.
    pub fn said(&self, epoch: i64, seq: u64) -> String {
        let pieces = usize::try_from(epoch).ok().and_then(|epoch| self.truth.get(epoch));
        let pieces = pieces.into_iter().flatten().take(usize::try_from(seq).unwrap_or(usize::MAX));
        pieces.filter_map(text_of).collect()
    }
}

/// The text that a piece adds to the answer.
pub fn text_of(piece: &Piece) -> Option<&str> {
    match piece {
        Piece::Text(_, text) => Some(text),
        Piece::Event(_) | Piece::End(_) => None,
    }
}

/// What a node claims and renews with.
pub fn claim(place: usize, node: &Node) -> Claim {
    let holder = NodeId(Uuid::from_u128(16 * place as u128 + u128::from(node.starts) + 1));
    Claim { holder, lease: LEASE }
}

impl Message {
    pub fn epoch(&self) -> i64 {
        match self {
            Self::Frame { epoch, .. } => *epoch,
            Self::Reply { attached, .. } => attached.epoch,
        }
    }

    pub fn to(&self) -> usize {
        match self {
            Self::Frame { to, .. } | Self::Reply { to, .. } => *to,
        }
    }
}

impl Node {
    /// Begins to run the turn. A run that is still here has lost it.
    pub fn begin(&mut self, epoch: i64, attempt: i32, cancelled: bool, parked: Option<Parked>) {
        self.stream.get_or_insert_default().begin(epoch, parked);
        self.run = Some(Run {
            epoch,
            attempt,
            age: 0,
            renewing: None,
            made: 0,
            held_back: Vec::new(),
            cancelled,
            committed: None,
        });
    }

    pub fn tick(&mut self) {
        if let Some(run) = &mut self.run {
            run.age = (run.age + 1).min(OLD);
            run.renewing = run.renewing.map(|(age, renewed)| ((age + 1).min(OLD), renewed));
        }
    }
}

impl Reader {
    fn new(at: usize, numbered: bool) -> Self {
        Self {
            numbered,
            at: Some(at),
            place: Place::at(0, 0, numbered),
            seq: 0,
            epoch: 0,
            text: String::new(),
            returned: false,
            end: None,
        }
    }
}
