//! The one way in which a test may wait for something that tells nobody when it happens.

use std::time::Duration;

use tokio::time::{Instant, interval};

/// How often the condition is looked at.
const EVERY: Duration = Duration::from_millis(10);

/// What a condition says: `bool`, or `Option` with what the test goes on with.
pub trait Outcome {
    /// What the test gets when the condition holds.
    type Value;
    /// The value, once the condition holds.
    fn held(self) -> Option<Self::Value>;
}

impl Outcome for bool {
    type Value = ();
    fn held(self) -> Option<()> {
        self.then_some(())
    }
}

impl<T> Outcome for Option<T> {
    type Value = T;
    fn held(self) -> Option<T> {
        self
    }
}

/// Looks at `condition` until it holds, and fails the test when it does not within `within`. Prefer an event, where there is one.
pub async fn assert_eventually<O: Outcome>(what: &str, within: Duration, condition: impl AsyncFn() -> O) -> O::Value {
    let deadline = Instant::now() + within;
    let mut tick = interval(EVERY);
    loop {
        tick.tick().await;
        if let Some(value) = condition().await.held() {
            return value;
        }
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
    }
}
