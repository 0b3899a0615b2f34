//! What connections tell Prometheus.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::protocol::{CloseCode, ErrorCode};

/// Counters of this node's connections.
#[derive(Clone)]
pub struct Metrics {
    open: IntGauge,
    closed: IntCounterVec,
    handshakes: IntCounterVec,
    pub(super) frames_in: IntCounter,
    pub(super) frames_out: IntCounter,
    pub(super) bytes_in: IntCounter,
    pub(super) bytes_out: IntCounter,
    errors: IntCounterVec,
    overflow: IntCounterVec,
}

/// How a handshake went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeResult {
    /// The connection is open.
    Accepted,
    /// It was no WebSocket handshake, or one this server does not speak.
    Malformed,
    /// The node has as many connections as it takes.
    OverCapacity,
    /// The client went away before the handshake was done.
    Aborted,
}

impl HandshakeResult {
    const ALL: [Self; 4] = [Self::Accepted, Self::Malformed, Self::OverCapacity, Self::Aborted];

    fn label(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Malformed => "malformed",
            Self::OverCapacity => "over_capacity",
            Self::Aborted => "aborted",
        }
    }
}

/// What happened to a client that reads more slowly than its turn writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overflow {
    /// Several frames of text became one.
    Collapsed,
    /// It was given up.
    Closed,
}

impl Overflow {
    const ALL: [Self; 2] = [Self::Collapsed, Self::Closed];

    fn label(self) -> &'static str {
        match self {
            Self::Collapsed => "collapsed",
            Self::Closed => "closed",
        }
    }
}

impl Metrics {
    /// Registers them all; fails when a name is taken.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            open: IntGauge::new("switchboard_sockets", "Open client connections")?,
            closed: labelled("sockets_closed_total", "Connections that ended, by close code", "code")?,
            handshakes: labelled("handshakes_total", "WebSocket handshakes by result", "result")?,
            frames_in: IntCounter::new("switchboard_socket_frames_received_total", "Frames from clients")?,
            frames_out: IntCounter::new("switchboard_socket_frames_sent_total", "Frames to clients")?,
            bytes_in: IntCounter::new("switchboard_socket_received_bytes_total", "Payload bytes from clients")?,
            bytes_out: IntCounter::new("switchboard_socket_sent_bytes_total", "Payload bytes to clients")?,
            errors: labelled("errors_total", "Errors that clients were told, by code", "code")?,
            overflow: labelled("outbox_overflow_total", "Clients too slow for their turn, by action", "action")?,
        };
        for code in CloseCode::ALL {
            metrics.closed.with_label_values(&[code.label()]);
        }
        metrics.closed.with_label_values(&[GONE]);
        for result in HandshakeResult::ALL {
            metrics.handshakes.with_label_values(&[result.label()]);
        }
        for code in ErrorCode::ALL {
            metrics.errors.with_label_values(&[code.label()]);
        }
        for overflow in Overflow::ALL {
            metrics.overflow.with_label_values(&[overflow.label()]);
        }
        registry.register(Box::new(metrics.open.clone()))?;
        registry.register(Box::new(metrics.closed.clone()))?;
        registry.register(Box::new(metrics.handshakes.clone()))?;
        registry.register(Box::new(metrics.frames_in.clone()))?;
        registry.register(Box::new(metrics.frames_out.clone()))?;
        registry.register(Box::new(metrics.bytes_in.clone()))?;
        registry.register(Box::new(metrics.bytes_out.clone()))?;
        registry.register(Box::new(metrics.errors.clone()))?;
        registry.register(Box::new(metrics.overflow.clone()))?;
        Ok(metrics)
    }

    /// Counts a handshake.
    pub fn handshake(&self, result: HandshakeResult) {
        self.handshakes.with_label_values(&[result.label()]).inc();
    }

    pub(super) fn error(&self, code: ErrorCode) {
        self.errors.with_label_values(&[code.label()]).inc();
    }

    pub(super) fn overflow(&self, overflow: Overflow) {
        self.overflow.with_label_values(&[overflow.label()]).inc();
    }

    /// Counts an end; `None`: the client was gone without a word.
    pub(super) fn closed(&self, code: Option<CloseCode>) {
        self.closed.with_label_values(&[code.map_or(GONE, CloseCode::label)]).inc();
    }
}

/// The label of a connection that ended without a close frame.
const GONE: &str = "gone";

/// Counts one open connection for as long as it exists.
pub(super) struct Open(IntGauge);

impl Open {
    pub(super) fn new(metrics: &Metrics) -> Self {
        metrics.open.inc();
        Self(metrics.open.clone())
    }

    /// How many are open now, this one among them.
    pub(super) fn count(&self) -> usize {
        usize::try_from(self.0.get()).unwrap_or(0)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn labelled(name: &str, help: &str, label: &str) -> Result<IntCounterVec, prometheus::Error> {
    IntCounterVec::new(Opts::new(format!("switchboard_{name}"), help), &[label])
}
