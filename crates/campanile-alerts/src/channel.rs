use std::fmt;
use std::time::Duration;

use campanile_store::BoxFuture;

use crate::{Event, Notice};

/// Somewhere that notices are sent to.
pub trait Notify: Send + Sync + 'static {
    /// Returns the channel's name: 1 to 64 characters of `[A-Za-z0-9._-]`. Notices that wait are kept under it.
    fn name(&self) -> &str;

    /// Returns what is wrong with the channel's settings, for [`AlertsBuilder::build`](crate::AlertsBuilder::build) to tell.
    ///
    /// Defaults to nothing.
    ///
    /// # Errors
    ///
    /// If it can't work as it is set.
    fn check(&self) -> Result<(), SettingsError> {
        Ok(())
    }

    /// Sends a notice once. A call that takes longer than 30 s is dropped, and tried again.
    ///
    /// # Errors
    ///
    /// If it didn't arrive, with whether it is worth another try.
    fn send<'a>(&'a self, notice: &'a Notice) -> BoxFuture<'a, Result<(), NotifyError>>;
}

/// A channel's settings are not valid. The text must not have a secret in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct SettingsError {
    reason: String,
}

impl SettingsError {
    /// Returns an error that says what is wrong and how to mend it.
    pub fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
        }
    }
}

/// A notice did not arrive. The reasons must not have a secret in them: they are logged and kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotifyError {
    /// It may arrive later.
    #[error("{reason}")]
    Retry {
        /// What failed.
        reason: String,
        /// How long to wait, if the other side said so; less than 1 s counts as 1 s, and more than 1 h as 1 h.
        after: Option<Duration>,
    },
    /// It will never arrive as it is.
    #[error("{reason}")]
    Refused {
        /// What the other side said.
        reason: String,
    },
}

/// A channel that writes notices to the log, firing ones at WARN and resolved ones at INFO.
pub struct Log {
    name: String,
}

impl Log {
    /// Returns the channel.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }
}

impl Notify for Log {
    fn name(&self) -> &str {
        &self.name
    }

    fn send<'a>(&'a self, notice: &'a Notice) -> BoxFuture<'a, Result<(), NotifyError>> {
        let Notice {
            rule,
            labels,
            value,
            annotations,
            ..
        } = notice;
        let summary = annotations.get("summary").map_or("", String::as_str);
        match notice.event {
            Event::Firing => tracing::warn!(rule, %labels, value, summary, "an alert fires"),
            Event::Resolved => {
                tracing::info!(rule, %labels, value, summary, "an alert is resolved")
            }
        }
        Box::pin(std::future::ready(Ok(())))
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("name", &self.name).finish()
    }
}
