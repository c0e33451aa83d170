//! The probe of a Redis server, for [`redis`](super::redis()) and for other connections.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Client, cmd};
use tokio::sync::Mutex;

use super::error::{InvalidUrl, ProbeError};
use crate::{Check, Outcome, clock};

pub(super) fn check(name: String, url: &str) -> Result<Check, InvalidUrl> {
    let client = Client::open(url).map_err(|error| {
        let expected = "redis://user:password@host:6379/0";
        InvalidUrl::new("Redis", expected, Some(error.into()))
    })?;
    let slot = Arc::new(Mutex::new(None::<MultiplexedConnection>));
    Ok(Check::new(name, move || {
        let (client, slot) = (client.clone(), Arc::clone(&slot));
        async move {
            // A connection leaves the slot during a call, so that none is used again after a
            // failure or a timeout.
            let connection = slot.lock().await.take();
            // The server may have closed the old connection.
            if let Some(mut connection) = connection
                && let Ok(outcome) = probe(&mut connection).await
            {
                *slot.lock().await = Some(connection);
                return Ok(outcome);
            }
            // The check has the timeout.
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(None)
                .set_response_timeout(None);
            let connection = client.get_multiplexed_async_connection_with_config(&config);
            let mut connection = connection.await.map_err(ProbeError::new)?;
            let outcome = probe(&mut connection).await?;
            *slot.lock().await = Some(connection);
            Ok::<_, ProbeError>(outcome)
        }
    }))
}

/// Sends `PING` over a connection, and measures its latency. The details are `latency_ms`, and
/// `used_memory_bytes` and `connected_clients` if the user may call `INFO`.
///
/// # Errors
///
/// If the server does not answer, or answers with an error.
pub async fn probe(connection: &mut impl ConnectionLike) -> Result<Outcome, ProbeError> {
    let begun = clock::now();
    let pong: Result<redis::Value, _> = cmd("PING").query_async(connection).await;
    pong.map_err(ProbeError::new)?;
    let latency = clock::now().saturating_duration_since(begun);
    let mut outcome = Outcome::healthy().detail("latency_ms", milliseconds(latency));
    // A user without this permission can still use the server.
    let info: Result<String, _> = cmd("INFO").query_async(connection).await;
    let info = info.unwrap_or_default();
    let field = |name: &str| -> Option<u64> {
        let line = info.lines().find_map(|line| line.strip_prefix(name));
        line?.strip_prefix(':')?.trim().parse().ok()
    };
    for (field, name) in [
        (field("used_memory"), "used_memory_bytes"),
        (field("connected_clients"), "connected_clients"),
    ] {
        if let Some(value) = field {
            outcome = outcome.detail(name, value);
        }
    }
    Ok(outcome)
}

fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_requires_tls_is_an_error_when_the_check_is_built() {
        let build = |url: &str| check("cache".to_owned(), url).map(drop);
        let error = build("rediss://cache.example/").unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("TLS"), "{cause}");
        assert!(build("redis://cache.example/").is_ok());
    }
}
