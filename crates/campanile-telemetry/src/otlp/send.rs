//! Sends a request to a collector, with retries.
//!
//! <https://opentelemetry.io/docs/specs/otlp/> defines retryable failures, delays, and partial
//! success.

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use campanile_client::{Client, Response, SendError, Target, retry_after};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::time::{Instant, sleep_until};

use super::attempt::{Attempt, rejected};
use super::protocol::Protocol;
use crate::causes::with_causes;
use crate::clock;

/// The destination of one signal.
pub(crate) struct Sender {
    pub(crate) client: Client,
    pub(crate) target: Target,
    pub(crate) headers: HeaderMap,
    pub(crate) protocol: Protocol,
    pub(crate) is_compressed: bool,
    /// The time for which a batch is retried.
    pub(crate) patience: Duration,
}

/// The result of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The collector accepted the batch, except for `rejected` items.
    Taken { rejected: u64 },
    /// The collector rejected the batch or did not accept it in time. The reason has nothing that
    /// the collector sent, since it may echo a secret.
    Failed {
        reason: String,
        /// The time for which the collector asked for no requests.
        after: Option<Duration>,
    },
}

/// The minimum and maximum delay between two attempts.
const DELAYS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];

impl Sender {
    /// Sends a request, and retries it while the failure is retryable and time is left.
    ///
    /// `encoding` is the content encoding of a request that is already encoded.
    pub(crate) async fn send(&self, request: Bytes, encoding: Option<HeaderValue>) -> Sent {
        let [mut wait, longest] = DELAYS;
        let until = now() + self.patience;
        let mut headers = self.headers.clone();
        let body = match encoding {
            Some(encoding) => {
                headers.insert(self.protocol.encoding(), encoding);
                self.protocol.framed(request, true)
            }
            None if self.is_compressed => self.protocol.framed(compressed(&request).into(), true),
            None => self.protocol.framed(request, false),
        };
        loop {
            let answer = self
                .client
                .post(&self.target, headers.clone(), body.clone());
            let (reason, after) = match judge(self.protocol, answer.await) {
                Attempt::Taken { rejected } => return Sent::Taken { rejected },
                Attempt::Refused { reason } => {
                    return Sent::Failed {
                        reason,
                        after: None,
                    };
                }
                Attempt::Later { reason, after } => (reason, after),
            };
            let jittered = wait.mul_f64(0.8 + 0.4 * fastrand::f64());
            // A delay of 0 is raised, so that the collector is not flooded.
            let asked = after.map(|after| after.clamp(DELAYS[0], MAX_PAUSE));
            let next = now() + asked.unwrap_or(jittered);
            if next >= until {
                return Sent::Failed {
                    reason,
                    after: asked,
                };
            }
            sleep_until(next).await;
            wait = (wait * 2).min(longest);
        }
    }
}

pub(super) fn now() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "how long a batch is tried for is counted from its first attempt"
    )]
    Instant::now()
}

fn compressed(request: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing to a `Vec` never fails.
    let _ = encoder.write_all(request);
    encoder.finish().unwrap_or_default()
}

/// The limit of the delay that a collector may ask for.
const MAX_PAUSE: Duration = Duration::from_secs(5 * 60);

#[cfg_attr(
    not(feature = "otlp-grpc"),
    expect(unused_variables, reason = "there is one protocol")
)]
fn judge(protocol: Protocol, answer: Result<Response, SendError>) -> Attempt {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error @ SendError::Forbidden { .. }) => {
            let reason = with_causes(&error);
            return Attempt::Refused { reason };
        }
        Err(error) => {
            return Attempt::Later {
                reason: with_causes(&error),
                after: None,
            };
        }
    };
    #[cfg(feature = "otlp-grpc")]
    if protocol == Protocol::Grpc && answer.status == 200 {
        return super::grpc::judge(&answer);
    }
    judge_parts(answer.status, &answer.headers, &answer.body)
}

fn judge_parts(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Attempt {
    let reason = format!("response with status {status}");
    match status.as_u16() {
        200..300 => Attempt::Taken {
            rejected: rejected(body),
        },
        429 | 502 | 503 | 504 => Attempt::Later {
            reason,
            after: retry_after(headers, clock::now),
        },
        _ => Attempt::Refused { reason },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_decides_about_retries() {
        let judged = |status: u16| {
            let status = StatusCode::from_u16(status).unwrap_or_default();
            judge_parts(status, &HeaderMap::new(), b"")
        };
        for status in [200, 202, 204] {
            assert_eq!(judged(status), Attempt::Taken { rejected: 0 });
        }
        for status in [429, 502, 503, 504] {
            assert!(
                matches!(judged(status), Attempt::Later { after: None, .. }),
                "{status}"
            );
        }
        for status in [301, 400, 401, 404, 413, 500, 501] {
            assert!(
                matches!(judged(status), Attempt::Refused { .. }),
                "{status}"
            );
        }
    }

    #[test]
    fn a_retry_waits_as_the_collector_asks() {
        let headers =
            HeaderMap::from_iter([(http::header::RETRY_AFTER, HeaderValue::from_static("7"))]);
        let judged = judge_parts(StatusCode::SERVICE_UNAVAILABLE, &headers, b"");
        let Attempt::Later { after, .. } = judged else {
            panic!("{judged:?}");
        };
        assert_eq!(after, Some(Duration::from_secs(7)));
    }

    #[test]
    fn what_is_rejected_is_read() {
        for (body, expected) in [
            (&b""[..], 0),
            (b"\x0a\x00", 0),
            (b"\x0a\x02\x08\x07", 7),
            // With a text, and with a field that there is not yet.
            (b"\x0a\x06\x12\x02no\x08\x07", 7),
            (b"\x12\x02xx\x0a\x02\x08\x07", 7),
            (b"\x0a\x02\x08", 0),
            (b"\xff\xff\xff", 0),
        ] {
            assert_eq!(rejected(body), expected, "{body:?}");
        }
    }
}
