//! Numbers written as JSON.

use std::fmt::Write;

/// The largest integer up to which a double represents every integer.
pub(crate) const MOST: u128 = 1 << f64::MANTISSA_DIGITS;

pub(crate) fn integer(text: &str, is_exact: bool, out: &mut String) {
    // Many JSON readers parse every number as a double.
    let quote = if is_exact { "" } else { "\"" };
    out.push_str(quote);
    out.push_str(text);
    out.push_str(quote);
}

pub(crate) fn signed(value: i64, out: &mut String) {
    let is_exact = u128::from(value.unsigned_abs()) <= MOST;
    integer(itoa::Buffer::new().format(value), is_exact, out);
}

pub(crate) fn unsigned(value: u64, out: &mut String) {
    let is_exact = u128::from(value) <= MOST;
    integer(itoa::Buffer::new().format(value), is_exact, out);
}

pub(crate) fn float(value: f64, out: &mut String) {
    if value.is_finite() {
        // The shortest string that parses to the same number. Writing to a `String` never fails.
        let _ = write!(out, "{value:?}");
    } else {
        out.push_str("null");
    }
}
