use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::RETRY_AFTER;
use jiff::fmt::strtime;

/// Returns the delay in the header `Retry-After`, or `None` if it is missing or invalid.
///
/// The value is a number of seconds, or a date in one of the three formats of RFC 9110, section
/// 5.6.7. A negative number or a past date is zero.
///
/// A server can send any delay. Limit it before adding it to an instant, which could overflow.
pub fn retry_after(headers: &HeaderMap, now: impl FnOnce() -> SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?;
    match value.parse::<i64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds.max(0).unsigned_abs())),
        Err(_) if value.len() <= 64 => {
            let mut parsed = DATES.iter().map(|format| strtime::parse(format, value));
            let date = parsed.find_map(Result::ok)?;
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

/// The preferred format, and the obsolete formats of RFC 850 and of C's `asctime`.
const DATES: [&str; 3] = [
    "%a, %d %b %Y %H:%M:%S GMT",
    "%A, %d-%b-%y %H:%M:%S GMT",
    "%a %b %e %H:%M:%S %Y",
];

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
        check("Sunday, 06-Nov-94 08:49:37 GMT", Some(90));
        check("Sun Nov  6 08:49:37 1994", Some(90));
        check("Sun Nov 06 08:49:37 1994", Some(90));
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
