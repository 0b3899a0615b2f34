//! What an agent did, in entries that are enough to go on from elsewhere without repeating a side effect.
//!
//! The order is the meaning: a reply, then for each of its calls in turn at most one of each of the other entries. An entry is
//! recorded before what it announces happens, and after what it reports has.

use std::collections::VecDeque;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Step, ToolOutcome};
use crate::model::{ToolCall, Usage};

/// Something that must be known to whoever goes on with a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "payload", rename_all = "snake_case")]
pub enum Entry {
    /// The model called tools.
    Reply {
        /// What it said before.
        text: String,
        /// The calls, under ids that are each used once in a task.
        calls: Vec<ToolCall>,
        /// What this model call used.
        usage: Usage,
    },
    /// A call waits for a person. All that came before has been shown.
    Asked,
    /// The person answered.
    Answered {
        /// The call may run.
        approved: bool,
    },
    /// A call is about to run.
    Started,
    /// A call has ended.
    Ended {
        /// It did not work.
        is_error: bool,
        /// What the model is shown.
        result: String,
    },
}

/// Whoever runs an agent.
#[async_trait]
pub trait Host: Send {
    /// Takes a step as it happens.
    fn emit(&mut self, step: Step);

    /// Keeps entries for whoever may have to go on; when this returns they are durable.
    async fn record(&mut self, entries: &[Entry]) -> Result<(), Lost>;
}

/// What could not be recorded counts for nothing: somebody else may be working on the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the task is somebody else's now")]
pub struct Lost;

/// A host that keeps nothing: its tasks cannot be gone on with.
#[async_trait]
impl<F: FnMut(Step) + Send> Host for F {
    fn emit(&mut self, step: Step) {
        self(step);
    }

    async fn record(&mut self, _entries: &[Entry]) -> Result<(), Lost> {
        Ok(())
    }
}

/// The recorded part of a task, as it is being replayed.
pub(super) struct Past {
    entries: VecDeque<Entry>,
    /// How many of them were shown to the person before, and stay as they are.
    shown: usize,
}

/// What is known of a call from before.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Fate {
    /// The call itself was shown before.
    pub shown: bool,
    /// A person's answer.
    pub approved: Option<bool>,
    /// It was about to run.
    pub started: bool,
    /// How it ended, and whether that was shown.
    pub ended: Option<(ToolOutcome, bool)>,
}

impl Past {
    pub(super) fn new(entries: Vec<Entry>) -> Self {
        let shown = entries.iter().rposition(|entry| *entry == Entry::Asked).map_or(0, |last| last + 1);
        Self { entries: entries.into(), shown }
    }

    /// The next reply, and whether it was shown.
    pub(super) fn reply(&mut self) -> Option<(String, Vec<ToolCall>, Usage, bool)> {
        let shown = self.shown > 0;
        match self.take(|entry| matches!(entry, Entry::Reply { .. }))? {
            Entry::Reply { text, calls, usage } => Some((text, calls, usage, shown)),
            Entry::Asked | Entry::Answered { .. } | Entry::Started | Entry::Ended { .. } => None,
        }
    }

    /// What became of the next call.
    pub(super) fn fate(&mut self) -> Fate {
        // A call was shown when anything after it was.
        let mut fate = Fate { shown: self.shown > 0, ..Fate::default() };
        self.take(|entry| *entry == Entry::Asked);
        if let Some(Entry::Answered { approved }) = self.take(|entry| matches!(entry, Entry::Answered { .. })) {
            fate.approved = Some(approved);
        }
        fate.started = self.take(|entry| *entry == Entry::Started).is_some();
        let shown = self.shown > 0;
        if let Some(Entry::Ended { is_error, result }) = self.take(|entry| matches!(entry, Entry::Ended { .. })) {
            fate.ended = Some((ToolOutcome { is_error, result }, shown));
        }
        fate
    }

    fn take(&mut self, wanted: impl Fn(&Entry) -> bool) -> Option<Entry> {
        let entry = self.entries.pop_front_if(|entry| wanted(entry))?;
        self.shown = self.shown.saturating_sub(1);
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply() -> Entry {
        let call = ToolCall { id: "c".to_owned(), name: "t".to_owned(), arguments: String::new() };
        Entry::Reply { text: "hm".to_owned(), calls: vec![call], usage: Usage::default() }
    }

    fn ended(result: &str) -> Entry {
        Entry::Ended { is_error: false, result: result.to_owned() }
    }

    #[test]
    fn what_was_recorded_up_to_the_last_question_was_shown_and_what_came_after_was_not() {
        let mut past = Past::new(vec![
            reply(),
            Entry::Started,
            ended("one"),
            reply(),
            Entry::Asked,
            Entry::Answered { approved: true },
            Entry::Started,
            ended("two"),
        ]);
        assert!(past.reply().unwrap().3);
        let outcome = |text: &str| ToolOutcome::ok(text.to_owned());
        let first = Fate { shown: true, approved: None, started: true, ended: Some((outcome("one"), true)) };
        assert_eq!(past.fate(), first);
        assert!(past.reply().unwrap().3);
        let second = Fate { shown: true, approved: Some(true), started: true, ended: Some((outcome("two"), false)) };
        assert_eq!(past.fate(), second);
        assert_eq!(past.reply(), None);
        assert_eq!(past.fate(), Fate::default());
    }

    #[test]
    fn an_entry_is_kept_as_a_kind_and_a_payload() {
        let kept = serde_json::to_value(Entry::Answered { approved: false }).unwrap();
        assert_eq!(kept, serde_json::json!({"kind": "answered", "payload": {"approved": false}}));
        let kept = serde_json::to_value(Entry::Started).unwrap();
        assert_eq!(kept, serde_json::json!({"kind": "started"}));
        for entry in [reply(), Entry::Asked, ended("x\0")] {
            let kept = serde_json::to_value(&entry).unwrap();
            assert_eq!(serde_json::from_value::<Entry>(kept).unwrap(), entry);
        }
    }
}
