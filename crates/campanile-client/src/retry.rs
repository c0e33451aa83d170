use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::RETRY_AFTER;

/// Reads how long an answer asks to wait in `Retry-After`: seconds, or a date as HTTP has it (RFC 9110, section 10.2.3); less than nothing is
/// nothing. `None` if it does not say, or not so that it can be read.
pub fn retry_after(headers: &HeaderMap, now: impl FnOnce() -> SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?;
    match value.parse::<i64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds.max(0).unsigned_abs())),
        Err(_) if value.len() <= 64 && value.ends_with(" GMT") => {
            let date = jiff::fmt::strtime::parse("%a, %d %b %Y %H:%M:%S GMT", value).ok()?;
            let date = date
                .to_datetime()
                .ok()?
                .to_zoned(jiff::tz::TimeZone::UTC)
                .ok()?;
            let date = SystemTime::from(date.timestamp());
            Some(date.duration_since(now()).unwrap_or_default())
        }
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use http::HeaderValue;

    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        #[track_caller]
        fn check(value: &str, expected: Option<u64>) {
            // 784111777 is RFC 9110's own example of a date.
            let now = || UNIX_EPOCH + Duration::from_secs(784_111_777 - 90);
            let mut headers = HeaderMap::new();
            headers.insert(
                RETRY_AFTER,
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
            assert_eq!(
                retry_after(&headers, now),
                expected.map(Duration::from_secs),
                "{value}"
            );
        }
        check("7", Some(7));
        check("0", Some(0));
        check("-1", Some(0));
        check("1000000000", Some(1_000_000_000));
        check("Sun, 06 Nov 1994 08:49:37 GMT", Some(90));
        check("Sun, 06 Nov 1994 08:40:00 GMT", Some(0));
        check("Sun, 06 Nov 2094 08:49:37 GMT", None);
        check("Sat, 06 Nov 2094 08:49:37 GMT", Some(3_155_760_090));
        for value in [
            "",
            "1.5",
            "abc",
            "Fri, 99 Nov 1994 08:49:37 GMT",
            "99999999999999999999999",
            &format!("{} GMT", "x".repeat(100)),
            "ü",
        ] {
            check(value, None);
        }
        assert_eq!(retry_after(&HeaderMap::new(), || UNIX_EPOCH), None);
    }
}
