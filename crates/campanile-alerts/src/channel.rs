use std::fmt;
use std::time::Duration;

use campanile_store::BoxFuture;

use crate::notification::{AlertEvent, Notification};

/// A destination of notifications.
pub trait Channel: Send + Sync + 'static {
    /// Returns the channel's name: 1 to 64 characters of `[A-Za-z0-9._-]`. It identifies the channel's queue in the
    /// store, across restarts.
    fn name(&self) -> &str;

    /// Checks the channel's settings; [`AlertsBuilder::build`](crate::AlertsBuilder::build) calls it.
    ///
    /// Defaults to `Ok`.
    ///
    /// # Errors
    ///
    /// If the channel can't work with its settings.
    fn check(&self) -> Result<(), SettingsError> {
        Ok(())
    }

    /// Sends a notification once. A call that takes longer than 30 s is dropped and counts as a failed attempt.
    ///
    /// # Errors
    ///
    /// If the receiver did not accept the notification. The error says whether to retry.
    fn send<'a>(
        &'a self,
        notification: &'a Notification,
    ) -> BoxFuture<'a, Result<(), ChannelError>>;
}

/// A channel's settings are invalid. The message must not contain a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct SettingsError {
    reason: String,
}

impl SettingsError {
    /// Creates an error from a message that names the setting, its value and the fix.
    pub fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
        }
    }
}

/// A channel did not deliver a notification. The reasons are logged and stored: they must not contain a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// The attempt failed; a later one may succeed.
    #[error("{reason}")]
    Retry {
        /// The cause.
        reason: String,
        /// The pause that the receiver asks for, clamped to 1 s to 1 h.
        after: Option<Duration>,
    },
    /// The receiver rejected the notification; it is not retried.
    #[error("{reason}")]
    Rejected {
        /// The receiver's reason.
        reason: String,
    },
}

/// A channel that logs notifications: firing at WARN, resolved at INFO.
pub struct LogChannel {
    name: String,
}

impl LogChannel {
    /// Creates a channel.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }
}

impl Channel for LogChannel {
    fn name(&self) -> &str {
        &self.name
    }

    fn send<'a>(
        &'a self,
        notification: &'a Notification,
    ) -> BoxFuture<'a, Result<(), ChannelError>> {
        let Notification {
            rule,
            labels,
            value,
            annotations,
            ..
        } = notification;
        let summary = annotations.get("summary").map_or("", String::as_str);
        match notification.event {
            AlertEvent::Firing => tracing::warn!(rule, %labels, value, summary, "alert firing"),
            AlertEvent::Resolved => {
                tracing::info!(rule, %labels, value, summary, "alert resolved")
            }
        }
        Box::pin(std::future::ready(Ok(())))
    }
}

impl fmt::Debug for LogChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogChannel")
            .field("name", &self.name)
            .finish()
    }
}
