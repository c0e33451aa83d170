use std::fmt;

use http::{HeaderMap, HeaderName};

/// The status of a gRPC call: one of the 17 status codes of the gRPC specification.
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

        /// The names of the codes, ordered by code.
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
    /// Returns the code, from 0 to 16.
    pub fn code(self) -> u8 {
        self.0
    }

    /// Returns the name, for example `DEADLINE_EXCEEDED`.
    pub fn name(self) -> &'static str {
        NAMES[usize::from(self.0)]
    }

    /// Returns whether the status is a failure of the server.
    ///
    /// These are UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE and DATA_LOSS,
    /// the codes that OpenTelemetry defines as errors of a server span.
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

    /// Reads `grpc-status` from headers or trailers. An invalid code is UNKNOWN.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Option<Self> {
        Some(Self::from_code(headers.get(GRPC_STATUS)?.as_bytes()))
    }

    /// Parses a code in decimal digits. An invalid code is UNKNOWN.
    pub(crate) fn from_code(text: &[u8]) -> Self {
        match *text {
            [digit @ b'0'..=b'9'] => Self(digit - b'0'),
            [b'1', digit @ b'0'..=b'6'] => Self(10 + digit - b'0'),
            _ => Self::UNKNOWN,
        }
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_codes_and_garbage_is_unknown() {
        #[track_caller]
        fn check(text: &[u8], expected: GrpcStatus) {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-status", http::HeaderValue::from_bytes(text).unwrap());
            assert_eq!(
                GrpcStatus::from_headers(&headers),
                Some(expected),
                "{text:?}"
            );
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
        assert_eq!(GrpcStatus::from_headers(&HeaderMap::new()), None);
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
}
