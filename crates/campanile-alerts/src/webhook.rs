use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use bytes::Bytes;
use campanile_client::{Client, SendError, Target, TargetError, retry_after};
use campanile_series::Labels;
use campanile_store::BoxFuture;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

use crate::{Event, Notice, Notify, NotifyError, SettingsError, time};

/// A channel that posts each notice as JSON, in the form of Alertmanager's webhooks (version 4).
///
/// Each request has a header `Idempotency-Key`, which is [`Notice::key`] and the same in each attempt, and the body one more object
/// than Alertmanager's, `campanile`, with that key and the alert's value.
///
/// A status from 200 to 299 means that it arrived. 408, 425, 429, all from 500 on and no answer at all are tried again, after
/// `Retry-After` if there is one; any other means that it is refused, redirects among them.
pub struct Webhook {
    name: String,
    target: Result<Target, TargetError>,
    client: Client,
}

impl Webhook {
    /// Returns the channel. The URL is taken for a secret: nothing shows more of it than scheme, host and port.
    pub fn json(name: impl Into<String>, url: impl AsRef<str>) -> Self {
        Self {
            name: name.into(),
            target: Target::parse(url.as_ref()),
            client: Client::new(),
        }
    }

    async fn post(&self, notice: &Notice) -> Result<(), NotifyError> {
        let target = self.target.as_ref().map_err(|error| NotifyError::Refused {
            reason: error.to_string(),
        })?;
        let refused = |reason: &dyn fmt::Display| NotifyError::Refused {
            reason: reason.to_string(),
        };
        let key = notice.key();
        let body = serde_json::to_vec(&Body::new(notice, &key, &self.name))
            .map_err(|error| refused(&error))?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("campanile/", env!("CARGO_PKG_VERSION"))),
        );
        let key = HeaderValue::try_from(key).map_err(|error| refused(&error))?;
        headers.insert(HeaderName::from_static("idempotency-key"), key);
        match self.client.post(target, headers, Bytes::from(body)).await {
            Ok(answer) => judge(answer.status, &answer.headers),
            Err(error @ SendError::Forbidden { .. }) => Err(refused(&error)),
            Err(error) => Err(NotifyError::Retry {
                reason: error.to_string(),
                after: None,
            }),
        }
    }
}

impl Notify for Webhook {
    fn name(&self) -> &str {
        &self.name
    }

    fn check(&self) -> Result<(), SettingsError> {
        match &self.target {
            Ok(_) => Ok(()),
            Err(error) => Err(SettingsError::new(error.to_string())),
        }
    }

    fn send<'a>(&'a self, notice: &'a Notice) -> BoxFuture<'a, Result<(), NotifyError>> {
        Box::pin(self.post(notice))
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

/// Says what a status means for a notice.
fn judge(status: StatusCode, headers: &HeaderMap) -> Result<(), NotifyError> {
    let reason = format!("the answer was {status}");
    match status.as_u16() {
        200..300 => Ok(()),
        408 | 425 | 429 | 500.. => Err(NotifyError::Retry {
            reason,
            after: retry_after(headers, || {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "a date in a header is compared with today's"
                )]
                SystemTime::now()
            }),
        }),
        _ => Err(NotifyError::Refused { reason }),
    }
}

/// A webhook's body, version 4.
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
    /// Null for what JSON has no number for.
    value: f64,
}

impl<'a> Body<'a> {
    fn new(notice: &'a Notice, key: &'a str, receiver: &'a str) -> Self {
        let labels = |labels: &'a Labels| labels.iter().collect();
        // Alertmanager's word for an alert that has not ended.
        let not_yet = || "0001-01-01T00:00:00Z".to_owned();
        let status = notice.event.as_str();
        Self {
            version: "4",
            group_key: format!("{{}}:{}", notice.labels),
            truncated_alerts: 0,
            status,
            receiver,
            group_labels: labels(&notice.labels),
            common_labels: labels(&notice.labels),
            common_annotations: &notice.annotations,
            external_url: "",
            alerts: [AlertBody {
                status,
                labels: labels(&notice.labels),
                annotations: &notice.annotations,
                starts_at: time::to_text(notice.starts_at),
                ends_at: match (notice.event, notice.ends_at) {
                    (Event::Resolved, Some(end)) => time::to_text(end),
                    _ => not_yet(),
                },
                generator_url: "",
                fingerprint: notice.labels.fingerprint().to_string(),
            }],
            campanile: Extra {
                key,
                value: notice.value,
            },
        }
    }
}

#[cfg(test)]
mod tests;
