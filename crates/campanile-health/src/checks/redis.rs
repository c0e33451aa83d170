//! A check of a Redis server, or of one that speaks as it does.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Client, RedisError, cmd};
use tokio::sync::Mutex;

use crate::{Check, Outcome, clock};

/// Returns a check that a server answers `PING`, over one connection of its own that is kept, without TLS: `redis://user:password@host:6379/0`.
///
/// For a connection of a pool, or with TLS, call [`probe`] in a check of your own.
///
/// # Errors
///
/// If the URL can't be read, or requires TLS by `rediss://` while the crate `redis` has no TLS feature.
pub fn check(name: impl Into<String>, url: &str) -> Result<Check, RedisError> {
    let client = Client::open(url)?;
    let kept = Arc::new(Mutex::new(None::<MultiplexedConnection>));
    Ok(Check::new(name, move || {
        let (client, kept) = (client.clone(), Arc::clone(&kept));
        async move {
            // It is out while it is in use: what fails, or takes too long, is not used again.
            let connection = kept.lock().await.take();
            // The server may have closed one that was kept.
            if let Some(mut connection) = connection
                && let Ok(outcome) = probe(&mut connection).await
            {
                *kept.lock().await = Some(connection);
                return Ok(outcome);
            }
            // The check has the timeout.
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(None)
                .set_response_timeout(None);
            let connection = client.get_multiplexed_async_connection_with_config(&config);
            let mut connection = connection.await?;
            let outcome = probe(&mut connection).await?;
            *kept.lock().await = Some(connection);
            Ok::<_, RedisError>(outcome)
        }
    }))
}

/// Asks a server, over any connection: `PING`, how long that took, and of `INFO` the memory that it uses and how many clients there are.
///
/// # Errors
///
/// If there is no answer, or an error.
pub async fn probe(connection: &mut impl ConnectionLike) -> Result<Outcome, RedisError> {
    let begun = clock::now();
    let _: redis::Value = cmd("PING").query_async(connection).await?;
    let latency = clock::now().saturating_duration_since(begun);
    let mut outcome = Outcome::healthy().detail("latency_ms", milliseconds(latency));
    // Who may not ask for this may still ask.
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
        let error = check("cache", "rediss://cache.example/").unwrap_err();
        assert!(error.to_string().contains("TLS"), "{error}");
        assert!(check("cache", "redis://cache.example/").is_ok());
    }
}
