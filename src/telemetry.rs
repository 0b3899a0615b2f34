//! Logs: structured, on standard error, one line each; never the text of a message, never a secret.

use std::io::IsTerminal;

use rand::RngExt;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// A W3C `traceparent` for work that begins now: of the parent's trace when there is one, else of a new trace.
pub fn traceparent(parent: Option<&str>) -> String {
    let span: u64 = rand::rng().random();
    match parent.and_then(trace_id) {
        Some(trace) => format!("00-{trace}-{span:016x}-01"),
        None => format!("00-{:032x}-{span:016x}-01", rand::rng().random::<u128>()),
    }
}

/// The trace of a `traceparent`, when it is well formed.
fn trace_id(traceparent: &str) -> Option<&str> {
    let mut parts = traceparent.split('-');
    let (version, trace) = (parts.next()?, parts.next()?);
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase());
    let valid = version.len() == 2 && trace.len() == 32 && is_hex(trace) && trace.bytes().any(|byte| byte != b'0');
    valid.then_some(trace)
}

/// How logs look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For a person at a terminal.
    Text,
    /// One JSON object a line, for a log collector.
    Json,
}

/// What is logged, and how.
#[derive(Clone, Debug)]
pub struct Config {
    /// Directives of `tracing`'s `EnvFilter`, such as `info` or `switchboard=debug,info`.
    pub filter: String,
    /// How it looks.
    pub format: Format,
}

impl Config {
    /// Whether the filter can be read.
    pub fn check(&self) -> Result<(), ParseError> {
        EnvFilter::builder().parse(&self.filter).map(|_| ())
    }

    /// Begins to log, for the whole process. A second call changes nothing.
    pub fn install(&self) -> Result<(), ParseError> {
        let filter = EnvFilter::builder().parse(&self.filter)?;
        let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        let builder = builder.with_ansi(std::io::stderr().is_terminal());
        let installed = match self.format {
            Format::Text => builder.try_init(),
            Format::Json => builder.json().flatten_event(true).try_init(),
        };
        if installed.is_err() {
            tracing::debug!("logging was installed before");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_belongs_to_the_trace_of_whoever_asked_for_it() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let child = traceparent(Some(parent));
        assert_eq!(trace_id(&child), trace_id(parent));
        assert_ne!(child, parent, "it is a span of its own");
    }

    #[test]
    fn without_a_parent_that_makes_sense_a_new_trace_begins() {
        let zeros = format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32));
        for parent in [None, Some(""), Some("00-xyz-1-01"), Some(zeros.as_str())] {
            let made = traceparent(parent);
            assert_eq!(made.len(), 55, "{made}");
            assert!(trace_id(&made).is_some(), "{made}");
        }
    }
}
