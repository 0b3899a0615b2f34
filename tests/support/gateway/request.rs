//! A request as it reached the gateway.

use hyper::HeaderMap;
use serde_json::Value;

/// What a client asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The path, with its query.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, as JSON; `null` when it was none.
    pub body: Value,
}

impl Request {
    /// The newest message with the role `user`; empty when there is none.
    pub fn last_user_message(&self) -> &str {
        let messages = self.body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
        messages
            .iter()
            .rfind(|message| message["role"] == "user")
            .and_then(|message| message["content"].as_str())
            .unwrap_or_default()
    }

    /// A header as text; `None` when it was not sent.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}
