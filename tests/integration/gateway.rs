//! The client of the model gateway on real HTTP, against a gateway whose every chunk the test sends.

mod errors;
mod metrics;
mod retries;
mod streaming;
mod tools;

use std::time::Duration;

use chrono::DateTime;
use futures_util::StreamExt;
use prometheus::Registry;
use switchboard::clock::Clock;
use switchboard::model::gateway::Config;
use switchboard::model::{ChatMessage, Delta, Deltas, Gateway, Metrics, Model, ModelError, Prompt};

use crate::support::gateway::ScriptedGateway;

/// The time of day in these tests.
const NOON: &str = "2026-03-01T12:00:00Z";

/// A configuration that waits for nothing longer than it must.
fn config(gateway: &ScriptedGateway) -> Config {
    Config {
        url: gateway.url(),
        model: "default-model".to_owned(),
        backoff_base: Duration::from_millis(1),
        backoff_max: Duration::from_millis(2),
        ..Config::default()
    }
}

fn build(config: Config) -> Gateway {
    build_in(&Registry::new(), config)
}

fn build_in(registry: &Registry, config: Config) -> Gateway {
    let clock = Clock::fixed(DateTime::parse_from_rfc3339(NOON).expect("a date").to_utc());
    let metrics = Metrics::register(registry).expect("a fresh registry");
    Gateway::new(config, clock, metrics).expect("a good configuration")
}

fn prompt(text: &str) -> Prompt {
    Prompt { messages: vec![ChatMessage::User(text.to_owned())], ..Prompt::default() }
}

/// Asks, and reads on until the end or an error.
async fn ask(model: &Gateway, text: &str) -> (Vec<Delta>, Option<ModelError>) {
    match model.answer(prompt(text)).await {
        Ok(deltas) => rest(deltas).await,
        Err(error) => (Vec::new(), Some(error)),
    }
}

async fn rest(mut deltas: Deltas) -> (Vec<Delta>, Option<ModelError>) {
    let mut said = Vec::new();
    while let Some(item) = deltas.next().await {
        match item {
            Ok(delta) => said.push(delta),
            Err(error) => return (said, Some(error)),
        }
    }
    (said, None)
}

/// Reads the next delta, which is there or on its way.
async fn next(deltas: &mut Deltas) -> Delta {
    deltas.next().await.expect("a delta, not the end").expect("a delta, not an error")
}

fn text(text: &str) -> Delta {
    Delta::Text(text.to_owned())
}

/// All text of an answer.
fn text_of(deltas: &[Delta]) -> String {
    deltas
        .iter()
        .filter_map(|delta| match delta {
            Delta::Text(text) => Some(text.as_str()),
            Delta::Reasoning(_) | Delta::ToolCalls(_) | Delta::Done(_) => None,
        })
        .collect()
}
