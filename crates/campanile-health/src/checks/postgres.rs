//! The probe of a PostgreSQL server, for [`postgres`](super::postgres()) and for other connections.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, Error, NoTls};

use super::error::{InvalidUrl, ProbeError};
use crate::{Check, Outcome, clock};

pub(super) fn check(name: String, url: &str) -> Result<Check, InvalidUrl> {
    let config: Config = url.parse().map_err(|error: Error| {
        let expected = "postgres://user:password@host/database";
        InvalidUrl::new("PostgreSQL", expected, Some(error.into()))
    })?;
    // Such a check would fail forever.
    if config.get_ssl_mode() == SslMode::Require {
        let expected = "sslmode prefer or disable; for TLS, call `probe` with your own connection";
        return Err(InvalidUrl::new("PostgreSQL", expected, None));
    }
    let slot = Arc::new(Mutex::new(None::<Connected>));
    Ok(Check::new(name, move || {
        let (config, slot) = (config.clone(), Arc::clone(&slot));
        async move {
            // A connection leaves the slot during a call, so that none is used again after a
            // failure or a timeout.
            let connected = slot.lock().await.take();
            let connected = connected.filter(|connected| !connected.client.is_closed());
            let connected = match connected {
                Some(connected) => connected,
                None => {
                    let (client, connection) =
                        config.connect(NoTls).await.map_err(ProbeError::new)?;
                    let connection = tokio::spawn(async move { drop(connection.await) });
                    Connected { client, connection }
                }
            };
            let outcome = probe(&connected.client).await?;
            *slot.lock().await = Some(connected);
            Ok::<_, ProbeError>(outcome)
        }
    }))
}

/// A connection whose task ends when this is dropped.
struct Connected {
    client: Client,
    connection: JoinHandle<()>,
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// Sends `SELECT 1` over a connection, and measures its latency. The details are `latency_ms`, and
/// `connections` and `active_connections` to the database if the user may see them.
///
/// ```
/// use std::sync::Arc;
///
/// use campanile_health::{Check, checks::postgres};
/// use tokio_postgres::Client;
///
/// # fn _example(client: Arc<Client>) -> Check {
/// Check::new("database", move || {
///     // With a pool, `pool.get().await?`.
///     let client = Arc::clone(&client);
///     async move { postgres::probe(&client).await }
/// })
/// # }
/// ```
///
/// # Errors
///
/// If the server does not answer, or answers with an error.
pub async fn probe(client: &Client) -> Result<Outcome, ProbeError> {
    query(client).await.map_err(ProbeError::new)
}

async fn query(client: &Client) -> Result<Outcome, Error> {
    let begun = clock::now();
    client.simple_query("SELECT 1").await?;
    let latency = clock::now().saturating_duration_since(begun);
    let text = "SELECT count(*), count(*) FILTER (WHERE state = 'active') FROM pg_stat_activity \
                WHERE datname = current_database()";
    let outcome = Outcome::healthy().detail("latency_ms", milliseconds(latency));
    // A user without this permission can still use the database.
    let Ok(row) = client.query_one(text, &[]).await else {
        return Ok(outcome);
    };
    let (all, active): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    Ok(outcome
        .detail("connections", all)
        .detail("active_connections", active))
}

fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_requires_tls_is_an_error_when_the_check_is_built() {
        let build = |url: &str| check("db".to_owned(), url).map(drop);
        let with = |mode: &str| build(&format!("postgres://u:s3cret@db.example/orders{mode}"));
        let invalid = |url: Result<(), InvalidUrl>| {
            let error = url.unwrap_err();
            let cause = std::error::Error::source(&error);
            assert!(!error.to_string().contains("s3cret"));
            (error.to_string(), cause.is_some())
        };
        let (text, has_cause) = invalid(with("?sslmode=require"));
        assert!(text.starts_with("invalid PostgreSQL URL: expected sslmode prefer"));
        assert!(!has_cause);
        let expected = "invalid PostgreSQL URL: expected postgres://user:password@host/database";
        assert_eq!(
            invalid(with("?sslmode=verify-full")),
            (expected.into(), true)
        );
        assert_eq!(invalid(build("mysql://")), (expected.into(), true));
        for mode in ["", "?sslmode=prefer", "?sslmode=disable"] {
            assert!(with(mode).is_ok(), "{mode}");
        }
    }
}
