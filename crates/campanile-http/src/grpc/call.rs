use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, Method, Request};

/// Returns whether the request is a gRPC or gRPC-Web call.
pub(crate) fn is_call<B>(request: &Request<B>) -> bool {
    request.method() == Method::POST && is_grpc(request.headers())
}

/// Returns whether the request is a call to the health service. Its path must have no prefix.
pub(crate) fn is_health<B>(request: &Request<B>) -> bool {
    request.uri().path().starts_with("/grpc.health.v1.Health/") && is_call(request)
}

/// Returns the timeout in `grpc-timeout`: at most eight digits and a unit.
pub(crate) fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let (unit, digits) = headers.get(GRPC_TIMEOUT)?.as_bytes().split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits
        .iter()
        .fold(0, |number, digit| 10 * number + u64::from(digit - b'0'));
    match unit {
        b'H' => Some(Duration::from_secs(number * 3_600)),
        b'M' => Some(Duration::from_secs(number * 60)),
        b'S' => Some(Duration::from_secs(number)),
        b'm' => Some(Duration::from_millis(number)),
        b'u' => Some(Duration::from_micros(number)),
        b'n' => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// Returns whether a dropped call of this duration had reached its deadline.
///
/// The client's timer starts before the request arrives. Therefore the deadline counts as passed a
/// twentieth of the timeout early, at most 20 ms. A timeout below 10 ms is ignored: no server can
/// meet it, and a client could cause failures at no cost.
pub(crate) fn is_past(timeout: Duration, duration: Duration) -> bool {
    let early = (timeout / 20).min(Duration::from_millis(20));
    timeout >= MIN_TIMEOUT && duration >= timeout - early
}

/// The shortest timeout that counts as a deadline.
const MIN_TIMEOUT: Duration = Duration::from_millis(10);

/// The prefix of the content types of gRPC-Web.
pub(crate) const WEB: &[u8] = b"application/grpc-web";

/// Returns whether the content type is gRPC or gRPC-Web.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers
        .get(CONTENT_TYPE)
        .map_or(&b""[..], |value| value.as_bytes());
    let rest = match content_type.strip_prefix(WEB) {
        Some(rest) => Some(rest.strip_prefix(b"-text").unwrap_or(rest)),
        None => content_type.strip_prefix(b"application/grpc"),
    };
    matches!(rest, Some([] | [b'+' | b';', ..]))
}

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_has_a_grpc_content_type() {
        #[track_caller]
        fn check(method: Method, content_type: &str, expected: bool) {
            let request = Request::builder()
                .method(method)
                .header(CONTENT_TYPE, content_type)
                .body(())
                .unwrap();
            assert_eq!(is_call(&request), expected, "{content_type}");
        }
        check(Method::POST, "application/grpc", true);
        check(Method::POST, "application/grpc+proto", true);
        check(Method::POST, "application/grpc;charset=utf-8", true);
        check(Method::GET, "application/grpc", false);
        check(Method::POST, "application/grpc-web", true);
        check(Method::POST, "application/grpc-web+proto", true);
        check(Method::POST, "application/grpc-web-text", true);
        check(Method::POST, "application/grpc-web-text+proto", true);
        check(Method::GET, "application/grpc-web", false);
        check(Method::POST, "application/grpc-webby", false);
        check(Method::POST, "application/json", false);
    }

    #[test]
    fn timeouts_have_at_most_eight_digits_and_a_unit() {
        #[track_caller]
        fn check(text: &[u8], expected: Option<Duration>) {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", http::HeaderValue::from_bytes(text).unwrap());
            assert_eq!(timeout(&headers), expected, "{text:?}");
        }
        check(b"1H", Some(Duration::from_secs(3_600)));
        check(b"2M", Some(Duration::from_secs(120)));
        check(b"3S", Some(Duration::from_secs(3)));
        check(b"50m", Some(Duration::from_millis(50)));
        check(b"7u", Some(Duration::from_micros(7)));
        check(b"0n", Some(Duration::ZERO));
        check(b"99999999H", Some(Duration::from_secs(99_999_999 * 3_600)));
        check(b"00000001S", Some(Duration::from_secs(1)));
        for garbage in [
            &b""[..],
            b"S",
            b"1",
            b"1s",
            b"1h",
            b"-1S",
            b"+1S",
            b"1.5S",
            b" 1S",
            b"1 S",
            b"123456789n",
            b"\xffS",
            b"1\xff",
        ] {
            check(garbage, None);
        }
        assert_eq!(timeout(&HeaderMap::new()), None);
    }

    #[test]
    fn a_deadline_has_passed_a_twentieth_of_the_timeout_early() {
        let is_past =
            |timeout, total| is_past(Duration::from_millis(timeout), Duration::from_millis(total));
        assert!(!is_past(100, 94));
        assert!(is_past(100, 95));
        assert!(!is_past(10_000, 9_979));
        assert!(is_past(10_000, 9_980));
        assert!(!is_past(0, 1_000));
        assert!(!is_past(9, 1_000));
        assert!(is_past(10, 1_000));
    }
}
