//! Checks for common dependencies and resources.
//!
//! ```
//! use std::time::Duration;
//!
//! use campanile_health::{Health, checks};
//!
//! let health = Health::builder()
//!     .check(checks::tcp("broker", "broker.internal:5672").critical())
//!     .check(checks::value("queue", checks::Bounds::at_most(1_000.0, 10_000.0), || 12.0).period(Duration::from_secs(5)))
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
#[cfg(feature = "client")]
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
#[cfg(feature = "client")]
#[cfg_attr(docsrs, doc(cfg(feature = "client")))]
pub use self::http::{http, http_with};
#[cfg(feature = "system")]
#[cfg_attr(docsrs, doc(cfg(feature = "system")))]
pub use self::system::{cpu, descriptors, disk, load, memory};

/// Returns a check of a value that a closure reads, such as the depth of a queue. The closure must not block.
pub fn value(
    name: impl Into<String>,
    bounds: Bounds,
    read: impl Fn() -> f64 + Send + Sync + 'static,
) -> Check {
    Check::new(name, move || {
        let value = read();
        async move { Ok::<_, io::Error>(bounds.judge(value)) }
    })
}

/// Returns a check that something takes TCP connections at an address: `host:port`.
pub fn tcp(name: impl Into<String>, address: impl Into<String>) -> Check {
    let address = address.into();
    Check::new(name, move || {
        let address = address.clone();
        async move { TcpStream::connect(address).await.map(drop) }
    })
}

/// Returns a check that a host's name has addresses, as the system's resolver finds them.
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
    let place = std::sync::Arc::<tokio::sync::Mutex<()>>::default();
    check.run(place.lock_owned().await).await
}

#[cfg(test)]
mod tests;
