use std::cell::RefCell;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Returns the wall clock time.
pub(crate) fn now() -> SystemTime {
    #[expect(
        clippy::disallowed_methods,
        reason = "a line has the time of its event"
    )]
    SystemTime::now()
}

/// Returns the time of the monotonic clock.
pub(crate) fn instant() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "durations are measured where they occur"
    )]
    Instant::now()
}

/// Returns the seconds since the Unix epoch.
pub(crate) fn second() -> u64 {
    let since = now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

/// Appends the current time in UTC, in RFC 3339 with microseconds.
pub(crate) fn push_now(out: &mut String) {
    push_at(now(), out);
}

/// Appends a time in UTC, in RFC 3339 with microseconds.
pub(crate) fn push_at(at: SystemTime, out: &mut String) {
    push(at.duration_since(UNIX_EPOCH).unwrap_or_default(), out);
}

thread_local! {
    /// The last second that this thread wrote, and its string.
    static SECOND: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
}

fn push(since: Duration, out: &mut String) {
    let written = SECOND.try_with(|second| {
        let (of, text) = &mut *second.try_borrow_mut().ok()?;
        if *of != since.as_secs() {
            *of = since.as_secs();
            *text = second_text(since.as_secs());
        }
        out.push_str(text);
        Some(())
    });
    if !matches!(written, Ok(Some(()))) {
        out.push_str(&second_text(since.as_secs()));
    }
    let micros = since.subsec_micros();
    out.push('.');
    for place in [100_000, 10_000, 1_000, 100, 10, 1] {
        // A digit is less than ten.
        out.push(char::from(b'0' + (micros / place % 10) as u8));
    }
    out.push('Z');
}

/// `2026-11-21T19:00:00`
fn second_text(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).ok();
    let at = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    let mut text = at.unwrap_or(jiff::Timestamp::MAX).to_string();
    text.truncate(19);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_rfc_3339() {
        for (since, expected) in [
            (Duration::ZERO, "1970-01-01T00:00:00.000000Z"),
            (
                Duration::new(1_000_000_000, 123_456_789),
                "2001-09-09T01:46:40.123456Z",
            ),
            (
                Duration::new(1_000_000_000, 999),
                "2001-09-09T01:46:40.000000Z",
            ),
            (
                Duration::new(4_294_967_296, 999_999_999),
                "2106-02-07T06:28:16.999999Z",
            ),
        ] {
            let mut out = String::new();
            push(since, &mut out);
            assert_eq!(out, expected);
        }
        let mut out = String::new();
        push_now(&mut out);
        assert_eq!(out.len(), 27);
    }
}
