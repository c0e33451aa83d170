use std::error::Error;
use std::fmt;
use std::future::{Future, Ready, ready};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use std::vec;

use http::Uri;
use http::uri::Scheme;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tower_service::Service;

use crate::address::Policy;
use crate::target::Host;

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;
pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The network functions of the system.
pub(crate) trait Network: Send + Sync {
    /// Resolves a name.
    fn resolve(&self, name: &str) -> BoxFuture<io::Result<Vec<IpAddr>>>;

    /// Connects to the first of these addresses that accepts.
    fn connect(
        &self,
        addresses: Vec<SocketAddr>,
    ) -> BoxFuture<Result<TokioIo<TcpStream>, BoxError>>;
}

/// Connects to the addresses of a URI's host that the policy allows.
///
/// [`Host`] parses the host once, and the network gets addresses only. Therefore the connector
/// connects to the address that it checked, even if the name resolves differently later.
#[derive(Clone)]
pub(crate) struct Connector {
    policy: Arc<Policy>,
    network: Arc<dyn Network>,
}

impl Connector {
    pub(crate) fn new(policy: Arc<Policy>, network: Arc<dyn Network>) -> Self {
        Self { policy, network }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = BoxFuture<Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { policy, network } = self.clone();
        Box::pin(async move {
            let found = match uri.host().and_then(Host::parse) {
                Some(Host::Address(address)) => vec![address],
                Some(Host::Name(name)) => network.resolve(name).await?,
                // `Target::parse` rejects these hosts.
                None => return Err(Forbidden.into()),
            };
            let default_port = match uri.scheme() {
                Some(scheme) if *scheme == Scheme::HTTPS => 443,
                _ => 80,
            };
            let port = uri.port_u16().unwrap_or(default_port);
            let allowed: Vec<_> = found
                .into_iter()
                .filter(|&address| policy.allows(address))
                .map(|address| SocketAddr::new(address, port))
                .collect();
            if allowed.is_empty() {
                return Err(Forbidden.into());
            }
            network.connect(allowed).await
        })
    }
}

/// The system's resolver and TCP.
pub(crate) struct Tcp {
    timeout: Duration,
    lookups: Arc<Semaphore>,
}

/// The limit of concurrent lookups. A lookup occupies a thread until the system's resolver returns,
/// regardless of the deadline of the call.
const MAX_LOOKUPS: usize = 16;

impl Tcp {
    pub(crate) fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            lookups: Arc::new(Semaphore::new(MAX_LOOKUPS)),
        }
    }
}

/// Calls a blocking function when a permit is available.
async fn limited<T: Send + 'static>(
    lookups: Arc<Semaphore>,
    find: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let permit = lookups.acquire_owned().await.map_err(io::Error::other)?;
    let found = tokio::task::spawn_blocking(move || {
        // The function keeps its permit after its call has timed out.
        let _permit = permit;
        find()
    });
    found.await.map_err(io::Error::other)?
}

impl Network for Tcp {
    fn resolve(&self, name: &str) -> BoxFuture<io::Result<Vec<IpAddr>>> {
        let name = name.to_owned();
        let find = move || {
            let found = (name.as_str(), 0).to_socket_addrs()?;
            Ok(found.map(|address| address.ip()).collect())
        };
        Box::pin(limited(Arc::clone(&self.lookups), find))
    }

    fn connect(
        &self,
        addresses: Vec<SocketAddr>,
    ) -> BoxFuture<Result<TokioIo<TcpStream>, BoxError>> {
        let mut connector = HttpConnector::new_with_resolver(Resolved(addresses));
        connector.set_connect_timeout(Some(self.timeout));
        // Requests are small and written at once.
        connector.set_nodelay(true);
        // `Resolved` maps this name to the addresses.
        let connecting = connector.call(Uri::from_static("http://resolved.invalid"));
        Box::pin(async move { Ok(connecting.await?) })
    }
}

/// Resolves every name to these addresses.
#[derive(Clone)]
struct Resolved(Vec<SocketAddr>);

impl Service<Name> for Resolved {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Ready<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Name) -> Self::Future {
        ready(Ok(std::mem::take(&mut self.0).into_iter()))
    }
}

/// A host without an allowed address.
#[derive(Debug)]
pub(crate) struct Forbidden;

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no allowed address")
    }
}

impl Error for Forbidden {}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn names_that_hang_take_a_limited_number_of_threads() {
        let lookups = Tcp::new(Duration::from_secs(1)).lookups;
        let started = Arc::new(AtomicUsize::new(0));
        let mut going_on = Vec::new();
        for _ in 0..3 * MAX_LOOKUPS {
            let (go_on, hangs) = mpsc::channel::<()>();
            going_on.push(go_on);
            let started = Arc::clone(&started);
            let find = move || {
                started.fetch_add(1, Ordering::Relaxed);
                // It hangs until the other end is gone.
                let _ = hangs.recv();
                Ok(())
            };
            let looked_up = timeout(
                Duration::from_millis(2),
                limited(Arc::clone(&lookups), find),
            );
            assert!(looked_up.await.is_err());
        }
        // Those that hang are counted though their calls are over.
        assert!(started.load(Ordering::Relaxed) <= MAX_LOOKUPS);
        assert_eq!(lookups.available_permits(), 0);
        drop(going_on);
        assert_eq!(limited(lookups, || Ok(7)).await.unwrap(), 7);
    }
}
