//! The loop: ask, run the tools that were called, ask again. What was recorded before is replayed instead of done again.

use std::collections::HashSet;
use std::sync::Arc;

use super::journal::{Entry, Fate, Host, Past};
use super::read::Reader;
use super::{Agent, AgentError, Reply, Step, Task, Tool, ToolOutcome};
use crate::ids::TurnId;
use crate::model::{ChatMessage, Delta, ModelError, Prompt, ToolCall, ToolSpec, Usage};

/// What the model is told of a call that a person did not approve.
const DECLINED: &str =
    "The person declined this action, so it was not done. Do not try it again unless they ask for it.";

/// What the model is told of a call whose result nobody heard.
const UNKNOWN: &str = "The outcome of this call is not known: it was interrupted before it answered, and it may or may not \
    have taken effect. It was not repeated. Tell the person, and do not call it again unless they ask for it.";

/// What one model call said.
#[derive(Default)]
struct Said {
    text: String,
    calls: Vec<ToolCall>,
    usage: Usage,
}

/// A task that is being worked on.
struct Work<'a> {
    agent: &'a Agent,
    host: &'a mut dyn Host,
    turn: TurnId,
    tools: Vec<Arc<dyn Tool>>,
    past: Past,
    /// What happened and is not recorded yet.
    unrecorded: Vec<Entry>,
    /// The ids of all calls so far.
    ids: HashSet<String>,
    reply: Reply,
}

impl Agent {
    /// Works on a task until there is an answer, and tells the host of every step as it happens. On an error, and when the
    /// future is dropped, what was emitted so far stays with the host.
    pub async fn run(&self, task: Task, host: &mut dyn Host) -> Result<Reply, AgentError> {
        let mut messages = Vec::with_capacity(task.history.len() + 1);
        if !task.instructions.is_empty() {
            messages.push(ChatMessage::System(task.instructions));
        }
        messages.extend(task.history);
        let max_rounds = task.max_rounds.unwrap_or(self.config.max_rounds);
        let mut work = Work {
            agent: self,
            host,
            turn: task.turn,
            tools: self.tools.iter().chain(&task.tools).cloned().collect(),
            past: Past::new(task.past),
            unrecorded: Vec::new(),
            ids: HashSet::new(),
            reply: Reply::default(),
        };
        let mut round = 0;
        loop {
            // The last time without tools, so that the person gets an answer after all.
            let may_call = round < max_rounds;
            let prompt = Prompt {
                model: task.model.clone(),
                messages: messages.clone(),
                tools: if may_call { work.specs() } else { Vec::new() },
                traceparent: task.traceparent.clone(),
            };
            let said = work.say(prompt).await?;
            if said.calls.is_empty() || !may_call {
                return Ok(work.reply);
            }
            messages.push(ChatMessage::Assistant { text: said.text, calls: said.calls.clone() });
            for call in said.calls {
                let outcome = work.settle(&call).await?;
                messages.push(ChatMessage::Tool { call_id: call.id, content: outcome.result });
            }
            work.record().await?;
            round += 1;
        }
    }
}

impl Work<'_> {
    /// What the model said before or, when that is used up, says now.
    async fn say(&mut self, prompt: Prompt) -> Result<Said, AgentError> {
        let said = match self.past.reply() {
            Some((text, calls, usage, shown)) => {
                if !shown && !text.is_empty() {
                    self.host.emit(Step::Text(text.clone()));
                }
                self.reply.text.push_str(&text);
                self.ids.extend(calls.iter().map(|call| call.id.clone()));
                Said { text, calls, usage }
            }
            None => {
                let mut said = self.ask(prompt).await?;
                self.name_apart(&mut said.calls);
                if !said.calls.is_empty() {
                    let (text, calls) = (said.text.clone(), said.calls.clone());
                    self.unrecorded.push(Entry::Reply { text, calls, usage: said.usage });
                }
                said
            }
        };
        self.reply.usage += said.usage;
        Ok(said)
    }

    /// Gives each call an id of its own: a gateway that uses one twice must not make two calls look like one repeated.
    fn name_apart(&mut self, calls: &mut [ToolCall]) {
        for call in calls {
            let given = if call.id.is_empty() { "call" } else { call.id.as_str() };
            let mut id = given.to_owned();
            let mut count = 1;
            while !self.ids.insert(id.clone()) {
                count += 1;
                id = format!("{given}-{count}");
            }
            call.id = id;
        }
    }

    /// Brings a call to its end: makes it, or goes by what is known of it from before.
    async fn settle(&mut self, call: &ToolCall) -> Result<ToolOutcome, AgentError> {
        let fate = self.past.fate();
        let is_new = fate.ended.is_none();
        let shown = matches!(fate.ended, Some((_, true)));
        let outcome = self.outcome(call, fate).await?;
        if is_new {
            self.unrecorded.push(Entry::Ended { is_error: outcome.is_error, result: outcome.result.clone() });
        }
        if !shown {
            let ToolOutcome { is_error, result } = outcome.clone();
            self.host.emit(Step::ToolEnded { call: call.clone(), is_error, result });
        }
        Ok(outcome)
    }

    async fn outcome(&mut self, call: &ToolCall, fate: Fate) -> Result<ToolOutcome, AgentError> {
        let tools = self.tools.clone();
        let prepared = self.agent.prepare(call, &tools);
        if let (Ok(prepared), Fate { approved: None, started: false, ended: None, .. }) = (&prepared, &fate)
            && let Some(description) = prepared.tool.approval(&prepared.arguments)
        {
            self.record().await?;
            return Err(AgentError::NeedsApproval { call: call.clone(), description });
        }
        if !fate.shown {
            self.host.emit(Step::ToolStarted { call: call.clone() });
        }
        if let Some((outcome, _)) = fate.ended {
            return Ok(outcome);
        }
        if fate.approved == Some(false) {
            return Ok(ToolOutcome::error(DECLINED.to_owned()));
        }
        if fate.started && !prepared.as_ref().is_ok_and(|prepared| prepared.tool.is_idempotent()) {
            return Ok(ToolOutcome::error(UNKNOWN.to_owned()));
        }
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(mistake) => return Ok(mistake),
        };
        if !fate.started {
            self.unrecorded.push(Entry::Started);
        }
        self.record().await?;
        Ok(self.agent.call(&prepared, call, self.turn).await)
    }

    async fn record(&mut self) -> Result<(), AgentError> {
        if !self.unrecorded.is_empty() {
            self.host.record(&self.unrecorded).await?;
            self.unrecorded.clear();
        }
        Ok(())
    }

    /// One model call. Its text is emitted and added to the reply as it comes.
    async fn ask(&mut self, prompt: Prompt) -> Result<Said, AgentError> {
        let mut answer = Reader::new(self.agent.model.answer(prompt).await?);
        let mut said = Said::default();
        loop {
            match answer.next().await {
                Some(Ok(Delta::Text(text))) => {
                    if self.reply.text.len() + text.len() > self.agent.config.max_text_bytes {
                        return Err(AgentError::TooLong);
                    }
                    said.text.push_str(&text);
                    self.reply.text.push_str(&text);
                    self.host.emit(Step::Text(text));
                }
                Some(Ok(Delta::Reasoning(text))) => self.host.emit(Step::Reasoning(text)),
                Some(Ok(Delta::ToolCalls(calls))) => said.calls = calls,
                Some(Ok(Delta::Done(usage))) => {
                    said.usage = usage;
                    return Ok(said);
                }
                Some(Err(error)) => return Err(error.into()),
                None => return Err(ModelError::Interrupted.into()),
            }
        }
    }

    fn specs(&self) -> Vec<ToolSpec> {
        self.tools.iter().map(|tool| tool.spec().clone()).collect()
    }
}
