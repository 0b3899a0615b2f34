//! What turns tell Prometheus.

use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Counters of this node's turns and of the streams it receives.
#[derive(Clone)]
pub struct Metrics {
    /// Messages by what became of them.
    pub(super) accepted: IntCounterVec,
    /// Turns that ended here, by outcome.
    pub(super) ended: IntCounterVec,
    /// Turns that run here now.
    pub(super) in_flight: IntGauge,
    /// From a turn's start here to its first token.
    pub(super) first_token: Histogram,
    /// How long turns ran here, by outcome.
    pub(super) duration: HistogramVec,
    /// Frames of turns, by kind.
    pub(super) frames: Frames,
    /// What this node itself adds, by part.
    pub(super) overhead: HistogramVec,
    /// Gaps found in streams from other nodes.
    pub(super) gaps: IntCounter,
    /// Bus messages that made no sense.
    pub(super) unreadable_envelopes: IntCounter,
    /// Frames of a replaced holder that were dropped.
    pub(super) fenced_frames: IntCounter,
    /// Writes of a replaced holder that the store refused.
    pub(super) fenced_writes: IntCounter,
    /// Lease renewals by result.
    pub(super) renewals: IntCounterVec,
    /// Turns that wait in the queue of the whole cluster, as this node last saw it.
    pub(super) queued: IntGauge,
}

/// Frames by kind, looked up once: they are counted for every token.
#[derive(Clone)]
pub(super) struct Frames {
    pub token: IntCounter,
    pub reasoning: IntCounter,
    pub chunk: IntCounter,
    pub end: IntCounter,
}

impl Frames {
    fn of(counters: &IntCounterVec) -> Self {
        let kind = |kind: &str| counters.with_label_values(&[kind]);
        Self { token: kind("token"), reasoning: kind("reasoning"), chunk: kind("chunk"), end: kind("end") }
    }
}

/// Seconds, from a fraction of a millisecond to the longest turn.
const SECONDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

impl Metrics {
    /// Registers them all; fails when a name is taken.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let frames = counters("turn_frames_total", "Frames of turns made on this node", "kind")?;
        let metrics = Self {
            accepted: counters("turns_accepted_total", "Messages by what became of them", "result")?,
            ended: counters("turns_total", "Turns that ended on this node", "outcome")?,
            in_flight: IntGauge::new("switchboard_turns_in_flight", "Turns that run on this node")?,
            first_token: Histogram::with_opts(
                HistogramOpts::new(
                    "switchboard_turn_first_token_seconds",
                    "From a turn's start on this node to its first token",
                )
                .buckets(SECONDS.to_vec()),
            )?,
            duration: histograms("turn_duration_seconds", "How long turns ran on this node", "outcome")?,
            frames: Frames::of(&frames),
            overhead: histograms("turn_overhead_seconds", "What the node itself adds to a turn", "part")?,
            gaps: IntCounter::new("switchboard_stream_gaps_total", "Gaps found in streams from other nodes")?,
            unreadable_envelopes: IntCounter::new(
                "switchboard_unreadable_envelopes_total",
                "Bus messages about turns that made no sense",
            )?,
            fenced_frames: IntCounter::new(
                "switchboard_fenced_frames_total",
                "Frames dropped because another holder has taken the turn",
            )?,
            fenced_writes: IntCounter::new(
                "switchboard_fenced_writes_total",
                "Writes refused because another holder has taken the turn",
            )?,
            renewals: counters("lease_renewals_total", "Lease renewals of this node", "result")?,
            queued: IntGauge::new("switchboard_turns_queued", "Turns that wait for a free slot in the cluster")?,
        };
        for result in ["claimed", "queued", "duplicate", "busy", "unavailable", "failed"] {
            metrics.accepted.with_label_values(&[result]);
        }
        for outcome in OUTCOMES {
            metrics.ended.with_label_values(&[outcome]);
            metrics.duration.with_label_values(&[outcome]);
        }
        for part in ["accept", "history", "finish"] {
            metrics.overhead.with_label_values(&[part]);
        }
        for result in ["renewed", "failed"] {
            metrics.renewals.with_label_values(&[result]);
        }
        registry.register(Box::new(metrics.accepted.clone()))?;
        registry.register(Box::new(metrics.ended.clone()))?;
        registry.register(Box::new(metrics.in_flight.clone()))?;
        registry.register(Box::new(metrics.first_token.clone()))?;
        registry.register(Box::new(metrics.duration.clone()))?;
        registry.register(Box::new(frames))?;
        registry.register(Box::new(metrics.overhead.clone()))?;
        registry.register(Box::new(metrics.gaps.clone()))?;
        registry.register(Box::new(metrics.unreadable_envelopes.clone()))?;
        registry.register(Box::new(metrics.fenced_frames.clone()))?;
        registry.register(Box::new(metrics.fenced_writes.clone()))?;
        registry.register(Box::new(metrics.renewals.clone()))?;
        registry.register(Box::new(metrics.queued.clone()))?;
        Ok(metrics)
    }
}

/// How a turn's time on this node can end. `lost`: another holder took it; `released`: given back to the queue; `parked`:
/// waits for a person; `expired`: no person answered.
const OUTCOMES: [&str; 7] = ["completed", "failed", "cancelled", "lost", "released", "parked", "expired"];

fn counters(name: &str, help: &str, label: &str) -> Result<IntCounterVec, prometheus::Error> {
    IntCounterVec::new(Opts::new(format!("switchboard_{name}"), help), &[label])
}

fn histograms(name: &str, help: &str, label: &str) -> Result<HistogramVec, prometheus::Error> {
    HistogramVec::new(HistogramOpts::new(format!("switchboard_{name}"), help).buckets(SECONDS.to_vec()), &[label])
}
