//! A model that says what a test wrote, when the test says so.
//!
//! Nothing in it depends on time: a gated script gives one delta for each [`Gate::open`], so that a test can stand between
//! any two of them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Delta, Deltas, Model, ModelError, Prompt, ToolCall, Usage};

/// Answers each call with the next script. Cheap to clone; clones share scripts and record.
#[derive(Clone, Default)]
pub struct Scripted(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    scripts: VecDeque<Script>,
    prompts: Vec<Prompt>,
}

/// One answer: deltas and at most one error, in order.
#[derive(Debug, Default)]
pub struct Script {
    refusal: Option<ModelError>,
    beats: VecDeque<Result<Delta, ModelError>>,
    usage: Usage,
    gate: Option<(Arc<Semaphore>, DropGuard)>,
}

/// The test's hand on a gated script.
#[derive(Clone, Debug)]
pub struct Gate {
    permits: Arc<Semaphore>,
    closed: CancellationToken,
}

impl Scripted {
    /// A model that gives these answers, one per call, in order. A call beyond the last one fails as unavailable.
    pub fn new(scripts: impl IntoIterator<Item = Script>) -> Self {
        Self(Arc::new(Mutex::new(State { scripts: scripts.into_iter().collect(), prompts: Vec::new() })))
    }

    /// Adds an answer after the ones that are left.
    pub fn push(&self, script: Script) {
        self.state(|state| state.scripts.push_back(script));
    }

    /// Every prompt so far, oldest first.
    pub fn prompts(&self) -> Vec<Prompt> {
        self.state(|state| state.prompts.clone())
    }

    fn state<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Script {
    /// An answer of these pieces of text.
    pub fn saying<'a>(pieces: impl IntoIterator<Item = &'a str>) -> Self {
        pieces.into_iter().fold(Self::default(), Self::text)
    }

    /// An answer that does not even begin.
    pub fn refusing(error: ModelError) -> Self {
        Self { refusal: Some(error), ..Self::default() }
    }

    /// Then a piece of text.
    pub fn text(self, text: &str) -> Self {
        self.then(Ok(Delta::Text(text.to_owned())))
    }

    /// Then a piece of reasoning.
    pub fn reasoning(self, text: &str) -> Self {
        self.then(Ok(Delta::Reasoning(text.to_owned())))
    }

    /// Then tool calls.
    pub fn calls(self, calls: impl IntoIterator<Item = ToolCall>) -> Self {
        self.then(Ok(Delta::ToolCalls(calls.into_iter().collect())))
    }

    /// Then it fails; what is added after this is never reached.
    pub fn failing(self, error: ModelError) -> Self {
        self.then(Err(error))
    }

    /// What it says to have used when it is done.
    pub fn usage(mut self, usage: Usage) -> Self {
        self.usage = usage;
        self
    }

    /// Puts every delta, the final [`Delta::Done`] and an error too, behind a gate.
    pub fn gated(mut self) -> (Self, Gate) {
        let gate = Gate { permits: Arc::new(Semaphore::new(0)), closed: CancellationToken::new() };
        self.gate = Some((gate.permits.clone(), gate.closed.clone().drop_guard()));
        (self, gate)
    }

    fn then(mut self, beat: Result<Delta, ModelError>) -> Self {
        self.beats.push_back(beat);
        self
    }
}

impl Gate {
    /// Lets one more delta pass.
    pub fn open(&self) {
        self.permits.add_permits(1);
    }

    /// Lets everything pass.
    pub fn open_all(&self) {
        self.permits.add_permits(Semaphore::MAX_PERMITS / 2);
    }

    /// Waits until the answer was read to its end or dropped: the proof that Stop reached the model.
    pub async fn closed(&self) {
        self.closed.cancelled().await;
    }
}

#[async_trait]
impl Model for Scripted {
    async fn answer(&self, prompt: Prompt) -> Result<Deltas, ModelError> {
        let script = self.state(|state| {
            state.prompts.push(prompt);
            state.scripts.pop_front()
        });
        let Some(mut script) = script else {
            return Err(ModelError::Unavailable("the script has no more answers".to_owned()));
        };
        if let Some(error) = script.refusal.take() {
            return Err(error);
        }
        script.beats.push_back(Ok(Delta::Done(script.usage)));
        let beats = stream::unfold(script, |mut script| async move {
            let beat = script.beats.pop_front()?;
            if let Some((permits, _)) = &script.gate {
                // Never closed, so always granted in the end.
                if let Ok(permit) = permits.acquire().await {
                    permit.forget();
                }
            }
            if beat.is_err() {
                script.beats.clear();
            }
            Some((beat, script))
        });
        Ok(beats.boxed())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn each_call_gets_the_next_script_and_is_recorded() {
        let model = Scripted::new([Script::saying(["a", "b"])]);
        model.push(Script::refusing(ModelError::Refused { status: 401 }));
        let prompt = Prompt { model: Some("m".to_owned()), ..Prompt::default() };
        let said: Vec<_> = model.answer(prompt).await.unwrap().map(Result::unwrap).collect().await;
        let text = |text: &str| Delta::Text(text.to_owned());
        assert_eq!(said, [text("a"), text("b"), Delta::Done(Usage::default())]);
        assert!(matches!(model.answer(Prompt::default()).await, Err(ModelError::Refused { status: 401 })));
        assert!(matches!(model.answer(Prompt::default()).await, Err(ModelError::Unavailable(_))));
        assert_eq!(model.prompts()[0].model.as_deref(), Some("m"));
        assert_eq!(model.prompts().len(), 3);
    }

    #[tokio::test]
    async fn a_gated_script_gives_one_delta_for_each_opening() {
        let (script, gate) = Script::default().reasoning("hm").text("a").failing(ModelError::Interrupted).gated();
        let mut deltas = Scripted::new([script]).answer(Prompt::default()).await.unwrap();
        assert!(deltas.next().now_or_never().is_none(), "nothing passes a closed gate");
        gate.open();
        assert_eq!(deltas.next().await.unwrap().unwrap(), Delta::Reasoning("hm".to_owned()));
        assert!(deltas.next().now_or_never().is_none(), "only one passes");
        gate.open_all();
        assert_eq!(deltas.next().await.unwrap().unwrap(), Delta::Text("a".to_owned()));
        assert!(deltas.next().await.unwrap().is_err());
        assert!(deltas.next().await.is_none(), "nothing follows an error");
    }

    #[tokio::test]
    async fn dropping_the_answer_closes_its_gate() {
        let (script, gate) = Script::saying(["a"]).gated();
        let deltas = Scripted::new([script]).answer(Prompt::default()).await.unwrap();
        assert!(gate.closed().now_or_never().is_none());
        drop(deltas);
        gate.closed().await;
    }
}
