use std::time::{Duration, Instant};

use http::StatusCode;

use crate::{GrpcStatus, Route};

/// How an HTTP exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The server received the whole response, whatever its status.
    Completed,
    /// The future or the body was dropped before the response was complete: the client
    /// disconnected, or an outer timeout expired.
    Cancelled,
    /// The inner service or its response body panicked. The layer does not stop the panic.
    Panicked,
    /// The inner service returned an error instead of a response. The layer returns the error.
    ServiceError,
    /// The response body failed after the head was sent. The body returns the error.
    BodyError,
}

impl Outcome {
    /// Returns the label value: `completed`, `cancelled`, `panicked`, `service_error` or
    /// `body_error`.
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

/// The data of an HTTP exchange that has ended: outcome, status, route, size and times.
#[derive(Clone, Debug)]
pub struct End {
    pub(crate) outcome: Outcome,
    pub(crate) status: StatusCode,
    pub(crate) grpc: Option<GrpcStatus>,
    pub(crate) route: Route,
    pub(crate) body_bytes: u64,
    pub(crate) time_to_head: Option<Duration>,
    pub(crate) latency: Duration,
    pub(crate) duration: Duration,
    pub(crate) ended_at: Instant,
}

impl End {
    /// Creates a builder for a request that ended at this time. It is meant for tests of observers.
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
    ///     .duration(Duration::from_secs(3))
    ///     .build();
    /// assert_eq!(end.latency(), Duration::from_secs(3));
    /// ```
    pub fn builder(ended_at: Instant) -> EndBuilder {
        EndBuilder {
            end: Self {
                outcome: Outcome::Completed,
                status: StatusCode::OK,
                grpc: None,
                route: Route::UNMATCHED,
                body_bytes: 0,
                time_to_head: None,
                latency: Duration::ZERO,
                duration: Duration::ZERO,
                ended_at,
            },
            latency: None,
        }
    }

    /// Returns how the request ended.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Returns the status of the response head.
    ///
    /// Without a response head, the status is 499 for a cancelled exchange (nginx's "client closed
    /// request"), and 500 for a panic or an error of the inner service.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the status of a gRPC call, or `None` for any other exchange.
    ///
    /// A call that is dropped before its status is known is DEADLINE_EXCEEDED if the deadline of
    /// its `grpc-timeout` has passed, and CANCELLED otherwise. The deadline counts as passed a
    /// twentieth of the timeout early (at most 20 ms), because the client's timer starts earlier.
    /// A timeout below 10 ms is not a deadline. A call that fails or panics before its status is
    /// known is UNKNOWN.
    pub fn grpc(&self) -> Option<GrpcStatus> {
        self.grpc
    }

    /// Returns the final route, or [`Route::UNMATCHED`] if no route matched.
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// Returns the bytes of body data that the server received, before any transfer coding.
    pub fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    /// Returns the time from the start of the request to the response head.
    ///
    /// The layer measures it for [streams](crate::Streaming), and if the observer sets
    /// [`WANTS_TIME_TO_HEAD`](crate::Observer::WANTS_TIME_TO_HEAD). Otherwise, and without a
    /// response head, it is `None`.
    pub fn time_to_head(&self) -> Option<Duration> {
        self.time_to_head
    }

    /// Returns the time from the start of the request to the end of the request.
    pub fn duration(&self) -> Duration {
        self.duration
    }

    /// Returns the time at which the request ended. An observer needs no clock.
    pub fn ended_at(&self) -> Instant {
        self.ended_at
    }

    /// Returns the time that the client waited for the response.
    ///
    /// - Stream: the time to the response head, because the client decides how long a stream stays
    ///   open. [`Streaming`](crate::Streaming) lists the responses that are streams.
    /// - gRPC call: the time to the first message.
    /// - Any other exchange, and a gRPC call without a message: the [duration](Self::duration).
    pub fn latency(&self) -> Duration {
        self.latency
    }
}

/// Settings of an [`End`], for tests of observers.
///
/// | setting | default |
/// |---|---|
/// | [`outcome`](Self::outcome) | [`Outcome::Completed`] |
/// | [`status`](Self::status) | 200 |
/// | [`grpc`](Self::grpc) | none |
/// | [`route`](Self::route) | [`Route::UNMATCHED`] |
/// | [`body_bytes`](Self::body_bytes) | 0 bytes |
/// | [`duration`](Self::duration) | 0 s |
/// | [`time_to_head`](Self::time_to_head) | none |
/// | [`latency`](Self::latency) | the duration |
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
    /// Defaults to none: the request is not a gRPC call.
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

    /// Sets the bytes of the response body that the server received.
    ///
    /// Defaults to 0.
    pub fn body_bytes(mut self, bytes: u64) -> Self {
        self.end.body_bytes = bytes;
        self
    }

    /// Sets the time from the start of the request to the end of the request.
    ///
    /// Defaults to 0 s.
    pub fn duration(mut self, duration: Duration) -> Self {
        self.end.duration = duration;
        self
    }

    /// Sets the time to the response head.
    ///
    /// Defaults to none: not measured.
    pub fn time_to_head(mut self, time_to_head: Duration) -> Self {
        self.end.time_to_head = Some(time_to_head);
        self
    }

    /// Sets the time that the client waited.
    ///
    /// Defaults to the duration.
    pub fn latency(mut self, latency: Duration) -> Self {
        self.latency = Some(latency);
        self
    }

    /// Returns the end.
    pub fn build(self) -> End {
        let latency = self.latency.unwrap_or(self.end.duration);
        End {
            latency,
            ..self.end
        }
    }
}
