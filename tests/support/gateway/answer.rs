//! Answers that are prepared in advance and given at once.

use bytes::Bytes;
use hyper::StatusCode;
use serde_json::json;

use super::events;

/// A prepared answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(&'static str, String)>,
    /// Written one after the other, each as a chunk of its own.
    pub(super) parts: Vec<Bytes>,
    pub(super) hang_up: bool,
}

impl Answer {
    /// A complete answer of this text, in as many tokens as it has words.
    pub fn text(text: &str) -> Self {
        let words: Vec<&str> = text.split_inclusive(' ').collect();
        let tokens = words.iter().map(|word| events::chunk(json!({ "content": word })));
        Self::stream(tokens.chain([events::ending("stop", words.len() as u64)]))
    }

    /// A complete answer that calls these tools: id, name, arguments.
    pub fn tool_calls<'a>(calls: impl IntoIterator<Item = (&'a str, &'a str, &'a str)>) -> Self {
        let calls = calls
            .into_iter()
            .enumerate()
            .map(|(index, (id, name, arguments))| events::tool_call(index, id, name, arguments));
        Self::stream(calls.chain([events::ending("tool_calls", 1)]))
    }

    /// A stream of exactly these bytes, cut at the ends of the parts.
    pub fn raw<B: AsRef<[u8]>>(parts: impl IntoIterator<Item = B>) -> Self {
        Self::stream(parts.into_iter().map(|part| Bytes::copy_from_slice(part.as_ref())))
    }

    /// No stream but a status.
    pub fn status(status: u16) -> Self {
        let status = StatusCode::from_u16(status).expect("a status");
        Self {
            status,
            headers: vec![("content-type", "application/json".to_owned())],
            parts: Vec::new(),
            hang_up: false,
        }
    }

    /// The connection ends without any answer.
    pub fn hang_up() -> Self {
        Self { hang_up: true, ..Self::status(500) }
    }

    /// With this header, instead of any of the same name.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.retain(|(other, _)| *other != name);
        self.headers.push((name, value.into()));
        self
    }

    /// With this text after all other parts.
    pub fn body(mut self, text: impl Into<String>) -> Self {
        self.parts.push(Bytes::from(text.into()));
        self
    }

    fn stream(parts: impl IntoIterator<Item = Bytes>) -> Self {
        Self { parts: parts.into_iter().collect(), ..Self::status(200) }.header("content-type", "text/event-stream")
    }
}
