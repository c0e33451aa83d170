use std::time::{Duration, Instant};

use http::StatusCode;

use crate::{GrpcStatus, Route};

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The whole response was handed to the server, whatever its status.
    Completed,
    /// The future or the body was dropped while a response or body bytes were still owed: the client left, or a timeout
    /// further out gave up.
    Cancelled,
    /// The inner service or its response body panicked; the panic goes on.
    Panicked,
    /// The inner service returned an error instead of a response; the error goes on.
    ServiceError,
    /// The response body failed after the head was sent; the error goes on.
    BodyError,
}

impl Outcome {
    /// Returns the label value for this outcome: `completed`, `cancelled`, `panicked`, `service_error` or `body_error`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Panicked => "panicked",
            Self::ServiceError => "service_error",
            Self::BodyError => "body_error",
        }
    }
}

/// What is known of an exchange when it ends.
#[derive(Clone, Debug)]
pub struct End {
    pub(crate) outcome: Outcome,
    pub(crate) status: StatusCode,
    pub(crate) grpc: Option<GrpcStatus>,
    pub(crate) route: Route,
    pub(crate) sent: u64,
    pub(crate) first_byte: Option<Duration>,
    pub(crate) event_stream: bool,
    pub(crate) total: Duration,
    pub(crate) at: Instant,
}

impl End {
    /// Returns how the exchange ended.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Returns the status of the response head.
    ///
    /// Without a head it is 499 for a cancelled exchange (nginx's "client closed request") and 500 for a panic or an error
    /// of the inner service.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the status of a gRPC call; `None` for any other exchange.
    ///
    /// A call that is dropped before its status is known is DEADLINE_EXCEEDED if the deadline of
    /// its `grpc-timeout` has passed, and CANCELLED otherwise. The deadline counts as passed a
    /// twentieth of the timeout early, 20 ms at most, because the client's timer starts earlier. A
    /// timeout below 10 ms is no deadline. A
    /// call that fails or panics before its status is known is UNKNOWN.
    pub fn grpc(&self) -> Option<GrpcStatus> {
        self.grpc
    }

    /// Returns the route, final now; [`Route::UNMATCHED`] if there is none.
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// Returns the bytes of body data that were handed to the server, before any transfer coding.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Returns the time from the beginning to the response head.
    ///
    /// It is measured if the observer asks for it ([`Observer::FIRST_BYTE`](crate::Observer::FIRST_BYTE)) and for event
    /// streams; `None` otherwise, or if there was no head.
    pub fn first_byte(&self) -> Option<Duration> {
        self.first_byte
    }

    /// Returns the time from the beginning to the end.
    pub fn total(&self) -> Duration {
        self.total
    }

    /// Returns when the exchange ended, so that an observer need not read a clock.
    pub fn at(&self) -> Instant {
        self.at
    }

    /// Returns the time that the client waited: to the last byte, and for an event stream (`text/event-stream`), which
    /// stays open for as long as the client likes, to the response head.
    pub fn latency(&self) -> Duration {
        match self.first_byte {
            Some(first_byte) if self.event_stream => first_byte,
            _ => self.total,
        }
    }
}
