//! The members of an action's frame, taken out one by one with the message that each mistake gets.
//!
//! `null` counts as absent, and so does an empty text where the field is optional. No text may hold U+0000, which
//! Postgres cannot store.

use std::str::FromStr;

use serde_json::{Map, Value};

use crate::ids::{AgentId, ConversationId, SessionId};

use super::action::{DEFAULT_PAGE, MAX_PAGE, MAX_TITLE_CHARS};
use super::request::Refusal;

/// Longest `requestId`, in bytes: it is stored, indexed, and repeated in every frame of a turn.
pub const MAX_REQUEST_ID_BYTES: usize = 256;

/// The members that have not been taken yet.
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    pub(super) fn new(members: Map<String, Value>) -> Self {
        Self(members)
    }

    /// The action's name; `None` when it is absent or no text.
    pub(super) fn action(&mut self) -> Option<String> {
        match self.take("action") {
            Some(Value::String(name)) => Some(name),
            _ => None,
        }
    }

    /// The request's id; one that is no text counts as none.
    pub(super) fn request_id(&mut self) -> Result<Option<String>, Refusal> {
        match self.take("requestId") {
            Some(Value::String(id)) => checked("requestId", id, MAX_REQUEST_ID_BYTES).map(Some),
            _ => Ok(None),
        }
    }

    pub(super) fn session_id(&mut self) -> Result<SessionId, Refusal> {
        self.id("sessionId", Refusal::session_not_found)?.ok_or_else(|| Refusal::missing("sessionId"))
    }

    pub(super) fn conversation_id(&mut self) -> Result<ConversationId, Refusal> {
        self.optional_conversation_id()?.ok_or_else(|| Refusal::missing("conversationId"))
    }

    pub(super) fn optional_conversation_id(&mut self) -> Result<Option<ConversationId>, Refusal> {
        self.id("conversationId", Refusal::conversation_not_found)
    }

    pub(super) fn agent_id(&mut self) -> Result<AgentId, Refusal> {
        self.id("agentId", |_| Refusal::invalid("'agentId' must be a UUID".to_owned()))?
            .ok_or_else(|| Refusal::missing("agentId"))
    }

    /// An id; a text that is no UUID gets the answer that `unknown` gives to it, anything but a text counts as absent.
    fn id<T: FromStr>(&mut self, name: &str, unknown: impl FnOnce(&str) -> Refusal) -> Result<Option<T>, Refusal> {
        match self.take(name) {
            Some(Value::String(text)) => text.parse().map(Some).map_err(|_| unknown(&text)),
            _ => Ok(None),
        }
    }

    /// A text that must be there and must not be blank.
    pub(super) fn text(&mut self, name: &str, max_bytes: usize) -> Result<String, Refusal> {
        match self.take(name) {
            Some(Value::String(text)) if !text.trim().is_empty() => checked(name, text, max_bytes),
            _ => Err(Refusal::invalid(format!("missing or empty '{name}'"))),
        }
    }

    /// A text that may be missing.
    pub(super) fn optional_text(&mut self, name: &str, max_bytes: usize) -> Result<Option<String>, Refusal> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => checked(name, text, max_bytes).map(Some),
            Some(_) => Err(must_be(name, "a string")),
        }
    }

    /// A title, trimmed.
    pub(super) fn title(&mut self) -> Result<String, Refusal> {
        let title = self.text("title", usize::MAX)?.trim().to_owned();
        if title.chars().nth(MAX_TITLE_CHARS).is_some() {
            return Err(Refusal::invalid(format!("'title' is longer than {MAX_TITLE_CHARS} characters")));
        }
        Ok(title)
    }

    /// How many rows; what lies outside the range is taken as its nearer end.
    pub(super) fn limit(&mut self) -> Result<u32, Refusal> {
        match self.take("limit") {
            None => Ok(DEFAULT_PAGE),
            Some(Value::Number(limit)) => {
                let limit = limit.as_f64().unwrap_or_default().clamp(1.0, f64::from(MAX_PAGE));
                // The clamp leaves 1 to MAX_PAGE, so that the cast only drops a fraction.
                Ok(limit as u32)
            }
            Some(_) => Err(must_be("limit", "a number")),
        }
    }

    /// A position in a stream: 0 when it is missing.
    pub(super) fn position(&mut self, name: &str) -> Result<u64, Refusal> {
        match self.take(name) {
            None => Ok(0),
            Some(value) => value.as_u64().ok_or_else(|| must_be(name, "a whole number, 0 or more")),
        }
    }

    pub(super) fn integer(&mut self, name: &str) -> Result<i64, Refusal> {
        let value = self.take(name).ok_or_else(|| Refusal::missing(name))?;
        value.as_i64().ok_or_else(|| must_be(name, "a whole number"))
    }

    pub(super) fn flag(&mut self, name: &str) -> Result<bool, Refusal> {
        self.optional_flag(name)?.ok_or_else(|| Refusal::missing(name))
    }

    pub(super) fn optional_flag(&mut self, name: &str) -> Result<Option<bool>, Refusal> {
        self.take(name).map(|value| value.as_bool().ok_or_else(|| must_be(name, "true or false"))).transpose()
    }

    /// An object that is kept as it is.
    pub(super) fn object(&mut self, name: &str, max_bytes: usize) -> Result<Option<Map<String, Value>>, Refusal> {
        let Some(value) = self.take(name) else { return Ok(None) };
        // The length of what is kept: without the white space that the client may have sent.
        if value.to_string().len() > max_bytes {
            return Err(too_long(name, max_bytes));
        }
        if holds_nul(&value) {
            return Err(nul(name));
        }
        let Value::Object(members) = value else { return Err(must_be(name, "an object")) };
        Ok(Some(members))
    }

    /// An object whose members are read in turn.
    pub(super) fn nested(&mut self, name: &str) -> Result<Option<Self>, Refusal> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(members)) => Ok(Some(Self(members))),
            Some(_) => Err(must_be(name, "an object")),
        }
    }

    /// A list of short texts.
    pub(super) fn names(&mut self, name: &str, max: usize, max_bytes: usize) -> Result<Vec<String>, Refusal> {
        let values = match self.take(name) {
            None => return Ok(Vec::new()),
            Some(Value::Array(values)) => values,
            Some(_) => return Err(must_be(name, "a list of strings")),
        };
        if values.len() > max {
            return Err(Refusal::invalid(format!("'{name}' has more than {max} entries")));
        }
        let text = |value| {
            let Value::String(text) = value else { return Err(must_be(name, "a list of strings")) };
            checked(name, text, max_bytes)
        };
        values.into_iter().map(text).collect()
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }
}

fn checked(name: &str, text: String, max_bytes: usize) -> Result<String, Refusal> {
    if text.len() > max_bytes {
        Err(too_long(name, max_bytes))
    } else if text.contains('\0') {
        Err(nul(name))
    } else {
        Ok(text)
    }
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(holds_nul),
        Value::Object(members) => members.iter().any(|(name, value)| name.contains('\0') || holds_nul(value)),
    }
}

fn must_be(name: &str, what: &str) -> Refusal {
    Refusal::invalid(format!("'{name}' must be {what}"))
}

fn too_long(name: &str, max_bytes: usize) -> Refusal {
    Refusal::invalid(format!("'{name}' is longer than {max_bytes} bytes"))
}

fn nul(name: &str) -> Refusal {
    Refusal::invalid(format!("'{name}' holds a NUL character"))
}
