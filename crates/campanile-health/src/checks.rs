//! Checks for common dependencies and resources.
//!
//! ```
//! use std::time::Duration;
//!
//! use campanile_health::{Health, checks};
//!
//! let health = Health::builder()
//!     .check(checks::tcp("broker", "broker.internal:5672").critical())
//!     .check(checks::threshold("queue", checks::Bounds::at_most(1_000.0, 10_000.0), || 12.0).interval(Duration::from_secs(5)))
//!     .build()?;
//! # drop(health);
//! # Ok::<_, campanile_health::BuildError>(())
//! ```

use std::io;
use std::net::ToSocketAddrs;

use tokio::net::TcpStream;

use crate::{Check, Outcome};

mod bounds;
#[cfg(feature = "tls")]
mod certificate;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod error;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "system")]
mod system;

pub use self::bounds::Bounds;
#[cfg(feature = "tls")]
#[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
pub use self::certificate::{InvalidAddress, certificate};
#[cfg(any(feature = "postgres", feature = "redis"))]
#[cfg_attr(docsrs, doc(cfg(any(feature = "postgres", feature = "redis"))))]
pub use self::error::{InvalidUrl, ProbeError};
#[cfg(feature = "http")]
#[cfg_attr(docsrs, doc(cfg(feature = "http")))]
pub use self::http::{http, http_with};
#[cfg(feature = "system")]
#[cfg_attr(docsrs, doc(cfg(feature = "system")))]
pub use self::system::{cpu, descriptors, disk, load, memory};

/// Creates a check of a value, such as the length of a queue. The closure reads it, and must not
/// block.
pub fn threshold(
    name: impl Into<String>,
    bounds: Bounds,
    read: impl Fn() -> f64 + Send + Sync + 'static,
) -> Check {
    Check::new(name, move || {
        let value = read();
        async move { Ok::<_, io::Error>(bounds.evaluate(value)) }
    })
}

/// Creates a check that a PostgreSQL server answers `SELECT 1`. It keeps one connection, without
/// TLS: `postgres://user:password@host/database`.
///
/// For a pooled connection, or for TLS, call [`postgres::probe`] in a [`Check`].
///
/// # Errors
///
/// If the URL is not valid, or requires TLS by `sslmode=require`.
#[cfg(feature = "postgres")]
#[cfg_attr(docsrs, doc(cfg(feature = "postgres")))]
pub fn postgres(name: impl Into<String>, url: &str) -> Result<Check, InvalidUrl> {
    postgres::check(name.into(), url)
}

/// Creates a check that a Redis server, or a compatible one, answers `PING`. It keeps one
/// connection, without TLS: `redis://user:password@host:6379/0`.
///
/// For a pooled connection, or for TLS, call [`redis::probe`] in a [`Check`].
///
/// # Errors
///
/// If the URL is not valid, or requires TLS by `rediss://` while the crate `redis` has no TLS
/// feature.
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub fn redis(name: impl Into<String>, url: &str) -> Result<Check, InvalidUrl> {
    redis::check(name.into(), url)
}

/// Creates a check that an address, `host:port`, accepts TCP connections.
pub fn tcp(name: impl Into<String>, address: impl Into<String>) -> Check {
    let address = address.into();
    Check::new(name, move || {
        let address = address.clone();
        async move { TcpStream::connect(address).await.map(drop) }
    })
}

/// Creates a check that the system's resolver finds an address for a host name.
pub fn dns(name: impl Into<String>, host: impl Into<String>) -> Check {
    let host = host.into();
    Check::blocking(name, move || {
        let addresses = (host.as_str(), 0).to_socket_addrs()?.count();
        match addresses {
            0 => Err(io::Error::new(io::ErrorKind::NotFound, "no addresses")),
            addresses => Ok(Outcome::healthy().detail("addresses", addresses)),
        }
    })
}

/// Calls a check once.
#[cfg(test)]
pub(crate) async fn called(check: &Check) -> Outcome {
    let call = std::sync::Arc::<tokio::sync::Mutex<()>>::default();
    check.run(call.lock_owned().await).await
}

#[cfg(test)]
mod tests;
