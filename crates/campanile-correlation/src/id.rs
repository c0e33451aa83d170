use std::cell::RefCell;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU128;
use std::str::FromStr;
use std::time::SystemTime;

use bytes::Bytes;
use http::HeaderValue;
use uuid::{Builder, Uuid};

/// The limit of an id in characters.
const MAX_LEN: usize = 128;

/// The id of a request, which all services that work on the request share.
///
/// It has 1 to 128 characters of `[A-Za-z0-9._:@/+=-]`. These are safe in a header, a log line, a
/// URL's path and HTML. A clone shares the string.
///
/// ```
/// use campanile_correlation::CorrelationId;
///
/// let id: CorrelationId = "order/42".parse()?;
/// assert_eq!(id.as_str(), "order/42");
/// let error = "two words".parse::<CorrelationId>().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "invalid byte 0x20 at offset 3 of a correlation id: expected A-Z a-z 0-9 . _ : @ / + = -",
/// );
/// # Ok::<_, campanile_correlation::InvalidCorrelationId>(())
/// ```
// The string is ASCII. The constructors check it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CorrelationId(HeaderValue);

impl CorrelationId {
    /// Creates a random id: a UUIDv7 (RFC 9562), lower case with hyphens.
    ///
    /// Ids sort by the millisecond of their creation. Each has 74 random bits from a thread-local
    /// generator, which the operating system seeds. They are unique, but not secret.
    #[must_use]
    pub fn generate() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "a UUIDv7 contains the time; this is the edge that reads it"
        )]
        let unix = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let random = RANDOM.with_borrow_mut(|random| random.u128(..).to_ne_bytes());
        let mut bits = [0; 10];
        bits.copy_from_slice(&random[..10]);
        let uuid = Builder::from_unix_timestamp_millis(unix.as_millis() as u64, &bits).into_uuid();
        Self::from_uuid(uuid)
    }

    /// Creates a random id: a UUIDv4 (RFC 9562), lower case with hyphens. It contains no timestamp.
    ///
    /// It has 122 random bits of the same generator as [`generate`](Self::generate).
    #[must_use]
    pub fn generate_v4() -> Self {
        let random = RANDOM.with_borrow_mut(|random| random.u128(..).to_ne_bytes());
        Self::from_uuid(Builder::from_random_bytes(random).into_uuid())
    }

    /// Returns 128 random bits.
    pub(crate) fn random() -> u128 {
        RANDOM.with_borrow_mut(|random| random.u128(..))
    }

    fn from_uuid(uuid: Uuid) -> Self {
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        uuid.hyphenated().encode_lower(&mut text);
        Self::from_ascii(text)
    }

    /// Allocates once, for the string and its reference count.
    fn from_ascii<const N: usize>(text: [u8; N]) -> Self {
        let text = Bytes::from_owner(text);
        Self(HeaderValue::from_maybe_shared(text).unwrap_or_else(|_| HeaderValue::from_static("-")))
    }

    /// Returns the id as a string.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// Copies the bytes. A clone of the header value would keep the buffer of the whole request
    /// head.
    pub(crate) fn from_bytes(text: &[u8]) -> Result<Self, InvalidCorrelationId> {
        check(text)?;
        // A valid id is a valid header value.
        let value = HeaderValue::from_bytes(text);
        value
            .map(Self)
            .map_err(|_| InvalidCorrelationId(Reason::Length(text.len())))
    }

    pub(crate) fn into_header(self) -> HeaderValue {
        self.0
    }
}

impl FromStr for CorrelationId {
    type Err = InvalidCorrelationId;

    fn from_str(text: &str) -> Result<Self, InvalidCorrelationId> {
        Self::from_bytes(text.as_bytes())
    }
}

/// Converts a trace id to its 32 hexadecimal digits.
impl From<NonZeroU128> for CorrelationId {
    fn from(trace_id: NonZeroU128) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 32];
        for (byte, digits) in trace_id
            .get()
            .to_be_bytes()
            .iter()
            .zip(text.chunks_exact_mut(2))
        {
            digits[0] = DIGITS[usize::from(byte >> 4)];
            digits[1] = DIGITS[usize::from(byte & 0xf)];
        }
        Self::from_ascii(text)
    }
}

impl From<CorrelationId> for HeaderValue {
    fn from(id: CorrelationId) -> Self {
        id.into_header()
    }
}

/// Parses a header value.
impl TryFrom<&HeaderValue> for CorrelationId {
    type Error = InvalidCorrelationId;

    fn try_from(value: &HeaderValue) -> Result<Self, InvalidCorrelationId> {
        Self::from_bytes(value.as_bytes())
    }
}

/// Converts a UUID to lower case with hyphens.
impl From<Uuid> for CorrelationId {
    fn from(uuid: Uuid) -> Self {
        Self::from_uuid(uuid)
    }
}

/// Serializes as a string.
#[cfg(feature = "serde")]
#[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
impl serde::Serialize for CorrelationId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Deserializes a string that is a valid id.
#[cfg(feature = "serde")]
#[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
impl<'de> serde::Deserialize<'de> for CorrelationId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CorrelationId")
            .field(&self.as_str())
            .finish()
    }
}

/// A string is not a correlation id. The message leaves the string out, because it is not trusted.
///
/// If [`SetCorrelationId`](crate::SetCorrelationId) replaces such an id, it inserts this error into
/// the request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct InvalidCorrelationId(Reason);

impl InvalidCorrelationId {
    pub(crate) fn lines() -> Self {
        Self(Reason::Lines)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Reason {
    #[error("too many header lines of a correlation id: expected 1")]
    Lines,
    #[error("invalid length {0} of a correlation id: expected 1 to {MAX_LEN} characters")]
    Length(usize),
    #[error(
        "invalid byte {byte:#04x} at offset {offset} of a correlation id: expected A-Z a-z 0-9 . _ : @ / + = -"
    )]
    Byte { byte: u8, offset: usize },
}

fn check(text: &[u8]) -> Result<(), InvalidCorrelationId> {
    if text.is_empty() || text.len() > MAX_LEN {
        return Err(InvalidCorrelationId(Reason::Length(text.len())));
    }
    match text.iter().position(|&byte| !ALLOWED[usize::from(byte)]) {
        Some(offset) => Err(InvalidCorrelationId(Reason::Byte {
            byte: text[offset],
            offset,
        })),
        None => Ok(()),
    }
}

const ALLOWED: [bool; 256] = {
    let mut allowed = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        allowed[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let others = b"._:@/+=-";
    let mut other = 0;
    while other < others.len() {
        allowed[others[other] as usize] = true;
        other += 1;
    }
    allowed
};

thread_local! {
    // Nothing is logged while the generator is borrowed, so a logger can't re-enter it
    // (RUSTSEC-2026-0097).
    static RANDOM: RefCell<fastrand::Rng> = RefCell::new(fastrand::Rng::with_seed(
        // Without the system's source, the standard library's hash keys are the seed.
        getrandom::u64().unwrap_or_else(|_| RandomState::new().hash_one(std::thread::current().id())),
    ));
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn grammar() {
        #[track_caller]
        fn check(text: &str, valid: bool) {
            assert_eq!(text.parse::<CorrelationId>().is_ok(), valid, "{text:?}");
        }
        check("a", true);
        check("AZaz09._:@/+=-", true);
        check(&"x".repeat(128), true);
        check("", false);
        check(&"x".repeat(129), false);
        for byte in 0..=255 {
            let text = char::from(byte).to_string();
            check(
                &text,
                byte.is_ascii_alphanumeric() || b"._:@/+=-".contains(&byte),
            );
        }
    }

    #[test]
    fn generated_ids_are_uuids_of_version_7() {
        let ids: HashSet<_> = (0..10_000).map(|_| CorrelationId::generate()).collect();
        assert_eq!(ids.len(), 10_000);
        for id in &ids {
            let uuid = Uuid::parse_str(id.as_str()).unwrap();
            assert_eq!(
                (uuid.get_version_num(), uuid.get_variant()),
                (7, uuid::Variant::RFC4122)
            );
            assert_eq!(id.as_str().parse::<CorrelationId>().as_ref(), Ok(id));
        }
    }

    #[test]
    fn generated_ids_sort_by_time() {
        let first = CorrelationId::generate();
        let millisecond = |id: &CorrelationId| id.as_str()[..13].to_owned();
        let later = std::iter::repeat_with(CorrelationId::generate)
            .find(|id| millisecond(id) != millisecond(&first));
        assert!(later.unwrap() > first);
    }

    #[test]
    fn each_thread_has_its_own_seed() {
        let random = || CorrelationId::generate().as_str()[15..].to_owned();
        let ids: HashSet<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..64).map(|_| scope.spawn(random)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert_eq!(ids.len(), 64);
    }

    #[test]
    fn headers_and_uuids_are_converted() {
        let id = |value: &'static str| CorrelationId::try_from(&HeaderValue::from_static(value));
        assert_eq!(id("order/42").unwrap().as_str(), "order/42");
        assert!(id("two words").is_err());
        let uuid = Uuid::from_u128(1);
        let expected = "00000000-0000-0000-0000-000000000001";
        assert_eq!(CorrelationId::from(uuid).as_str(), expected);
    }

    #[cfg(feature = "serde")]
    #[test]
    fn an_id_is_a_string_in_json() {
        let id: CorrelationId = serde_json::from_str(r#""order\u002f42""#).unwrap();
        assert_eq!(serde_json::to_string(&id).unwrap(), r#""order/42""#);
        let error = serde_json::from_str::<CorrelationId>(r#""<script>""#).unwrap_err();
        assert!(!error.to_string().contains("script"), "{error}");
    }

    #[test]
    fn the_error_leaves_the_string_out() {
        let error = "<script>alert(1)</script>"
            .parse::<CorrelationId>()
            .unwrap_err();
        assert!(!format!("{error} {error:?}").contains("script"));
    }
}
