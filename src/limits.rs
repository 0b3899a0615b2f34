//! Rates. One kind of limiter for everything that has one.

use tokio::time::Instant;

/// A rate, with the burst that it forgives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// How many a second, in the long run.
    pub per_second: f64,
    /// How many at once, after a pause.
    pub burst: f64,
}

/// A token bucket: gives `burst` at once, then `per_second`.
#[derive(Debug)]
pub struct TokenBucket {
    rate: Rate,
    tokens: f64,
    filled_at: Instant,
}

impl TokenBucket {
    /// A full bucket.
    pub fn new(rate: Rate) -> Self {
        Self { rate, tokens: rate.burst, filled_at: Instant::now() }
    }

    /// Takes one, if there is one.
    pub fn take(&mut self) -> bool {
        let now = Instant::now();
        let gained = (now - self.filled_at).as_secs_f64() * self.rate.per_second;
        self.tokens = (self.tokens + gained).min(self.rate.burst);
        self.filled_at = now;
        let granted = self.tokens >= 1.0;
        if granted {
            self.tokens -= 1.0;
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut bucket = TokenBucket::new(Rate { per_second: 2.0, burst: 3.0 });
        assert_eq!((0..5).filter(|_| bucket.take()).count(), 3);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!((0..5).filter(|_| bucket.take()).count(), 2);
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!((0..9).filter(|_| bucket.take()).count(), 3);
    }
}
