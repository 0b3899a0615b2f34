//! A model that needs no key, so that a first look at Switchboard costs nothing but a command.
//!
//! It never passes for the real thing: every answer says what it is, or how to get a real one.

mod answers;

use std::collections::VecDeque;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use tokio::time::{Instant, sleep_until};

use super::{ChatMessage, Delta, Deltas, Model, ModelError, Prompt, ToolCall, Usage};

/// Answers word by word out of a few prepared texts.
#[derive(Clone, Debug)]
pub struct Demo {
    /// Time from one word to the next.
    pace: Duration,
}

impl Demo {
    /// A pace at which the words can be watched coming in and an answer can still be stopped.
    pub const DEFAULT_PACE: Duration = Duration::from_millis(25);

    /// The tool that it calls, when it is offered it and asked to order something or to remind of something.
    pub const TOOL: &str = "place_order";

    /// A demo model with `pace` from one word to the next; zero gives every word at once.
    pub fn new(pace: Duration) -> Self {
        Self { pace }
    }
}

impl Default for Demo {
    fn default() -> Self {
        Self::new(Self::DEFAULT_PACE)
    }
}

#[async_trait]
impl Model for Demo {
    async fn answer(&self, prompt: Prompt) -> Result<Deltas, ModelError> {
        let offered = prompt.tools.iter().any(|tool| tool.name == Self::TOOL);
        let item = if offered { answers::order(&prompt.messages) } else { None };
        let text = match &item {
            Some(item) => answers::before_order(item),
            None => answers::answer(&prompt.messages),
        };
        let usage = Usage {
            prompt_tokens: prompt.messages.iter().map(|message| words(content(message)).count() as u64).sum(),
            completion_tokens: words(&text).count() as u64,
            cost_usd: 0.0,
        };
        let mut deltas: VecDeque<Delta> = words(&text).map(|word| Delta::Text(word.to_owned())).collect();
        if let Some(item) = item {
            let arguments = serde_json::json!({ "item": item }).to_string();
            let call = ToolCall { id: "order".to_owned(), name: Self::TOOL.to_owned(), arguments };
            deltas.push_back(Delta::ToolCalls(vec![call]));
        }
        deltas.push_back(Delta::Done(usage));

        let pace = self.pace;
        let paced = stream::unfold((deltas, Instant::now()), move |(mut deltas, at)| async move {
            let delta = deltas.pop_front()?;
            if !pace.is_zero() {
                sleep_until(at).await;
            }
            Some((Ok(delta), (deltas, at + pace)))
        });
        Ok(paced.boxed())
    }
}

/// The words of a text, each with the space or line end that follows it: put together they are the text again.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive([' ', '\n'])
}

fn content(message: &ChatMessage) -> &str {
    match message {
        ChatMessage::System(text)
        | ChatMessage::User(text)
        | ChatMessage::Assistant { text, .. }
        | ChatMessage::Tool { content: text, .. } => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(messages: Vec<ChatMessage>) -> (Vec<String>, Usage) {
        let prompt = Prompt { messages, ..Prompt::default() };
        let mut deltas = Demo::new(Duration::ZERO).answer(prompt).await.unwrap();
        let mut words = Vec::new();
        loop {
            match deltas.next().await.unwrap().unwrap() {
                Delta::Text(word) => words.push(word),
                Delta::Done(usage) => return (words, usage),
                other @ (Delta::Reasoning(_) | Delta::ToolCalls(_)) => panic!("unexpected {other:?}"),
            }
        }
    }

    fn user(text: &str) -> ChatMessage {
        ChatMessage::User(text.to_owned())
    }

    #[tokio::test]
    async fn it_says_that_it_is_the_demo_and_how_to_get_a_real_model() {
        let (words, usage) = ask(vec![user("What is the capital of France?")]).await;
        let text = words.concat();
        assert!(text.contains("demo model"), "{text}");
        assert!(text.contains("GATEWAY_URL"), "{text}");
        assert!(text.contains("What is the capital of France?"), "{text}");
        assert_eq!(usage, Usage { prompt_tokens: 6, completion_tokens: words.len() as u64, cost_usd: 0.0 });
    }

    #[tokio::test]
    async fn it_answers_word_by_word() {
        let (words, _) = ask(vec![user("hello")]).await;
        assert!(words.len() > 10);
        assert!(words.iter().all(|word| !word.is_empty() && word.trim_end().find(' ').is_none()));
    }

    #[tokio::test]
    async fn a_long_answer_has_paragraphs_a_list_and_code() {
        let (words, _) = ask(vec![user("Give me a long answer, please")]).await;
        let text = words.concat();
        assert!(words.len() > 200, "only {} words", words.len());
        assert!(text.contains("\n\n") && text.contains("\n- ") && text.contains("\n```"), "{text}");
    }

    #[tokio::test]
    async fn it_orders_what_it_is_asked_to_and_says_what_became_of_it() {
        let tool = super::super::ToolSpec {
            name: Demo::TOOL.to_owned(),
            description: String::new(),
            parameters: serde_json::json!({}),
        };
        let offered = Prompt { messages: vec![user("Please order two teas!")], tools: vec![tool], ..Prompt::default() };
        let deltas: Vec<_> = Demo::new(Duration::ZERO).answer(offered.clone()).await.unwrap().collect().await;
        let calls = deltas.into_iter().find_map(|delta| match delta.unwrap() {
            Delta::ToolCalls(calls) => Some(calls),
            Delta::Text(_) | Delta::Reasoning(_) | Delta::Done(_) => None,
        });
        assert_eq!(calls.unwrap()[0].arguments, "{\"item\":\"two teas\"}");
        let mut messages = offered.messages;
        messages.push(ChatMessage::Assistant { text: String::new(), calls: vec![] });
        messages.push(ChatMessage::Tool { call_id: "order".to_owned(), content: "It was declined.".to_owned() });
        let text = ask(messages).await.0.concat();
        assert!(text.contains("> It was declined."), "{text}");
        let text = ask(vec![user("order tea")]).await.0.concat();
        assert!(text.contains("> order tea"), "without the tool it is a message like any other: {text}");
    }

    #[tokio::test]
    async fn it_remembers_the_conversation() {
        let history = vec![
            user("My cat is called Mia"),
            ChatMessage::Assistant { text: "Nice".to_owned(), calls: vec![] },
            user("What did I say?"),
        ];
        let text = ask(history).await.0.concat();
        assert!(text.contains("My cat is called Mia"), "{text}");
    }

    #[tokio::test]
    async fn a_message_of_any_length_is_quoted_within_bounds() {
        let text = ask(vec![user(&"ä".repeat(100_000))]).await.0.concat();
        assert!(text.len() < 2000, "{} bytes", text.len());
        let text = ask(vec![]).await.0.concat();
        assert!(!text.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn words_come_at_the_chosen_pace() {
        let prompt = Prompt { messages: vec![user("hello")], ..Prompt::default() };
        let started = Instant::now();
        let deltas: Vec<_> = Demo::default().answer(prompt).await.unwrap().collect().await;
        assert_eq!(started.elapsed(), Demo::DEFAULT_PACE * u32::try_from(deltas.len() - 1).unwrap());
    }
}
