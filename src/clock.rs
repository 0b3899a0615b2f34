//! Wall-clock time as an argument, so that a test can set it. Leases never use it: they go by the store's own clock.

use std::sync::Arc;

use chrono::{DateTime, Utc};

/// Tells the time of day. Cheap to clone.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>);

impl Clock {
    /// The machine's own clock.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads it")]
    pub fn system() -> Self {
        Self(Arc::new(Utc::now))
    }

    /// A clock that always shows `at`.
    pub fn fixed(at: DateTime<Utc>) -> Self {
        Self(Arc::new(move || at))
    }

    /// The time of day.
    pub fn now(&self) -> DateTime<Utc> {
        (self.0)()
    }

    /// Milliseconds since 1970, the unit of every `timestamp` on the wire.
    pub fn now_ms(&self) -> i64 {
        self.now().timestamp_millis()
    }
}
