use crate::Outcome;

/// Two bounds of a value: beyond the first it is degraded, and beyond the second unhealthy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    warn: f64,
    fail: f64,
    is_least: bool,
}

impl Bounds {
    /// Creates upper bounds: a value above `warn` is degraded, and one above `fail` is unhealthy.
    #[must_use]
    pub fn at_most(warn: f64, fail: f64) -> Self {
        Self {
            warn,
            fail,
            is_least: false,
        }
    }

    /// Creates lower bounds: a value below `warn` is degraded, and one below `fail` is unhealthy.
    #[must_use]
    pub fn at_least(warn: f64, fail: f64) -> Self {
        Self {
            warn,
            fail,
            is_least: true,
        }
    }

    /// Compares a value with the bounds. The outcome has it as the detail `value`. NaN is unhealthy.
    ///
    /// ```
    /// use campanile_health::{Outcome, checks::Bounds};
    ///
    /// let depth = Bounds::at_most(1_000.0, 10_000.0).evaluate(1_200.0);
    /// assert_eq!(depth, Outcome::degraded("the value is 1200: more than 1000").detail("value", 1_200.0));
    /// ```
    pub fn evaluate(self, value: f64) -> Outcome {
        self.evaluate_as("the value", "", value)
    }

    /// Compares a value with the bounds; the message has its name, and the unit of all three numbers.
    pub(super) fn evaluate_as(self, what: &str, unit: &str, value: f64) -> Outcome {
        let is_beyond = |bound: f64| match self.is_least {
            true => value < bound,
            false => value > bound,
        };
        let has_bounds = !self.warn.is_nan() && !self.fail.is_nan();
        let than = if self.is_least {
            "less than"
        } else {
            "more than"
        };
        let outcome = if value.is_nan() || !has_bounds {
            Outcome::unhealthy(format!("{what} or a bound of it is not a number"))
        } else if is_beyond(self.fail) {
            Outcome::unhealthy(format!(
                "{what} is {value}{unit}: {than} {}{unit}",
                self.fail
            ))
        } else if is_beyond(self.warn) {
            Outcome::degraded(format!(
                "{what} is {value}{unit}: {than} {}{unit}",
                self.warn
            ))
        } else {
            Outcome::healthy()
        };
        outcome.detail("value", value)
    }
}
