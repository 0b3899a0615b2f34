//! The client of a model gateway: any server that speaks OpenAI's `chat/completions` with a stream of events.
//!
//! What the gateway says about an error goes to the log and nowhere else, and the key goes to the gateway and nowhere else:
//! a [`ModelError`] never holds either.

mod answer;
mod assemble;
mod chunk;
mod open;
mod request;
mod retry;
mod sse;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, Url, redirect};
use tokio::time::{Instant, timeout_at};

use self::answer::Answer;
use super::{Deltas, Metrics, Model, ModelError, Prompt};
use crate::clock::Clock;
use crate::secret::Secret;

/// Where the gateway is and how patient the client is with it.
#[derive(Clone, Debug)]
pub struct Config {
    /// The base address, `http` or `https`, as in `https://gateway.example/v1`; `/chat/completions` is added. No default.
    pub url: String,
    /// Sent as `Authorization: Bearer`. Default: none, as for a gateway on the same machine.
    pub key: Option<Secret>,
    /// The model when the prompt names none. No default.
    pub model: String,
    /// For a connection, TLS included. Default 5 s: a gateway that is there answers within one.
    pub connect_timeout: Duration,
    /// Between two reads, and before the first byte. Default 60 s: long prompts and thinking models are slow to begin.
    pub idle_timeout: Duration,
    /// For a whole call, retries included. Default 600 s.
    pub total_timeout: Duration,
    /// The largest event, in bytes. Default 256 KiB: an event holds a token, or at most a tool's arguments.
    pub max_event_bytes: usize,
    /// The largest answer, in bytes of text, reasoning and tool calls. Default 1 MiB.
    pub max_answer_bytes: usize,
    /// The most tool calls of one answer. Default 128, as at OpenAI.
    pub max_tool_calls: usize,
    /// Attempts after the first. Default 3.
    pub retries: u32,
    /// The longest wait after the first failed attempt; it doubles with each. Default 250 ms.
    pub backoff_base: Duration,
    /// The longest wait before any attempt. Default 5 s.
    pub backoff_max: Duration,
    /// The longest `Retry-After` that is waited for; a longer one ends the call at once. Default 20 s: a person waits.
    pub max_retry_after: Duration,
    /// Open connections kept for the next call. Default 256, so that a busy node does not open one per turn.
    pub max_idle_connections: usize,
}

/// A setting of [`Config`] that cannot be used. Never shows the value: an address may hold a password.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The address.
    #[error("the gateway's address is not an http or https URL")]
    Url,
    /// The key.
    #[error("the gateway's key has characters that a header cannot carry")]
    Key,
    /// The model.
    #[error("the name of the default model is empty")]
    Model,
    /// The machine: certificates or TLS could not be set up.
    #[error("the HTTP client could not be built: {0}")]
    Client(String),
}

/// The client. One per node: it holds the connections.
pub struct Gateway {
    config: Arc<Config>,
    endpoint: Url,
    client: Client,
    clock: Clock,
    metrics: Metrics,
}

/// How much of what a gateway says about an error is logged, in bytes.
const LOGGED_BYTES: usize = 4096;

impl Gateway {
    /// Builds the client. Does not connect: a gateway that is away now may be there when it is needed.
    pub fn new(config: Config, clock: Clock, metrics: Metrics) -> Result<Self, ConfigError> {
        config.check()?;
        let endpoint = config.endpoint()?;
        let mut client = Client::builder()
            .default_headers(config.headers()?)
            .connect_timeout(config.connect_timeout)
            .pool_max_idle_per_host(config.max_idle_connections)
            .redirect(redirect::Policy::none())
            .tcp_nodelay(true);
        if is_loopback(&endpoint) {
            client = client.no_proxy();
        }
        let client = client.build().map_err(|error| ConfigError::Client(error.without_url().to_string()))?;
        Ok(Self { config: Arc::new(config), endpoint, client, clock, metrics })
    }
}

#[async_trait]
impl Model for Gateway {
    async fn answer(&self, prompt: Prompt) -> Result<Deltas, ModelError> {
        let mut observation = self.metrics.observe();
        let deadline = Instant::now() + self.config.total_timeout;
        let body = request::encode(&prompt, &self.config.model);
        // A trace that cannot be sent must not cost the answer.
        let traceparent = prompt.traceparent.and_then(|text| HeaderValue::try_from(text).ok());
        let opened = match timeout_at(deadline, self.open(body, traceparent)).await {
            Ok(opened) => opened,
            Err(_) => Err(ModelError::TotalTimeout),
        };
        match opened {
            Ok(opened) => Ok(Answer::new(opened, deadline, observation, self.config.clone()).boxed()),
            Err(error) => {
                observation.failed(&error);
                Err(error)
            }
        }
    }
}

impl Config {
    /// Says whether a client can be built from this.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.model.is_empty() {
            return Err(ConfigError::Model);
        }
        self.endpoint()?;
        self.headers().map(|_| ())
    }

    fn endpoint(&self) -> Result<Url, ConfigError> {
        let mut url = Url::parse(&self.url).map_err(|_| ConfigError::Url)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(ConfigError::Url);
        }
        url.path_segments_mut().map_err(|()| ConfigError::Url)?.pop_if_empty().extend(["chat", "completions"]);
        Ok(url)
    }

    fn headers(&self) -> Result<HeaderMap, ConfigError> {
        let mut headers = HeaderMap::from_iter([
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (ACCEPT, HeaderValue::from_static("text/event-stream")),
        ]);
        if let Some(key) = &self.key {
            let mut value = HeaderValue::try_from(format!("Bearer {}", key.expose())).map_err(|_| ConfigError::Key)?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(headers)
    }

    /// What may be logged of something that the gateway said: its beginning, without the key.
    fn excerpt(&self, said: &[u8]) -> String {
        let mut text = String::from_utf8_lossy(said).into_owned();
        if let Some(key) = self.key.as_ref().map(Secret::expose).filter(|key| !key.is_empty()) {
            text = text.replace(key, "[redacted]");
        }
        text.truncate(text.floor_char_boundary(LOGGED_BYTES));
        text
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            url: String::new(),
            key: None,
            model: String::new(),
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(60),
            total_timeout: Duration::from_secs(600),
            max_event_bytes: 256 * 1024,
            max_answer_bytes: 1024 * 1024,
            max_tool_calls: 128,
            retries: 3,
            backoff_base: Duration::from_millis(250),
            backoff_max: Duration::from_secs(5),
            max_retry_after: Duration::from_secs(20),
            max_idle_connections: 256,
        }
    }
}

/// A server on this machine is never reached through a proxy.
fn is_loopback(url: &Url) -> bool {
    match url.host_str() {
        Some("localhost") => true,
        Some(host) => host.trim_matches(['[', ']']).parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback()),
        None => false,
    }
}

#[cfg(test)]
mod tests;
