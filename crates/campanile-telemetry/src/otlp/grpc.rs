//! A unary call of gRPC over HTTP/2: <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use campanile_client::Answer;

use super::send::{Attempt, rejected};
use super::wire::{Read, fields};

/// The length of what is before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

pub(super) fn framed(message: &[u8], is_compressed: bool) -> Bytes {
    let mut body = BytesMut::with_capacity(PREFIX + message.len());
    body.put_u8(u8::from(is_compressed));
    // A batch has some megabytes at most.
    body.put_u32(message.len() as u32);
    body.put_slice(message);
    body.freeze()
}

/// Judges an answer whose HTTP status is 200. Its own status is in the trailers, or in the headers if there is nothing else.
pub(super) fn judge(answer: &Answer) -> Attempt {
    let value = |name: &str| {
        let value = answer.trailers.get(name);
        value.or_else(|| answer.headers.get(name))?.to_str().ok()
    };
    // A call that ends without one failed: UNKNOWN.
    let status = value("grpc-status").and_then(|status| status.parse().ok());
    let status = status.unwrap_or(2_u32);
    let reason = || format!("the answer was the gRPC status {status}");
    let after = || retry_info(value("grpc-status-details-bin")?);
    match status {
        0 => Attempt::Taken {
            rejected: rejected(answer.body.get(PREFIX..).unwrap_or_default()),
        },
        // RESOURCE_EXHAUSTED is temporary only if there is a time.
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

/// Reads the time of a `google.rpc.RetryInfo` in a `google.rpc.Status`.
fn retry_info(status: &str) -> Option<Duration> {
    let status = base64(status)?;
    let info = fields(&status).find_map(|field| {
        let (3, Read::Bytes(any)) = field else {
            return None;
        };
        let is_info = fields(any).any(|field| {
            matches!(field, (1, Read::Bytes(url)) if url.ends_with(b"/google.rpc.RetryInfo"))
        });
        let value = fields(any).find_map(|field| match field {
            (2, Read::Bytes(value)) => Some(value),
            _ => None,
        });
        value.filter(|_| is_info)
    })?;
    let delay = fields(info).find_map(|field| match field {
        (1, Read::Bytes(delay)) => Some(delay),
        _ => None,
    })?;
    let (mut seconds, mut nanoseconds) = (0, 0);
    for field in fields(delay) {
        match field {
            (1, Read::Integer(value)) => seconds = i64::try_from(value).unwrap_or(0),
            (2, Read::Integer(value)) => nanoseconds = u32::try_from(value).unwrap_or(0),
            _ => {}
        }
    }
    let seconds = u64::try_from(seconds).ok()?;
    Some(Duration::from_secs(seconds) + Duration::from_nanos(nanoseconds.into()))
}

/// Reads the usual alphabet, with or without padding.
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
