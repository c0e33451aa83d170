use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, Method, Request};

use crate::Route;

/// The status of a gRPC call: one of the 17 codes of the gRPC specification.
///
/// ```
/// use campanile_http::GrpcStatus;
///
/// assert_eq!(GrpcStatus::UNAVAILABLE.name(), "UNAVAILABLE");
/// assert_eq!(GrpcStatus::UNAVAILABLE.code(), 14);
/// assert!(GrpcStatus::UNAVAILABLE.is_server_failure());
/// assert!(!GrpcStatus::NOT_FOUND.is_server_failure());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GrpcStatus(u8);

macro_rules! codes {
    ($($name:ident = $code:literal),+) => {
        impl GrpcStatus {
            $(
                #[doc = concat!("The code ", $code, ".")]
                pub const $name: Self = Self($code);
            )+
        }

        /// The names of the codes, in their order.
        const NAMES: &[&str] = &[$(stringify!($name)),+];
    };
}

codes!(
    OK = 0,
    CANCELLED = 1,
    UNKNOWN = 2,
    INVALID_ARGUMENT = 3,
    DEADLINE_EXCEEDED = 4,
    NOT_FOUND = 5,
    ALREADY_EXISTS = 6,
    PERMISSION_DENIED = 7,
    RESOURCE_EXHAUSTED = 8,
    FAILED_PRECONDITION = 9,
    ABORTED = 10,
    OUT_OF_RANGE = 11,
    UNIMPLEMENTED = 12,
    INTERNAL = 13,
    UNAVAILABLE = 14,
    DATA_LOSS = 15,
    UNAUTHENTICATED = 16
);

impl GrpcStatus {
    /// Returns the number, from 0 to 16.
    pub fn code(self) -> u8 {
        self.0
    }

    /// Returns the name, as in `DEADLINE_EXCEEDED`.
    pub fn name(self) -> &'static str {
        NAMES[usize::from(self.0)]
    }

    /// Returns whether the server is to blame: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE and
    /// DATA_LOSS, as OpenTelemetry has it for the spans of servers.
    pub fn is_server_failure(self) -> bool {
        matches!(
            self,
            Self::UNKNOWN
                | Self::DEADLINE_EXCEEDED
                | Self::UNIMPLEMENTED
                | Self::INTERNAL
                | Self::UNAVAILABLE
                | Self::DATA_LOSS
        )
    }

    /// Takes the status from headers or trailers, if they have one. What is not a code is UNKNOWN.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        Some(Self::from_code(headers.get(GRPC_STATUS)?.as_bytes()))
    }

    /// Reads a code in decimal digits. What is not a code is UNKNOWN.
    pub(crate) fn from_code(text: &[u8]) -> Self {
        match *text {
            [digit @ b'0'..=b'9'] => Self(digit - b'0'),
            [b'1', digit @ b'0'..=b'6'] => Self(10 + digit - b'0'),
            _ => Self::UNKNOWN,
        }
    }
}

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

impl fmt::Display for GrpcStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Debug for GrpcStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Returns whether a request is a call of gRPC, or of gRPC-Web.
pub(crate) fn is_call<B>(request: &Request<B>) -> bool {
    request.method() == Method::POST && is_grpc(request.headers())
}

/// Returns whether a request is a call of the health service, by the path without a prefix.
pub(crate) fn is_health<B>(request: &Request<B>) -> bool {
    request.uri().path().starts_with("/grpc.health.v1.Health/") && is_call(request)
}

/// Returns the timeout of a call, from its `grpc-timeout`: at most eight digits and a unit.
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

/// Returns whether a call that took this long was dropped at its deadline.
///
/// The client's timer starts before the request arrives here, so the deadline counts as passed a
/// twentieth of the timeout early, 20 ms at most. No server can meet a timeout below 10 ms, so that
/// is none: otherwise a client could make failures at no cost.
pub(crate) fn is_past(timeout: Duration, total: Duration) -> bool {
    let early = (timeout / 20).min(Duration::from_millis(20));
    timeout >= SHORTEST_TIMEOUT && total >= timeout - early
}

/// The shortest timeout that a server is held to.
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(10);

/// The beginning of the content types of gRPC-Web.
pub(crate) const WEB: &[u8] = b"application/grpc-web";

/// Returns whether headers announce gRPC or gRPC-Web.
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

/// The methods that have been seen to exist, whose paths may therefore be routes.
#[derive(Default)]
pub(crate) struct Methods(RwLock<HashSet<Arc<str>>>);

/// The most methods that there may be.
const MAX_METHODS: usize = 200;

impl Methods {
    /// Returns the route of a call, which is its path if its method is known to exist.
    ///
    /// A response makes the method known, unless a layer may send it to any path: UNIMPLEMENTED, or
    /// a rejection in the response head (trailers-only). `None` stands for no response.
    pub(crate) fn route(&self, path: &str, answer: Option<Answer>) -> Route {
        let status = answer.map(|answer| answer.status);
        if status == Some(GrpcStatus::UNIMPLEMENTED) || !is_method(path) {
            return Route::UNMATCHED;
        }
        // Nothing that can panic runs under the lock.
        let is_full = {
            let methods = self.0.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(method) = methods.get(path) {
                return Arc::clone(method).into();
            }
            methods.len() >= MAX_METHODS
        };
        if !answer.is_some_and(Answer::shows_method) {
            return Route::UNMATCHED;
        }
        if is_full {
            return Route::OTHER;
        }
        let mut methods = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if methods.len() >= MAX_METHODS && !methods.contains(path) {
            return Route::OTHER;
        }
        let method: Arc<str> = path.into();
        methods.insert(Arc::clone(&method));
        method.into()
    }
}

/// The response of a call, as far as it shows that the method exists.
#[derive(Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) status: GrpcStatus,
    /// Whether there was a message, or the status was in trailers.
    pub(crate) has_body: bool,
}

impl Answer {
    /// Returns whether only a method sends such a response. A rejection by a layer, such as a rate
    /// limit, load shedding, a timeout or a check of credentials, has no body.
    fn shows_method(self) -> bool {
        self.has_body
            || !matches!(
                self.status,
                GrpcStatus::CANCELLED
                    | GrpcStatus::INVALID_ARGUMENT
                    | GrpcStatus::DEADLINE_EXCEEDED
                    | GrpcStatus::PERMISSION_DENIED
                    | GrpcStatus::RESOURCE_EXHAUSTED
                    | GrpcStatus::FAILED_PRECONDITION
                    | GrpcStatus::UNAVAILABLE
                    | GrpcStatus::UNAUTHENTICATED
            )
    }
}

/// Returns whether a path is `/pkg.Service/Method`.
fn is_method(path: &str) -> bool {
    let parts = path.strip_prefix('/').and_then(|path| path.split_once('/'));
    let is_name = |name: &str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._".contains(&byte))
    };
    path.len() <= 256 && parts.is_some_and(|(service, method)| is_name(service) && is_name(method))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_codes_and_garbage_is_unknown() {
        #[track_caller]
        fn check(text: &[u8], expected: GrpcStatus) {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-status", http::HeaderValue::from_bytes(text).unwrap());
            assert_eq!(GrpcStatus::of(&headers), Some(expected), "{text:?}");
        }
        for code in 0..=16 {
            check(code.to_string().as_bytes(), GrpcStatus(code));
        }
        for garbage in [
            &b""[..],
            b"17",
            b"99",
            b"-1",
            b"+1",
            b"00",
            b"01",
            b" 0",
            b"OK",
            b"0x0",
            b"\xff",
            b"99999999999999999999",
        ] {
            check(garbage, GrpcStatus::UNKNOWN);
        }
        assert_eq!(GrpcStatus::of(&HeaderMap::new()), None);
    }

    #[test]
    fn server_failures_are_those_of_the_specification() {
        let failures: Vec<_> = (0..=16)
            .map(GrpcStatus)
            .filter(|status| status.is_server_failure())
            .collect();
        let names: Vec<_> = failures.iter().map(|status| status.name()).collect();
        assert_eq!(
            names,
            [
                "UNKNOWN",
                "DEADLINE_EXCEEDED",
                "UNIMPLEMENTED",
                "INTERNAL",
                "UNAVAILABLE",
                "DATA_LOSS"
            ]
        );
    }

    #[test]
    fn a_call_is_told_by_its_content_type() {
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

    fn answer(status: GrpcStatus, has_body: bool) -> Option<Answer> {
        Some(Answer { status, has_body })
    }

    #[test]
    fn only_answers_of_methods_make_routes() {
        let methods = Methods::default();
        let route = |path: &str, status| methods.route(path, status).as_str().to_owned();
        let ok = answer(GrpcStatus::OK, false);
        let rejections = [1, 3, 4, 7, 8, 9, 12, 14, 16].map(GrpcStatus);
        assert_eq!(route("/a.B/C", None), "_unmatched_");
        for status in rejections {
            assert_eq!(route("/a.B/C", answer(status, false)), "_unmatched_");
        }
        let unimplemented = answer(GrpcStatus::UNIMPLEMENTED, true);
        assert_eq!(route("/a.B/C", unimplemented), "_unmatched_");
        assert_eq!(
            route("/a.B/C", answer(GrpcStatus::NOT_FOUND, false)),
            "/a.B/C"
        );
        assert_eq!(
            route("/a.B/D", answer(GrpcStatus::UNAVAILABLE, true)),
            "/a.B/D"
        );
        assert_eq!(route("/a.B/C", None), "/a.B/C");
        for status in rejections {
            let expected = match status {
                GrpcStatus::UNIMPLEMENTED => "_unmatched_",
                _ => "/a.B/C",
            };
            assert_eq!(route("/a.B/C", answer(status, false)), expected);
        }
        for path in [
            "",
            "/",
            "/a",
            "//",
            "/a/",
            "/a/b/c",
            "/a/b%20",
            "/a/<b>",
            &format!("/a/{}", "b".repeat(300)),
        ] {
            assert_eq!(route(path, ok), "_unmatched_", "{path}");
        }
    }

    #[test]
    fn methods_have_a_cap() {
        let methods = Methods::default();
        for number in 0..500 {
            let path = format!("/pkg.Service/Method{number}");
            let expected = if number < 200 {
                path.as_str()
            } else {
                "_other_"
            };
            assert_eq!(
                methods.route(&path, answer(GrpcStatus::OK, true)).as_str(),
                expected
            );
        }
        assert_eq!(
            methods.route("/pkg.Service/Method7", None).as_str(),
            "/pkg.Service/Method7"
        );
    }
}
