//! Time that two processes of one machine can compare.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// How far the two clocks may come apart in one measurement.
const TOLERANCE: Duration = Duration::from_micros(200);

/// Nanoseconds since 1970, as every process of this machine reads them.
#[expect(
    clippy::disallowed_methods,
    reason = "the monotonic clock of the standard library has no number to send along"
)]
pub fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Watches that nobody sets the clock while it is measured with.
pub struct Watch {
    monotonic: Instant,
    wall_ns: u64,
}

impl Watch {
    /// Begins to watch.
    pub fn start() -> Self {
        Self { monotonic: Instant::now(), wall_ns: now_ns() }
    }

    /// Fails when the clock was set in between: what was measured with it means nothing.
    pub fn check(&self) -> crate::Result<()> {
        let wall = Duration::from_nanos(now_ns().saturating_sub(self.wall_ns));
        let apart = wall.abs_diff(self.monotonic.elapsed());
        if apart > TOLERANCE {
            return Err(format!("the machine's clock was set by {apart:?} during the measurement; run it again").into());
        }
        Ok(())
    }
}
