use std::fmt::Debug;
use std::time::Duration;

use tokio::time::{interval, timeout};

/// Polls a function until it returns the expected value.
///
/// # Panics
///
/// If it isn't within 60 s.
pub async fn eventually<T: PartialEq + Debug>(expected: T, mut ask: impl AsyncFnMut() -> T) {
    let mut ticks = interval(Duration::from_millis(10));
    let mut last = None;
    let asking = async {
        while last.as_ref() != Some(&expected) {
            ticks.tick().await;
            last = Some(ask().await);
        }
    };
    let in_time = timeout(Duration::from_secs(60), asking).await.is_ok();
    assert!(
        in_time,
        "after 60 s the answer is {last:?}, not {expected:?}"
    );
}
