//! From the text of a frame to a request, or to the reason why it is none.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use serde_json::Value;

use super::action::NEED_REQUEST_ID;
use super::fields::Fields;
use super::{Action, ErrorCode, Event};

/// How much of what a client sent is repeated to it in a message, in characters.
const MAX_ECHO_CHARS: usize = 64;

/// An action with the name that the client gave to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Repeated in every event about it; at most [`MAX_REQUEST_ID_BYTES`](super::MAX_REQUEST_ID_BYTES).
    pub request_id: Option<String>,
    /// What is asked.
    pub action: Action,
}

/// Why a frame is no request. Answered with an `error` event; the socket stays open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The request's id, if the frame had a usable one.
    pub request_id: Option<String>,
    /// The code.
    pub code: ErrorCode,
    /// The sentence beside it.
    pub message: String,
}

/// Reads a text frame: everything that can be checked without a store is checked here, in the protocol's order.
///
/// # Errors
/// Says what the client is to be told. A `cancel` is never refused.
pub fn parse(text: &str) -> Result<Request, Refusal> {
    let mut fields = match serde_json::from_str(text) {
        Ok(Value::Object(fields)) => Fields::new(fields),
        Ok(_) => return Err(Refusal::invalid("invalid JSON frame: expected an object".to_owned())),
        Err(error) => return Err(Refusal::invalid(format!("invalid JSON frame: {error}"))),
    };
    let name = fields.action();
    let request_id = match fields.request_id() {
        Err(_) if name.as_deref() == Some("cancel") => None,
        request_id => request_id?,
    };
    match read(name, request_id.as_deref(), &mut fields) {
        Ok(action) => Ok(Request { request_id, action }),
        Err(refusal) => Err(Refusal { request_id, ..refusal }),
    }
}

fn read(name: Option<String>, request_id: Option<&str>, fields: &mut Fields) -> Result<Action, Refusal> {
    let Some(name) = name else { return Err(Refusal::invalid("missing 'action' field".to_owned())) };
    if NEED_REQUEST_ID.contains(&name.as_str()) && request_id.is_none_or(str::is_empty) {
        return Err(Refusal::invalid(format!("{name} requires a 'requestId'")));
    }
    Action::read(&name, fields)
}

impl Refusal {
    /// The event that tells the client.
    pub fn event(&self, timestamp: i64) -> Event<'_> {
        Event::error(self.request_id.as_deref(), timestamp, self.code, &self.message)
    }

    pub(super) fn invalid(message: String) -> Self {
        Self { request_id: None, code: ErrorCode::ValidationError, message }
    }

    pub(super) fn missing(field: &str) -> Self {
        Self::invalid(format!("missing '{field}'"))
    }

    pub(super) fn unsupported(action: &str) -> Self {
        Self {
            request_id: None,
            code: ErrorCode::UnsupportedAction,
            message: format!("action '{}' is not supported by this server", excerpt(action)),
        }
    }

    /// The answer to a session id that is nobody's, or not the caller's.
    pub fn session_not_found(id: &str) -> Self {
        Self {
            request_id: None,
            code: ErrorCode::SessionNotFound,
            message: format!("session '{}' not found", excerpt(id)),
        }
    }

    /// The answer to a conversation id that is nobody's, or not the caller's.
    pub fn conversation_not_found(id: &str) -> Self {
        Self {
            request_id: None,
            code: ErrorCode::ConversationNotFound,
            message: format!("conversation '{}' not found", excerpt(id)),
        }
    }
}

/// As much of a client's text as is repeated to it; what was cut off shows as an ellipsis.
fn excerpt(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(MAX_ECHO_CHARS) {
        Some((end, _)) => Cow::Owned(format!("{}\u{2026}", &text[..end])),
        None => Cow::Borrowed(text),
    }
}
