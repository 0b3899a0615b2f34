//! How long clients waited: for the first new text after a kill, and for the answer of a node to which they came back.

use std::collections::HashMap;
use std::fmt::{self, Display};

use serde::Serialize;

use crate::chaos::answer::Wish;
use crate::chaos::history::{Ask, Record, Seen, What};

/// Some waits, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Quantiles {
    /// How many there were.
    pub count: u64,
    /// Half are shorter.
    pub p50_ms: f64,
    /// Nearly all are shorter.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

/// How long clients waited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// From the SIGKILL of a turn's node to the first text of its next run.
    pub takeover: Quantiles,
    /// From `attach_session` on another node to its answer, while no fault of the plan was active.
    pub resume: Quantiles,
    /// The same, whatever was broken at the time.
    pub resume_under_faults: Quantiles,
}

/// Collects the waits. Times are microseconds since the run began.
#[derive(Default)]
pub(super) struct Measuring {
    kills: HashMap<usize, u64>,
    /// The newest model call of each message: when, and by which node.
    calls: HashMap<String, (u64, usize)>,
    /// Requests whose next text ends a wait that began at this kill.
    taken_over: HashMap<String, u64>,
    active_faults: u64,
    /// Which node each reader was, and is, connected to.
    nodes: HashMap<u64, (Option<usize>, Option<usize>)>,
    /// Attaches to another node: when, and, if no fault was active, how many there had been.
    attaches: HashMap<(u64, String), (u64, Option<u64>)>,
    faults_begun: u64,
    takeover: Vec<u64>,
    resume: Vec<u64>,
    resume_under_faults: Vec<u64>,
}

impl Measuring {
    pub(super) fn take(&mut self, record: &Record, by_message: &HashMap<String, String>) {
        let at = record.at_us;
        match &record.what {
            What::FaultBegan { .. } => {
                self.active_faults += 1;
                self.faults_begun += 1;
            }
            What::FaultEnded { .. } => self.active_faults = self.active_faults.saturating_sub(1),
            What::Killed { node } => {
                self.kills.insert(*node, at);
            }
            What::ModelCall { node, message, .. } => {
                let before = self.calls.insert(message.clone(), (at, *node));
                if let Some((called_at, holder)) = before
                    && let Some(&killed_at) = self.kills.get(&holder)
                    && killed_at > called_at
                    // Else it may have been a person who took so long.
                    && !Wish::of(message).needs_approval()
                    && let Some(request) = by_message.get(message)
                {
                    self.taken_over.insert(request.clone(), killed_at);
                }
            }
            What::Connected { reader, node } => {
                let nodes = self.nodes.entry(*reader).or_default();
                *nodes = (nodes.1, Some(*node));
            }
            What::Asked { reader, request, ask: Ask::Attach { .. } } => {
                let elsewhere = self.nodes.get(reader).is_some_and(|(before, now)| before.is_some() && before != now);
                if elsewhere {
                    let calm = (self.active_faults == 0).then_some(self.faults_begun);
                    self.attaches.insert((*reader, request.clone()), (at, calm));
                }
            }
            What::Disconnected { reader, .. } => self.attaches.retain(|(attached, _), _| attached != reader),
            What::Saw { reader, request: Some(request), seen: Seen::Attached { .. } } => {
                if let Some((asked_at, calm)) = self.attaches.remove(&(*reader, request.clone())) {
                    self.resume_under_faults.push(at - asked_at);
                    if calm == Some(self.faults_begun) {
                        self.resume.push(at - asked_at);
                    }
                }
            }
            What::Saw { request: Some(request), seen: Seen::Text { .. }, .. } => {
                if let Some(killed_at) = self.taken_over.remove(request) {
                    self.takeover.push(at - killed_at);
                }
            }
            What::Run { .. }
            | What::Exited { .. }
            | What::Session { .. }
            | What::Asked { .. }
            | What::Saw { .. }
            | What::Left { .. }
            | What::ToolCall { .. }
            | What::Stored { .. }
            | What::Turns { .. } => {}
        }
    }

    pub(super) fn finish(self) -> Figures {
        Figures {
            takeover: Quantiles::of(self.takeover),
            resume: Quantiles::of(self.resume),
            resume_under_faults: Quantiles::of(self.resume_under_faults),
        }
    }
}

impl Quantiles {
    fn of(mut waits_us: Vec<u64>) -> Self {
        waits_us.sort_unstable();
        // The smallest wait that at least this share of all waits does not exceed.
        let quantile = |share: f64| {
            let place = ((waits_us.len() as f64 * share).ceil() as usize).saturating_sub(1);
            waits_us.get(place).map_or(0.0, |wait| *wait as f64 / 1000.0)
        };
        Self { count: waits_us.len() as u64, p50_ms: quantile(0.5), p99_ms: quantile(0.99), max_ms: quantile(1.0) }
    }
}

impl Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  takeover    SIGKILL to the first new text: {}", self.takeover)?;
        writeln!(f, "  resume      on another node, nothing else broken: {}", self.resume)?;
        writeln!(f, "              on another node, under faults: {}", self.resume_under_faults)
    }
}

impl Display for Quantiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} times; half within {:.1} ms, 99 % within {:.1} ms, all within {:.1} ms",
            self.count, self.p50_ms, self.p99_ms, self.max_ms
        )
    }
}
