//! What the checker says.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use serde::Serialize;

use super::Figures;
use crate::chaos::history::{CUT, End};
use crate::chaos::plan::Fault;

/// How many violations are described; the rest are counted.
const DESCRIBED: usize = 50;

/// A promise, by how it is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// An accepted message never ended.
    Lost,
    /// A reader that was told of acceptance was never told of the end.
    NeverTold,
    /// A reader was told of two ends.
    TwoEnds,
    /// Two readers were told of different ends.
    EndsDiffer,
    /// A frame of the turn came after its end.
    AfterEnd,
    /// The text so far is no beginning of an answer that the model gave, or not the answer that the end names.
    Text,
    /// The answer is none that the model gave.
    Answer,
    /// A number came that was there already.
    Repeated,
    /// A frame of an earlier run came after one of a later run.
    OlderEpoch,
    /// A new run's text followed an old one's without notice.
    Unannounced,
    /// A reader got, or a conversation holds, what belongs to another.
    Foreign,
    /// The store does not hold what readers were told.
    Stored,
    /// A tool that is not idempotent took effect twice for one call, or any tool did under two keys.
    ToolTwice,
    /// A tool that needs approval ran without a yes, or in spite of a no.
    ToolUnapproved,
    /// A tool was called, or shown to be called, in a way that the model never asked for.
    ToolUnwanted,
    /// A result was shown that the tool never gave.
    ToolResult,
    /// Two answers counted for one request for approval.
    TwoAnswers,
    /// A turn lost an attempt although nothing but orderly restarts had happened.
    AttemptConsumed,
    /// A turn failed, and nothing had happened that explains it.
    UnexplainedFailure,
    /// An answer that the protocol does not foresee here.
    Unexpected,
    /// A node did not exit with 0 after SIGTERM.
    UncleanStop,
    /// The history cannot be judged.
    BrokenHistory,
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Violation {
    /// Which.
    pub rule: Rule,
    /// The time of the record that showed it, in microseconds since the run began.
    pub at_us: u64,
    /// In words.
    pub detail: String,
}

/// What happened, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Counts {
    /// Messages that were accepted.
    pub accepted: u64,
    /// Of those, answered.
    pub completed: u64,
    /// Of those, stopped.
    pub cancelled: u64,
    /// Of those, failed.
    pub failed: u64,
    /// Messages that were refused for good, or given up.
    pub not_accepted: u64,
    /// Frames about turns that clients read.
    pub frames: u64,
    /// Calls of the model.
    pub model_calls: u64,
    /// Calls of tools that took effect.
    pub tool_calls: u64,
    /// Calls that a person approved.
    pub approved: u64,
    /// Calls that a person rejected.
    pub rejected: u64,
    /// Nodes that were stopped in good order.
    pub restarts: u64,
    /// Attempts beyond the first that turns needed, since each last waited for a person.
    pub attempts_consumed: u64,
    /// Connections that broke at a random byte.
    pub cuts: u64,
    /// Connections that ended in another way.
    pub other_disconnects: u64,
    /// Faults of each kind.
    pub faults: BTreeMap<Fault, u64>,
}

/// The verdict.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Verdict {
    /// The run's seed.
    pub seed: u64,
    /// The time of the newest record, in microseconds since the run began.
    pub at_us: u64,
    /// How many promises were broken.
    pub violations: u64,
    /// By rule.
    pub by_rule: BTreeMap<Rule, u64>,
    /// The first of them.
    pub described: Vec<Violation>,
    /// What happened.
    pub counts: Counts,
    /// How fast.
    pub figures: Figures,
}

impl Verdict {
    /// Every promise was kept.
    pub fn holds(&self) -> bool {
        self.violations == 0
    }

    pub(super) fn violated(&mut self, rule: Rule, detail: impl FnOnce() -> String) {
        self.violations += 1;
        *self.by_rule.entry(rule).or_default() += 1;
        if self.described.len() < DESCRIBED {
            self.described.push(Violation { rule, at_us: self.at_us, detail: detail() });
        }
    }
}

impl Counts {
    pub(super) fn disconnected(&mut self, why: &str) {
        let count = if why == CUT { &mut self.cuts } else { &mut self.other_disconnects };
        *count += 1;
    }

    pub(super) fn turn(&mut self, accepted: bool, end: Option<&End>) {
        if !accepted {
            self.not_accepted += 1;
            return;
        }
        self.accepted += 1;
        match end {
            Some(End::Completed { .. }) => self.completed += 1,
            Some(End::Cancelled) => self.cancelled += 1,
            Some(End::Failed { .. }) => self.failed += 1,
            None => {}
        }
    }
}

impl Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = &self.counts;
        let verdict = if self.holds() { "every promise was kept" } else { "PROMISES WERE BROKEN" };
        writeln!(f, "seed {}, {:.0} s: {verdict}", self.seed, self.at_us as f64 / 1e6)?;
        writeln!(
            f,
            "  messages    {} accepted: {} answered, {} stopped, {} failed; {} not accepted",
            counts.accepted, counts.completed, counts.cancelled, counts.failed, counts.not_accepted
        )?;
        writeln!(f, "  frames      {}, from {} model calls", counts.frames, counts.model_calls)?;
        writeln!(
            f,
            "  tools       {} calls took effect; people said yes {} times and no {} times",
            counts.tool_calls, counts.approved, counts.rejected
        )?;
        writeln!(
            f,
            "  nodes       {} orderly restarts; {} attempts consumed by turns",
            counts.restarts, counts.attempts_consumed
        )?;
        writeln!(f, "  cuts        {}, and {} other disconnections", counts.cuts, counts.other_disconnects)?;
        let faults: Vec<String> =
            counts.faults.iter().map(|(fault, count)| format!("{} {count}", fault.word())).collect();
        writeln!(f, "  faults      {}", faults.join(", "))?;
        write!(f, "{}", self.figures)?;
        writeln!(f, "  violations  {}", self.violations)?;
        for violation in &self.described {
            let at = violation.at_us as f64 / 1e6;
            writeln!(f, "    {at:>9.3} s  {:?}: {}", violation.rule, violation.detail)?;
        }
        Ok(())
    }
}
