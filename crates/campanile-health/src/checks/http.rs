use std::time::Duration;

use campanile_client::{Client, Target, TargetError};
use http::HeaderMap;

use crate::{Check, Outcome};

/// Creates a check that a GET of a URL returns a status from 200 to 399. It does not read the body,
/// and does not follow redirects.
///
/// It connects to any address. For URLs from untrusted input, use [`http_with`] and a client with a
/// [guard](campanile_client::ClientBuilder::guard).
///
/// # Errors
///
/// If the URL is not a valid HTTP URL.
pub fn http(name: impl Into<String>, url: &str) -> Result<Check, TargetError> {
    // The check has the timeout, and the body is not read.
    let client = Client::builder().timeout(Duration::MAX).max_body(0).build();
    Ok(http_with(name, client, Target::parse(url)?))
}

/// Creates the same check as [`http`](http()) with another client, for example one with its own
/// certificates or a guard. It reads the body up to the client's
/// [limit](campanile_client::ClientBuilder::max_body).
pub fn http_with(name: impl Into<String>, client: Client, target: Target) -> Check {
    Check::new(name, move || {
        let (client, target) = (client.clone(), target.clone());
        async move {
            let response = client.get(&target, HeaderMap::new()).await?;
            let status = response.status;
            let outcome = match status.as_u16() {
                200..400 => Outcome::healthy(),
                _ => Outcome::unhealthy(format!("status {status}")),
            };
            Ok::<_, campanile_client::SendError>(outcome.detail("status_code", status.as_u16()))
        }
    })
}
