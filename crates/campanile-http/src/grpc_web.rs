use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};

use crate::GrpcStatus;
use crate::grpc;

/// Finds the status of a gRPC-Web call in the trailers frame that ends the response's body.
///
/// See <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md>.
pub(crate) struct Trailers {
    /// `None` if the body is not base64.
    base64: Option<Quad>,
    state: State,
}

enum State {
    /// A frame's head: its flags and its length.
    Head { bytes: [u8; 5], have: usize },
    /// A message.
    Message { left: usize },
    /// The trailers. Only the first bytes are kept.
    Trailers { left: usize, text: Vec<u8> },
    /// The trailers have been read.
    Read(Option<GrpcStatus>),
    /// The body is not readable.
    Unreadable,
}

/// Decodes four base64 digits to three bytes.
#[derive(Default)]
struct Quad {
    bits: u32,
    digits: u8,
    padding: u8,
}

const NO_HEAD: State = State::Head {
    bytes: [0; 5],
    have: 0,
};

/// The flag of a trailers frame.
const IS_TRAILERS: u8 = 0x80;

/// The limit of bytes of the trailers that are kept.
const MAX_TRAILER_BYTES: usize = 8 * 1_024;

impl Trailers {
    /// Creates a reader for a response with these headers, or `None` if it isn't gRPC-Web.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let content_type = headers.get(CONTENT_TYPE)?.as_bytes();
        let rest = content_type.strip_prefix(grpc::WEB)?;
        let state = match headers.contains_key(CONTENT_ENCODING) {
            true => State::Unreadable,
            false => NO_HEAD,
        };
        let base64 = rest.starts_with(b"-text").then(Quad::default);
        Some(Self { base64, state })
    }

    /// Reads the next bytes of the body.
    pub(crate) fn read(&mut self, data: &[u8]) {
        let Some(mut quad) = self.base64.take() else {
            return self.state.read(data);
        };
        let mut bytes = Vec::with_capacity(data.len().min(3 * 1_024));
        for digit in data {
            match quad.push(*digit) {
                Some((decoded, length)) => bytes.extend_from_slice(&decoded[..length]),
                None => self.state = State::Unreadable,
            }
            if bytes.len() >= 3 * 1_000 {
                self.state.read(&bytes);
                bytes.clear();
            }
        }
        self.state.read(&bytes);
        self.base64 = Some(quad);
    }

    /// Stops reading, because a part of the body was skipped.
    pub(crate) fn skip(&mut self) {
        self.state = State::Unreadable;
    }

    /// Returns whether the body is unreadable.
    pub(crate) fn is_unreadable(&self) -> bool {
        matches!(self.state, State::Unreadable)
    }

    /// Returns the status after the trailers have been read.
    pub(crate) fn status(&self) -> Option<GrpcStatus> {
        match self.state {
            State::Read(status) => status,
            _ => None,
        }
    }
}

impl State {
    fn read(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            match self {
                Self::Head { bytes, have } => {
                    let (now, after) = data.split_at(data.len().min(5 - *have));
                    bytes[*have..*have + now.len()].copy_from_slice(now);
                    *have += now.len();
                    data = after;
                    if *have == 5 {
                        let [flags, length @ ..] = *bytes;
                        let left = u32::from_be_bytes(length) as usize;
                        *self = match flags {
                            0 | 1 => Self::Message { left },
                            IS_TRAILERS => Self::Trailers {
                                left,
                                text: Vec::new(),
                            },
                            // For example compressed trailers.
                            _ => Self::Unreadable,
                        };
                        self.end_if_complete();
                    }
                }
                Self::Message { left } => {
                    let length = data.len().min(*left);
                    *left -= length;
                    data = &data[length..];
                    self.end_if_complete();
                }
                Self::Trailers { left, text } => {
                    let (now, after) = data.split_at(data.len().min(*left));
                    let room = MAX_TRAILER_BYTES - text.len();
                    text.extend_from_slice(&now[..now.len().min(room)]);
                    *left -= now.len();
                    data = after;
                    self.end_if_complete();
                }
                Self::Read(_) | Self::Unreadable => return,
            }
        }
    }

    fn end_if_complete(&mut self) {
        match self {
            Self::Message { left: 0 } => *self = NO_HEAD,
            Self::Trailers { left: 0, text } => *self = Self::Read(status_in(text)),
            _ => {}
        }
    }
}

/// Returns the value of `grpc-status`. Each trailer is a line.
fn status_in(trailers: &[u8]) -> Option<GrpcStatus> {
    trailers.split(|byte| *byte == b'\n').find_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = (line[..colon].trim_ascii(), line[colon + 1..].trim_ascii());
        let is_status = name.eq_ignore_ascii_case(b"grpc-status");
        is_status.then(|| GrpcStatus::from_code(value))
    })
}

impl Quad {
    /// Adds a digit. Returns the completed bytes, or `None` if the digit is invalid.
    fn push(&mut self, digit: u8) -> Option<([u8; 3], usize)> {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' if self.digits >= 2 => 0,
            _ => return None,
        };
        self.padding += u8::from(digit == b'=');
        self.bits = self.bits << 6 | u32::from(value);
        self.digits += 1;
        if self.digits < 4 {
            return Some(([0; 3], 0));
        }
        let [_, bytes @ ..] = self.bits.to_be_bytes();
        let length = 3 - usize::from(self.padding);
        *self = Self::default();
        Some((bytes, length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content_type: &str, body: &[u8], step: usize) -> (Option<&'static str>, bool) {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
        let mut trailers = Trailers::from_headers(&headers).unwrap();
        for chunk in body.chunks(step) {
            trailers.read(chunk);
        }
        let status = trailers.status().map(GrpcStatus::name);
        (status, trailers.is_unreadable())
    }

    fn frame(flags: u8, text: &[u8]) -> Vec<u8> {
        let length = u32::try_from(text.len()).unwrap();
        [&[flags][..], &length.to_be_bytes(), text].concat()
    }

    #[test]
    fn the_status_is_found_in_chunks_of_any_size() {
        let failed = frame(0x80, b"Grpc-Status: 13\r\ngrpc-message: no\r\n");
        let body = [frame(0, b"\x80message"), frame(1, b""), failed].concat();
        for step in 1..body.len() {
            let found = read("application/grpc-web+proto", &body, step);
            assert_eq!(found, (Some("INTERNAL"), false), "{step}");
        }
        // A message and `grpc-status:5`, in one part of base64 and in two with their own padding.
        for text in [
            "AAAAAAVhYmNkZYAAAAAPZ3JwYy1zdGF0dXM6NQ0K",
            "AAAAAAVhYmNkZQ==gAAAAA9ncnBjLXN0YXR1czo1DQo=",
        ] {
            for step in 1..text.len() {
                let found = read("application/grpc-web-text", text.as_bytes(), step);
                assert_eq!(found, (Some("NOT_FOUND"), false), "{step}");
            }
        }
    }

    #[test]
    fn a_body_without_frames_is_unreadable() {
        for body in [
            &frame(0x81, b"\x1f\x8b")[..],
            b"<html><body>",
            &[frame(0, b"a"), vec![7; 5]].concat(),
        ] {
            let found = read("application/grpc-web", body, 3);
            assert_eq!(found, (None, true), "{body:?}");
        }
        let found = read("application/grpc-web-text+proto", b"AA!A", 1);
        assert_eq!(found, (None, true));
        let long = [vec![b'x'; 9_000], b"\r\ngrpc-status: 0\r\n".to_vec()].concat();
        let found = read("application/grpc-web", &frame(0x80, &long), 100);
        assert_eq!(found, (None, false));
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, "application/grpc".parse().unwrap());
        assert!(Trailers::from_headers(&headers).is_none());
    }
}
