//! A unary call of gRPC over HTTP/2: <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use campanile_client::Response;
use prost::Message;

use super::attempt::{Attempt, rejected};

/// The length of the prefix of a message: a compression flag and the length.
const PREFIX: usize = 5;

pub(super) fn framed(message: &[u8], is_compressed: bool) -> Bytes {
    let mut body = BytesMut::with_capacity(PREFIX + message.len());
    body.put_u8(u8::from(is_compressed));
    // A batch has a few megabytes at most.
    body.put_u32(message.len() as u32);
    body.put_slice(message);
    body.freeze()
}

/// Classifies a response with HTTP status 200. The gRPC status is in the trailers, or in the
/// headers of a response without a body.
pub(super) fn judge(answer: &Response) -> Attempt {
    let value = |name: &str| {
        let value = answer.trailers.get(name);
        value.or_else(|| answer.headers.get(name))?.to_str().ok()
    };
    if answer.truncated && value("grpc-status").is_none() {
        // The connection broke, or the timeout expired.
        return Attempt::Later {
            reason: "truncated response".to_owned(),
            after: None,
        };
    }
    judge_parts(
        value("grpc-status"),
        value("grpc-status-details-bin"),
        &answer.body,
    )
}

fn judge_parts(status: Option<&str>, details: Option<&str>, body: &[u8]) -> Attempt {
    // A response without a status means UNKNOWN.
    let status = status.and_then(|status| status.parse().ok());
    let status = status.unwrap_or(2_u32);
    let reason = || format!("response with gRPC status {status}");
    let after = || retry_info(details?);
    match status {
        0 => Attempt::Taken {
            rejected: rejected(body.get(PREFIX..).unwrap_or_default()),
        },
        // RESOURCE_EXHAUSTED is retryable only with a delay.
        8 => match after() {
            None => Attempt::Refused { reason: reason() },
            after => Attempt::Later {
                reason: reason(),
                after,
            },
        },
        // CANCELLED, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS.
        1 | 4 | 10 | 11 | 14 | 15 => Attempt::Later {
            reason: reason(),
            after: after(),
        },
        _ => Attempt::Refused { reason: reason() },
    }
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// Returns the delay of a `RetryInfo` in a `Status`. A negative delay is 0.
fn retry_info(status: &str) -> Option<Duration> {
    let status = Status::decode(&*base64(status)?).ok()?;
    let mut details = status.details.into_iter();
    let info = details.find(|any| any.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(&*info.value).ok()?.retry_delay?;
    let seconds = u64::try_from(delay.seconds).unwrap_or(0);
    let nanos = u32::try_from(delay.nanos).unwrap_or(0);
    Duration::from_secs(seconds).checked_add(Duration::from_nanos(nanos.into()))
}

/// Decodes standard base64, with or without padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn later(status: u32, after: Option<Duration>) -> Attempt {
        Attempt::Later {
            reason: format!("response with gRPC status {status}"),
            after,
        }
    }

    fn refused(status: u32) -> Attempt {
        Attempt::Refused {
            reason: format!("response with gRPC status {status}"),
        }
    }

    #[test]
    fn the_status_decides_about_retries() {
        let judged = |status: u32| judge_parts(Some(&status.to_string()), None, b"");
        assert_eq!(judged(0), Attempt::Taken { rejected: 0 });
        for status in [1, 4, 10, 11, 14, 15] {
            assert_eq!(judged(status), later(status, None));
        }
        for status in [2, 3, 5, 6, 7, 8, 9, 12, 13, 16, 17, 99] {
            assert_eq!(judged(status), refused(status));
        }
        for status in [None, Some(""), Some("-1"), Some("x"), Some("99999999999")] {
            assert_eq!(judge_parts(status, None, b""), refused(2));
        }
    }

    #[test]
    fn a_retry_waits_as_an_exhausted_collector_asks() {
        let time = Duration::from_millis(2_500);
        let details = status_of(2, 500_000_000);
        assert_eq!(
            judge_parts(Some("8"), Some(&details), b""),
            later(8, Some(time))
        );
        assert_eq!(
            judge_parts(Some("14"), Some(&details), b""),
            later(14, Some(time))
        );
        let zero = Some(Duration::ZERO);
        assert_eq!(
            judge_parts(Some("8"), Some(&status_of(-1, 0)), b""),
            later(8, zero)
        );
        for broken in ["", "?", "CAg", "////////"] {
            assert_eq!(judge_parts(Some("8"), Some(broken), b""), refused(8));
        }
    }

    /// A `Status` with a `RetryInfo`, in base64 without padding.
    fn status_of(seconds: i64, nanos: i32) -> String {
        let info = RetryInfo {
            retry_delay: Some(Delay { seconds, nanos }),
        };
        let any = Any {
            type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
            value: info.encode_to_vec(),
        };
        let status = Status { details: vec![any] }.encode_to_vec();
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let bits: String = status.iter().map(|byte| format!("{byte:08b}")).collect();
        let sixes = bits.as_bytes().chunks(6).map(|six| {
            let six = format!("{:0<6}", str::from_utf8(six).unwrap_or_default());
            char::from(alphabet[usize::from_str_radix(&six, 2).unwrap_or(0)])
        });
        sixes.collect()
    }

    #[test]
    fn a_message_is_framed_and_what_is_rejected_read() {
        assert_eq!(&framed(b"abc", true)[..], b"\x01\0\0\0\x03abc");
        assert_eq!(&framed(b"", false)[..], b"\0\0\0\0\0");
        let partial = b"\0\0\0\0\x04\x0a\x02\x08\x07";
        assert_eq!(
            judge_parts(Some("0"), None, partial),
            Attempt::Taken { rejected: 7 }
        );
        assert_eq!(
            judge_parts(Some("0"), None, b"\0\0"),
            Attempt::Taken { rejected: 0 }
        );
    }

    #[test]
    fn base64_is_that_of_rfc_4648() {
        let vectors = [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYmE", "fooba"),
        ];
        for (text, bytes) in vectors {
            assert_eq!(base64(text).as_deref(), Some(bytes.as_bytes()), "{text}");
        }
        assert_eq!(base64("a b"), None);
    }
}
