use std::fmt::Debug;
use std::time::Duration;

use tokio::time::{Instant, interval};

/// Asks again and again until the answer is the expected one.
///
/// # Panics
///
/// If it isn't within 60 s.
pub async fn eventually<T: PartialEq + Debug>(expected: T, mut ask: impl AsyncFnMut() -> T) {
    let mut ticks = interval(Duration::from_millis(10));
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        ticks.tick().await;
        let answer = ask().await;
        if answer == expected {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "after 60 s the answer is {answer:?}, not {expected:?}"
        );
    }
}
