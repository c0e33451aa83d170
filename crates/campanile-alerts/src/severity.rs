use std::fmt;
use std::str::FromStr;

/// The severity of an alert, from the lowest to the highest.
///
/// Parsing also accepts the names of other systems: `info` is low, `warning` medium, `error` high.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// No action is needed soon.
    Low,
    /// Action is needed today.
    Medium,
    /// Action is needed soon.
    High,
    /// Action is needed now.
    Critical,
}

impl Severity {
    /// Returns the severity's name: `low`, `medium`, `high`, `critical`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A string is not a severity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown severity {text:?}: expected low, medium, high or critical")]
pub struct SeverityError {
    text: String,
}

impl FromStr for Severity {
    type Err = SeverityError;

    fn from_str(text: &str) -> Result<Self, SeverityError> {
        match text.to_ascii_lowercase().as_str() {
            "low" | "info" => Ok(Self::Low),
            "medium" | "warning" => Ok(Self::Medium),
            "high" | "error" => Ok(Self::High),
            "critical" => Ok(Self::Critical),
            _ => Err(SeverityError {
                text: text.chars().take(64).collect(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severities_are_ordered_and_have_aliases() {
        let all = [
            Severity::Low,
            Severity::Medium,
            Severity::High,
            Severity::Critical,
        ];
        assert!(all.is_sorted());
        for severity in all {
            assert_eq!(severity.to_string().parse(), Ok(severity));
        }
        let words = ["info", "Warning", "ERROR", "critical"];
        assert_eq!(words.map(|word| word.parse::<Severity>().unwrap()), all);
        let error = "urgent".parse::<Severity>().unwrap_err();
        assert!(error.to_string().starts_with("unknown severity \"urgent\""));
    }
}
