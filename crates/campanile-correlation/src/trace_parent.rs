use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};
use std::str::FromStr;

use crate::CorrelationId;

/// A position in a trace: the header `traceparent` of W3C Trace Context, level 2.
///
/// ```
/// use campanile_correlation::TraceParent;
///
/// let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// let parent: TraceParent = text.parse()?;
/// assert!(parent.is_sampled() && !parent.is_random());
/// assert_eq!(parent.to_string(), text);
/// # Ok::<_, campanile_correlation::InvalidTraceParent>(())
/// ```
///
/// `Display` writes version 00 with the flags `sampled` and `random`, whichever version was parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceParent {
    trace_id: NonZeroU128,
    parent_id: NonZeroU64,
    flags: u8,
}

const FNV_OFFSET: u128 = 0x6c62272e07bb014262b821756295c58d;
const FNV_PRIME: u128 = 0x0000000001000000000000000000013b;

const SAMPLED: u8 = 1;
const RANDOM: u8 = 1 << 1;
/// Internal: there is no sampling decision yet.
const UNDECIDED: u8 = 1 << 7;

/// The length of version 00. Only this prefix of a later version is parsed.
const LENGTH: usize = 55;

impl TraceParent {
    /// Creates a position in a trace, without the flags `sampled` and `random`.
    #[must_use]
    pub fn new(trace_id: NonZeroU128, parent_id: NonZeroU64) -> Self {
        Self {
            trace_id,
            parent_id,
            flags: 0,
        }
    }

    /// Creates the root of a trace with random ids and the flag `random`. Its sampling is
    /// [undecided](Self::is_undecided).
    #[must_use]
    pub fn generate() -> Self {
        let trace_id = NonZeroU128::new(CorrelationId::random()).unwrap_or(NonZeroU128::MIN);
        Self::new(trace_id, NonZeroU64::MIN)
            .random(true)
            .flag(UNDECIDED, true)
            .child()
    }

    /// Creates the root of a trace whose id is derived from a correlation id.
    ///
    /// A UUID or 32 hexadecimal digits are used as the trace id. Any other string is hashed. The
    /// parent id is random. Its sampling is [undecided](Self::is_undecided).
    #[must_use]
    pub fn from_correlation_id(id: &CorrelationId) -> Self {
        let digits = id.as_str().bytes().filter(|byte| *byte != b'-');
        let number = digits.clone().try_fold(0_u128, |number, digit| {
            let digit = char::from(digit).to_digit(16)?;
            Some(number << 4 | u128::from(digit))
        });
        let number = number.filter(|_| digits.count() == 32);
        // FNV-1a with 128 bits (draft-eastlake-fnv). Only determinism matters.
        let hash = || {
            let bytes = id.as_str().bytes();
            bytes.fold(FNV_OFFSET, |hash, byte| {
                (hash ^ u128::from(byte)).wrapping_mul(FNV_PRIME)
            })
        };
        let trace_id = NonZeroU128::new(number.unwrap_or_else(hash));
        Self::new(trace_id.unwrap_or(NonZeroU128::MIN), NonZeroU64::MIN)
            .flag(UNDECIDED, true)
            .child()
    }

    /// Returns a position in the same trace with a new random parent id.
    #[must_use]
    pub fn child(self) -> Self {
        let parent_id = NonZeroU64::new(CorrelationId::random() as u64);
        Self {
            parent_id: parent_id.unwrap_or(NonZeroU64::MIN),
            ..self
        }
    }

    /// Sets the flag `sampled`, which is a sampling decision.
    #[must_use]
    pub fn sampled(self, is_sampled: bool) -> Self {
        self.flag(SAMPLED, is_sampled).flag(UNDECIDED, false)
    }

    /// Sets the flag `random`: at least the last seven bytes of the trace id are random.
    #[must_use]
    pub fn random(self, is_random: bool) -> Self {
        self.flag(RANDOM, is_random)
    }

    fn flag(self, flag: u8, is_set: bool) -> Self {
        let flags = if is_set {
            self.flags | flag
        } else {
            self.flags & !flag
        };
        Self { flags, ..self }
    }

    /// Returns the trace id.
    #[must_use]
    pub fn trace_id(&self) -> NonZeroU128 {
        self.trace_id
    }

    /// Returns the id of the parent span.
    #[must_use]
    pub fn parent_id(&self) -> NonZeroU64 {
        self.parent_id
    }

    /// Returns the flag `sampled`: whether the caller may have recorded the trace.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// Returns whether the trace is a root without a sampling [decision](Self::sampled).
    ///
    /// Such a position is not propagated. A `traceparent` without the flag `sampled` would turn
    /// sampling off in the called services. Without a `traceparent` they decide themselves.
    #[must_use]
    pub fn is_undecided(&self) -> bool {
        self.flags & UNDECIDED != 0
    }

    /// Returns the flag `random`: whether at least the last seven bytes of the trace id are random.
    #[must_use]
    pub fn is_random(&self) -> bool {
        self.flags & RANDOM != 0
    }

    /// Parses a header value. Of a later version than 00, it parses the fields of version 00.
    ///
    /// # Errors
    ///
    /// If the value is not a `traceparent` of W3C Trace Context: a version other than `ff`, 32 and
    /// 16 hexadecimal digits in lower case that are not all 0, and flags.
    pub fn parse(value: &[u8]) -> Result<Self, InvalidTraceParent> {
        let Some((head, rest)) = value.split_first_chunk::<LENGTH>() else {
            return Err(InvalidTraceParent("expected at least 55 characters"));
        };
        let [version, high, low, parent_id, flags] = fields(head)?;
        match (version, rest) {
            (0xff, _) => return Err(InvalidTraceParent("expected a version other than ff")),
            (0, [_, ..]) => return Err(InvalidTraceParent("expected 55 characters in version 00")),
            (0, []) | (_, [] | [b'-', ..]) => {}
            _ => return Err(InvalidTraceParent("expected a hyphen after the flags")),
        }
        let trace_id = NonZeroU128::new(u128::from(high) << 64 | u128::from(low));
        let parent_id = NonZeroU64::new(parent_id);
        Ok(Self {
            trace_id: trace_id.ok_or(InvalidTraceParent("expected a trace id other than 0"))?,
            parent_id: parent_id.ok_or(InvalidTraceParent("expected a parent id other than 0"))?,
            flags: flags as u8 & (SAMPLED | RANDOM),
        })
    }
}

/// Parses the fields of `vv-hhhhhhhhhhhhhhhhllllllllllllllll-pppppppppppppppp-ff`.
fn fields(head: &[u8; LENGTH]) -> Result<[u64; 5], InvalidTraceParent> {
    if head[2] != b'-' || head[35] != b'-' || head[52] != b'-' {
        return Err(InvalidTraceParent("expected hyphens between the fields"));
    }
    Ok([
        number(&head[..2])?,
        number(&head[3..19])?,
        number(&head[19..35])?,
        number(&head[36..52])?,
        number(&head[53..])?,
    ])
}

/// Parses at most 16 hexadecimal digits.
#[inline]
fn number(digits: &[u8]) -> Result<u64, InvalidTraceParent> {
    let (mut number, mut all) = (0, 0);
    for digit in digits {
        let value = DIGITS[usize::from(*digit)];
        number = number << 4 | u64::from(value);
        all |= value;
    }
    match all {
        0..=0xf => Ok(number),
        _ => Err(InvalidTraceParent(
            "expected hexadecimal digits in lower case",
        )),
    }
}

/// The values of hexadecimal digits in lower case. Other bytes have the value `0xff`.
const DIGITS: [u8; 256] = {
    let mut values = [0xff; 256];
    let digits = b"0123456789abcdef";
    let mut value = 0;
    while value < digits.len() {
        values[digits[value] as usize] = value as u8;
        value += 1;
    }
    values
};

impl FromStr for TraceParent {
    type Err = InvalidTraceParent;

    fn from_str(text: &str) -> Result<Self, InvalidTraceParent> {
        Self::parse(text.as_bytes())
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            trace_id,
            parent_id,
            flags,
        } = self;
        let flags = flags & (SAMPLED | RANDOM);
        write!(f, "00-{trace_id:032x}-{parent_id:016x}-{flags:02x}")
    }
}

/// A string is not a `traceparent`. The message leaves the string out, because it is not trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid traceparent: {0}")]
pub struct InvalidTraceParent(&'static str);

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const PARENT: &str = "b7ad6b7169203331";

    #[test]
    fn what_the_recommendation_allows_is_read() {
        #[track_caller]
        fn check(text: &str, shown: &str) {
            let parent: TraceParent = text.parse().unwrap();
            assert_eq!(parent.to_string(), format!("00-{TRACE}-{PARENT}-{shown}"));
            assert_eq!(parent.is_sampled(), shown == "01" || shown == "03");
            assert_eq!(parent.is_random(), shown == "02" || shown == "03");
        }
        for (flags, shown) in [
            ("00", "00"),
            ("01", "01"),
            ("02", "02"),
            ("03", "03"),
            // Unknown flags are not propagated.
            ("04", "00"),
            ("ff", "03"),
            ("0a", "02"),
        ] {
            check(&format!("00-{TRACE}-{PARENT}-{flags}"), shown);
            check(&format!("cc-{TRACE}-{PARENT}-{flags}"), shown);
        }
        check(
            &format!("01-{TRACE}-{PARENT}-01-what-the-future-will-be-like"),
            "01",
        );
        check(&format!("fe-{TRACE}-{PARENT}-01-"), "01");
    }

    #[test]
    fn what_the_recommendation_forbids_is_refused() {
        let zeros = |length| "0".repeat(length);
        let refused = [
            String::new(),
            "00".into(),
            "00-1-1-01".into(),
            "00-+1-+1-+1".into(),
            format!("0-{TRACE}-{PARENT}-1"),
            format!("000000-{TRACE}-{PARENT}-01"),
            format!("00-{TRACE}-{PARENT}-0001"),
            format!("00-{TRACE}-{PARENT}-01-"),
            format!("00-{TRACE}-{PARENT}-01-what-the-future-will-be-like"),
            format!("00-{TRACE}-{PARENT}-01 "),
            format!(" 00-{TRACE}-{PARENT}-01"),
            format!("00-{TRACE}-{PARENT}-1"),
            format!("00-{TRACE}-{PARENT}-"),
            format!("00-{TRACE}-{PARENT}"),
            format!("00-{TRACE}-{PARENT}-.0"),
            format!("00-{TRACE}-{PARENT}-0."),
            format!("00-{TRACE}-{PARENT}-0A"),
            format!("00-{}-{PARENT}-01", TRACE.to_uppercase()),
            format!("00-{TRACE}-{}-01", PARENT.to_uppercase()),
            format!("00-.{}-{PARENT}-01", &TRACE[1..]),
            format!("00-{}.-{PARENT}-01", &TRACE[1..]),
            format!("00-{TRACE}-.{}-01", &PARENT[1..]),
            format!("00-{}-{PARENT}-01", zeros(32)),
            format!("00-{TRACE}-{}-01", zeros(16)),
            format!("00-{}-{PARENT}-01", &TRACE[1..]),
            format!("00-0{TRACE}-{PARENT}-01"),
            format!("00-{TRACE}-0{PARENT}-01"),
            format!("ff-{TRACE}-{PARENT}-01"),
            format!("ff-{TRACE}-{PARENT}-01-x"),
            format!(".0-{TRACE}-{PARENT}-01"),
            format!("0.-{TRACE}-{PARENT}-01"),
            format!("CC-{TRACE}-{PARENT}-01"),
            format!("cc-{TRACE}-{PARENT}-01.what-the-future-will-not-be-like"),
            format!("cc-{TRACE}-{PARENT}-010"),
            format!("00_{TRACE}_{PARENT}_01"),
            format!("00-{TRACE}-{PARENT}-\u{661}1"),
        ];
        for text in refused {
            let error = text.parse::<TraceParent>();
            assert!(error.is_err(), "{text:?} gave {error:?}");
        }
    }

    #[test]
    fn traces_begin_at_random_and_go_on_in_themselves() {
        let (one, other) = (TraceParent::generate(), TraceParent::generate());
        assert!(one.is_random() && !one.is_sampled());
        assert!(one.is_undecided() && one.child().is_undecided());
        assert!(!one.sampled(false).is_undecided() && !one.sampled(true).is_undecided());
        assert!(one.to_string().ends_with("-02"), "{one}");
        assert_ne!(one.trace_id(), other.trace_id());
        let child = one.sampled(true).child();
        assert_eq!(child.trace_id(), one.trace_id());
        assert_ne!(child.parent_id(), one.parent_id());
        assert!(child.is_random() && child.is_sampled());
    }

    #[test]
    fn flags_are_set_one_by_one() {
        let one = TraceParent::new(NonZeroU128::MIN, NonZeroU64::MIN);
        assert!(!one.is_sampled() && !one.is_random());
        let both = one.sampled(true).random(true);
        assert!(both.is_sampled() && both.is_random());
        assert_eq!(both.sampled(false).random(false), one);
        let shown = both.to_string();
        assert_eq!(shown.parse(), Ok(both));
        assert_eq!(shown.len(), LENGTH);
    }
}
