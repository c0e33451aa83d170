//! Ratios and percentages, exact to nine decimal places.

/// The number of parts that a ratio of 1 has. Ratios are stored as a number of these parts, so that
/// budgets are exact to a single event.
pub(crate) const PARTS: u64 = 1_000_000_000;

/// Parses a percentage such as `99.9%`.
pub(crate) fn parts_of(text: &str) -> Option<u64> {
    let number = text.strip_suffix('%')?;
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(decimals) || decimals.len() > 7 || whole.len() > 3 {
        return None;
    }
    // One percent is 10,000,000 parts: seven decimal places.
    let parts = format!("{whole}{decimals:0<7}").parse().ok()?;
    (parts <= PARTS).then_some(parts)
}

/// Returns the percentage of a number of parts.
pub(crate) fn percent(parts: u64) -> f64 {
    parts as f64 / (PARTS / 100) as f64
}

/// Formats a number of parts as an exact decimal number from 0 to 1.
pub(crate) fn ratio(parts: u64) -> String {
    if parts == PARTS {
        return "1".to_owned();
    }
    let text = format!("0.{parts:09}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_read_exactly() {
        #[track_caller]
        fn check(text: &str, parts: Option<u64>) {
            assert_eq!(parts_of(text), parts, "{text}");
        }
        check("99.9%", Some(999_000_000));
        check("99.9999999%", Some(999_999_999));
        check("0%", Some(0));
        check("100%", Some(PARTS));
        check("1%", Some(10_000_000));
        check("0.05%", Some(500_000));
        for text in [
            "",
            "%",
            "99.9",
            "100.1%",
            "-1%",
            "+1%",
            "1e1%",
            ".5%",
            "5.%",
            "99.99999999%",
            " 1%",
            "NaN%",
            "1000%",
        ] {
            check(text, None);
        }
        assert_eq!(percent(999_000_000), 99.9);
    }

    #[test]
    fn ratios_are_written_exactly() {
        for (parts, text) in [
            (PARTS, "1"),
            (0, "0"),
            (999_000_000, "0.999"),
            (1_000_000, "0.001"),
            (1, "0.000000001"),
            (100_000_000, "0.1"),
        ] {
            assert_eq!(ratio(parts), text);
        }
    }
}
