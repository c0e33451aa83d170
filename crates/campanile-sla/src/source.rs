use std::fmt;

/// The source of an SLO's data; for [`Slo::source`](crate::Slo::source).
///
/// | SLO | sources | default |
/// |---|---|---|
/// | [`uptime`](crate::Slo::uptime) | `Health`, `Check`, `Manual` | `Health` |
/// | [`gauge`](crate::Slo::gauge) | `Manual`, `Series` | `Manual` |
/// | others | `Http`, `Manual` | `Http` |
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// The HTTP requests that the [observer](crate::ServiceLevels::observer) sees.
    Http,
    /// The application: it records events by [`SloHandle::good`](crate::SloHandle::good) and
    /// [`SloHandle::bad`](crate::SloHandle::bad), or uses a recorder, for example
    /// [`ServiceLevels::uptime_recorder`](crate::ServiceLevels::uptime_recorder).
    Manual,
    /// The health of the whole service, which the monitor reads.
    Health,
    /// The health check with this name, which the monitor reads.
    Check(String),
    /// The sum of the series that match this selector, such as `queue_size{queue="orders"}`. The
    /// monitor reads it at each evaluation.
    Series(String),
}

impl Source {
    /// Creates the source that reads a health check.
    pub fn check(name: impl Into<String>) -> Self {
        Self::Check(name.into())
    }

    /// Creates the source that reads the series that match a selector.
    pub fn series(selector: impl Into<String>) -> Self {
        Self::Series(selector.into())
    }
}

/// Writes `http`, `manual`, `health`, `check:db` or `series:queue_size{queue="orders"}`.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http => f.write_str("http"),
            Self::Manual => f.write_str("manual"),
            Self::Health => f.write_str("health"),
            Self::Check(name) => write!(f, "check:{name}"),
            Self::Series(selector) => write!(f, "series:{selector}"),
        }
    }
}

impl Source {
    /// Parses a source as `Display` writes it.
    #[cfg(feature = "openslo")]
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text.split_once(':') {
            Some(("check", name)) => Some(Self::check(name)),
            Some(("series", selector)) => Some(Self::series(selector)),
            Some(_) => None,
            None => match text {
                "http" => Some(Self::Http),
                "manual" => Some(Self::Manual),
                "health" => Some(Self::Health),
                _ => None,
            },
        }
    }
}
