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
    pub(crate) latency: Duration,
    pub(crate) total: Duration,
    pub(crate) at: Instant,
}

impl End {
    /// Returns a builder for the end of a request that ended at this time, for tests of observers.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// use campanile_http::{End, Outcome};
    /// use http::StatusCode;
    ///
    /// let end = End::builder(Instant::now())
    ///     .outcome(Outcome::Cancelled)
    ///     .status(StatusCode::OK)
    ///     .total(Duration::from_secs(3))
    ///     .build();
    /// assert_eq!(end.latency(), Duration::from_secs(3));
    /// ```
    pub fn builder(at: Instant) -> EndBuilder {
        EndBuilder {
            end: Self {
                outcome: Outcome::Completed,
                status: StatusCode::OK,
                grpc: None,
                route: Route::UNMATCHED,
                sent: 0,
                first_byte: None,
                latency: Duration::ZERO,
                total: Duration::ZERO,
                at,
            },
            latency: None,
        }
    }

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
    /// It is measured if the observer wants it ([`Observer::FIRST_BYTE`](crate::Observer::FIRST_BYTE)), and for
    /// [streams](crate::Streaming). It is `None` otherwise, or if there was no head.
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

    /// Returns the time that the client waited for the response.
    ///
    /// - For a stream, it is the time to the response head, because a stream stays open for as long
    ///   as the client likes. [`Streaming`](crate::Streaming) says which responses are streams.
    /// - For a gRPC call, it is the time to the first message, which a stream of messages may follow.
    /// - For any other request, and for a gRPC call without a message, it is the time to the end.
    pub fn latency(&self) -> Duration {
        self.latency
    }
}

/// Settings of an [`End`] that a test makes.
///
/// | setting | default |
/// |---|---|
/// | [`outcome`](Self::outcome) | [`Outcome::Completed`] |
/// | [`status`](Self::status) | 200 |
/// | [`grpc`](Self::grpc) | none |
/// | [`route`](Self::route) | [`Route::UNMATCHED`] |
/// | [`sent`](Self::sent) | 0 bytes |
/// | [`total`](Self::total) | 0 s |
/// | [`first_byte`](Self::first_byte) | none |
/// | [`latency`](Self::latency) | the total |
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct EndBuilder {
    end: End,
    latency: Option<Duration>,
}

impl EndBuilder {
    /// Sets how the request ended.
    ///
    /// Defaults to [`Outcome::Completed`].
    pub fn outcome(mut self, outcome: Outcome) -> Self {
        self.end.outcome = outcome;
        self
    }

    /// Sets the response's status.
    ///
    /// Defaults to 200.
    pub fn status(mut self, status: StatusCode) -> Self {
        self.end.status = status;
        self
    }

    /// Sets the status of a gRPC call.
    ///
    /// Defaults to none: the request is no gRPC call.
    pub fn grpc(mut self, status: GrpcStatus) -> Self {
        self.end.grpc = Some(status);
        self
    }

    /// Sets the route.
    ///
    /// Defaults to [`Route::UNMATCHED`].
    pub fn route(mut self, route: impl Into<Route>) -> Self {
        self.end.route = route.into();
        self
    }

    /// Sets the bytes of the response body that were handed to the server.
    ///
    /// Defaults to 0.
    pub fn sent(mut self, bytes: u64) -> Self {
        self.end.sent = bytes;
        self
    }

    /// Sets the time to the end.
    ///
    /// Defaults to 0 s.
    pub fn total(mut self, total: Duration) -> Self {
        self.end.total = total;
        self
    }

    /// Sets the time to the response head.
    ///
    /// Defaults to none: it is not measured.
    pub fn first_byte(mut self, first_byte: Duration) -> Self {
        self.end.first_byte = Some(first_byte);
        self
    }

    /// Sets the time that the client waited.
    ///
    /// Defaults to the total.
    pub fn latency(mut self, latency: Duration) -> Self {
        self.latency = Some(latency);
        self
    }

    /// Returns the end.
    pub fn build(self) -> End {
        let latency = self.latency.unwrap_or(self.end.total);
        End {
            latency,
            ..self.end
        }
    }
}
