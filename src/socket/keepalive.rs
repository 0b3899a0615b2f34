//! Whether a client is still there: pings at intervals, and the end after two that nobody answered.

use std::pin::Pin;
use std::time::Duration;

use rand::RngExt;
use tokio::time::{Instant, Sleep, sleep};

/// Pings without an answer before the client is given up.
const MISSES: u32 = 2;

/// When to ping a client, and when to give it up.
pub(super) struct KeepAlive {
    interval: Duration,
    idle_timeout: Duration,
    /// Kept from one wait to the next: a busy connection does not set a timer for every frame.
    timer: Pin<Box<Sleep>>,
    missed: u32,
    last_action: Instant,
}

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Ping the client.
    Ping,
    /// It answered none of the last pings.
    Gone,
    /// It asked for nothing for too long.
    Idle,
}

impl KeepAlive {
    pub(super) fn new(interval: Duration, idle_timeout: Duration) -> Self {
        let now = Instant::now();
        Self { interval, idle_timeout, timer: Box::pin(sleep(jittered(interval))), missed: 0, last_action: now }
    }

    /// Waits until [`KeepAlive::due`] has something to say.
    pub(super) async fn elapsed(&mut self) {
        self.timer.as_mut().await;
    }

    /// Something came from the client.
    pub(super) fn heard(&mut self) {
        self.missed = 0;
    }

    /// The client asked for something.
    pub(super) fn acted(&mut self) {
        self.last_action = Instant::now();
    }

    /// Says what is due, and sets the next time.
    pub(super) fn due(&mut self) -> Due {
        let now = Instant::now();
        self.timer.as_mut().reset(now + jittered(self.interval));
        if self.missed >= MISSES {
            return Due::Gone;
        }
        if now - self.last_action >= self.idle_timeout {
            return Due::Idle;
        }
        self.missed += 1;
        Due::Ping
    }
}

/// A tenth to either side, so that the clients of a node that started together do not answer together.
fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(rand::rng().random_range(0.9..1.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_client_that_answers_no_ping_is_gone_after_two() {
        let mut keepalive = KeepAlive::new(25 * SECOND, 3600 * SECOND);
        let mut seen = Vec::new();
        for _ in 0..3 {
            keepalive.elapsed().await;
            seen.push(keepalive.due());
        }
        assert_eq!(seen, [Due::Ping, Due::Ping, Due::Gone]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_answers_stays_until_it_is_idle_too_long() {
        let mut keepalive = KeepAlive::new(25 * SECOND, 100 * SECOND);
        let start = Instant::now();
        loop {
            keepalive.elapsed().await;
            match keepalive.due() {
                Due::Ping => keepalive.heard(),
                Due::Idle => break,
                Due::Gone => panic!("it answered"),
            }
        }
        assert!(start.elapsed() >= 100 * SECOND && start.elapsed() <= 130 * SECOND);
    }
}
