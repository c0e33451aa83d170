//! A check of a PostgreSQL server.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, Error, NoTls};

use crate::{Check, Outcome, clock};

/// Returns a check that a server answers `SELECT 1`, over one connection of its own that is kept, without TLS: `postgres://user:password@host/database`.
///
/// For a connection of a pool, or with TLS, call [`probe`] in a check of your own.
///
/// # Errors
///
/// If the URL can't be read, or requires TLS by `sslmode=require`.
pub fn check(name: impl Into<String>, url: &str) -> Result<Check, UrlError> {
    let config: Config = url.parse()?;
    // Such a check would fail forever.
    if config.get_ssl_mode() == SslMode::Require {
        return Err(UrlError::Tls);
    }
    let kept = Arc::new(Mutex::new(None::<Kept>));
    Ok(Check::new(name, move || {
        let (config, kept) = (config.clone(), Arc::clone(&kept));
        async move {
            // It is out while it is in use: what fails, or takes too long, is not used again.
            let connected = kept.lock().await.take();
            let connected = connected.filter(|kept| !kept.client.is_closed());
            let connected = match connected {
                Some(connected) => connected,
                None => {
                    let (client, connection) = config.connect(NoTls).await?;
                    let connection = tokio::spawn(async move { drop(connection.await) });
                    Kept { client, connection }
                }
            };
            let outcome = probe(&connected.client).await?;
            *kept.lock().await = Some(connected);
            Ok::<_, Error>(outcome)
        }
    }))
}

/// The URL of a [`check`] is not valid.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// The URL can't be read.
    #[error("invalid PostgreSQL URL: expected postgres://user:password@host/database")]
    Invalid(#[from] Error),
    /// The URL requires TLS.
    #[error(
        "invalid sslmode \"require\": expected prefer or disable; with TLS, call `probe` in a check over your own connection"
    )]
    Tls,
}

/// A connection, which ends with this, whatever it waits for.
struct Kept {
    client: Client,
    connection: JoinHandle<()>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// Asks a server, over any connection: `SELECT 1`, how long that took, how many connections to the database there are, and how many of them are at
/// work.
///
/// ```
/// use std::sync::Arc;
///
/// use campanile_health::{Check, checks::postgres};
/// use tokio_postgres::Client;
///
/// # fn _example(client: Arc<Client>) -> Check {
/// Check::new("database", move || {
///     // Here, `pool.get().await?`.
///     let client = Arc::clone(&client);
///     async move { postgres::probe(&client).await }
/// })
/// # }
/// ```
///
/// # Errors
///
/// If there is no answer, or another one.
pub async fn probe(client: &Client) -> Result<Outcome, Error> {
    let begun = clock::now();
    client.simple_query("SELECT 1").await?;
    let latency = clock::now().saturating_duration_since(begun);
    let text = "SELECT count(*), count(*) FILTER (WHERE state = 'active') FROM pg_stat_activity \
                WHERE datname = current_database()";
    let outcome = Outcome::healthy().detail("latency_ms", milliseconds(latency));
    // Who may not see this may still ask.
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
        let build = |mode: &str| check("db", &format!("postgres://u:p@db.example/orders{mode}"));
        assert!(matches!(build("?sslmode=require"), Err(UrlError::Tls)));
        assert!(matches!(
            build("?sslmode=verify-full"),
            Err(UrlError::Invalid(_))
        ));
        assert!(matches!(check("db", "mysql://"), Err(UrlError::Invalid(_))));
        for mode in ["", "?sslmode=prefer", "?sslmode=disable"] {
            assert!(build(mode).is_ok(), "{mode}");
        }
    }
}
