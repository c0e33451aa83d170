use std::fmt;
use std::time::SystemTime;

use campanile_series::MatcherError;

use crate::window::Window;

/// The SLOs are not valid; the error lists all problems.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildError {
    problems: Vec<Problem>,
}

impl BuildError {
    /// Returns the error, or `None` without problems.
    pub(crate) fn new(problems: Vec<Problem>) -> Option<Self> {
        (!problems.is_empty()).then_some(Self { problems })
    }

    /// Returns the problems; at least one.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.problems.iter().enumerate() {
            let separator = if number == 0 { "" } else { "; " };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for BuildError {}

/// One problem of a [`BuildError`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The name of an SLO is not valid.
    #[error("invalid SLO name {name:?}: expected 1 to 64 characters of [A-Za-z0-9._-]")]
    Name {
        /// The name.
        name: String,
    },
    /// Two SLOs have the same name, ignoring ASCII case.
    #[error("duplicate SLO name {name:?}: expected one SLO per name, ignoring case")]
    Duplicate {
        /// The name of the second SLO.
        name: String,
    },
    /// The target of an SLO is not valid.
    #[error("invalid target {target:?} of SLO {name:?}: expected {expected}")]
    Target {
        /// The SLO's name.
        name: String,
        /// The target.
        target: String,
        /// The accepted values.
        expected: &'static str,
    },
    /// The window of an SLO is too short, too long, or not supported for its kind.
    #[error("invalid window {window} of SLO {name:?}: expected {expected}")]
    Window {
        /// The SLO's name.
        name: String,
        /// The window.
        window: Window,
        /// The accepted windows.
        expected: &'static str,
    },
    /// The time zone of an SLO's window is not known.
    #[error(
        "unknown time zone {zone:?} of SLO {name:?}: expected UTC or a name such as Europe/Berlin"
    )]
    Zone {
        /// The SLO's name.
        name: String,
        /// The time zone.
        zone: String,
    },
    /// The source does not provide data for an SLO of this kind.
    #[error("invalid source {source_name:?} of SLO {name:?}: expected {expected}")]
    Source {
        /// The SLO's name.
        name: String,
        /// The source, as its `Display` writes it.
        source_name: String,
        /// The accepted sources.
        expected: &'static str,
    },
    /// The setting does not apply to an SLO of this kind or source.
    #[error("invalid setting `{setting}` of SLO {name:?}: expected none for this kind and source")]
    Setting {
        /// The SLO's name.
        name: String,
        /// The setting.
        setting: &'static str,
    },
    /// The value of a setting is out of its range.
    #[error("invalid {setting} {value} of SLO {name:?}: expected {expected}")]
    Range {
        /// The SLO's name.
        name: String,
        /// The setting.
        setting: &'static str,
        /// The value.
        value: String,
        /// The accepted values.
        expected: &'static str,
    },
    /// The name of the service is not valid.
    #[error(
        "invalid service name {service:?}: expected 1 to 255 characters without control characters"
    )]
    Service {
        /// The first 64 characters of the name.
        service: String,
    },
    /// The SLOs track too many routes in total.
    #[error("too many routes {routes}: expected at most 200 over all SLOs")]
    TooManyRoutes {
        /// The number of routes.
        routes: usize,
    },
    /// There are too many SLOs.
    #[error("too many SLOs {slos}: expected at most 100")]
    TooMany {
        /// The number of SLOs.
        slos: usize,
    },
}

/// An SLO name is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown SLO {name:?}: expected {}", expected(.known))]
#[non_exhaustive]
pub struct UnknownSlo {
    /// The unknown name.
    pub name: String,
    /// The names of all SLOs.
    pub known: Vec<String>,
}

fn expected(known: &[String]) -> String {
    match known {
        [] => "none, since no SLO is defined".to_owned(),
        [name] => format!("{name:?}"),
        names => {
            let names: Vec<_> = names.iter().map(|name| format!("{name:?}")).collect();
            format!("one of {}", names.join(", "))
        }
    }
}

/// A recorder can't be created for an SLO.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecorderError {
    /// The SLO's name is not known.
    #[error(transparent)]
    Unknown(#[from] UnknownSlo),
    /// The SLO has a kind or source that the recorder does not feed.
    #[error("invalid recorder for SLO {name:?}: expected {expected}")]
    Mismatch {
        /// The SLO's name.
        name: String,
        /// The accepted alternative.
        expected: &'static str,
    },
}

/// Failures can't be excluded, or maintenance can't be scheduled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdjustError {
    /// The SLO's name is not known.
    #[error(transparent)]
    Unknown(#[from] UnknownSlo),
    /// The SLO has no error budget.
    #[error("invalid SLO {name:?}: expected one with an error budget")]
    NoBudget {
        /// The SLO's name.
        name: String,
    },
    /// The reason or the author is empty or too long.
    #[error("invalid {field} {value:?}: expected 1 to {limit} characters")]
    Text {
        /// The field: `reason` or `author`.
        field: &'static str,
        /// The first 64 characters of the value.
        value: String,
        /// The maximum number of characters.
        limit: usize,
    },
    /// The number of excluded failures is 0.
    #[error("invalid number of bad events 0: expected at least 1")]
    Nothing,
    /// There were fewer failures around that time.
    #[error(
        "too many bad events {bad}: expected at most {available}, the failures around that time \
         that are not excluded yet"
    )]
    TooManyBad {
        /// The number of failures to exclude.
        bad: u64,
        /// The number of failures that can be excluded.
        available: u64,
    },
    /// The time of the failures is in the future or more than 93 days ago.
    #[error("invalid time {at:?}: expected one within the last 93 days")]
    At {
        /// The time.
        at: SystemTime,
    },
    /// The same failures were excluded, or the same maintenance was scheduled, before.
    #[error("duplicate adjustment: expected another time, reason or author")]
    Duplicate,
    /// The maintenance starts in the past.
    #[error("invalid start {from:?} of the maintenance: expected a time that is not past")]
    From {
        /// The start.
        from: SystemTime,
    },
    /// The maintenance ends before its start or is too long.
    #[error("invalid end {until:?} of the maintenance: expected at most 31 days after its start")]
    Until {
        /// The end.
        until: SystemTime,
    },
    /// There are too many adjustments of the SLO, or too many maintenance windows.
    #[error("too many adjustments: expected at most 1000 within 93 days")]
    TooMany,
}

/// A monthly report can't be created.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MonthlyReportError {
    /// The month is not valid.
    #[error("invalid month {month:?}: expected a year and a month, such as 2026-11")]
    Month {
        /// The first 64 characters of the month.
        month: String,
    },
    /// The time zone is not known.
    #[error("unknown time zone {zone:?}: expected UTC or a name such as Europe/Berlin")]
    Zone {
        /// The first 64 characters of the time zone.
        zone: String,
    },
    /// The month is in the future, or its counts are not retained any more.
    #[error("invalid month {month:?}: expected the current one or one of the two before")]
    NotRetained {
        /// The month.
        month: String,
    },
}

/// A snapshot can't be restored, merged or compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The bytes are no snapshot, or one of another version.
    #[error("unknown snapshot format: expected version 2")]
    Unknown,
    /// The checksum does not match, or a value is impossible.
    #[error("invalid snapshot: expected a matching checksum and possible values")]
    Damaged,
    /// The changes were made from another snapshot.
    #[error("invalid base of the changes: expected the snapshot that they were made from")]
    OtherBase,
    /// A snapshot was restored before; its counts would be added a second time.
    #[error("duplicate restore: expected one snapshot, use `merge` to combine several")]
    Duplicate,
}

/// The SLOs can't be exported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The name of the service is not valid.
    #[error(
        "invalid service name {service:?}: expected 2 to 63 characters of [A-Za-z0-9._-], the \
         first and the last being letters or digits"
    )]
    Service {
        /// The first 64 characters of the name.
        service: String,
    },
    /// A matcher has a label that the export sets itself.
    #[error("invalid label {label:?} of a matcher: expected labels other than `slo` and `result`")]
    Label {
        /// The label.
        label: String,
    },
    /// The matchers are not valid.
    #[error("invalid matchers {matchers:?}: expected matchers such as job=\"orders\"")]
    Matchers {
        /// The first 256 characters of the matchers.
        matchers: String,
        /// The cause.
        #[source]
        error: MatcherError,
    },
    /// The test series would have to match a matcher for which no label value is known.
    #[error(
        "invalid matcher {matcher:?} for a rule test: expected an operator `=`, or one that matches \
         series without the label {label:?}"
    )]
    Untestable {
        /// The matcher, such as `job=~"orders.*"`.
        matcher: String,
        /// The matcher's label.
        label: String,
    },
}
