use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use bytes::Bytes;
use campanile_client::{Client, SendError, Target, TargetError, retry_after};
use campanile_series::LabelSet;
use campanile_store::BoxFuture;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

use crate::channel::{Channel, ChannelError, SettingsError};
use crate::notification::{AlertEvent, Notification};
use crate::time;

/// A channel that posts notifications to a webhook, in the format of Alertmanager's webhook (version 4).
///
/// Each request has a header `Idempotency-Key` with [`Notification::key`], which is the same in each attempt. The body
/// has one object more than Alertmanager's: `campanile`, with the key and the alert's value.
///
/// | response | result |
/// |---|---|
/// | 200 to 299 | sent |
/// | 408, 425, 429, 500 and above, no response | retried, after `Retry-After` if it is present |
/// | any other, including redirects | rejected |
pub struct Webhook {
    name: String,
    target: Result<Target, TargetError>,
    client: Client,
}

impl Webhook {
    /// Creates a channel. The URL is a secret: logs and errors show only its scheme, host and port.
    pub fn alertmanager(name: impl Into<String>, url: impl AsRef<str>) -> Self {
        Self {
            name: name.into(),
            target: Target::parse(url.as_ref()),
            client: Client::new(),
        }
    }

    async fn post(&self, notification: &Notification) -> Result<(), ChannelError> {
        let target = self
            .target
            .as_ref()
            .map_err(|error| ChannelError::Rejected {
                reason: error.to_string(),
            })?;
        let rejected = |reason: &dyn fmt::Display| ChannelError::Rejected {
            reason: reason.to_string(),
        };
        let key = notification.key();
        let body = serde_json::to_vec(&Body::new(notification, &key, &self.name))
            .map_err(|error| rejected(&error))?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("campanile/", env!("CARGO_PKG_VERSION"))),
        );
        let key = HeaderValue::try_from(key).map_err(|error| rejected(&error))?;
        headers.insert(HeaderName::from_static("idempotency-key"), key);
        match self.client.post(target, headers, Bytes::from(body)).await {
            Ok(response) => judge(response.status, &response.headers),
            Err(error @ SendError::Forbidden { .. }) => Err(rejected(&error)),
            Err(error) => Err(ChannelError::Retry {
                reason: error.reason(),
                after: None,
            }),
        }
    }
}

impl Channel for Webhook {
    fn name(&self) -> &str {
        &self.name
    }

    fn check(&self) -> Result<(), SettingsError> {
        match &self.target {
            Ok(_) => Ok(()),
            Err(error) => Err(SettingsError::new(error.to_string())),
        }
    }

    fn send<'a>(
        &'a self,
        notification: &'a Notification,
    ) -> BoxFuture<'a, Result<(), ChannelError>> {
        Box::pin(self.post(notification))
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook")
            .field("name", &self.name)
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

/// Returns the result of an attempt from the response's status.
fn judge(status: StatusCode, headers: &HeaderMap) -> Result<(), ChannelError> {
    let reason = format!("response status {status}");
    match status.as_u16() {
        200..300 => Ok(()),
        408 | 425 | 429 | 500.. => Err(ChannelError::Retry {
            reason,
            after: retry_after(headers, || {
                #[expect(clippy::disallowed_methods, reason = "`Retry-After` may be a date")]
                SystemTime::now()
            }),
        }),
        _ => Err(ChannelError::Rejected { reason }),
    }
}

/// The body of a webhook, version 4.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    version: &'static str,
    group_key: String,
    truncated_alerts: u64,
    status: &'static str,
    receiver: &'a str,
    group_labels: BTreeMap<&'a str, &'a str>,
    common_labels: BTreeMap<&'a str, &'a str>,
    common_annotations: &'a BTreeMap<String, String>,
    #[serde(rename = "externalURL")]
    external_url: &'static str,
    alerts: [AlertBody<'a>; 1],
    campanile: Extra<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AlertBody<'a> {
    status: &'static str,
    labels: BTreeMap<&'a str, &'a str>,
    annotations: &'a BTreeMap<String, String>,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: &'static str,
    fingerprint: String,
}

#[derive(Serialize)]
struct Extra<'a> {
    key: &'a str,
    /// Null for NaN and infinities, which JSON does not have.
    value: f64,
}

impl<'a> Body<'a> {
    fn new(notification: &'a Notification, key: &'a str, receiver: &'a str) -> Self {
        let labels = |labels: &'a LabelSet| labels.iter().collect();
        // Alertmanager's value for an alert that has not ended.
        let not_yet = || "0001-01-01T00:00:00Z".to_owned();
        let status = notification.event.as_str();
        Self {
            version: "4",
            group_key: format!("{{}}:{}", notification.labels),
            truncated_alerts: 0,
            status,
            receiver,
            group_labels: labels(&notification.labels),
            common_labels: labels(&notification.labels),
            common_annotations: &notification.annotations,
            external_url: "",
            alerts: [AlertBody {
                status,
                labels: labels(&notification.labels),
                annotations: &notification.annotations,
                starts_at: time::to_text(notification.starts_at),
                ends_at: match (notification.event, notification.ends_at) {
                    (AlertEvent::Resolved, Some(end)) => time::to_text(end),
                    _ => not_yet(),
                },
                generator_url: "",
                fingerprint: notification.labels.fingerprint().to_string(),
            }],
            campanile: Extra {
                key,
                value: notification.value,
            },
        }
    }
}

#[cfg(test)]
mod tests;
