use std::time::Duration;

use campanile_client::{Client, Target, TargetError};
use http::HeaderMap;

use crate::{Check, Outcome};

/// Returns a check that a GET of a URL is answered with a status from 200 to 399; the body is not looked at, and redirects are not followed.
///
/// It connects to whatever the URL says: use [`http_with`] and a [guarded](campanile_client::ClientBuilder::guard) client for URLs that come from
/// others.
///
/// # Errors
///
/// If the URL is not one of HTTP.
pub fn http(name: impl Into<String>, url: &str) -> Result<Check, TargetError> {
    // The check has the timeout, and the body is not read.
    let client = Client::builder().timeout(Duration::MAX).max_body(0).build();
    Ok(http_with(name, client, Target::parse(url)?))
}

/// Returns the same check with a client that has certificates of its own, a guard, or connections that are kept; it reads as much of the body as the
/// client [does](campanile_client::ClientBuilder::max_body), and no longer than that may take.
pub fn http_with(name: impl Into<String>, client: Client, target: Target) -> Check {
    Check::new(name, move || {
        let (client, target) = (client.clone(), target.clone());
        async move {
            let answer = client.get(&target, HeaderMap::new()).await?;
            let status = answer.status;
            let outcome = match status.as_u16() {
                200..400 => Outcome::healthy(),
                _ => Outcome::unhealthy(format!("the answer was {status}")),
            };
            Ok::<_, campanile_client::SendError>(outcome.detail("status_code", status.as_u16()))
        }
    })
}
