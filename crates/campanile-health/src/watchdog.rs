use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

pub(crate) use self::state::WatchdogState;
use crate::Problem;

mod probes;
mod state;

/// A check that the tokio runtime is not stuck: if it is, [liveness](crate::Group) fails.
///
/// Once a second, the thread `campanile-watchdog` wakes a task and measures the delay until the
/// runtime polls it. [`Health::watchdog_lag`](crate::Health::watchdog_lag) returns the delay, and
/// `campanile` exports it as `health_watchdog_lag_seconds`. Since a thread measures it, the gauge
/// also grows while the runtime is stuck. `tokio_scheduling_lag_seconds` is a histogram that a task
/// measures: it shows the usual delays, and nothing during a stall.
///
/// A stuck runtime cannot respond to probes, so they time out. To respond with the reason instead,
/// let the watchdog [listen](Self::listen) on its own port.
///
/// | setting | default | limit |
/// |---|---|---|
/// | [`timeout`](Self::timeout) | 10 s | more than 0 |
/// | [`listen`](Self::listen) | no address | |
#[derive(Debug)]
#[must_use = "a watchdog does nothing until a health is built with it"]
pub struct Watchdog {
    timeout: Duration,
    address: Option<SocketAddr>,
}

impl Watchdog {
    /// Creates a watchdog with the default settings.
    pub fn new() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            address: None,
        }
    }

    /// Sets the delay from which the runtime counts as stuck; more than zero.
    ///
    /// Defaults to 10 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets an address at which a thread responds to the probes, even while the runtime is stuck.
    ///
    /// It speaks HTTP/1.1, with one request per connection, and its responses have no
    /// [details](crate::ResponseDetail). The thread `campanile-probes` serves at most 256
    /// connections at a time, each for at most 1 s. Another connection replaces the oldest one, so
    /// that silent connections delay no probe.
    ///
    /// Defaults to no address.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.address = Some(address);
        self
    }

    /// Binds the listener.
    pub(crate) fn bind(self) -> Result<Arc<WatchdogState>, Problem> {
        let bind = |address| {
            TcpListener::bind(address).map_err(|error| Problem::Listen {
                address,
                source: Arc::new(error),
            })
        };
        let listener = self.address.map(bind).transpose()?;
        Ok(Arc::new(WatchdogState::new(self.timeout, listener)))
    }
}

impl Default for Watchdog {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
