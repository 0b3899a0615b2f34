//! The loop: ask, run the tools that were called, ask again.

use super::read::Reader;
use super::{Agent, AgentError, Reply, Step, Task};
use crate::model::{ChatMessage, Delta, ModelError, Prompt, ToolCall, ToolSpec};

/// What one model call said.
#[derive(Default)]
struct Said {
    text: String,
    calls: Vec<ToolCall>,
}

impl Agent {
    /// Works on a task until there is an answer, and tells of every step as it happens. On an error, and when the future is
    /// dropped, what was emitted so far stays with the caller.
    pub async fn run(&self, task: Task, emit: &mut (dyn FnMut(Step) + Send)) -> Result<Reply, AgentError> {
        let mut reply = Reply::default();
        let mut messages = Vec::with_capacity(task.history.len() + 1);
        if !task.instructions.is_empty() {
            messages.push(ChatMessage::System(task.instructions));
        }
        messages.extend(task.history);

        let mut round = 0;
        loop {
            // The last time without tools, so that the person gets an answer after all.
            let may_call = round < self.config.max_rounds;
            let prompt = Prompt {
                model: task.model.clone(),
                messages: messages.clone(),
                tools: if may_call { self.specs() } else { Vec::new() },
                traceparent: task.traceparent.clone(),
            };
            let said = self.ask(prompt, &mut reply, emit).await?;
            if said.calls.is_empty() || !may_call {
                return Ok(reply);
            }
            messages.push(ChatMessage::Assistant { text: said.text, calls: said.calls.clone() });
            for call in said.calls {
                emit(Step::ToolStarted { call: call.clone() });
                let outcome = self.call(&call, task.turn).await;
                messages.push(ChatMessage::Tool { call_id: call.id.clone(), content: outcome.result.clone() });
                emit(Step::ToolEnded { call, is_error: outcome.is_error, result: outcome.result });
            }
            round += 1;
        }
    }

    /// One model call. Its text is emitted and added to the reply as it comes.
    async fn ask(
        &self,
        prompt: Prompt,
        reply: &mut Reply,
        emit: &mut (dyn FnMut(Step) + Send),
    ) -> Result<Said, AgentError> {
        let mut answer = Reader::new(self.model.answer(prompt).await?);
        let mut said = Said::default();
        loop {
            match answer.next().await {
                Some(Ok(Delta::Text(text))) => {
                    if reply.text.len() + text.len() > self.config.max_text_bytes {
                        return Err(AgentError::TooLong);
                    }
                    said.text.push_str(&text);
                    reply.text.push_str(&text);
                    emit(Step::Text(text));
                }
                Some(Ok(Delta::Reasoning(text))) => emit(Step::Reasoning(text)),
                Some(Ok(Delta::ToolCalls(calls))) => said.calls = calls,
                Some(Ok(Delta::Done(usage))) => {
                    reply.usage += usage;
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
