//! A tool behind an address: its arguments are posted as JSON, its answer is the result.
//!
//! Only the declared address is ever called: redirects are not followed. What a client sees of a failure says what kind it
//! was and nothing of where; the rest is in the log.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Client, Request, Response, Url, redirect};
use serde_json::Value;

use super::{Schema, Tool, ToolOutcome};
use crate::ids::TurnId;
use crate::model::{ToolCall, ToolSpec};
use crate::secret::Secret;

/// How long the connection to a tool may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Open connections that are kept for the next call, per host.
const MAX_IDLE_CONNECTIONS: usize = 32;

/// The longest description of a call that a person is asked to approve, in bytes.
const MAX_DESCRIPTION_BYTES: usize = 1000;

/// The header that lets a tool see that a call is the same one again.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What a declaration says of an HTTP tool.
pub struct HttpToolSpec {
    /// How the model sees it.
    pub spec: ToolSpec,
    /// Where its arguments are posted to; `http` or `https`.
    pub url: Url,
    /// Headers of every call, each with the variable that holds its value.
    pub headers: Vec<(HeaderName, String)>,
    /// How long one call may take.
    pub timeout: Option<Duration>,
    /// A person must approve every call.
    pub confirm: bool,
    /// A call may be repeated under the same key.
    pub idempotent: bool,
    /// The most that is read of an answer, in bytes.
    pub max_result_bytes: usize,
}

/// Where the values of headers come from, read at every call: what is changed there counts at once.
#[derive(Clone)]
pub struct Environment(Arc<Variables>);

type Variables = dyn Fn(&str) -> Option<Secret> + Send + Sync;

/// The connections of all HTTP tools of a node. Cheap to clone.
#[derive(Clone)]
pub struct HttpClients {
    /// By way of the system's proxy, when there is one.
    away: Client,
    /// To this machine, never by way of a proxy.
    here: Client,
    environment: Environment,
}

/// An HTTP tool.
pub struct HttpTool {
    declared: HttpToolSpec,
    schema: Schema,
    clients: HttpClients,
}

impl Environment {
    /// Values as `read` gives them by name.
    pub fn new(read: impl Fn(&str) -> Option<Secret> + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }
}

impl Default for Environment {
    /// An environment without any variable.
    fn default() -> Self {
        Self::new(|_| None)
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment")
    }
}

impl HttpClients {
    /// Builds the clients; fails when the platform's certificates cannot be read.
    pub fn new(environment: Environment) -> Result<Self, String> {
        let builder = || {
            Client::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS)
                .redirect(redirect::Policy::none())
                .tcp_nodelay(true)
        };
        let built = |client: reqwest::Result<Client>| client.map_err(|error| error.to_string());
        Ok(Self { away: built(builder().build())?, here: built(builder().no_proxy().build())?, environment })
    }

    fn of(&self, url: &Url) -> &Client {
        let host = url.host_str().unwrap_or_default();
        let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
        if host == "localhost" || address.is_ok_and(|address| address.is_loopback()) { &self.here } else { &self.away }
    }
}

impl HttpTool {
    /// The tool; the error says what is wrong with its schema.
    pub fn new(declared: HttpToolSpec, clients: HttpClients) -> Result<Self, String> {
        let schema = Schema::new(&declared.spec.parameters)?;
        Ok(Self { declared, schema, clients })
    }

    fn request(&self, call: &ToolCall, turn: TurnId) -> Result<Request, Failure> {
        let body = if call.arguments.trim().is_empty() { "{}".to_owned() } else { call.arguments.clone() };
        let key = HeaderValue::try_from(format!("{turn}:{}", call.id)).map_err(|_| Failure::CallId)?;
        let mut request = self
            .clients
            .of(&self.declared.url)
            .post(self.declared.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, text/plain;q=0.9, */*;q=0.1")
            .header(IDEMPOTENCY_KEY, key)
            .body(body);
        for (name, variable) in &self.declared.headers {
            let value = (self.clients.environment.0)(variable).ok_or_else(|| Failure::Variable(variable.clone()))?;
            let mut value = HeaderValue::try_from(value.expose()).map_err(|_| Failure::Variable(variable.clone()))?;
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        request.build().map_err(Failure::Unreachable)
    }

    async fn post(&self, call: &ToolCall, turn: TurnId) -> Result<String, Failure> {
        let request = self.request(call, turn)?;
        let response = self.clients.of(&self.declared.url).execute(request).await.map_err(Failure::Unreachable)?;
        if !response.status().is_success() {
            return Err(Failure::Status(response.status().as_u16()));
        }
        let bytes = beginning(response, self.declared.max_result_bytes).await.map_err(Failure::Unreachable)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

#[async_trait]
impl Tool for HttpTool {
    fn spec(&self) -> &ToolSpec {
        &self.declared.spec
    }

    async fn call(&self, call: &ToolCall, turn: TurnId) -> ToolOutcome {
        match self.post(call, turn).await {
            Ok(result) => ToolOutcome::ok(result),
            Err(failure) => {
                tracing::warn!(tool = %call.name, reason = %failure.reason(), "tool call failed");
                ToolOutcome::error(failure.told())
            }
        }
    }

    fn check(&self, arguments: &Value) -> Result<(), String> {
        self.schema.check(arguments)
    }

    fn approval(&self, arguments: &Value) -> Option<String> {
        self.declared.confirm.then(|| describe(&self.declared.spec.description, arguments))
    }

    fn is_idempotent(&self) -> bool {
        self.declared.idempotent
    }

    fn timeout(&self) -> Option<Duration> {
        self.declared.timeout
    }
}

/// Why a call gave no result.
enum Failure {
    /// The model gave the call an id that no header can carry.
    CallId,
    /// This variable is not set, or holds what no header can carry.
    Variable(String),
    /// No answer, or only a part of it.
    Unreachable(reqwest::Error),
    /// An answer with this status.
    Status(u16),
}

impl Failure {
    /// For the model and the client.
    fn told(&self) -> String {
        match self {
            Self::CallId | Self::Variable(_) => "the tool is not set up correctly on this server".to_owned(),
            Self::Unreachable(_) => "the tool could not be reached, or its answer broke off".to_owned(),
            Self::Status(status) => format!("the tool answered with status {status}"),
        }
    }

    /// For the log.
    fn reason(&self) -> String {
        match self {
            Self::CallId => "the id of the call fits into no header".to_owned(),
            Self::Variable(variable) => format!("{variable} is not set, or fits into no header"),
            // Without its address, which may hold a key.
            Self::Unreachable(error) => {
                let source = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
                format!("{} {source}", if error.is_connect() { "no connection" } else { "broken off" })
            }
            Self::Status(status) => format!("status {status}"),
        }
    }
}

/// The beginning of a body: one byte more than is allowed shows that there was more.
async fn beginning(mut response: Response, max_bytes: usize) -> reqwest::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = (max_bytes + 1).saturating_sub(bytes.len());
        bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if bytes.len() > max_bytes {
            break;
        }
    }
    Ok(bytes)
}

/// What a person is asked to approve: the tool's own words, then each argument.
fn describe(description: &str, arguments: &Value) -> String {
    let members = arguments.as_object().into_iter().flatten();
    let listed: Vec<String> = members
        .map(|(name, value)| match value {
            Value::String(text) => format!("{name}: {text}"),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                format!("{name}: {value}")
            }
        })
        .collect();
    let mut text = description.to_owned();
    if !listed.is_empty() {
        text = format!("{text} ({})", listed.join(", "));
    }
    if text.len() > MAX_DESCRIPTION_BYTES {
        text.truncate(text.floor_char_boundary(MAX_DESCRIPTION_BYTES));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_person_is_shown_what_the_tool_does_and_with_what() {
        let arguments = json!({"to": "ann", "amount": 3});
        assert_eq!(describe("Pays somebody", &arguments), "Pays somebody (amount: 3, to: ann)");
        assert_eq!(describe("Pays somebody", &json!({})), "Pays somebody");
        let long = describe("Pays", &json!({"to": "ä".repeat(2000)}));
        assert!(long.len() <= MAX_DESCRIPTION_BYTES + 3 && long.ends_with('…'));
    }
}
