use std::time::Duration;

/// The units in descending order, each with its milliseconds. The flag marks units that are
/// formatted only if nothing remains.
const UNITS: [(&str, u64, bool); 7] = [
    ("y", 365 * 24 * 60 * 60 * 1_000, true),
    ("w", 7 * 24 * 60 * 60 * 1_000, true),
    ("d", 24 * 60 * 60 * 1_000, false),
    ("h", 60 * 60 * 1_000, false),
    ("m", 60 * 1_000, false),
    ("s", 1_000, false),
    ("ms", 1, false),
];

/// The longest duration of Prometheus, 292 years: the nanoseconds that fit into a signed 64-bit
/// integer.
const MAX: Duration = Duration::from_nanos(i64::MAX as u64);

/// Parses a duration in Prometheus' format: `0`, or integers with units, such as `1h30m`.
///
/// The units are `y w d h m s ms`, each at most once and in this order.
///
/// A year has 365 days and a day 24 hours (`ParseDuration` of prometheus/common).
///
/// # Errors
///
/// Returns an error if the string is not a duration, or a duration of more than 292 years.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let error = |reason| DurationError {
        text: text.chars().take(64).collect(),
        reason,
    };
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut total = Duration::ZERO;
    loop {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let unit_len = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at(unit_len);
        // Units are in descending order, so a skipped unit can't follow.
        let found = units
            .find(|(name, ..)| *name == unit)
            .filter(|_| digits > 0);
        let (_, milliseconds, _) = found.ok_or_else(|| error(Reason::Form))?;
        let part = number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(*milliseconds));
        let sum = part.and_then(|part| total.checked_add(Duration::from_millis(part)));
        total = sum
            .filter(|total| *total <= MAX)
            .ok_or_else(|| error(Reason::Range))?;
        rest = after;
        if rest.is_empty() {
            return Ok(total);
        }
    }
}

/// Formats a duration as Prometheus does, to the millisecond: `1h30m`, `90d`, `2w`, `0s`.
///
/// Years and weeks are used only if nothing remains, because 90 days are easier to read than 12
/// weeks and 6 days.
pub fn format_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, milliseconds, exact) in UNITS {
        let number = rest / milliseconds;
        if number > 0 && !(exact && rest % milliseconds != 0) {
            text += &format!("{number}{unit}");
            rest %= milliseconds;
        }
    }
    text
}

/// A string is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid duration {text:?}: expected {reason}")]
pub struct DurationError {
    text: String,
    reason: Reason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Reason {
    #[error("integers with the units y w d h m s ms, in this order, such as 1h30m")]
    Form,
    #[error("at most 292 years")]
    Range,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000;
    const HOUR: u64 = 3_600 * SECOND;
    const DAY: u64 = 24 * HOUR;

    #[test]
    fn durations_have_the_format_of_prometheus() {
        #[track_caller]
        fn check(text: &str, milliseconds: u64, written: &str) {
            let duration = Duration::from_millis(milliseconds);
            assert_eq!(parse_duration(text), Ok(duration));
            assert_eq!(format_duration(duration), written);
        }
        check("0", 0, "0s");
        check("0w", 0, "0s");
        check("0s", 0, "0s");
        check("324ms", 324, "324ms");
        check("3s", 3 * SECOND, "3s");
        check("5m", 300 * SECOND, "5m");
        check("1h", HOUR, "1h");
        check("4d", 4 * DAY, "4d");
        check("4d1h", 4 * DAY + HOUR, "4d1h");
        check("14d", 14 * DAY, "2w");
        check("3w", 21 * DAY, "3w");
        check("3w2d1h", 23 * DAY + HOUR, "23d1h");
        check("10y", 3_650 * DAY, "10y");
        check("1y1d", 366 * DAY, "366d");
        check("1h30m", HOUR + HOUR / 2, "1h30m");
        check("90m", HOUR + HOUR / 2, "1h30m");
        check("007s", 7 * SECOND, "7s");
        check("292y", 292 * 365 * DAY, "292y");
    }

    #[test]
    fn invalid_durations_are_rejected() {
        for text in [
            "",
            "1",
            "-1w",
            "1.5d",
            "d",
            "5m1h",
            "1s1s",
            "1d1d",
            "300000y",
            "18446744073709551616s",
            "1h ",
            " 1h",
            "1µs",
            "1H",
            "293y",
        ] {
            let error = parse_duration(text).unwrap_err();
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
        assert!(
            parse_duration(&"9".repeat(10_000))
                .unwrap_err()
                .to_string()
                .len()
                < 200
        );
    }
}
