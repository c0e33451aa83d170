use crate::Outcome;

/// Two limits of a value. Beyond the first one it is degraded, and beyond the second one unhealthy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    warn: f64,
    fail: f64,
    is_lower: bool,
}

impl Bounds {
    /// Creates upper bounds: a value above `warn` is degraded, and one above `fail` is unhealthy.
    #[must_use]
    pub fn at_most(warn: f64, fail: f64) -> Self {
        Self {
            warn,
            fail,
            is_lower: false,
        }
    }

    /// Creates lower bounds: a value below `warn` is degraded, and one below `fail` is unhealthy.
    #[must_use]
    pub fn at_least(warn: f64, fail: f64) -> Self {
        Self {
            warn,
            fail,
            is_lower: true,
        }
    }

    /// Compares a value with the bounds. The outcome has the value as the detail `value`. NaN is
    /// unhealthy.
    ///
    /// ```
    /// use campanile_health::{Outcome, checks::Bounds};
    ///
    /// let depth = Bounds::at_most(1_000.0, 10_000.0).evaluate(1_200.0);
    /// assert_eq!(depth, Outcome::degraded("value is 1200: more than 1000").detail("value", 1_200.0));
    /// ```
    pub fn evaluate(self, value: f64) -> Outcome {
        self.evaluate_as("value", "", value)
    }

    /// Compares a value with the bounds. The message has the value's name and unit.
    pub(super) fn evaluate_as(self, name: &str, unit: &str, value: f64) -> Outcome {
        let is_beyond = |bound: f64| match self.is_lower {
            true => value < bound,
            false => value > bound,
        };
        let message = |bound: f64| {
            let than = match self.is_lower {
                true => "less than",
                false => "more than",
            };
            format!("{name} is {value}{unit}: {than} {bound}{unit}")
        };
        let outcome = if value.is_nan() || self.warn.is_nan() || self.fail.is_nan() {
            Outcome::unhealthy(format!("{name} or one of its bounds is not a number"))
        } else if is_beyond(self.fail) {
            Outcome::unhealthy(message(self.fail))
        } else if is_beyond(self.warn) {
            Outcome::degraded(message(self.warn))
        } else {
            Outcome::healthy()
        };
        outcome.detail("value", value)
    }
}
