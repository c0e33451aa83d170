use std::error::Error;
use std::io::{self, ErrorKind};

#[cfg(feature = "metrics")]
use campanile_metrics::Counter;

use super::listener::HandshakeError;
use crate::Campanile;

/// Why a connection was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// By the client, or after a response that said so.
    Client,
    /// It had no request for the idle timeout.
    Idle,
    /// For another one, at the limit of connections.
    Evicted,
    /// It was older than the maximum age.
    Age,
    /// The server stopped.
    Stop,
    /// The stop timeout was over.
    Cut,
    /// The head of a request did not arrive in time.
    HeadTimeout,
    /// A response was read too slowly.
    ResponseTimeout,
    /// The listener's handshake failed, such as that of TLS.
    Handshake,
    /// The head of a request was not valid; the client got 400.
    BadRequest,
    /// The head of a request was too large; the client got 414 or 431.
    HeadTooLarge,
    /// The connection failed, or the application panicked.
    Error,
}

#[cfg(feature = "metrics")]
const REASONS: [(Reason, &str); 12] = [
    (Reason::Client, "client"),
    (Reason::Idle, "idle"),
    (Reason::Evicted, "evicted"),
    (Reason::Age, "age"),
    (Reason::Stop, "stop"),
    (Reason::Cut, "cut"),
    (Reason::HeadTimeout, "head_timeout"),
    (Reason::ResponseTimeout, "response_timeout"),
    (Reason::Handshake, "handshake"),
    (Reason::BadRequest, "bad_request"),
    (Reason::HeadTooLarge, "head_too_large"),
    (Reason::Error, "error"),
];

impl Reason {
    /// Returns the reason of an error of the server's connection.
    pub(super) fn of(error: &(dyn Error + 'static)) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(error) = error.downcast_ref::<hyper::Error>() {
                match error {
                    // Of the application's body: its cause is no failure of this connection.
                    error if error.is_user() => return Self::Error,
                    error if error.is_parse_too_large() => return Self::HeadTooLarge,
                    error if error.is_parse() => return Self::BadRequest,
                    error if error.is_timeout() => return Self::HeadTimeout,
                    error if error.is_incomplete_message() => return Self::Client,
                    _ => {}
                }
            }
            if let Some(error) = error.downcast_ref::<io::Error>() {
                let is_handshake = error
                    .get_ref()
                    .is_some_and(|error| error.is::<HandshakeError>());
                match error.kind() {
                    // The client left, maybe without the end that TLS has.
                    ErrorKind::ConnectionAborted
                    | ErrorKind::ConnectionReset
                    | ErrorKind::BrokenPipe
                    | ErrorKind::UnexpectedEof => return Self::Client,
                    _ if is_handshake => return Self::Handshake,
                    ErrorKind::TimedOut => return Self::HeadTimeout,
                    _ => {}
                }
            }
            next = error.source();
        }
        Self::Error
    }
}

/// The counters of closed connections.
#[derive(Clone)]
pub(super) struct Closed {
    #[cfg(feature = "metrics")]
    counters: std::sync::Arc<[Option<Counter>; REASONS.len()]>,
}

impl Closed {
    #[cfg_attr(
        not(feature = "metrics"),
        expect(unused_variables, reason = "only metrics need it")
    )]
    pub(super) fn new(campanile: &Campanile) -> Self {
        #[cfg(feature = "metrics")]
        const CLOSED: &str = "campanile_server_connections_closed_total";
        #[cfg(feature = "metrics")]
        campanile.metrics().describe(
            CLOSED,
            "Connections that campanile's server held, by what closed them.",
        );
        Self {
            // An application that has this name for something else keeps it.
            #[cfg(feature = "metrics")]
            counters: std::sync::Arc::new(REASONS.map(|(_, reason)| {
                campanile
                    .metrics()
                    .counter(CLOSED, &[("reason", reason)])
                    .ok()
            })),
        }
    }

    #[cfg_attr(
        not(feature = "metrics"),
        expect(unused_variables, clippy::unused_self, reason = "only metrics count")
    )]
    fn count(&self, reason: Reason) {
        #[cfg(feature = "metrics")]
        {
            let index = REASONS.iter().position(|(one, _)| *one == reason);
            let counter = index.and_then(|index| self.counters[index].as_ref());
            if let Some(counter) = counter {
                counter.increment(1);
            }
        }
    }
}

/// The end of a connection, which is counted when this is dropped.
pub(super) struct Ending {
    closed: Closed,
    /// `None` until the connection has ended by itself.
    reason: Option<Reason>,
}

impl Ending {
    pub(super) fn new(closed: &Closed) -> Self {
        Self {
            closed: closed.clone(),
            reason: None,
        }
    }

    pub(super) fn end(mut self, reason: Reason) {
        self.reason = Some(reason);
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let dropped = match std::thread::panicking() {
            true => Reason::Error,
            false => Reason::Cut,
        };
        self.closed.count(self.reason.unwrap_or(dropped));
    }
}
