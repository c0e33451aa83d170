use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};
use std::str::FromStr;

use crate::CorrelationId;

/// Where a request stands in a trace: the header `traceparent` of W3C Trace Context, level 2.
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
/// It is shown as version 00, whichever version it came as, with the flags that are known: `sampled` and `random`.
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
/// Not of W3C: no sampler has decided yet.
const UNDECIDED: u8 = 1 << 7;

/// The length of version 00, and of what of a later version is read.
const LENGTH: usize = 55;

impl TraceParent {
    /// Returns a place in a trace, neither sampled nor known to be random.
    #[must_use]
    pub fn new(trace_id: NonZeroU128, parent_id: NonZeroU64) -> Self {
        Self {
            trace_id,
            parent_id,
            flags: 0,
        }
    }

    /// Begins a trace with random ids, which is told by its flag. Whether it is sampled is [undecided](Self::is_undecided).
    #[must_use]
    pub fn generate() -> Self {
        let trace_id = NonZeroU128::new(CorrelationId::random()).unwrap_or(NonZeroU128::MIN);
        Self::new(trace_id, NonZeroU64::MIN)
            .random(true)
            .flag(UNDECIDED, true)
            .child()
    }

    /// Returns the beginning of a trace that follows from a correlation id: a UUID is the trace's id, and so are 32 hexadecimal digits; of any
    /// other text it is a hash. The place in it is random. Whether it is sampled is [undecided](Self::is_undecided).
    #[must_use]
    pub fn from_correlation_id(id: &CorrelationId) -> Self {
        let digits = id.as_str().bytes().filter(|byte| *byte != b'-');
        let number = digits.clone().try_fold(0_u128, |number, digit| {
            let digit = char::from(digit).to_digit(16)?;
            Some(number << 4 | u128::from(digit))
        });
        let number = number.filter(|_| digits.count() == 32);
        // FNV-1a of 128 bits (draft-eastlake-fnv): all that is wanted is the same for the same.
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

    /// Returns a place in the same trace with a random id of its own.
    #[must_use]
    pub fn child(self) -> Self {
        let parent_id = NonZeroU64::new(CorrelationId::random() as u64);
        Self {
            parent_id: parent_id.unwrap_or(NonZeroU64::MIN),
            ..self
        }
    }

    /// Sets whether the one that asks may have recorded the trace.
    #[must_use]
    pub fn sampled(self, is_sampled: bool) -> Self {
        self.flag(SAMPLED, is_sampled).flag(UNDECIDED, false)
    }

    /// Sets whether at least the last seven bytes of the trace's id are random.
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

    /// Returns the trace's id.
    #[must_use]
    pub fn trace_id(&self) -> NonZeroU128 {
        self.trace_id
    }

    /// Returns the id of the span that the request came from.
    #[must_use]
    pub fn parent_id(&self) -> NonZeroU64 {
        self.parent_id
    }

    /// Returns whether the one that asks may have recorded the trace.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// Returns whether the trace began here and nothing has [decided](Self::sampled) yet whether it is sampled.
    ///
    /// Such a place is not propagated. A `traceparent` without the sampled flag would tell the services that are called not to
    /// sample; without a `traceparent` they decide themselves.
    #[must_use]
    pub fn is_undecided(&self) -> bool {
        self.flags & UNDECIDED != 0
    }

    /// Returns whether at least the last seven bytes of the trace's id are random.
    #[must_use]
    pub fn is_random(&self) -> bool {
        self.flags & RANDOM != 0
    }

    /// Reads a header's value. Of a later version than 00 what is known is read, and what comes after it is not looked at.
    ///
    /// # Errors
    ///
    /// If it is not one of W3C Trace Context: 32 and 16 hexadecimal digits in lower case, which are not all 0, between a version other than
    /// `ff` and flags.
    pub fn parse(value: &[u8]) -> Result<Self, InvalidTraceParent> {
        let Some((head, rest)) = value.split_first_chunk::<LENGTH>() else {
            return Err(InvalidTraceParent("it is too short"));
        };
        let [version, high, low, parent_id, flags] = fields(head)?;
        match (version, rest) {
            (0xff, _) => return Err(InvalidTraceParent("its version is ff")),
            (0, [_, ..]) => return Err(InvalidTraceParent("it is too long for version 00")),
            (0, []) | (_, [] | [b'-', ..]) => {}
            _ => return Err(InvalidTraceParent("there is no hyphen after the flags")),
        }
        let trace_id = NonZeroU128::new(u128::from(high) << 64 | u128::from(low));
        let parent_id = NonZeroU64::new(parent_id);
        Ok(Self {
            trace_id: trace_id.ok_or(InvalidTraceParent("its trace id is 0"))?,
            parent_id: parent_id.ok_or(InvalidTraceParent("its parent id is 0"))?,
            flags: flags as u8 & (SAMPLED | RANDOM),
        })
    }
}

/// Returns the numbers in `vv-hhhhhhhhhhhhhhhhllllllllllllllll-pppppppppppppppp-ff`.
fn fields(head: &[u8; LENGTH]) -> Result<[u64; 5], InvalidTraceParent> {
    if head[2] != b'-' || head[35] != b'-' || head[52] != b'-' {
        return Err(InvalidTraceParent("its hyphens are not where they belong"));
    }
    Ok([
        number(&head[..2])?,
        number(&head[3..19])?,
        number(&head[19..35])?,
        number(&head[36..52])?,
        number(&head[53..])?,
    ])
}

/// Returns the number of at most 16 digits.
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
            "it has something else than hexadecimal digits in lower case",
        )),
    }
}

/// The values of hexadecimal digits in lower case. All other bytes have a value that is too large.
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

/// A string is no `traceparent`. The error doesn't repeat the string, which is not trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the traceparent is not valid: {0}")]
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
            // What is not known yet is not sent on.
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
