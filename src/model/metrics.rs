//! What the model gateway costs in time, tokens and failures. One call counts once, however often it was retried.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, Opts, Registry};
use tokio::time::Instant;

use super::{ModelError, Usage};

/// The counters of the gateway client. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    requests: IntCounterVec,
    retries: IntCounterVec,
    first_token: Histogram,
    duration: Histogram,
    prompt_tokens: IntCounter,
    completion_tokens: IntCounter,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Completed,
    /// The caller dropped the stream: somebody pressed Stop.
    Abandoned,
    Unavailable,
    Refused,
    Failed,
    Interrupted,
    IdleTimeout,
    TotalTimeout,
    Malformed,
}

/// Why a call was tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RetryReason {
    /// No connection.
    Connect,
    /// The connection ended before the answer began.
    Closed,
    /// Status 429.
    RateLimited,
    /// Status 5xx.
    ServerError,
}

const FIRST_TOKEN_SECONDS: &[f64] = &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
const DURATION_SECONDS: &[f64] = &[0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0];

impl Metrics {
    /// Registers every series, each label value at zero. Fails when a name is taken in `registry`.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let requests = IntCounterVec::new(
            Opts::new("switchboard_model_requests_total", "Calls to the model gateway, by how they ended"),
            &["result"],
        )?;
        let retries = IntCounterVec::new(
            Opts::new("switchboard_model_retries_total", "Repeated attempts of calls to the model gateway, by reason"),
            &["reason"],
        )?;
        let first_token = Histogram::with_opts(
            HistogramOpts::new(
                "switchboard_model_time_to_first_token_seconds",
                "From the start of a call, retries included, to the first delta of its answer",
            )
            .buckets(FIRST_TOKEN_SECONDS.to_vec()),
        )?;
        let duration = Histogram::with_opts(
            HistogramOpts::new("switchboard_model_request_duration_seconds", "From the start of a call to its end")
                .buckets(DURATION_SECONDS.to_vec()),
        )?;
        let tokens = IntCounterVec::new(
            Opts::new("switchboard_model_tokens_total", "Tokens read and written, as the gateway counts them"),
            &["kind"],
        )?;
        for ending in Ending::ALL {
            requests.with_label_values(&[ending.label()]);
        }
        for reason in RetryReason::ALL {
            retries.with_label_values(&[reason.label()]);
        }
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(retries.clone()))?;
        registry.register(Box::new(first_token.clone()))?;
        registry.register(Box::new(duration.clone()))?;
        registry.register(Box::new(tokens.clone()))?;
        Ok(Self {
            requests,
            retries,
            first_token,
            duration,
            prompt_tokens: tokens.with_label_values(&["prompt"]),
            completion_tokens: tokens.with_label_values(&["completion"]),
        })
    }

    /// Starts to observe one call.
    pub(super) fn observe(&self) -> Observation {
        Observation { metrics: self.clone(), started: Instant::now(), first_token: false, ending: Ending::Abandoned }
    }

    /// Counts one repeated attempt.
    pub(super) fn retried(&self, reason: RetryReason) {
        self.retries.with_label_values(&[reason.label()]).inc();
    }
}

/// One call under observation; it is counted when this is dropped, as abandoned unless told otherwise.
#[derive(Debug)]
pub(super) struct Observation {
    metrics: Metrics,
    started: Instant,
    first_token: bool,
    ending: Ending,
}

impl Observation {
    /// Something of the answer arrived; only the first time counts.
    pub(super) fn delta(&mut self) {
        if !self.first_token {
            self.first_token = true;
            self.metrics.first_token.observe(seconds(self.started.elapsed()));
        }
    }

    /// The answer is complete.
    pub(super) fn completed(&mut self, usage: &Usage) {
        self.ending = Ending::Completed;
        self.metrics.prompt_tokens.inc_by(usage.prompt_tokens);
        self.metrics.completion_tokens.inc_by(usage.completion_tokens);
    }

    /// The call failed.
    pub(super) fn failed(&mut self, error: &ModelError) {
        self.ending = Ending::of(error);
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        self.metrics.requests.with_label_values(&[self.ending.label()]).inc();
        self.metrics.duration.observe(seconds(self.started.elapsed()));
    }
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

impl Ending {
    const ALL: [Self; 9] = [
        Self::Completed,
        Self::Abandoned,
        Self::Unavailable,
        Self::Refused,
        Self::Failed,
        Self::Interrupted,
        Self::IdleTimeout,
        Self::TotalTimeout,
        Self::Malformed,
    ];

    fn of(error: &ModelError) -> Self {
        match error {
            ModelError::Unavailable(_) => Self::Unavailable,
            ModelError::Refused { .. } => Self::Refused,
            ModelError::Failed => Self::Failed,
            ModelError::Interrupted => Self::Interrupted,
            ModelError::IdleTimeout => Self::IdleTimeout,
            ModelError::TotalTimeout => Self::TotalTimeout,
            ModelError::Malformed(_) => Self::Malformed,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Abandoned => "abandoned",
            Self::Unavailable => "unavailable",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
            Self::IdleTimeout => "idle_timeout",
            Self::TotalTimeout => "total_timeout",
            Self::Malformed => "malformed",
        }
    }
}

impl RetryReason {
    const ALL: [Self; 4] = [Self::Connect, Self::Closed, Self::RateLimited, Self::ServerError];

    /// The word in metrics and logs.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Closed => "closed",
            Self::RateLimited => "rate_limited",
            Self::ServerError => "server_error",
        }
    }
}
