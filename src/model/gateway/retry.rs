//! How long to wait before the next attempt. Pure: the caller brings the clock and the dice.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{HeaderMap, RETRY_AFTER};

use super::Config;

/// The wait after failed attempt number `attempt` (0 is the first). `dice` lies in 0..1: full jitter, so that nodes which
/// failed together do not come back together. `None`: the gateway asked for more patience than a person has.
pub(super) fn wait(config: &Config, attempt: u32, retry_after: Option<Duration>, dice: f64) -> Option<Duration> {
    let Some(asked) = retry_after else {
        let ceiling = config.backoff_base.saturating_mul(2_u32.saturating_pow(attempt)).min(config.backoff_max);
        return Some(ceiling.mul_f64(dice));
    };
    // Never before the time that was asked for.
    (asked <= config.max_retry_after).then(|| asked + config.backoff_base.mul_f64(dice))
}

/// Reads `Retry-After`: seconds, or an HTTP date. Anything else counts as absent.
pub(super) fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = DateTime::parse_from_rfc2822(text).ok()?;
    Some((at.to_utc() - now).to_std().unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reqwest::header::HeaderValue;

    use super::*;

    fn header(value: &str) -> Option<Duration> {
        let now = DateTime::parse_from_rfc3339("2026-03-01T12:00:00Z").unwrap().to_utc();
        retry_after(&HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(value).unwrap())]), now)
    }

    #[test]
    fn retry_after_is_read_as_seconds_or_as_a_date() {
        assert_eq!(header("7"), Some(Duration::from_secs(7)));
        assert_eq!(header("Sun, 01 Mar 2026 12:00:30 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(header("Sun, 01 Mar 2026 11:00:00 GMT"), Some(Duration::ZERO), "a date that has passed");
        assert_eq!(header("soon"), None);
        assert_eq!(header("-3"), None);
        assert_eq!(retry_after(&HeaderMap::new(), DateTime::UNIX_EPOCH), None);
    }

    #[test]
    fn more_patience_than_the_limit_is_refused() {
        let config = Config { max_retry_after: Duration::from_secs(10), ..Config::default() };
        assert!(wait(&config, 0, Some(Duration::from_secs(10)), 0.0).is_some());
        assert_eq!(wait(&config, 0, Some(Duration::from_secs(11)), 0.0), None);
    }

    proptest! {
        #[test]
        fn the_wait_doubles_up_to_its_limit_and_is_spread_over_all_of_it(attempt in 0_u32..64, dice in 0.0..1.0) {
            let config = Config {
                backoff_base: Duration::from_millis(100),
                backoff_max: Duration::from_secs(2),
                ..Config::default()
            };
            let ceiling = (0.1 * 2_f64.powi(attempt.cast_signed())).min(2.0);
            let wait = wait(&config, attempt, None, dice).unwrap().as_secs_f64();
            prop_assert!((wait - ceiling * dice).abs() < 1e-6);
        }

        #[test]
        fn the_wait_is_never_shorter_than_the_gateway_asked_for(seconds in 0_u64..10, dice in 0.0..1.0) {
            let asked = Duration::from_secs(seconds);
            prop_assert!(wait(&Config::default(), 0, Some(asked), dice).unwrap() >= asked);
        }
    }
}
